#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# containerd: `ctr run` of a config.json with the hooks and a real VMM, in a
# containerd of this script's own. Both policies, limits, exec, pause, each way
# in which a container ends, and nothing left afterwards. First with absolute
# cgroup paths, then with those of systemd.

# shellcheck disable=SC2016 # $name in single quotes is jq's
# shellcheck disable=SC2034,SC2317 # common.sh uses and calls these
OSC_LIB_ONLY=yes
# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"
# shellcheck source=../lib/limits.sh
. "$TESTS/lib/limits.sh"
# shellcheck source=../lib/ctr.sh
. "$TESTS/lib/ctr.sh"

# gone NAME SNAPSHOT
gone() {
	check_wait "$1: the VMM has ended" 20 is_dead "$PID"
	check_wait "$1: no cgroup of the container left" 20 cg_gone "$OWN" "$SANDBOX" "$OVERHEAD"
	check_nothing_left "$1" "$2"
}

# scenario NAME ONLY - limits, exec, pause, kill, delete
scenario() {
	local name=$1 before watcher=none options=()
	[[ $2 == false ]] || options=(--sandbox-cgroup-only)
	set_layout "$name" "$TAG-$name" "$2"
	vmm_bundle "$name" "$(limits_filter)"
	add_hooks "$name" "prestart poststop" "${options[@]}"
	before=$(snapshot)
	run_ctr "$name" || return 0
	ok "$name: ctr run"
	check_threads "$name" "$PID" "$VCPUS"
	check_limits "$name" "$SANDBOX" "$VCPU"
	if [[ $2 == false ]]; then
		check_no_limits "$name" "$OVERHEAD"
		check_wait "$name: a watcher runs" 5 has_watcher "$ID"
		watcher=$(watcher_pid "$ID")
		check "$name: it is in no cgroup of the container" stays_outside "$watcher"
	fi
	check_devices "$name" "$SANDBOX"
	check "$name: nobody of the container is in the runtime's own cgroup" only_placeholder "$OWN"

	check "$name: exec into the container" ctr_ task exec --exec-id one "$ID" /busybox true
	check "$name: pause" ctr_ task pause "$ID"
	check "$name: resume" ctr_ task resume "$ID"
	check_threads "$name after that" "$PID" "$VCPUS"
	check "$name: ctr task kill" ctr_ task kill --signal KILL "$ID"
	check_wait "$name: the task has stopped" 20 task_is STOPPED
	delete_task "$name"
	gone "$name" "$before"
	[[ $watcher == none ]] || check "$name: the watcher has ended" is_dead "$watcher"
}

# split NAME - starts a VMM without limits, sets BEFORE
split() {
	set_layout "$1" "$TAG-$1"
	vmm_bundle "$1" .
	add_hooks "$1" "prestart poststop"
	BEFORE=$(snapshot)
	run_ctr "$1" || return
	check_threads "$1" "$PID" "$VCPUS"
}

# has_vcpus - each of them
has_vcpus() {
	[[ $(threads "$PID" | cut -d ' ' -f 2- | grep -cE "$VCPU_RE") == "$VCPUS" ]]
}

# delete_running NAME - by ctr task delete --force, which has the runtime kill all that is in its own cgroup, and then
# waits for the task's end
delete_running() {
	capture timeout -k 5 30 ctr --address "$WORK/containerd.sock" task delete --force "$ID"
	check_exit "$1: ctr task delete --force" 0
	check_eq "$1: it has nothing to complain of" "" "$(grep -v 'exit with non-zero exit code' <<<"$ERR" || :)"
	check "$1: it has ended the VMM" is_dead "$PID"
	kill -KILL "$PID" 2>/dev/null || :
	check "$1: ctr containers delete" ctr_ containers delete "$ID"
}

# force NAME - without the hook, where the VMM is in the runtime's cgroup, and with it, where only the placeholder is
force() {
	local bare=$1-bare before
	vmm_bundle "$bare" .
	before=$(snapshot)
	run_ctr "$bare" || return 0
	check_wait "$bare: every vCPU is there" 120 has_vcpus
	delete_running "$bare"
	check_nothing_left "$bare" "$before"

	split "$1" || return 0
	delete_running "$1"
	gone "$1" "$BEFORE"
}

# die NAME - the VMM dies
die() {
	split "$1" || return 0
	kill -KILL "$PID"
	check_wait "$1: the task has stopped" 20 task_is STOPPED
	delete_task "$1"
	gone "$1" "$BEFORE"
}

# lose_shim NAME - the shim dies; containerd has the runtime delete the container
lose_shim() {
	local shim
	split "$1" || return 0
	shim=$(awk '$1 == "PPid:" { print $2 }' "/proc/$PID/status")
	check_match "$1: the VMM's parent is the shim" '^containerd-shim' "$(cat "/proc/$shim/comm" 2>&1)"
	kill -KILL "$shim"
	gone "$1" "$BEFORE"
	drop_ctr
}

begin_ctr
scenario cgroupfs-split false
scenario cgroupfs-only true
force cgroupfs-force
die cgroupfs-die
lose_shim cgroupfs-shim
if use_systemd; then
	scenario systemd-split false
	scenario systemd-only true
	force systemd-force
	lose_shim systemd-shim
fi

finish
