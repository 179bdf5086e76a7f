#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# podman pod with a real VMM in it, with podman's cgroupfs and its systemd manager:
# one sandbox for all containers of a pod, whether the infra container has the hook
# (when it is for all containers) or not (when containers ask for it). Nothing is
# left afterwards.

# shellcheck disable=SC2016 # $name in single quotes is jq's
# shellcheck disable=SC2034,SC2317 # common.sh and podman.sh use and call these
OSC_LIB_ONLY=yes
OVERHEAD_PARENT=/kata_overhead
# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"
# shellcheck source=../lib/limits.sh
. "$TESTS/lib/limits.sh"
# shellcheck source=../lib/podman.sh
. "$TESTS/lib/podman.sh"

POD=

# member NAME COMMAND_AND_OPTIONS - one more container of $POD; sets PID
member() {
	local name=$1
	shift
	capture pod run --detach --pod "$POD" --name "$TAG-$name" "${HOOK_OPTIONS[@]}" "$@"
	check_exit "$P: podman run --pod, $name" 0
	[[ $RC == 0 ]] || {
		echo "$ERR"
		return 1
	}
	PID=$(pid_of "$TAG-$name")
}

# pod_of_three WHO ONLY - three_containers, and no pod left for the next ones
pod_of_three() {
	three_containers "$@"
	pod pod rm --force --time 0 "$TAG-pod" >/dev/null 2>&1 || :
	for_those_that_ask
}

# three_containers WHO ONLY - an infra container and two others. WHO has the hook: "asked", those
# that ask for it, which an infra container cannot; "all"
three_containers() {
	local before vmm watcher one two infra=0 only=$2 HOOK_OPTIONS=("${HOOK_OPTIONS[@]}")
	P=$MANAGER-$1-$([[ $2 == true ]] && echo only || echo split)
	one=(--cpu-quota=20000 --cpu-period=100000 --cpu-shares=512 --memory=256m)
	two=(--cpu-quota=30000 --cpu-period=100000 --cpu-shares=256 --memory=128m)
	configure ".sandbox_cgroup_only = $only"
	if [[ $1 == all ]]; then
		infra=1
		HOOK_OPTIONS=()
		for_all
	fi
	before=$(snapshot)
	capture pod pod create --name "$TAG-pod" --network=none
	check_exit "$P: podman pod create" 0
	[[ $RC == 0 ]] || {
		echo "$ERR"
		return
	}
	POD=$OUT
	pod_layout "$POD" "$infra" "$only"
	member vmm "${one[@]}" "${VMM_OPTIONS[@]}" --rootfs "$ROOTFS" "${VMM[@]}" || return 0
	vmm=$PID
	check_threads "$P: the VMM" "$vmm" "$VCPUS"
	check "$P: one sandbox for all that have the hook" count_of_containers $((infra + 1))
	check_wait "$P: an infra container does not count without limits" 10 limits_are 20000 512 $((256 << 20))
	if [[ $only == false ]]; then
		check_wait "$P: a watcher runs" 5 has_watcher "$SANDBOX_ID"
		watcher=$(watcher_pid "$SANDBOX_ID")
	fi
	member side "${two[@]}" --rootfs "$ROOTFS" /busybox sleep 1000000 || return 0
	check_wait "$P: the other container's process" 10 placed "$PID" rest
	check_wait "$P: limits of both" 10 limits_are 50000 768 $((384 << 20))
	[[ $only == true ]] || check_eq "$P: the watcher is the same" "$watcher" "$(watcher_pid "$SANDBOX_ID")"
	check "$P: exec into the VMM's container" pod exec "$TAG-vmm" /busybox true

	capture pod stop --time 0 "$TAG-side"
	check_exit "$P: podman stop of the other one" 0
	check_wait "$P: limits of the VMM's container alone" 10 limits_are 20000 512 $((256 << 20))
	capture pod start "$TAG-side"
	check_exit "$P: podman start of it" 0
	check_wait "$P: limits of both again" 10 limits_are 50000 768 $((384 << 20))
	check_threads "$P: the VMM, then" "$vmm" "$VCPUS"
	capture pod pod stop --time 10 "$POD"
	check_exit "$P: podman pod stop" 0
	check "$P: the VMM has ended" is_dead "$vmm"
	check_wait "$P: no sandbox left" 15 cg_gone "$SANDBOX" "$OVERHEAD"
	capture pod pod start "$POD"
	check_exit "$P: podman pod start" 0
	check_threads "$P: the VMM, restarted" "$(pid_of "$TAG-vmm")" "$VCPUS"
	check_wait "$P: limits of both after the restart" 10 limits_are 50000 768 $((384 << 20))
	capture pod pod rm --force --time 0 "$POD"
	check_exit "$P: podman pod rm --force" 0
	check_wait "$P: nothing of the sandbox left" 15 cg_gone "$SANDBOX" "$OVERHEAD"
	check_wait "$P: no unit of the sandbox left" 15 no_unit_left "$SANDBOX_ID"
	check_nothing_left "$P" "$before"
}

TESTED=
throw_away_guest
begin_podman end_pods
make_rootfs

for MANAGER in cgroupfs systemd; do
	podman_works --memory=64m --cpu-quota=20000 || continue
	pods_work || continue
	# What the manager makes no difference to takes too long to be done twice.
	if [[ $MANAGER == cgroupfs ]]; then
		pod_of_three asked false
		pod_of_three all true
	else
		pod_of_three all false
	fi
	TESTED+=" $MANAGER"
done
check "pods were run with some manager:$TESTED" test -n "$TESTED"

finish
