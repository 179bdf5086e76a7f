#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# podman, the installed file of the hooks directory and a real VMM, with podman's
# cgroupfs and its systemd manager: both policies, the limits of podman's options,
# exec, each way in which a container ends, and nothing left afterwards.

# shellcheck disable=SC2016 # $name in single quotes is jq's
# shellcheck disable=SC2034,SC2317 # common.sh uses and calls these
OSC_LIB_ONLY=yes
OVERHEAD_PARENT=/kata_overhead
# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"
# shellcheck source=../lib/limits.sh
. "$TESTS/lib/limits.sh"
# shellcheck source=../lib/podman.sh
. "$TESTS/lib/podman.sh"

# limit_options - what limits.sh expects to find, as podman's options
limit_options() {
	LIMITS=()
	if available cpu; then
		LIMITS+=(--cpu-quota="$LIMIT_QUOTA" --cpu-period="$LIMIT_PERIOD" --cpu-shares="$LIMIT_SHARES")
	fi
	if available cpuset; then
		LIMITS+=(--cpuset-cpus="$(first_of "$(cpuset_of "" cpus)")" --cpuset-mems="$(first_of "$(cpuset_of "" mems)")")
	fi
	if available pids; then LIMITS+=(--pids-limit="$LIMIT_PIDS"); fi
	if available memory; then LIMITS+=(--memory="$LIMIT_MEMORY"); fi
}

# run_vmm NAME ONLY - with limits, and every check of a sandbox that runs
run_vmm() {
	local name=$1
	configure ".sandbox_cgroup_only = $2"
	run_podman "$name" "${VMM_OPTIONS[@]}" "${LIMITS[@]}" -- "${VMM[@]}" || return
	layout "$2"
	check_threads "$name" "$PID" "$VCPUS"
	check_sandbox "$name"
	check "$name: nobody else is in podman's own cgroup" own_is_left
	check_eq "$name: the sandbox is listed" "$ID" \
		"$("$OSC" list --json | jq -r '.. | .sandbox_id? // empty')"
	check "$name: exec into the container" pod exec "$ID" /busybox true
}

# check_sandbox NAME - limits and devices
check_sandbox() {
	check_limits "$1" "$SANDBOX" "$VCPU"
	if [[ $ONLY == false ]]; then check_no_limits "$1" "$OVERHEAD"; fi
	check_devices "$1" "$SANDBOX"
}

# check_stop NAME SNAPSHOT - podman stop and podman rm
check_stop() {
	capture pod stop --time 20 "$ID"
	check_exit "$1: podman stop" 0
	check_eq "$1: podman stop has nothing to complain of" "" "$ERR"
	capture pod rm "$ID"
	check_exit "$1: podman rm" 0
	gone "$1" "$2"
}

# split_and_stop NAME - podman run, exec, stop, rm
split_and_stop() {
	local name=$1 before watcher
	before=$(snapshot)
	run_vmm "$name" false || return 0
	check_wait "$name: a watcher runs" 5 has_watcher "$ID"
	watcher=$(watcher_pid "$ID")
	check "$name: it is in no cgroup of the container" stays_outside "$watcher"
	if [[ $MANAGER == systemd ]]; then
		check "$name: podman's own scope lives" systemctl is-active "libpod-$ID.scope"
		check "$name: systemd reloads" systemctl daemon-reload
		check_threads "$name after the reload" "$PID" "$VCPUS"
		check_sandbox "$name after the reload"
		check "$name: podman's own scope lives on" systemctl is-active "libpod-$ID.scope"
		check "$name: exec after the reload" pod exec "$ID" /busybox true
	fi
	# A process of podman exec that is still there when the container stops.
	check "$name: exec what stays" pod exec --detach "$ID" /busybox sleep 1000
	check_stop "$name" "$before"
	check "$name: the watcher has ended" is_dead "$watcher"
}

# split_and_rm NAME - podman rm --force alone
split_and_rm() {
	local name=$1 before
	before=$(snapshot)
	run_podman "$name" "${QUOTA[@]}" "${VMM_OPTIONS[@]}" -- "${VMM[@]}" || return 0
	layout false
	check_threads "$name" "$PID" "$VCPUS"
	capture pod rm --force --time 0 "$ID"
	check_exit "$name: podman rm --force" 0
	gone "$name" "$before"
}

# split_and_die NAME - the VMM dies, conmon has podman clean up and remove
split_and_die() {
	local name=$1 before
	before=$(snapshot)
	run_podman "$name" --rm "${QUOTA[@]}" "${VMM_OPTIONS[@]}" -- "${VMM[@]}" || return 0
	layout false
	check_threads "$name" "$PID" "$VCPUS"
	kill -KILL "$PID"
	check_wait "$name: podman has removed the container" 30 no_container "$ID"
	gone "$name" "$before"
}

# only_and_stop NAME - sandbox_cgroup_only from the configuration file
only_and_stop() {
	local name=$1 before
	before=$(snapshot)
	if run_vmm "$name" true; then
		if [[ $MANAGER == systemd ]]; then
			check "$name: podman's own scope lives" systemctl is-active "libpod-$ID.scope"
		fi
		check_stop "$name" "$before"
	fi
	configure .
}

# short NAME - a container that has ended before anybody looks
short() {
	local name=$1 before
	before=$(snapshot)
	capture pod run --rm --name "$TAG-$name" --network=none "${HOOK_OPTIONS[@]}" --rootfs "$ROOTFS" /busybox true
	check_exit "$name: podman run --rm of a command that ends at once" 0
	check_nothing_left "$name" "$before"
}

throw_away_guest
begin_podman end_podman
make_rootfs
limit_options

for MANAGER in ${OSC_PODMAN_MANAGER:-cgroupfs systemd}; do
	podman_works "${LIMITS[@]}" || continue
	without_hook "$MANAGER-unasked"
	split_and_stop "$MANAGER-split"
	only_and_stop "$MANAGER-only"
	# What the manager makes no difference to takes too long to be done twice.
	if [[ $MANAGER == cgroupfs ]]; then
		split_and_rm "$MANAGER-rm"
		short "$MANAGER-short"
	else
		split_and_die "$MANAGER-die"
	fi
done

finish
