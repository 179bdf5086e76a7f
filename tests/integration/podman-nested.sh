#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# podman and each layout on v2, with the installed file of the hooks directory and a
# real VMM that never rests: whatever podman does to a container, it does to the same
# container with the hook. Each operation is played without the hook and with it, and
# what is seen has to be equal; what is known to differ is skipped, with what was seen.
# With OSC_MANAGER or OSC_PODMAN_MANAGER only with that manager.

# shellcheck disable=SC2016 # $name in single quotes is jq's
# shellcheck disable=SC2034,SC2317 # common.sh uses and calls these
OSC_LIB_ONLY=yes
OVERHEAD_PARENT=/kata_overhead
MANAGERS=${OSC_PODMAN_MANAGER:-${OSC_MANAGER:-cgroupfs systemd}}
# Cgroups of this script's own are those of podman.
unset OSC_MANAGER
# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"
# shellcheck source=../lib/podman.sh
. "$TESTS/lib/podman.sh"
# shellcheck source=../lib/compare.sh
. "$TESTS/lib/compare.sh"
# shellcheck source=../lib/observe.sh
. "$TESTS/lib/observe.sh"

ASK=("${HOOK_OPTIONS[@]}")
LIMITS=(--cpu-quota=60000 --cpu-period=100000 --memory=256m --pids-limit=64)

# configure_layout FILTER - that of HOOK
configure_layout() {
	configure ".layout = \"${HOOK/bare/nested}\" | $1"
}

# plain TEXT - without the container's id
plain() {
	echo "${1//"${ID:-none}"/ID}"
}

# run_plain NAME [OPTIONS...] -- COMMAND... - with the hook or without; sets ID, PID, C and K
run_plain() {
	HOOK_OPTIONS=("${ASK[@]}")
	[[ $HOOK != bare ]] || HOOK_OPTIONS=()
	run_podman "$@" || return
	layout false
	OVERHEAD=
	remember_c "$PID"
}

# conmon_cgroup - where the hook was started
conmon_cgroup() {
	local conmon
	conmon=$(pod inspect --format '{{.State.ConmonPid}}' "$ID")
	cgroups_of "$conmon"
	echo "${CG[unified]}"
}

# apart NAME QUOTA - with the hook: the split
apart() {
	[[ $HOOK == bare ]] || check_split "$1" "$PID" "$VCPUS" "$2"
}

# watched NAME - with the hook: where the watcher is
watched() {
	[[ $HOOK != bare ]] || return 0
	check_wait "$1: a watcher runs" 5 has_watcher "$ID"
	check_watcher "$1" "$(watcher_pid "$ID")"
	cgroups_of "$(watcher_pid "$ID")"
	check_match "$1: the watcher is where conmon or its caller is" "^($(conmon_cgroup)|$(sed -n 's/^0:://p' /proc/self/cgroup))$" \
		"${CG[unified]}"
}

# --- operations --------------------------------------------------------------

usage_ns() {
	echo $((1000 * $(cpu_usage "$C")))
}

# see_stats - podman's numbers are those of C, which has the whole VMM
see_stats() {
	local memory pids cpu cpu_before memory_before ticks
	ticks=$(cpu_ticks "$PID") cpu_before=$(usage_ns) memory_before=$(c_file memory.current)
	capture pod stats --no-stream --format '{{.ContainerStats.MemUsage}} {{.ContainerStats.PIDs}} {{.ContainerStats.CPUNano}}' "$ID"
	read -r memory pids cpu <<<"$OUT" || :
	see "stats" "$RC $ERR"
	see "stats: pids" "$(about "$(c_file pids.current)" "${pids:-0}" "$(c_file pids.current)")"
	see "stats: memory" "$(about $((memory_before * 9 / 10)) "${memory:-0}" $(($(c_file memory.current) * 11 / 10)))"
	see "stats: CPU time" "$(about "$cpu_before" "${cpu:-0}" "$(usage_ns)")"
	see "stats: the VMM's memory is in it" "$( ((${memory:-0} > 8 << 20)) && echo yes || echo no)"
	see "stats: the guest's CPU time is in it" "$( ((${cpu:-0} > ticks * 9000000)) && echo yes || echo no)"
}

# podman_status - in podman's words
podman_status() {
	pod inspect --format '{{.State.Status}} {{.State.ExitCode}} {{.State.OOMKilled}}' "$ID"
}

see_pause() {
	see_engine "pause" pod pause "$ID"
	see "pause: status" "$(podman_status)"
	see "pause: the VMM" "$(wait_for 10 rests "$PID" >/dev/null && echo rests || echo runs)"
	see_engine "unpause" pod unpause "$ID"
	see "unpause: the VMM" "$(wait_for 15 used "$PID" $(($(cpu_ticks "$PID") + 10)) && echo runs || echo rests)"
}

# cpus_allowed - to each thread of the VMM
cpus_allowed() {
	sed -n 's/^Cpus_allowed_list:\t//p' "/proc/$PID/task"/*/status | sort -u | xargs
}

# see_then KEY EXPECTED COMMAND... - after an update; nothing is waited for that podman has refused, as 5.8.6 does
# with each update, whose healthcheck-timeout is none
see_then() {
	see_when "$1" "$([[ $RC == 0 ]] && echo 20 || echo 2)" "${@:2}"
}

# see_update - of podman's, and what holds then
see_update() {
	see_engine "update --cpus" pod update --cpus 0.2 "$ID"
	see_then "update --cpus: the vCPUs' quota" 20000 vcpu_quota "$PID"
	apart "$P: after update --cpus" "$(quota_now)"
	see_engine "update --memory" pod update --memory 200m "$ID"
	see_then "update --memory: the limit" $((200 << 20)) c_file memory.max
	see_then "update --memory: the vCPUs' quota" 20000 vcpu_quota "$PID"
	apart "$P: after update --memory" "$(quota_now)"
	see_engine "update --cpuset-cpus" pod update --cpuset-cpus 0 "$ID"
	see_then "update --cpuset-cpus: the VMM's CPUs" 0 cpus_allowed
	see_engine "update --cpus, up" pod update --cpus 0.4 "$ID"
	see_then "update --cpus, up: the vCPUs' quota" 40000 vcpu_quota "$PID"
	apart "$P: after update --cpus, up" "$(quota_now)"
}

# quota_now - what was just seen without the hook has to be what the vCPUs have
quota_now() {
	local quota
	quota=$(vcpu_quota "$PID")
	echo "${quota%% *}"
}

see_exec() {
	capture pod exec "$ID" /busybox sh -c 'echo inside; cat /proc/self/cgroup'
	see "exec" "$RC $(plain "$OUT") $ERR"
	capture pod exec --detach "$ID" /busybox sleep 1000
	see "exec --detach" "$RC $ERR"
	see_when "exec --detach: it is in C" 10 1 exec_in_c
}

# exec_in_c - how many there are
exec_in_c() {
	local pid count=0
	for pid in $(c_file cgroup.procs); do
		[[ $(cat "/proc/$pid/comm" 2>/dev/null) != busybox ]] || count=$((count + 1))
	done
	echo "$count"
}

# see_top - which number a later process has depends on how many threads the VMM has started
see_top() {
	capture pod top "$ID" pid comm
	see "top" "$RC $(awk '{ $1 = $1 ~ /^[0-9]+$/ && $1 > 1 ? "N" : $1; print }' <<<"$OUT" | sort | xargs) $ERR"
}

# ended NAME EXIT_STATUS - the VMM, and its watcher; podman says "stopped" until it has cleaned up
ended() {
	see_when "$1: status" 30 "exited $2 false" podman_status
	check_wait "$P: $1: the VMM has ended" 20 is_dead "$PID"
	if [[ $HOOK != bare ]]; then
		check_wait "$P: $1: no sandbox is left" 20 no_record_left
		check_wait "$P: $1: no process of ours is left" 20 no_process_left
	fi
	see_when "$1: C" 20 "" cg_exists "$C"
}

# again NAME - podman start
again() {
	see_engine "$1" pod start "$ID"
	PID=$(pod inspect --format '{{.State.Pid}}' "$ID")
	remember_c "$PID"
	see_when "$1: number of vCPUs" 120 "$VCPUS" count_vcpus
	# What `update` asked for is podman's to remember, or not.
	see_when "$1: the vCPUs' quota" 10 "${SEEN[bare:$1: the vCPUs\' quota]-none}" vcpu_quota "$PID"
	apart "$P: after $1" "$(quota_now)"
}

count_vcpus() {
	vcpus_of "$PID" | wc -w
}

operations() {
	local before
	configure_layout ".vcpu_evidence = \"$([[ $ACCELERATOR == kvm ]] && echo auto || echo name)\""
	before=$(snapshot)
	run_plain "$P" "${VMM_OPTIONS[@]}" "${LIMITS[@]}" -- "${VMM[@]}" -bios /loop.bin || return
	see_when "run: number of vCPUs" 120 "$VCPUS" count_vcpus
	see "run: init is in podman's own cgroup" "$(plain "$C")"
	see_when "run: the vCPUs' quota" 10 60000 vcpu_quota "$PID"
	apart "$P: after run" 60000
	watched "$P: after run"
	see_exec
	see_top
	see_stats
	see_pause
	see_update
	see_engine "kill" pod kill --signal KILL "$ID"
	ended "kill" 137
	again "start"
	see_engine "stop" pod stop --time 20 "$ID"
	ended "stop" 0
	again "start after stop"
	see_engine "rm --force" pod rm --force --time 0 "$ID"
	see_when "rm --force: the container" 10 "gone" container_or_gone
	gone "$P" "$before"
}

container_or_gone() {
	if no_container "$ID"; then echo gone; else echo there; fi
}

# oom - a process of the container, which has a VMM, is killed for want of memory
oom() {
	local before
	configure_layout '.vcpu_evidence = "name"'
	before=$(snapshot)
	rm -f "$ROOTFS/go"
	run_plain "$P-oom" "${VMM_OPTIONS[@]}" --memory=32m --memory-swap=32m --cpu-quota=60000 -- \
		/busybox sh -c '/fake_vmm "CPU 0/KVM" & while [ ! -e /go ]; do sleep 0.1; done; exec /busybox tail /dev/zero' || return
	if [[ $HOOK != bare ]]; then
		check_wait "$P: oom: the split" 120 split_of_child
	fi
	touch "$ROOTFS/go"
	see_when "oom: status" 60 "exited 137 true" podman_status
	capture pod rm --force --time 0 "$ID"
	see "oom: rm" "$RC $ERR"
	gone "$P-oom" "$before"
}

# split_of_child - K has one thread
split_of_child() {
	[[ $(wc -l <"${CG_DIR[unified]}$K/cgroup.threads") == 1 ]] && [[ $(c_file cpu.max) == "max 99999" ]]
}

# --- the runtime killed in the middle ----------------------------------------

# slow_hook - a hook behind ours that tells of the runtime and waits, once
slow_hook() {
	mkdir -p "$WORK/hooks.d"
	cat >"$WORK/hooks.d/slow" <<-EOF
		#!/bin/sh
		cat >/dev/null
		[ ! -e $WORK/slow.pid ] || exit 0
		echo \$\$ \$PPID >$WORK/slow.new
		mv $WORK/slow.new $WORK/slow.pid
		exec sleep 60
	EOF
	chmod 0755 "$WORK/hooks.d/slow"
	jq -n --arg path "$WORK/hooks.d/slow" '{version: "1.0.0", hook: {path: $path}, when: {always: true}, stages: ["prestart"]}' \
		>"$WORK/hooks.d/95-slow.json"
}

kill_runtime() {
	local before hook runtime run
	configure_layout .
	before=$(snapshot)
	rm -f "$WORK/slow.pid"
	HOOK_OPTIONS=("${ASK[@]}")
	[[ $HOOK != bare ]] || HOOK_OPTIONS=()
	pod --hooks-dir "${HOOKS_D_FILE%/*}" --hooks-dir "$WORK/hooks.d" run --detach --name "$TAG-$P-killed" --network=none \
		"${HOOK_OPTIONS[@]}" "${VMM_OPTIONS[@]}" "${LIMITS[@]}" --rootfs "$ROOTFS" "${VMM[@]}" >"$WORK/killed.log" 2>&1 &
	run=$!
	check_wait "$P: killed: the runtime is in the middle" 40 test -e "$WORK/slow.pid"
	read -r hook runtime <"$WORK/slow.pid" || :
	check_match "$P: killed: it is the runtime" "^${RUNTIME##*/}" "$(cat "/proc/$runtime/comm" 2>&1)"
	[[ $HOOK == bare ]] || check "$P: killed: our hook has run" test "$(osc list)" != "no sandboxes"
	kill -KILL "$runtime" "$hook"
	RC=0
	wait "$run" || RC=$?
	see "killed: run" "$RC"
	ID=$(pod ps --all --quiet --no-trunc --filter "name=^$TAG-$P-killed")
	capture pod rm --force --time 0 "$TAG-$P-killed"
	see "killed: rm --force" "$RC $(plain "$ERR")"
	layout false
	see_when "killed: podman's cgroup" 15 "" own_left
	see_when "killed: init" 15 "" stray_init
	if [[ $HOOK != bare ]]; then
		check_wait "$P: killed: no process of ours is left" 20 no_process_left
		check_wait "$P: killed: no record is left" 20 no_record_left
	fi
	drop_own
	check_wait "$P: killed: no cgroup left" 15 same_as "$before"
}

# own_left - of what podman has made, without the id
own_left() {
	plain "$(cg_exists "$OWN" || :)"
}

# stray_init - what lives in it
stray_init() {
	local pid
	for pid in $(own_pids); do
		cat "/proc/$pid/comm" 2>/dev/null || :
	done
}

# drop_own - what a runtime that was killed has left, with the hook or without
drop_own() {
	local pid dir
	for pid in $(own_pids); do
		kill -KILL "$pid" 2>/dev/null || :
	done
	[[ $MANAGER != systemd ]] || end_unit "libpod-$ID.scope"
	while read -r dir; do
		wait_for 5 rmdir_gone "$dir" || :
	done < <(find "${CG_DIR[unified]}$OWN" -depth -type d 2>/dev/null)
}

# known_differences - of layout sibling
known_differences() {
	document sibling "run: init is in podman's own cgroup" '.*/[^/]*kata_.*' "the VMM is beside podman's cgroup"
	document sibling "exec --detach: it is in C" 0 "exec puts it into podman's cgroup"
}

# play SCENARIO - without the hook, with it, and the difference
play() {
	forget
	known_differences
	for HOOK in bare nested sibling; do
		P=$MANAGER-$HOOK
		"$1" || return 0
	done
	for HOOK in nested sibling; do
		check_same "$MANAGER: $1"
	done
}

throw_away_guest
find_hierarchies
[[ $MODE == v2 ]] || not_here "it is what layout nested is on v2"
begin_podman end_podman
make_rootfs
install -m 0755 "$(helper fake_vmm)" "$ROOTFS/fake_vmm"
busy_firmware "$ROOTFS/loop.bin"
slow_hook

for MANAGER in $MANAGERS; do
	podman_works "${LIMITS[@]}" || continue
	for one in operations oom kill_runtime; do
		play "$one"
	done
done

finish
