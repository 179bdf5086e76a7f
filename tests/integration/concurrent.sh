#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Many at once: 50 sandboxes set up and torn down together, and 8 containers of
# one sandbox which start and stop together, with the sum of their limits.

# shellcheck disable=SC2016 # $name in single quotes is jq's
# shellcheck disable=SC2317 # functions are called by name
# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"
# shellcheck source=../lib/limits.sh
. "$TESTS/lib/limits.sh"
# shellcheck source=../lib/at_once.sh
. "$TESTS/lib/at_once.sh"

declare -A PIDS=()

# at_once STAGE STATE NAME... - a hook for each, at once; prints those that failed
at_once() {
	local stage=$1 state=$2 name
	shift 2
	for name; do
		start_hook "$name" "$stage" "$WORK/$name/$state" "$WORK/$name/log"
	done
	await_hooks
}

all_placed() {
	local name result=0
	for name; do
		set_layout "$name"
		together "${PIDS[$name]}" || result=1
	done
	return "$result"
}

# --- many sandboxes ----------------------------------------------------------

before=$(snapshot)
for only in false true; do
	configure ".sandbox_cgroup_only = $only"
	names=()
	for i in {1..50}; do
		names+=("s$i-$only")
		fake_container "s$i-$only"
		PIDS[s$i-$only]=$PID
	done
	check "50 sandboxes at once, only=$only: setup" at_once prestart created "${names[@]}"
	check_eq "50 sandboxes at once, only=$only: records" 50 \
		"$(find "$STATE/sandboxes" -name record.json | wc -l)"
	check_eq "50 sandboxes at once, only=$only: list" 50 "$(osc list --json | jq '[.. | .sandbox_id? | strings] | length' 2>&1)"
	if [[ $only == false ]]; then
		check "50 sandboxes at once, only=$only: every process in its sandbox cgroup" all_placed "${names[@]}"
	fi
	for name in "${names[@]}"; do
		end_process "${PIDS[$name]}"
	done
	check "50 sandboxes at once, only=$only: teardown" at_once poststop stopped "${names[@]}"
	for name in "${names[@]}"; do
		cg_remove "/$TAG/$name"
	done
	check_nothing_left "50 sandboxes at once, only=$only" "$before"
done

# --- one sandbox of many containers ------------------------------------------

configure .
cg_make "/$TAG/pod"
before=$(snapshot)
limits='.annotations = {"io.kubernetes.cri.container-type": "container", "io.kubernetes.cri.sandbox-id": "pod1"}'
if available cpu; then
	limits+=' | .linux.resources.cpu = {quota: 10000, period: 100000}'
fi
if available pids; then
	limits+=' | .linux.resources.pids = {limit: 10}'
fi
names=()
for i in {1..8}; do
	names+=("pod/c$i")
	# A container's id has no slash.
	fake_container "pod/c$i" "$limits" "c$i"
	PIDS[pod/c$i]=$PID
done
set_pod_layout "/$TAG/pod" pod1

# pod_is NAME CONTAINERS - so many of them are counted
pod_is() {
	check_eq "$1: containers in the record" "$2" "$(jq '.containers | length' "$STATE/sandboxes/pod1/record.json" 2>&1)"
	if [[ $MODE == v2 ]]; then
		check_file "$1" cpu "$SANDBOX" cpu.max "$(($2 * 10000)) 100000"
	else
		check_file "$1" cpu "$SANDBOX" cpu.cfs_quota_us $(($2 * 10000))
	fi
	check_file "$1" pids "$SANDBOX" pids.max $(($2 * 10))
}

check "8 containers of a pod at once: setup" at_once prestart created "${names[@]}"
pod_is "8 containers of a pod" 8
for name in "${names[@]}"; do
	check "8 containers of a pod: $name is in the pod's sandbox cgroup" together "${PIDS[$name]}"
done
check_eq "8 containers of a pod: one sandbox" pod1 "$(find "$STATE/sandboxes" -mindepth 1 -maxdepth 1 -printf '%f\n')"
for name in "${names[@]:0:4}"; do
	end_process "${PIDS[$name]}"
done
check "4 of them at once: teardown" at_once poststop stopped "${names[@]:0:4}"
pod_is "the other 4" 4
for name in "${names[@]:4}"; do
	check "the other 4: $name is in the pod's sandbox cgroup" together "${PIDS[$name]}"
	end_process "${PIDS[$name]}"
done
check "the other 4 at once: teardown" at_once poststop stopped "${names[@]:4}"
for name in "${names[@]}"; do
	cg_remove "/$TAG/$name"
done
check_nothing_left "one sandbox of many containers" "$before"

finish
