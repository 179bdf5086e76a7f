#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# What a runtime does to its cgroup of a container is done to the sandbox, although with layout sibling
# nobody is in there but a process of ours: kill, freeze and update. And what is frozen still ends.

# shellcheck disable=SC2016 # $name in single quotes is jq's
# shellcheck disable=SC2317 # functions are called by name
# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"
# shellcheck source=../lib/observe.sh
. "$TESTS/lib/observe.sh"
# shellcheck source=../lib/limits.sh
. "$TESTS/lib/limits.sh"

SHARED='del(.linux.namespaces[] | select(.type == "pid"))'

# start NAME [JQ_FILTER] - a VMM with a helper beside it; sets C, PID and HELPER
start() {
	C=$1
	set_layout "$C" "$TAG-$C"
	configure ".leftovers = \"kill\" | ${edit-.}"
	make_bundle "$C" '["/busybox", "sh", "-c", "/busybox sleep 1000 & echo $! >/helper; exec /fake_vmm \"CPU 0/KVM\""]' "${2-.}"
	add_hooks "$C" "prestart poststop"
	install -m 0755 "$VMM" "$WORK/$C/rootfs/fake_vmm"
	run_container "$C" || {
		fail "$C: the runtime starts the container" "$(cat "$WORK/$C/log")"
		return 1
	}
	wait_for 10 test -s "$WORK/$C/rootfs/helper"
	HELPER=$(<"$WORK/$C/rootfs/helper")
	started "$PID"
	check_wait "$C: there is a watcher" 10 has_watcher "$TAG-$C"
	# It has seen the container as it is.
	[[ -n ${edit-} ]] || check_wait "$C: which has seen the VMM" 10 test -s "$STATE/sandboxes/$TAG-$C/placement.json"
	[[ -z ${edit-} ]] || sleep 1
}

is_frozen() {
	if [[ $MODE == v2 ]]; then
		grep -q 'frozen 1' "${CG_DIR[unified]}$SANDBOX/cgroup.events"
	else
		[[ $(cat "$(cg_file freezer "$SANDBOX" freezer.state)") == FROZEN ]]
	fi
}

thawed() {
	! is_frozen
}

freeze_by_hand() {
	if [[ $MODE == v2 ]]; then
		echo 1 >"${CG_DIR[unified]}$SANDBOX/cgroup.freeze"
	else
		echo FROZEN >"$(cg_file freezer "$SANDBOX" freezer.state)"
	fi
	wait_for 10 is_frozen
}

# quick NAME COMMAND... - succeeds, and waits for nobody; runtimes give up after 10 s
quick() {
	local name=$1 began=$SECONDS
	shift
	capture "$@"
	check_exit "$name" 0
	check_between "$name: in so many seconds" 0 9 $((SECONDS - began))
}

VMM=$(helper fake_vmm)
before=$(snapshot)

if start pause; then
	check "$C: pause" pause_container "$C"
	check_wait "$C: the sandbox is frozen" 10 is_frozen
	capture oci resume "$TAG-$C"
	check_exit "$C: resume" 0
	check_wait "$C: the sandbox is thawed" 10 thawed
	check "$C: pause again" pause_container "$C"
	check_wait "$C: the sandbox is frozen again" 10 is_frozen
	quick "$C: delete --force of what is paused" oci delete --force "$TAG-$C"
	check_wait "$C: the VMM has ended" 10 is_dead "$PID"
	check_nothing_left "$C" "$before"
fi

# has CONTROLLER V1_FILE V2_FILE VALUE - the sandbox
has() {
	local file=$2
	[[ $MODE != v2 ]] || file=$3
	[[ $(cat "$(cg_file "$1" "$SANDBOX" "$file")") == "$4" ]]
}

# updated ONLY - every limit, not those of CPU time alone
updated() {
	edit='.sandbox_cgroup_only = '$1 start "update-$1" '.linux.resources.memory = {limit: 268435456} | .linux.resources.pids = {limit: 60}' || return 0
	capture oci update --memory $((128 << 20)) --pids-limit 40 --cpu-share 512 "$TAG-$C"
	check_exit "$C: update" 0
	check_wait "$C: the memory limit" 10 has memory memory.limit_in_bytes memory.max $((128 << 20))
	check_wait "$C: the pids limit" 10 has pids pids.max pids.max 40
	[[ $MODE == v2 ]] || check_wait "$C: the shares" 10 has cpu cpu.shares cpu.weight 512
	check "$C: kill and delete" stop_container "$C"
	check_nothing_left "$C" "$before"
}
if available memory && available pids; then
	updated false
	updated true
else
	skip "update" "no hierarchy has the controllers memory and pids here"
fi

if start hand; then
	freeze_by_hand
	quick "$C: delete --force of what was frozen by hand" oci delete --force "$TAG-$C"
	check_wait "$C: the VMM has ended" 10 is_dead "$PID"
	check_nothing_left "$C" "$before"
fi

if start verb "$SHARED"; then
	check "$C: pause" pause_container "$C"
	check_wait "$C: the sandbox is frozen" 10 is_frozen
	quick "$C: our own delete --force of what is paused" osc delete --force "$TAG-$C"
	oci resume "$TAG-$C" >/dev/null 2>&1 || :
	oci delete --force "$TAG-$C" >/dev/null 2>&1 || :
	kill -KILL "$PID" "$HELPER" 2>/dev/null || :
	check_nothing_left "$C" "$before"
fi

# Without a PID namespace of its own nothing ends with init, and some runtimes kill by their cgroup alone.
if start all "$SHARED"; then
	started "$HELPER"
	check "$C: a process of ours holds the runtime's cgroup" test -n "$(cg_procs "$OWN")"
	# What runc 1.2 and later do for `kill` and `delete --force`, others do for this.
	capture oci kill --all "$TAG-$C" KILL
	check_exit "$C: kill --all" 0
	check_wait "$C: the VMM has ended" 10 is_dead "$PID"
	check_wait "$C: and so has its helper" 10 is_dead "$HELPER"
	capture oci delete --force "$TAG-$C"
	check_nothing_left "$C" "$before"
fi

# The ordinary end: init is killed, and what it leaves is poststop's.
if start init "$SHARED"; then
	started "$HELPER"
	kill -KILL "$PID"
	check_wait "$C: the VMM has ended" 10 is_dead "$PID"
	sleep 1
	check "$C: its helper has not" is_alive "$HELPER"
	capture oci delete --force "$TAG-$C"
	check_wait "$C: poststop ends it" 10 is_dead "$HELPER"
	check_nothing_left "$C" "$before"
fi

finish
