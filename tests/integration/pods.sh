#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Pods: several containers in one sandbox. The first one makes the sandbox and the
# last one out removes it, whatever their roles, whoever died without a poststop,
# and whichever hook is killed; 64 start and stop at once. The script plays the
# runtime. What the limits are then is in pods-limits.sh.
#
#   OSC_POD_MANY    containers that start and stop at once, default 64
#   OSC_POD_ROUNDS  of so many containers that come and go, default 6 with the split, and a tenth of
#                   that with sandbox_cgroup_only
#   OSC_POD_KILLS   of hooks at random moments, default 15
#   OSC_POD_CALLS   STAGE:CALL, the system calls at each of which hooks are killed, default some

# shellcheck disable=SC2317 # functions are called by name
# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"
# shellcheck source=../lib/limits.sh
. "$TESTS/lib/limits.sh"
# shellcheck source=../lib/pods.sh
. "$TESTS/lib/pods.sh"
# shellcheck source=../lib/faults.sh
. "$TESTS/lib/faults.sh"
# shellcheck source=../lib/at_once.sh
. "$TESTS/lib/at_once.sh"

MANY=${OSC_POD_MANY:-64}
ROUNDS=${OSC_POD_ROUNDS:-6}
KILLS=${OSC_POD_KILLS:-15}

# --- who counts --------------------------------------------------------------

new_pod dead
joins c1 "$(with pids=1)"
joins c2 "$(with pids=10)"
joins c3 "$(with pids=100)"
watcher=$(watcher_pid "$POD")
end_process "${PIDS[c2]}"
joins c4 "$(with pids=1000)"
in_record "c2 died without poststop, c4 joins" c1 c3 c4
has "c2 does not count" pids pids.max 1101 pids.max 1101
check_eq "dead: containers that are looked for in the pod" "c1 c3 c4" "$(cd "$STATE/containers" && echo *)"
look
capture osc poststop <"$WORK/$POD/c2/stopped"
check_exit "dead: a late poststop of c2" 0
keeps "a late poststop of c2"
# The same id again, in the place of one that died.
end_process "${PIDS[c3]}"
reborn c3
capture osc prestart <"$WORK/$POD/c3/created"
check_exit "dead: c3 again, without a poststop of the first" 0
in_record "c3 again" c1 c3 c4
has "c3 counts once" pids pids.max 1101 pids.max 1101
check "dead: the new c3 is in the sandbox cgroup" together "${PIDS[c3]}"
capture osc prestart <"$WORK/$POD/c3/created"
check_exit "dead: the same stage again" 0
has "c3 still counts once" pids pids.max 1101 pids.max 1101
# Restarted in its place, as the runtime does it.
leaves c3
has "c3 has left" pids pids.max 1001 pids.max 1001
reborn c3
capture osc prestart <"$WORK/$POD/c3/created"
check_exit "dead: c3 a third time" 0
has "c3 is back" pids pids.max 1101 pids.max 1101
check_eq "dead: all the time the same watcher" "$watcher" "$(watcher_pid "$POD")"
check "dead: and no other" one_watcher
# One leaves, another has died: both are gone at once.
end_process "${PIDS[c1]}"
leaves c3
in_record "c1 died, c3 leaves" c4
has "c4 alone" pids pids.max 1000 pids.max 1000
reborn c3
capture osc prestart <"$WORK/$POD/c3/created"
check_exit "dead: c3 a fourth time" 0
end_process "${PIDS[c4]}"
leaves c3
check "dead: the last one that lived has left, and so has the sandbox" cg_gone "$SANDBOX"
leaves c1
leaves c4
pod_gone c1 c2 c3 c4

# Roles do not matter: the sandbox container comes and goes as any other.
for first in sandbox container; do
	new_pod "roles-$first"
	if [[ $first == sandbox ]]; then order=(pause c1); else order=(c1 pause); fi
	for name in "${order[@]}"; do
		if [[ $name == pause ]]; then joins pause "$(with pids=3)" sandbox; else joins c1 "$(with pids=4)"; fi
	done
	has "both" pids pids.max 7 pids.max 7
	leaves pause
	in_record "the sandbox container has left" c1
	has "c1 alone" pids pids.max 4 pids.max 4
	check "$POD: c1 is still in the sandbox cgroup" together "${PIDS[c1]}"
	capture osc poststop <"$WORK/$POD/pause/stopped"
	check_exit "$POD: poststop of the sandbox container again" 0
	in_record "poststop of the sandbox container again" c1
	leaves c1
	check "$POD: nothing is left of the sandbox" cg_gone "$SANDBOX"
	pod_gone pause c1
done

# What a setup leaves that was killed before it wrote a record.
new_pod early
member c1
mkdir -p "$STATE/sandboxes/$POD" "$STATE/containers"
for made in yes no; do
	[[ $made == yes ]] || rmdir "$STATE/sandboxes/$POD" 2>/dev/null || :
	ln -s "$POD" "$STATE/containers/c1"
	capture osc poststop <"$WORK/$POD/c1/stopped"
	check_exit "early: poststop without a record, a directory for it: $made" 0
	check "early: nothing is left, a directory: $made" no_record_left
done
pod_gone c1

# --- 64 at once --------------------------------------------------------------

# many_at_once STAGE_OF... - "NAME" starts, "-NAME" stops, all at once
many_at_once() {
	local name stage state
	for name; do
		stage=prestart state=created
		[[ $name != -* ]] || stage=poststop state=stopped
		start_hook "$name" "$stage" "$WORK/$POD/${name#-}/$state" "$WORK/$POD/${name#-}/log"
	done
	await_hooks
}

# Those that are up, by number.
declare -A UP=()

# quiet NAME - the sums of those, nobody else's device, and everybody in place
quiet() {
	local i quota=0 shares=0 pids=0 memory=0 up=() failed=0 device
	for i in "${!UP[@]}"; do
		up+=("m$i")
		quota=$((quota + 1000 + i)) shares=$((shares + 2 + i)) pids=$((pids + i)) memory=$((memory + ((16 + i) << 20)))
	done
	in_record "$1" "${up[@]}"
	has "$1" cpu cpu.cfs_quota_us "$quota" cpu.max "$quota 100000"
	# The weight of that many shares is no whole number to compare with.
	[[ $MODE == v2 ]] || has "$1" cpu cpu.shares "$shares" - -
	has "$1" pids pids.max "$pids" pids.max "$pids"
	has "$1" memory memory.limit_in_bytes "$memory" memory.max "$memory"
	has "$1" cpuset cpuset.cpus "$one_cpu" cpuset.cpus "$one_cpu"
	if [[ $MODE != v2 ]] && available devices; then
		device=$(sed -n 's/^c 241:\([0-9]*\) rm$/\1/p' "$(cg_file devices "$SANDBOX" devices.list)" | sort -n | xargs)
		check_eq "$POD: $1: devices of those that are up" "$(printf '%s\n' "${!UP[@]}" | sort -n | xargs)" "$device"
	fi
	check "$POD: $1: one watcher" one_watcher
	for i in "${!UP[@]}"; do
		together "${PIDS[m$i]}" >/dev/null || failed=$((failed + 1))
	done
	check_eq "$POD: $1: processes that are elsewhere" 0 "$failed"
}

# toggle NAME NUMBER... - those that are up stop, and the others start, all at once
toggle() {
	local name=$1 i turn=() started=0
	shift
	for i; do
		if [[ -n ${UP[$i]-} ]]; then
			end_process "${PIDS[m$i]}"
			turn+=("-m$i")
			unset "UP[$i]"
		else
			is_alive "${PIDS[m$i]}" || reborn "m$i"
			turn+=("m$i")
			UP[$i]=1
			started=$((started + 1))
		fi
	done
	check "many, $name: $started start and $((${#turn[@]} - started)) stop at once" many_at_once "${turn[@]}"
}

# some_come_and_go ONLY - in the middle of a round
some_come_and_go() {
	local i some
	some=()
	for i in "${all[@]}"; do
		((RANDOM % 2)) || some+=("$i")
	done
	toggle "only=$1, round $round" "${some[@]}"
	quiet "round $round, without some"
	# Half of them come back, while others go.
	some=("${some[@]:0:${#some[@]}/2}")
	for i in "${all[@]}"; do
		[[ -z ${UP[$i]-} ]] || ((RANDOM % 4)) || some+=("$i")
	done
	toggle "only=$1, round $round" "${some[@]}"
	quiet "round $round, half of those back, others gone"
}

# rounds N ONLY - all start, some come and go, all stop, and nothing is left
rounds() {
	local i round names=() all=()
	configure "$BASIC | .sandbox_cgroup_only = $2"
	new_pod "many-$2" "$2"
	for ((i = 1; i <= MANY; i++)); do
		names+=("m$i") all+=("$i")
		member "m$i" "$(with cpu=$((1000 + i)) shares=$((2 + i)) pids="$i" memory=$(((16 + i) << 20)) cpus="$one_cpu") |
			.linux.resources.devices = [{allow: false, access: \"rwm\"}, {allow: true, type: \"c\", major: 241, minor: $i, access: \"r\"}]"
	done
	for ((round = 1; round <= $1; round++)); do
		toggle "only=$2, round $round" "${all[@]}"
		quiet "round $round, all $MANY"
		if ((round % 4 == 1)); then some_come_and_go "$2"; fi
		toggle "only=$2, round $round" "${!UP[@]}"
		check "many, only=$2, round $round: no sandbox left" cg_gone "$SANDBOX" "$OVERHEAD"
		check_wait "many, only=$2, round $round: no process of ours left" 10 no_process_left
		check "many, only=$2, round $round: no record left" no_record_left
	done
	pod_gone "${names[@]}"
}

RANDOM=64
rounds "$ROUNDS" false
rounds $(((ROUNDS + 9) / 10)) true
configure "$BASIC"

# --- hooks that are killed ---------------------------------------------------

new_pod killed
joins c1 "$(with cpu=10000 pids=100 cpus="$one_cpu" read_bps=1000000)"
joins c2 "$(with cpu=10000 pids=100 cpus="$one_cpu")"
member victim "$(with cpu=5000 pids=10)"
member guest "$(with cpu=1000 pids=1)"
end_process "$PID"

# About how long a hook takes here, in microseconds, and how often one was hit.
SPAN=${EPOCHREALTIME/./}
osc prestart <"$WORK/$POD/victim/created"
SPAN=$((${EPOCHREALTIME/./} - SPAN))
HITS=0

# killed_sometime STAGE STATE - a hook that is killed at some moment, unless it was faster
killed_sometime() {
	local hook after=$((RANDOM * SPAN / 32768))
	if (
		"$OSC" --state-dir "$STATE" --config "$CONF" "$1" <"$WORK/$POD/victim/$2" >"$WORK/log" 2>&1 &
		hook=$!
		sleep "$((after / 1000000)).$(printf '%06d' $((after % 1000000)))"
		kill -KILL "$hook" 2>/dev/null
		wait "$hook"
		(($? == 137))
	) 2>/dev/null; then
		HITS=$((HITS + 1)) SPAN=$((SPAN * 5 / 4))
	else
		SPAN=$((SPAN * 3 / 4))
	fi
}

# next_one NAME - comes and goes, and sets everything right
next_one() {
	local pids=201 got
	reborn guest
	osc prestart <"$WORK/$POD/guest/created" 2>"$WORK/log" || PROBLEMS+=("$1: a container joins: $(<"$WORK/log")")
	! is_alive "${PIDS[victim]}" || ! jq -e '.containers[] | select(.id == "victim")' "$RECORD" >/dev/null || pids=211
	if available pids; then
		got=$(cat "$(cg_file pids "$SANDBOX" pids.max)")
		[[ $got == "$pids" ]] || PROBLEMS+=("$1: pids.max: expected $pids, got $got")
	fi
	if throttles && [[ $MODE != v2 ]]; then
		got=$(cat "$(cg_file blkio "$SANDBOX" blkio.throttle.read_bps_device)")
		[[ -z $got ]] || PROBLEMS+=("$1: a throttle of several containers: $got")
	fi
	wait_for 5 one_watcher >/dev/null || PROBLEMS+=("$1: $(one_watcher)")
	end_process "${PIDS[guest]}"
	osc poststop <"$WORK/$POD/guest/stopped" 2>"$WORK/log" || PROBLEMS+=("$1: it leaves: $(<"$WORK/log")")
}

RANDOM=4711
PROBLEMS=()
for ((n = 1; n <= KILLS; n++)); do
	is_alive "${PIDS[victim]}" || reborn victim
	killed_sometime prestart created
	is_alive "${PIDS[victim]}" || PROBLEMS+=("#$n: the container died with the hook")
	case $((n % 4)) in
	0) # the runtime tries again
		osc prestart <"$WORK/$POD/victim/created" 2>"$WORK/log" || PROBLEMS+=("#$n: prestart again: $(<"$WORK/log")")
		;;
	1) # and stops it
		end_process "${PIDS[victim]}"
		osc poststop <"$WORK/$POD/victim/stopped" 2>"$WORK/log" || PROBLEMS+=("#$n: poststop: $(<"$WORK/log")")
		;;
	2) # poststop is killed as well
		end_process "${PIDS[victim]}"
		killed_sometime poststop stopped
		;;
	3) # never calls poststop
		end_process "${PIDS[victim]}"
		;;
	esac
	next_one "#$n"
done
if [[ ${#PROBLEMS[@]} -gt 0 ]]; then
	fail "killed: hooks at random moments" "${PROBLEMS[@]}"
elif ((HITS == 0)); then
	fail "killed: hooks at random moments" "all of them were faster"
else
	ok "killed: $HITS hooks at random moments, the pod is as it must be after the next one"
fi

# new_victim N - alive for its setup, dead for its teardown, and the hook has not seen it
new_victim() {
	end_process "${PIDS[victim]}"
	reborn victim
	INPUT=$WORK/$POD/victim/created
	[[ $stage == poststop ]] || return 0
	osc prestart <"$INPUT" 2>"$WORK/log" || PROBLEMS+=("#$1: setup: $(<"$WORK/log")")
	end_process "${PIDS[victim]}"
	INPUT=$WORK/$POD/victim/stopped
}

# nobody_tells N - of the victim's end; the next one has to see it
nobody_tells() {
	(($1 % 2)) || end_process "${PIDS[victim]}"
	next_one "#$1"
}

if can_trace; then
	for each in ${OSC_POD_CALLS-prestart:renameat poststop:renameat prestart:symlinkat poststop:unlinkat \
		${FSYNC:+prestart:fsync poststop:fsync} prestart:write poststop:write}; do
		sweep_faults killed "${each%:*}" "${each#*:}" signal=KILL new_victim nobody_tells
	done
else
	skip "killed: at each system call" "strace cannot trace here"
fi
check "killed: c1 is where it was" together "${PIDS[c1]}"
check "killed: c2 is where it was" together "${PIDS[c2]}"
if is_alive "${PIDS[victim]}"; then
	end_process "${PIDS[victim]}"
	capture osc poststop <"$WORK/$POD/victim/stopped"
	check_exit "killed: the victim leaves" 0
fi
leaves c1
has "c2 alone" pids pids.max 100 pids.max 100
has "c2 alone" cpuset cpuset.cpus "$one_cpu" cpuset.cpus "$one_cpu"
leaves c2
capture osc prune
check_exit "killed: prune" 0
pod_gone c1 c2 victim guest

finish
