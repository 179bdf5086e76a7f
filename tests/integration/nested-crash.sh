#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Layout nested when something is killed, fails or is undone: vCPU threads are under the runtime's quota at any
# time, everything is where the runtime has put it in the end, and nothing is left. The script plays
# the runtime, but where it says that it does not.

# shellcheck disable=SC2016 # $name in single quotes is jq's
# shellcheck disable=SC2317 # functions are called by name
# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"
# shellcheck source=../lib/faults.sh
. "$TESTS/lib/faults.sh"
# shellcheck source=../lib/limits.sh
. "$TESTS/lib/limits.sh"
# shellcheck source=../lib/nested.sh
. "$TESTS/lib/nested.sh"

QUOTA=20000
# How long the sweep of one fault may take, and how many containers there are at once.
SWEEP_SECONDS=15
MANY=${OSC_POD_MANY-50}
NAME=
INIT=
WATCHER=

# begin NAME - a container with a watcher and without a VMM
begin() {
	NAME=$1
	fake_nested "$1" $QUOTA
	INIT=$PID
	prestart
}

prestart() {
	capture osc prestart <"$WORK/$NAME/created"
	[[ $RC == 0 ]] || fail "$NAME: prestart" "$ERR"
	WATCHER=$(watcher_pid "$NAME")
	wait_for 10 looks || fail "$NAME: its watcher looks" "$(osc show "$NAME")"
}

looks() {
	[[ -e $STATE/sandboxes/$NAME/placement.json ]]
}

# vmm - two vCPUs and another thread
vmm() {
	start_vmm "$NAME" "CPU 0/KVM" "CPU 1/KVM" worker
}

poststop() {
	capture osc poststop <"$WORK/$NAME/stopped"
	check_exit "$1: poststop" 0
}

# end NAME - the runtime removes its cgroup
end() {
	end_process "$VMM"
	drop_fake "$NAME" "$INIT"
	check_nothing_left "$1" "$BEFORE"
}

# --- the watcher is killed ---------------------------------------------------

killed_at_rest() {
	local p="watcher killed at rest"
	begin rest
	vmm
	check_split "$p: split" "$VMM" 2 $QUOTA
	end_process "$WATCHER"
	check "$p: the vCPUs are under the quota" vcpus_held "$VMM" $QUOTA
	set_quota "$C" 10000
	check "$p: an update holds them at once" vcpus_held "$VMM" 10000
	capture osc poststart <"$WORK/$NAME/running"
	check_exit "$p: the next stage" 0
	check_wait "$p: the next stage starts another" 10 has_watcher "$NAME"
	check_split "$p: that one goes on" "$VMM" 2 10000
	end_process "$(watcher_pid "$NAME")"
	poststop "$p"
	check "$p: all is as it was, but for the update" is_whole "$VMM" 10000
	check "$p: init, too" is_whole "$INIT" 10000
	end "$p"
}

killed_before() {
	local p="watcher killed before there are vCPUs"
	begin before
	end_process "$WATCHER"
	vmm
	check "$p: nothing is split" is_whole "$VMM" $QUOTA
	capture osc poststart <"$WORK/$NAME/running"
	check_exit "$p: the next stage" 0
	check_split "$p: the next stage's watcher splits" "$VMM" 2 $QUOTA
	poststop "$p"
	check "$p: all is as it was" is_whole "$VMM" $QUOTA
	end "$p"
}

# --- any system call of a split ----------------------------------------------

is_traced() {
	[[ $(sed -n 's/^TracerPid:\t//p' "/proc/$1/status" 2>/dev/null) != 0 ]]
}

# split_with_fault N CALL FAULT - vCPUs appear, and the watcher's N-th CALL has the fault. 0: none
split_with_fault() {
	local inject=() tracer
	(($1 == 0)) || inject=(-e inject="$2:$3:when=$1")
	prestart
	timeout 60 strace -p "$WATCHER" -o "$WORK/trace" -e trace="$2" "${inject[@]}" >/dev/null 2>&1 &
	tracer=$!
	disown
	wait_for 10 is_traced "$WATCHER" || PROBLEMS+=("#$1: strace does not trace")
	vmm
	if (($1 == 0)) || [[ $3 == error=* ]]; then
		wait_for 20 is_split "$VMM" 2 $QUOTA >/dev/null || PROBLEMS+=("#$1: not split: $(is_split "$VMM" 2 $QUOTA || :)")
	else
		done_or_dead() { is_dead "$WATCHER" || is_split "$VMM" 2 "$QUOTA"; }
		wait_for 20 done_or_dead >/dev/null || PROBLEMS+=("#$1: neither killed nor split")
	fi
	kill -TERM "$tracer" 2>/dev/null || :
	wait_for 10 is_dead "$tracer"
}

has_all_threads() {
	[[ $(threads "$VMM" | wc -l) == 4 ]]
}

# after_fault N - what there is has to be safe; then one of the ways to its end
after_fault() {
	local n=$1 problem
	# A watcher that was killed early has not waited for them.
	wait_for 10 has_all_threads || PROBLEMS+=("#$n: the VMM has $(threads "$VMM" | wc -l) threads")
	problem=$(vcpus_held "$VMM" $QUOTA) || PROBLEMS+=("#$n: $problem")
	case $((n % 3)) in
	0)
		tally "ended by poststop"
		;;
	1)
		tally "taken up by the next stage"
		osc poststart <"$WORK/$NAME/running" >"$WORK/log" 2>&1 || PROBLEMS+=("#$n: poststart: $(<"$WORK/log")")
		wait_for 20 is_split "$VMM" 2 $QUOTA >/dev/null ||
			PROBLEMS+=("#$n: the next stage's watcher does not split: $(is_split "$VMM" 2 $QUOTA || :)")
		;;
	2)
		tally "ended by delete --force"
		osc delete --force "$NAME" >"$WORK/log" 2>&1 || PROBLEMS+=("#$n: delete --force: $(<"$WORK/log")")
		;;
	esac
	osc poststop <"$WORK/$NAME/stopped" >"$WORK/log" 2>&1 || PROBLEMS+=("#$n: poststop: $(<"$WORK/log")")
	problem=$(is_whole "$VMM" $QUOTA && is_whole "$INIT" $QUOTA) || PROBLEMS+=("#$n: in the end: $problem")
	end_process "$VMM"
	wait_for 10 nothing_left "$READY" >/dev/null || {
		PROBLEMS+=("#$n: left: $(left_now "$READY")")
		force_clean "$READY"
		cg_enter "$C" "$INIT"
		set_quota "$C" $QUOTA
	}
}

# sweep_split CALL FAULT - at one call after the other, as many as there is time for
sweep_split() {
	local call=$1 fault=$2 name="split, $2 at any $1" calls=0 n known runs=0 injected=0 counts='' word deadline
	if [[ -n ${OSC_FAULT-} && ${OSC_FAULT% \#*} != "$name" ]]; then
		skip "$name" "OSC_FAULT names another run"
		return
	fi
	PROBLEMS=() TALLY=()
	deadline=$((SECONDS + SWEEP_SECONDS))
	for ((n = 0; n <= calls; n++)); do
		[[ -z ${OSC_FAULT-} ]] || ((n == 0 || n == ${OSC_FAULT##*\#})) || continue
		# Each call is something else; what there is no time for is left out at the end of them.
		((n <= 3 || SECONDS < deadline)) || break
		known=${#PROBLEMS[@]}
		split_with_fault "$n" "$call" "$fault"
		if ((n == 0)); then
			calls=$(grep -c "^$call(" "$WORK/trace" || :)
		else
			runs=$((runs + 1))
			injected=$((injected + $(grep -cE '\(INJECTED\)$|^\+\+\+ killed by SIGKILL ' "$WORK/trace" || :)))
		fi
		after_fault "$n"
		((n > 0)) || TALLY=()
		((${#PROBLEMS[@]} == known)) || PROBLEMS+=("to repeat: OSC_FAULT='$name #$n' tests/integration/$SCRIPT")
	done
	((injected > 0)) || PROBLEMS+=("expected a fault to be injected, but none was, at $calls calls")
	for word in "${!TALLY[@]}"; do
		counts+=", ${TALLY[$word]} $word"
	done
	name+=": $runs of $calls calls, $injected injected$counts"
	if [[ ${#PROBLEMS[@]} -gt 0 ]]; then fail "$name" "${PROBLEMS[@]}"; else ok "$name"; fi
}

faults() {
	local call
	if ! can_trace; then
		skip "a system call of a split that fails" "strace cannot trace here"
		return
	fi
	NAME=sweep
	fake_nested $NAME $QUOTA
	INIT=$PID
	READY=$(snapshot)
	for call in mkdirat write renameat; do
		sweep_split $call signal=KILL
		sweep_split $call error=EIO
	done
	VMM=$INIT
	end "after all of them"
}

# --- undone ------------------------------------------------------------------

# By `delete --force`, of a container that a real runtime has made and goes on with.
undone() {
	local name=forced p="delete --force" watcher
	start_real $name "prestart poststop" || return 0
	check_split "$p: split" "$VMM" 1 $QUOTA
	watcher=$(watcher_pid "$TAG-$name")
	capture osc delete "$TAG-$name"
	check_exit "$p: not without --force" 1
	check "$p: not without --force: split still" is_split "$VMM" 1 $QUOTA
	capture osc delete --force "$TAG-$name"
	check_exit "$p" 0
	check "$p: all is as the runtime has made it" is_whole "$VMM" $QUOTA
	check "$p: no watcher" is_dead "$watcher"
	check "$p: no record" no_record_left
	capture oci update --cpu-quota 15000 "$TAG-$name"
	check_exit "$p: the runtime goes on: update" 0
	check "$p: the runtime goes on: it holds" is_whole "$VMM" 15000
	check "$p: the runtime goes on: exec" oci exec "$TAG-$name" /busybox true
	check "$p: the runtime goes on: ps" oci ps "$TAG-$name"
	check "$p: the runtime goes on: kill and delete" stop_container $name
	check_nothing_left "$p" "$BEFORE"
}

# start_real NAME STAGES - a container of the real runtime; sets VMM
start_real() {
	make_bundle "$1" '["/fake_vmm", "CPU 0/KVM", "worker"]' ".linux.resources.cpu += {quota: $QUOTA, period: 100000}"
	install -m 0755 "$(helper fake_vmm)" "$WORK/$1/rootfs/fake_vmm"
	add_hooks "$1" "$2"
	if ! create_nested "$1" || ! oci start "$TAG-$1"; then
		fail "$1: the runtime starts the container" "$(cat "$WORK/$1/log")"
		return 1
	fi
	VMM=$PID
}

# --- everything is killed ----------------------------------------------------

# pruned GONE - whether the runtime has removed its cgroup, and died then
pruned() {
	local p="everything killed, the runtime's cgroup is $1"
	begin pruned
	vmm
	check_split "$p: split" "$VMM" 2 $QUOTA
	kill -KILL "$WATCHER" "$VMM" "$INIT"
	for pid in "$WATCHER" "$VMM" "$INIT"; do
		wait_for 10 is_dead "$pid"
	done
	if [[ $1 == gone ]]; then
		drop_nested "$NAME" "$INIT"
	fi
	capture osc prune
	check_eq "$p: prune" "0 removed $NAME" "$RC $OUT"
	check "$p: what was split is gone" cg_gone "$APART"
	check "$p: no record" no_record_left
	end "$p"
}

# The container's init is killed, and the runtime deletes it while the watcher lives: that is not in the
# way, and ends without a poststop hook.
deleted_under_it() {
	local name=alone p="delete, no poststop hook" watcher
	start_real $name prestart || return 0
	check_split "$p: split" "$VMM" 1 $QUOTA
	watcher=$(watcher_pid "$TAG-$name")
	# Who holds it up cannot hasten.
	kill -STOP "$watcher"
	kill -KILL "$PID"
	wait_for 20 container_stopped "$TAG-$name"
	capture oci delete "$TAG-$name"
	check_exit "$p: delete while the watcher lives" 0
	check "$p: the runtime's cgroup is gone" cg_gone "$C"
	check "$p: the watcher lives" is_alive "$watcher"
	kill -CONT "$watcher"
	check_wait "$p: the watcher ends" 20 is_dead "$watcher"
	check_nothing_left "$p" "$BEFORE"
}

# --- setup fails -------------------------------------------------------------

# setup_fails WHAT - of the state directory
setup_fails() {
	local p="state directory $1" was name=refused
	mkdir -p "$WORK/bad"
	case $1 in
	read-only) mount -t tmpfs -o ro,mode=0700 "$TAG" "$WORK/bad" ;;
	full)
		mount -t tmpfs -o size=16k,mode=0700 "$TAG" "$WORK/bad"
		dd if=/dev/zero of="$WORK/bad/filler" bs=4k 2>/dev/null || :
		;;
	esac 2>/dev/null || {
		skip "$p" "nothing can be mounted here"
		return
	}
	fake_nested $name $QUOTA
	was=$(cat "/proc/$PID/cgroup")
	STATE=$WORK/bad
	capture osc prestart <"$WORK/$name/created"
	check_exit "$p: prestart" 1
	check_match "$p: says why" "$([[ $1 == full ]] && echo 'No space left' || echo 'Read-only')" "$ERR"
	check_eq "$p: the process is where it was" "$was" "$(cat "/proc/$PID/cgroup")"
	check "$p: all is as it was" is_whole "$PID" $QUOTA
	check_wait "$p: no process of ours" 10 no_process_left
	check "$p: no record" no_record_left
	drop_fake $name "$PID"

	make_bundle $name-real '["/busybox", "sleep", "1000"]'
	add_hooks $name-real "prestart poststop"
	check "$p: the container is refused" test ! "$(create_nested $name-real && echo created)"
	capture oci delete --force "$TAG-$name-real"
	check_wait "$p: of that no process of ours is left" 10 no_process_left
	umount "$WORK/bad"
	STATE=$WORK/state
	check_nothing_left "$p" "$BEFORE"
}

# --- many at once ------------------------------------------------------------

all_split() {
	local i
	while ((NEXT < MANY)); do
		i=$NEXT
		restore_home "$i"
		is_split "${VMMS[i]}" 1 "$QUOTA" || return 1
		NEXT=$((NEXT + 1))
	done
}

# restore_home I - of the I-th container, whose init may be split from it by now
restore_home() {
	local name own
	own=$(own_cgroup "many$1")
	for name in "${HIERARCHIES[@]}"; do
		HOME_OF["$name"]=$own
	done
	place_split "$own"
}

many() {
	local i pids=() failed=0 p="$MANY at once"
	INITS=() VMMS=() NEXT=0
	for ((i = 0; i < MANY; i++)); do
		fake_nested "many$i" $QUOTA
		INITS[i]=$PID
		start_vmm "many$i" "CPU 0/KVM" worker
		VMMS[i]=$VMM
	done
	for ((i = 0; i < MANY; i++)); do
		osc prestart <"$WORK/many$i/created" >"$WORK/many$i/log" 2>&1 &
		pids+=($!)
	done
	for ((i = 0; i < MANY; i++)); do
		wait "${pids[i]}" || failed=$((failed + 1))
	done
	check_eq "$p: setups that failed" 0 "$failed"
	check_wait "$p: all are split" 60 all_split
	kill -KILL "${VMMS[@]}" "${INITS[@]}"
	pids=() failed=0
	for ((i = 0; i < MANY; i++)); do
		wait_for 10 is_dead "${VMMS[i]}"
		drop_nested "many$i" "${INITS[i]}"
		cg_gone "$(own_cgroup "many$i")" >/dev/null || failed=$((failed + 1))
	done
	check_eq "$p: cgroups that the runtime could not remove" 0 "$failed"
	for ((i = 0; i < MANY; i++)); do
		osc poststop <"$WORK/many$i/stopped" >"$WORK/many$i/log" 2>&1 &
		pids+=($!)
	done
	failed=0
	for ((i = 0; i < MANY; i++)); do
		wait "${pids[i]}" || failed=$((failed + 1))
	done
	check_eq "$p: teardowns that failed" 0 "$failed"
	check_nothing_left "$p" "$BEFORE"
}

use_nested false
BEFORE=$(snapshot)
killed_at_rest
killed_before
faults
undone
pruned there
pruned gone
deleted_under_it
setup_fails read-only
setup_fails full
many

finish
