#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# podman and the installed CDI file, whose devices are nothing but our hooks: a real
# VMM with each of them, and a container without, of which the hook must not hear.

# shellcheck disable=SC2034,SC2317 # common.sh and podman.sh use and call these
OSC_LIB_ONLY=yes
OVERHEAD_PARENT=/kata_overhead
# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"
# shellcheck source=../lib/podman.sh
. "$TESTS/lib/podman.sh"

CDI_FILE=/etc/cdi/oci-sandbox-cgroup.io-hook.json
# The hook comes by a device only.
HOOK_OPTIONS=()

# podman_takes_cdi - 4.1 is the first that takes a device's qualified name
podman_takes_cdi() {
	local version major minor
	version=$(podman --version)
	version=${version##* }
	IFS=. read -r major minor _ <<<"$version"
	((major > 4 || (major == 4 && minor >= 1)))
}

# with_device NAME DEVICE ONLY - podman run, exec, stop, rm
with_device() {
	local name=$1 before watcher=none
	before=$(snapshot)
	run_podman "$name" --device="oci-sandbox-cgroup.io/hook=$2" "${QUOTA[@]}" "${VMM_OPTIONS[@]}" -- "${VMM[@]}" || return 0
	layout "$3"
	check_threads "$name" "$PID" "$VCPUS"
	check "$name: nobody else is in podman's own cgroup" own_is_left
	check_eq "$name: the sandbox is listed" "$ID" \
		"$("$OSC" list --json | jq -r '.. | .sandbox_id? // empty')"
	check "$name: exec into the container" pod exec "$ID" /busybox true
	watcher=$(watcher_pid "$ID")
	capture pod stop --time 20 "$ID"
	check_exit "$name: podman stop" 0
	capture pod rm "$ID"
	check_exit "$name: podman rm" 0
	gone "$name" "$before"
	[[ $watcher == none ]] || check "$name: the watcher has ended" is_dead "$watcher"
}

throw_away_guest
podman_takes_cdi || not_here "$(podman --version) does not take CDI devices; 4.1 does"
[[ -e $CDI_FILE ]] || not_here "$CDI_FILE is not installed"
begin_podman end_podman
check_eq "the file's program is the installed one" "$OSC" \
	"$(jq -r '[.devices[].containerEdits.hooks[].path] | unique[]' "$CDI_FILE")"
make_rootfs

for MANAGER in ${OSC_PODMAN_MANAGER:-cgroupfs systemd}; do
	podman_works --memory=64m "${QUOTA[@]}" || continue
	without_hook "$MANAGER-none"
	with_device "$MANAGER-default" default false
	with_device "$MANAGER-only" only true
done

finish
