#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The split of layout sibling: that of nested-split.sh, in a cgroup of our own.

OSC_LAYOUT=sibling
# shellcheck source=nested-split.sh
. "$(dirname "$0")/nested-split.sh"
