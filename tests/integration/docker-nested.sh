#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Docker on v2, with the devices of the installed CDI file: what a user of Docker does to a container with
# a VMM that never rests, without the hook and with it, in each layout, in one of them by --layout=auto. What
# is seen has to be equal; what is known to differ is skipped, with what was seen. Docker and containerd are
# restarted under a running VMM, as by an upgrade with live-restore.

# shellcheck disable=SC2016 # $name in single quotes is jq's
# shellcheck disable=SC2034,SC2317 # common.sh uses and calls these
OSC_LIB_ONLY=yes
MANAGERS=${OSC_MANAGER:-cgroupfs systemd}
unset OSC_MANAGER
# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"
# shellcheck source=../lib/observe.sh
. "$TESTS/lib/observe.sh"
# shellcheck source=../lib/ctr.sh
. "$TESTS/lib/ctr.sh"
# shellcheck source=../lib/compare.sh
. "$TESTS/lib/compare.sh"
# shellcheck source=../lib/docker.sh
. "$TESTS/lib/docker.sh"

LIMITS=(--cpus=0.3 --memory=256m --pids-limit=64)

# device_of HOOK - of the CDI file
device_of() {
	if [[ $1 == auto ]]; then echo default; else echo "$1"; fi
}

# layout_of HOOK - that it is in the end
layout_of() {
	if [[ $1 != auto ]]; then
		echo "$1"
	elif reads_threaded; then
		echo nested
	else
		echo sibling
	fi
}

# plain TEXT - without what is of this container alone
plain() {
	local text=${1//"${ID:-none}"/ID}
	text=${text//"${ID:0:12}"/ID}
	echo "${text//"$P"/NAME}"
}

# see_dock KEY COMMAND... - of docker, and what it complains of, in one line
see_dock() {
	local key=$1
	shift
	capture dock "$@"
	see "$key" "$RC $(plain "$(head -n 1 <<<"$ERR")")"
}

# run_plain NAME [OPTIONS...] -- COMMAND... - for HOOK; sets BEFORE, too
run_plain() {
	local name=$1
	shift
	BEFORE=$(snapshot)
	if [[ $HOOK == bare ]]; then
		run_docker "$name" "$@"
		return
	fi
	run_docker "$name" --device="oci-sandbox-cgroup.io/hook=$(device_of "$HOOK")" "$@" || return
	check_eq "$name: the layout" "$(layout_of "$HOOK")" "$(jq -r .layout "$STATE/sandboxes/$ID/record.json" 2>&1)"
}

# run_vmm - of which P is the name
run_vmm() {
	configure "del(.layout) | .vcpu_evidence = \"$([[ $ACCELERATOR == kvm ]] && echo auto || echo name)\""
	run_plain "$P" "${VMM_OPTIONS[@]}" "${LIMITS[@]}" -- "${VMM[@]}" || return
	see_vcpus "run" 30000
	[[ $HOOK == bare ]] || check_watcher "$P" "$(watcher_pid "$ID")"
}

count_vcpus() {
	vcpus_of "$PID" | wc -w
}

# see_vcpus KEY QUOTA - there they are, held, and apart where there is a hook
see_vcpus() {
	see_when "$1: number of vCPUs" 120 "$VCPUS" count_vcpus
	if [[ $HOOK != bare ]]; then
		check_wait "$P: after $1: every vCPU is in its place" 120 placement_is complete
	fi
	see_held "$1" "$2"
}

# see_held KEY QUOTA - by what the vCPUs are
see_held() {
	see_when "$1: the vCPUs' quota" 20 "$2" vcpu_quota "$PID"
	if [[ $HOOK != bare && $(layout_of "$HOOK") == nested ]]; then
		# That it is the right one is told by what was seen without the hook.
		check_split "$P: after $1" "$PID" "$VCPUS" "$(vcpu_quota "$PID")"
	fi
}

placement_is() {
	[[ $(osc show "$ID" --json | jq -r .placement.state) == "$1" ]]
}

# memory_limit PID - the smallest of what binds it
memory_limit() {
	local cgroup least=max limit
	cgroups_of "$1" || return
	cgroup=${CG[unified]}
	while [[ -n $cgroup ]]; do
		limit=$(cat "${CG_DIR[unified]}$cgroup/memory.max" 2>/dev/null || echo max)
		if [[ $limit != max ]] && [[ $least == max || $limit -lt $least ]]; then
			least=$limit
		fi
		cgroup=${cgroup%/*}
	done
	echo "$least"
}

# cpus_allowed - to each thread of the VMM
cpus_allowed() {
	sed -n 's/^Cpus_allowed_list:\t//p' "/proc/$PID/task"/*/status | sort -u | xargs
}

# status_of - in Docker's words
status_of() {
	look 'if .State then "\(.State.Status) \(.State.ExitCode) \(.State.OOMKilled)" else "gone" end' 2>/dev/null
}

# running - the first of them
running() {
	local status
	status=$(status_of)
	echo "${status%% *}"
}

# --- operations --------------------------------------------------------------

see_exec() {
	capture dock exec "$ID" /busybox sh -c 'cat /proc/self/cgroup /proc/1/cgroup /sys/fs/cgroup/cpu.max'
	see "exec" "$RC $ERR"
	see "exec: its cgroup, seen inside" "$(sed -n 1p <<<"$OUT")"
	see "exec: init's cgroup, seen inside" "$(plain "$(sed -n 2p <<<"$OUT")")"
	see "exec: cpu.max, seen inside" "$(sed -n '3,$p' <<<"$OUT")"
	see_dock "exec --detach" exec --detach "$ID" /busybox sleep 1000
	see "top" "$(names_of_top)"
}

# names_of_top - of the processes
names_of_top() {
	capture dock top "$ID" -eo pid,comm
	echo "$RC $(awk 'NR > 1 { print $2 }' <<<"$OUT" | sort | xargs)" \
		"$(grep -o 'cgroup.procs.*upported' <<<"$ERR" || plain "$ERR")"
}

# in_bytes 12.5MiB
in_bytes() {
	awk -v text="$1" 'BEGIN { i = index("KMG", substr(text, length(text) - 2, 1)); printf "%d\n", text * 1024 ^ i }'
}

# see_stats - whether they have the VMM in them
see_stats() {
	local pids memory limit cpu threads
	threads=$(find "/proc/$PID/task" -mindepth 1 -maxdepth 1 | wc -l)
	capture dock stats --no-stream --format '{{.PIDs}} {{.MemUsage}} {{.CPUPerc}}' "$ID"
	read -r pids memory _ limit cpu <<<"$OUT" || :
	see "stats" "$RC $ERR"
	see "stats: the VMM's threads are in it" "$( ((${pids:-0} >= threads)) && echo yes || echo "no, $pids of $threads")"
	see "stats: the VMM's memory is in it" "$( (($(in_bytes "${memory:-0B}") > 8 << 20)) && echo yes || echo "no, $memory")"
	see "stats: the guest's CPU time is in it" "$(awk -v cpu="${cpu:-0}" 'BEGIN { print(cpu + 0 > 3 ? "yes" : "no, " cpu) }')"
	see "stats: the memory's limit" "$limit"
}

# see_pause KEY
see_pause() {
	see_dock "$1pause" pause "$ID"
	see "$1pause: status" "$(running)"
	see "$1pause: the VMM" "$(wait_for 10 rests "$PID" >/dev/null && echo rests || echo runs)"
	see_dock "$1unpause" unpause "$ID"
	see "$1unpause: the VMM" "$(wait_for 15 used "$PID" $(($(cpu_ticks "$PID") + 10)) && echo runs || echo rests)"
}

# see_update - of Docker's, and what holds then
see_update() {
	see_dock "update --cpus" update --cpus=0.2 "$ID"
	see_held "update --cpus" 20000
	see_dock "update --memory" update --memory=200m "$ID"
	see_when "update --memory: the limit" 10 $((200 << 20)) memory_limit "$PID"
	see_held "update --memory" 20000
	see_dock "update --cpuset-cpus" update --cpuset-cpus=0 "$ID"
	see_when "update --cpuset-cpus: the VMM's CPUs" 20 0 cpus_allowed
	see_dock "update --cpus, up" update --cpus=0.4 "$ID"
	see_held "update --cpus, up" 40000
}

# ended KEY EXIT_STATUS - the VMM, and what is left of it
ended() {
	see_when "$1: status" 30 "exited $2 false" status_of
	check_wait "$P: $1: the VMM has ended" 20 is_dead "$PID"
	check_wait "$P: $1: no process of ours is left" 20 no_process_left
	check_wait "$P: $1: no sandbox is left" 20 no_record_left
	see_when "$1: Docker's cgroup" 20 "" cg_exists "$C"
}

# again KEY - docker start
again() {
	see_dock "$1" start "$ID"
	PID=$(look .State.Pid)
	see_vcpus "$1" 40000
}

operations() {
	run_vmm || return
	cgroups_of "$PID"
	see "run: init's cgroup" "$(plain "${CG[unified]}")"
	see_exec
	see_stats
	see_pause ""
	see_update
	see_dock "kill" kill --signal KILL "$ID"
	ended "kill" 137
	again "start"
	see_dock "rm --force" rm --force "$ID"
	see_when "rm --force: the container" 10 gone status_of
	check_wait "$P: the VMM has ended" 10 is_dead "$PID"
	check_nothing_left "$P" "$BEFORE"
}

# --- want of memory ----------------------------------------------------------

# oom - a process of the container, which has a VMM, is killed for want of memory
oom() {
	configure 'del(.layout) | .vcpu_evidence = "name"'
	run_plain "$P" "${VMM_OPTIONS[@]}" --volume="$WORK/go:/go:ro" --memory=32m --memory-swap=32m --cpus=0.3 -- /busybox sh -c \
		'/fake_vmm "CPU 0/KVM" & while [ ! -e /go/on ]; do /busybox sleep 0.1; done; exec /busybox tail /dev/zero' || return
	[[ $HOOK == bare ]] || check_wait "$P: the vCPU is in its place" 60 placement_is complete
	touch "$WORK/go/on"
	see_when "oom: status" 60 "exited 137 true" status_of
	rm "$WORK/go/on"
	see_dock "oom: rm" rm --force "$ID"
	check_nothing_left "$P" "$BEFORE"
}

# --- restarts ----------------------------------------------------------------

restart_docker() {
	stop_docker && start_docker
}

# restart_containerd - Docker finds it again by itself
restart_containerd() {
	kill -TERM "$CONTAINERD" || return
	wait_for 30 is_dead "$CONTAINERD" || kill -KILL "$CONTAINERD"
	wait_for 10 is_dead "$CONTAINERD"
	run_containerd && wait_for 60 dock_runs
}

# dock_runs - it does once it has found its containerd
dock_runs() {
	dock run --rm --network=none "$IMAGE" /busybox true >/dev/null 2>&1
}

# see_reach DAEMON - what reaches the VMM once that was restarted
see_reach() {
	see_when "$1 restarted: status" 10 running running
	see "$1 restarted: the VMM" "$(is_alive "$PID" && echo lives || echo "is dead")"
	see_dock "$1 restarted: exec" exec "$ID" /busybox true
	see_pause "$1 restarted: "
	see_dock "$1 restarted: update" update --cpus="0.$2" "$ID"
	see_held "$1 restarted: update" "${2}0000"
}

restart() {
	run_vmm || return
	check_daemon "$P: dockerd restarts" restart_docker
	see_reach dockerd 4
	check_daemon "$P: containerd restarts" restart_containerd
	see_reach containerd 3
	see_dock "stop" stop -t 30 "$ID"
	see_when "stop: status" 30 "exited 0 false" status_of
	see "stop: the VMM" "$(wait_for 10 is_dead "$PID" && echo "is dead" || echo lives)"
	end_lost
}

# end_lost - a container of which the daemons may know nothing any more
end_lost() {
	dock rm --force "$ID" >/dev/null 2>&1 || :
	kill -KILL "$PID" 2>/dev/null || :
	wait_for 10 is_dead "$PID"
	"$RUNTIME" --root "$WORK/docker-run/runtime-runc/moby" delete --force "$ID" >/dev/null 2>&1 || :
	check_nothing_left "$P" "$BEFORE"
}

# --- what is known to differ -------------------------------------------------

# lost HOOK - what is known of a container that containerd takes for an orphan when it starts. Docker goes on
# saying that it runs, and then that it was stopped.
lost() {
	local key why="$VERSION cannot read a threaded cgroup, so Docker loses the container when containerd restarts"
	document "$1" "containerd restarted: exec" '(1|126) .*' "$why"
	for key in pause unpause update; do
		document "$1" "containerd restarted: $key" '1 .*' "$why"
	done
	document "$1" "containerd restarted: pause: status" 'running|exited' "$why"
	document "$1" "containerd restarted: pause: the VMM" 'runs' "$why"
	document "$1" "containerd restarted: update: the vCPUs' quota" '40000' "$why"
	document "$1" "stop: the VMM" 'lives' "$why"
}

# known_differences HOOK - of its layout and this runtime
known_differences() {
	local apart="the VMM is in a cgroup of its own, beside Docker's"
	if [[ $(layout_of "$1") == nested ]]; then
		document "$1" "exec: cpu.max, seen inside" 'max 99999' "the quota is the vCPUs' alone"
		if reads_threaded; then
			document "$1" "top" "0 (CPU ){$VCPUS}busybox qemu-system-x86 " "$VERSION lists the threads of a threaded cgroup, too"
			return
		fi
		document "$1" "top" '1  .*cgroup.procs.*upported' "$VERSION cannot read a threaded cgroup"
		! asks_ps || lost "$1"
		return
	fi
	document "$1" "run: init's cgroup" '/.*/(docker-)?kata_ID(\.scope)?' "$apart"
	# What exec has started is in Docker's.
	document "$1" "exec: init's cgroup, seen inside" '0::/\.\./(docker-)?kata_ID(\.scope)?' "$apart"
	document "$1" "top" '0 busybox osc-hold ' "Docker tells of its own cgroup: of what exec has started, and the hook's holder"
}

# other_layout - than the one that auto takes, which is played as auto
other_layout() {
	if [[ $(layout_of auto) == nested ]]; then echo sibling; else echo nested; fi
}

# play SCENARIO HOOK... - without the hook, with it, and the difference
play() {
	local scenario=$1 hook
	shift
	forget
	for hook; do
		known_differences "$hook"
	done
	for HOOK in bare "$@"; do
		P=$MANAGER-${scenario:0:3}-$HOOK
		"$scenario" || return 0
	done
	for HOOK; do
		check_same "$MANAGER: $scenario"
	done
}

find_hierarchies
[[ $MODE == v2 ]] || not_here "it is what layout nested is on v2"
begin_docker
mkdir "$WORK/go"
for MANAGER in $MANAGERS; do
	[[ $MANAGER != systemd ]] || use_systemd || continue
	docker_works || continue
	for one in operations oom restart; do
		play $one "$(other_layout)" auto
	done
	stop_docker
done

finish
