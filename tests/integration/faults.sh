#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Where the host itself cannot show it: faults of system calls on a guest's kernel and hierarchies. On the host
# tests/run has tests/fault/run itself. More than one job looks at everything more than once, which takes the most
# time where the CPU is emulated.

set -euo pipefail
exec "$(dirname "$0")/../fault/run" --sample "${OSC_FAULTS:-100}" --jobs 1
