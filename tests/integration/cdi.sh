#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# podman and a CDI device that is nothing but our hooks: a real VMM with each of
# the file's devices, and a container without them, of which the hook must not
# hear.
#
# podman looks for CDI files in /etc/cdi, and the entries of the file name neither
# state directory nor configuration file: this script is for throw-away guests only.

# shellcheck disable=SC2034,SC2317 # common.sh and podman.sh use and call these
OSC_LIB_ONLY=yes
OVERHEAD_PARENT=/kata_overhead
# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"
# shellcheck source=../lib/podman.sh
. "$TESTS/lib/podman.sh"
# shellcheck source=../lib/registration.sh
. "$TESTS/lib/registration.sh"

CDI_DIR=/etc/cdi
CDI_DIR_IS_OURS=
CDI_FILE=$CDI_DIR/$TAG.json

# podman_takes_cdi - 4.1 is the first that takes a device's qualified name
podman_takes_cdi() {
	local version major minor
	version=$(podman --version)
	version=${version##* }
	IFS=. read -r major minor _ <<<"$version"
	((major > 4 || (major == 4 && minor >= 1)))
}

# end_cdi STATUS
end_cdi() {
	rm -f "$CDI_FILE"
	[[ -z $CDI_DIR_IS_OURS ]] || rmdir "$CDI_DIR" 2>/dev/null
	end_podman "$1"
}

# with_device NAME DEVICE ONLY - podman run, exec, stop, rm
with_device() {
	local name=$1 before watcher=none
	before=$(snapshot)
	run_podman "$name" --device="$CDI_KIND=$2" "${VMM_OPTIONS[@]}" -- "${VMM[@]}" || return 0
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

# without_device NAME - the file alone does nothing
without_device() {
	local name=$1 before
	before=$(snapshot)
	run_podman "$name" -- /busybox sleep 1000 || return 0
	check_eq "$name: no sandbox" "" "$("$OSC" list)"
	capture pod rm --force --time 0 "$ID"
	check_exit "$name: podman rm --force" 0
	check_nothing_left "$name" "$before"
}

throw_away_guest
podman_takes_cdi || not_here "$(podman --version) does not take CDI devices; 4.1 does"
! grep -qsrF "$CDI_KIND" "$CDI_DIR" /var/run/cdi || not_here "a CDI file of ours is installed"

begin_podman end_cdi
HOOKS=$WORK/no-hooks
mkdir -p "$HOOKS"
if [[ ! -d $CDI_DIR ]]; then
	mkdir "$CDI_DIR"
	CDI_DIR_IS_OURS=yes
fi
cdi_file "$OSC" >"$CDI_FILE"
make_rootfs

for MANAGER in cgroupfs systemd; do
	if ! podman_works --memory=64m; then
		skip "podman's $MANAGER manager" "podman with $RUNTIME does not run here without the hook, either: $(tail -n 1 <<<"$ERR")"
		continue
	fi
	without_device "$MANAGER-none"
	with_device "$MANAGER-default" default false
	with_device "$MANAGER-only" only true
done

finish
