#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# What an operator does to a sandbox by hand. In both layouts and with both policies freeze, thaw and kill
# reach every task, and nobody else, and whatever is frozen can still be removed; and a process or thread is
# added only where it loses no limit.

# shellcheck disable=SC2016 # $name in single quotes is jq's
# shellcheck disable=SC2317 # functions are called by name
# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"
# shellcheck source=../lib/limits.sh
. "$TESTS/lib/limits.sh"
# shellcheck source=../lib/observe.sh
. "$TESTS/lib/observe.sh"
# shellcheck source=../lib/nested.sh
. "$TESTS/lib/nested.sh"

QUOTA=40000

# begin NAME - a container with a VMM that never rests; sets INIT, VMM, OWN and C, where all of it is
begin() {
	NAME=$1
	use_nested "$POLICY"
	fake_nested "$NAME" "$QUOTA"
	INIT=$PID OWN=$C
	capture osc prestart <"$WORK/$NAME/created"
	check_exit "$NAME: prestart" 0
	remember_home "$INIT" "$NAME"
	ONLY=$POLICY
	begin_vmm --burn "CPU 0/KVM" worker
	if [[ $ONLY == false ]]; then
		check_split "$NAME: split" "$VMM" 1 "$QUOTA"
	fi
}

# begin_vmm ARGS... - one more in C, which is what it is to be: before that it is a shell of ours
begin_vmm() {
	start_vmm "$NAME" "$@"
	wait_for 20 is_vmm "$VMM"
}

is_vmm() {
	[[ $(readlink "/proc/$1/exe") == */fake_vmm ]]
}

# end - by the runtime's poststop, and all that is left
end() {
	end_process "$VMM"
	end_process "$INIT"
	capture osc poststop <"$WORK/$NAME/stopped"
	check_exit "$NAME: poststop" 0
	drop_nested "$NAME" "$INIT"
	check_nothing_left "$NAME" "$before"
}

# frozen CGROUP - the kernel says so
frozen() {
	if [[ $MODE == v2 ]]; then
		grep -q 'frozen 1' "${CG_DIR[unified]}$1/cgroup.events"
	else
		[[ $(cat "$(cg_file freezer "$1" freezer.state)") == FROZEN ]]
	fi
}

thawed() {
	! frozen "$1"
}

# by_runtime 1|0 - its pause and resume, of the cgroup that it has made
by_runtime() {
	if [[ $MODE == v2 ]]; then
		echo "$1" >"${CG_DIR[unified]}$OWN/cgroup.freeze"
	elif [[ $1 == 1 ]]; then
		echo FROZEN >"$(cg_file freezer "$OWN" freezer.state)"
	else
		echo THAWED >"$(cg_file freezer "$OWN" freezer.state)"
	fi
}

# verb NAME WORDS... - succeeds, with JSON
verb() {
	local name=$1
	shift
	capture osc --json "$@"
	check_exit "$name" 0
}

# says NAME JQ VALUE - of the last answer
says() {
	check_eq "$1" "$3" "$(jq -rc "$2" <<<"$OUT")"
}

# stops_and_goes - what is asked for twice is done once
stops_and_goes() {
	local nested=false
	[[ $LAYOUT == sibling ]] || nested=true
	begin "stop-$KIND"
	verb "$NAME: freeze" freeze "$NAME"
	says "$NAME: freeze, what it says" '[.sandbox_id, .cgroup, .runtimes_own, .frozen, .changed]' \
		"[\"$NAME\",\"$C\",$nested,true,true]"
	check "$NAME: the kernel says so at once" frozen "$C"
	check_rests "$NAME: the VMM rests" "$VMM"
	verb "$NAME: freeze, again" freeze "$NAME"
	says "$NAME: freeze, again: nothing changes" '[.frozen, .changed]' '[true,false]'
	verb "$NAME: thaw" thaw "$NAME"
	says "$NAME: thaw, what it says" '[.frozen, .changed]' '[false,true]'
	check "$NAME: it is thawed at once" thawed "$C"
	check_runs "$NAME: the VMM goes on" "$VMM"
	verb "$NAME: thaw, again" thaw "$NAME"
	says "$NAME: thaw, again: nothing changes" '[.frozen, .changed]' '[false,false]'
	capture osc freeze "$NAME"
	check_match "$NAME: for people" "^$NAME: frozen, in " "$OUT"
	if [[ $LAYOUT == nested ]]; then
		check_match "$NAME: and whose cgroup it is" "the runtime's own cgroup" "$OUT"
	fi
	verb "$NAME: thaw" thaw "$NAME"
	end
}

# outlasts_a_pause - what the runtime has frozen is thawed, and stays so although the watcher follows it
outlasts_a_pause() {
	begin "pause-$KIND"
	by_runtime 1
	check_wait "$NAME: paused" 20 frozen "$C"
	verb "$NAME: thaw" thaw "$NAME"
	says "$NAME: it was frozen" .changed true
	check "$NAME: thawed" thawed "$C"
	check "$NAME: the runtime's cgroup, too" thawed "$OWN"
	sleep 2
	check "$NAME: it stays so" thawed "$C"
	check_runs "$NAME: the VMM goes on" "$VMM"
	end
}

# signals - everybody in it gets one, also who is frozen, and nobody else
signals() {
	local other
	begin "kill-$KIND"
	begin_vmm second
	other=$VMM
	verb "$NAME: kill USR1" kill "$NAME" SIGUSR1
	says "$NAME: kill USR1, to whom" '[.signal, .number, .processes, .pending]' '["USR1",10,3,false]'
	check_wait "$NAME: kill USR1: it has ended" 20 is_dead "$other"
	check_wait "$NAME: kill USR1: and so has init" 20 is_dead "$INIT"
	check "$NAME: nothing is frozen afterwards" thawed "$C"
	capture osc poststop <"$WORK/$NAME/stopped"
	drop_nested "$NAME" "$INIT"
	check_nothing_left "$NAME" "$before"

	begin "late-$KIND"
	verb "$NAME: freeze" freeze "$NAME"
	verb "$NAME: kill TERM of what is frozen" kill "$NAME" term
	says "$NAME: it waits" .pending true
	check "$NAME: it is frozen still" frozen "$C"
	# On v2 who does not handle it ends of it at once.
	if [[ $MODE != v2 ]]; then
		check "$NAME: nobody has got it" is_alive "$VMM"
		capture osc kill "$NAME" 15
		check_match "$NAME: for people" "TERM to 2 processes, frozen, which take it when they are thawed" "$OUT"
		verb "$NAME: thaw" thaw "$NAME"
	fi
	check_wait "$NAME: the VMM has ended" 20 is_dead "$VMM"
	end

	begin "all-$KIND"
	sleep infinity &
	other=$!
	disown
	started "$other"
	verb "$NAME: freeze" freeze "$NAME"
	verb "$NAME: kill" kill "$NAME"
	says "$NAME: kill, what it says" '[.signal, .processes, .pending]' '["KILL",2,false]'
	check "$NAME: the VMM has ended" is_dead "$VMM"
	check "$NAME: init has ended" is_dead "$INIT"
	check "$NAME: nobody else has" is_alive "$other"
	end_process "$other"
	end
}

# removable - frozen or not, it is removed as it would be otherwise
removable() {
	begin "delete-$KIND"
	verb "$NAME: freeze" freeze "$NAME"
	capture osc delete --force "$NAME"
	check_exit "$NAME: delete --force of what is frozen" 0
	check "$NAME: no record is left" no_record_left
	# The runtime's own cgroup is the runtime's to thaw.
	[[ $LAYOUT == sibling ]] || by_runtime 0
	check_runs "$NAME: the VMM goes on" "$VMM"
	end

	begin "poststop-$KIND"
	verb "$NAME: freeze" freeze "$NAME"
	# Runtimes thaw their own cgroup for that.
	[[ $LAYOUT == sibling ]] || by_runtime 0
	kill -KILL "$INIT" "$VMM"
	check_wait "$NAME: init ends, frozen or not" 20 is_dead "$INIT"
	end

	begin "prune-$KIND"
	[[ $KIND == nested-only ]] || kill -KILL "$(watcher_pid "$NAME")"
	end_process "$INIT"
	verb "$NAME: freeze, what is left of it" freeze "$NAME"
	capture osc prune
	check_exit "$NAME: prune" 0
	check "$NAME: no record is left" no_record_left
	[[ $LAYOUT == sibling ]] || by_runtime 0
	check_runs "$NAME: the VMM goes on" "$VMM"
	end
}

# --- who is in it -------------------------------------------------------------

# start_outside - sets OTHER, a process in the root cgroups, which hold nobody
start_outside() {
	sleep infinity &
	OTHER=$!
	disown
	started "$OTHER"
	cg_enter "" "$OTHER"
}

# belongs PID - it is where the policy has what is no vCPU
belongs() {
	local role=rest
	[[ $POLICY == false ]] || role=whole
	placed "$1" "$role"
}

# refused NAME REGEX WORDS... - exit status 1, with that reason, and OTHER stays where it is
refused() {
	local name=$1 why=$2 was
	shift 2
	was=$(cat "/proc/$OTHER/cgroup")
	capture osc "$@"
	check_exit "$name" 1
	check_match "$name: why" "$why" "$ERR"
	check_eq "$name: it stays" "$was" "$(cat "/proc/$OTHER/cgroup")"
}

# takes_processes - one that loses no limit; twice comes to the same
takes_processes() {
	begin "join-$KIND"
	start_outside
	verb "$NAME: add-process" add-process "$NAME" "$OTHER"
	says "$NAME: add-process, what it says" '[.sandbox_id, .cgroup, .pid, .changed]' "[\"$NAME\",\"$C\",$OTHER,true]"
	check_wait "$NAME: it is where it belongs" 20 belongs "$OTHER"
	verb "$NAME: add-process, again" add-process "$NAME" "$OTHER"
	says "$NAME: add-process, again: nothing changes" .changed false
	check "$NAME: nor has it been moved" belongs "$OTHER"
	verb "$NAME: add-process of the VMM itself" add-process "$NAME" "$VMM"
	says "$NAME: nothing changes" .changed false
	end_process "$OTHER"
	if [[ $LAYOUT == sibling ]]; then
		start_outside
		cg_enter "$OWN" "$OTHER"
		verb "$NAME: add-process out of the runtime's own cgroup" add-process "$NAME" "$OTHER"
		check_wait "$NAME: it is where it belongs" 20 belongs "$OTHER"
		end_process "$OTHER"
	fi
	refuses_processes
	end_process "$INIT"
	start_outside
	refused "$NAME: a container that has ended" "no container of sandbox \"$NAME\" runs any more" add-process "$NAME" "$OTHER"
	end_process "$OTHER"
	end
}

refuses_processes() {
	local thread
	start_outside
	cg_make "$BASE/limited"
	cg_enter "$BASE/limited" "$OTHER"
	refused "$NAME: a process under other limits" "is in $BASE/limited .*which $C is not in" add-process "$NAME" "$OTHER"
	refused "$NAME: the host's init" "process 1 is the host's init" add-process "$NAME" 1
	[[ $(cat /proc/2/comm 2>/dev/null) != kthreadd ]] ||
		refused "$NAME: a kernel thread" "process 2 is a kernel thread" add-process "$NAME" 2
	[[ $KIND == nested-only ]] ||
		refused "$NAME: a watcher" "is one of our own" add-process "$NAME" "$(watcher_pid "$NAME")"
	thread=$(threads "$VMM" | sed -n 's/ worker$//p')
	refused "$NAME: a thread" "is a thread of process $VMM" add-process "$NAME" "$thread"
	capture osc add-process "$NAME" 12x
	check_exit "$NAME: no number" 2
	end_process "$OTHER"
	cg_remove "$BASE/limited"
	capture osc add-process "$NAME" "$OTHER"
	check_exit "$NAME: one that has ended" 1
	check_match "$NAME: one that has ended, why" "there is no process $OTHER" "$ERR"
}

# another - a process of one sandbox is not for another
another() {
	local first init vmm
	begin "first-$KIND"
	first=$NAME init=$INIT vmm=$VMM
	begin "second-$KIND"
	OTHER=$VMM
	refused "$NAME: its VMM is not for another" "process $VMM is of sandbox \"$NAME\"" add-process "$first" "$VMM"
	for NAME in "$NAME" "$first"; do
		[[ $NAME != "$first" ]] || INIT=$init VMM=$vmm
		end_process "$VMM"
		end_process "$INIT"
		capture osc poststop <"$WORK/$NAME/stopped"
		check_exit "$NAME: poststop" 0
		drop_nested "$NAME" "$INIT"
	done
	check_nothing_left "$NAME" "$before"
}

all_run() {
	[[ -n $(vcpus_of "$VMM") && $(threads "$VMM") == *" worker"* ]]
}

# takes_threads - a vCPU goes where the watcher would have it, and nobody else
takes_threads() {
	local vcpu worker
	begin "thread-$KIND"
	OTHER=$VMM
	check_wait "$NAME: its threads run" 20 all_run
	vcpu=$(vcpus_of "$VMM") worker=$(threads "$VMM" | sed -n 's/ worker$//p')
	if [[ $POLICY == true ]]; then
		refused "$NAME: all in one cgroup" "all threads in one cgroup" add-thread "$NAME" "$vcpu"
		end
		return
	fi
	verb "$NAME: add-thread of one that is there" add-thread "$NAME" "$vcpu"
	says "$NAME: nothing changes" '[.tid, .changed]' "[$vcpu,false]"
	refused "$NAME: no vCPU" "\"worker\", is not known to be a vCPU" add-thread "$NAME" "$worker"
	refused "$NAME: a stranger" "thread $$ is in no cgroup of sandbox" add-thread "$NAME" $$
	kill -KILL "$(watcher_pid "$NAME")"
	if [[ $MODE == v2 ]]; then
		echo "$vcpu" >"${CG_DIR[unified]}$OVERHEAD/cgroup.threads"
	else
		echo "$vcpu" >"${CG_DIR[$(hierarchy_of cpu)]}$OVERHEAD/tasks"
	fi
	verb "$NAME: add-thread of one that nobody places" add-thread "$NAME" "$vcpu"
	says "$NAME: it is moved" .changed true
	check "$NAME: it is where it belongs" test "$(quota_over "$vcpu")" == "$QUOTA"
	end

	NAME=early-$KIND
	use_nested "$POLICY"
	fake_nested "$NAME" "$QUOTA"
	INIT=$PID VMM=$PID OTHER=$PID
	capture osc prestart <"$WORK/$NAME/created"
	refused "$NAME: before there are vCPUs" "are not apart yet" add-thread "$NAME" "$PID"
	end
}

# enter CGROUP PID - as cg_enter, and back to where it was with `leave PID`
declare -A BEFORE=()
enter() {
	local name
	cgroups_of "$2"
	for name in "${!CG[@]}"; do
		BEFORE[$name]=${CG[$name]}
	done
	cg_enter "$1" "$2"
}

leave() {
	local name
	for name in "${HIERARCHIES[@]}"; do
		echo "$1" >"${CG_DIR[$name]}${BEFORE[$name]}/cgroup.procs"
	done
}

# inside WORDS... - the verb, by somebody who is in the sandbox
inside() {
	capture bash -c 'for file; do echo $$ >"$file" || exit; done; exec timeout -k 5 60 '"$(printf '%q ' "$OSC" --state-dir "$STATE" --config "$CONF" "$@")" _ \
		"${HIERARCHY_DIRS[@]/%/$C/cgroup.procs}"
}

# refuses - who would be stopped by what it does, or could not undo it
refuses() {
	local watcher dir
	begin "refuse-$KIND"
	inside freeze "$NAME"
	check_exit "$NAME: freeze from inside" 1
	check_match "$NAME: freeze from inside, why" "which you have started, is in $C, too" "$ERR"
	check "$NAME: nothing is frozen" thawed "$C"
	inside kill "$NAME"
	check_exit "$NAME: kill from inside" 1
	check "$NAME: nobody has ended" is_alive "$VMM"
	if [[ $MODE != v2 ]]; then # there a watcher in C is none that can be put there and taken out again by hand
		watcher=$(watcher_pid "$NAME")
		enter "$C" "$watcher"
		capture osc freeze "$NAME"
		check_exit "$NAME: freeze with the watcher inside" 1
		check_match "$NAME: why" "process $watcher, the sandbox's watcher" "$ERR"
		check "$NAME: nothing is frozen" thawed "$C"
		leave "$watcher"
	fi
	if [[ $MODE != v2 && $LAYOUT == sibling ]]; then
		# As earlier versions had it.
		dir=${CG_DIR[$(hierarchy_of freezer)]}$APART
		mkdir -p "$dir"
		capture osc freeze "$NAME"
		check_exit "$NAME: freeze with an overhead apart" 1
		check_match "$NAME: why" "set up by an earlier version" "$ERR"
		rmdir "$dir"
		rmdir "${dir%/*}" 2>/dev/null || :
	fi
	capture osc kill "$NAME" NOTHING
	check_exit "$NAME: no such signal" 2
	check_match "$NAME: no such signal, why" 'there is no signal "NOTHING"' "$ERR"
	check "$NAME: nobody has ended" is_alive "$VMM"
	end
}

# under_runtime - what a real one makes of it: with layout nested it is its own pause, and it removes what is frozen
under_runtime() {
	NAME=runtime-$LAYOUT
	use_nested false
	make_bundle "$NAME" '["/busybox", "sleep", "1000"]'
	add_hooks "$NAME" "prestart poststop"
	if ! create_nested "$NAME" || ! oci start "$TAG-$NAME"; then
		fail "$NAME: the runtime starts the container" "$(cat "$WORK/$NAME/log")"
		return
	fi
	verb "$NAME: freeze" freeze "$TAG-$NAME"
	if [[ $LAYOUT == nested ]]; then
		check_eq "$NAME: what the runtime says" paused "$(status "$NAME")"
		capture oci resume "$TAG-$NAME"
		check_exit "$NAME: the runtime's resume" 0
		check_wait "$NAME: it goes on" 20 thawed "$C"
		verb "$NAME: freeze" freeze "$TAG-$NAME"
	fi
	capture oci delete --force "$TAG-$NAME"
	check_exit "$NAME: the runtime's delete --force of what is frozen" 0
	check_wait "$NAME: it has ended" 20 is_dead "$PID"
	check_nothing_left "$NAME" "$before"
}

before=$(snapshot)
if ! hierarchy_of cpu >/dev/null; then
	skip "control" "it takes the cpu controller"
else
	for LAYOUT in nested sibling; do
		if [[ $MODE == v2 ]] || hierarchy_of freezer >/dev/null; then
			under_runtime
		fi
		for POLICY in false true; do
			KIND=$LAYOUT-split
			[[ $POLICY == false ]] || KIND=$LAYOUT-only
			if [[ $MODE == v2 ]] || hierarchy_of freezer >/dev/null; then
				stops_and_goes
				outlasts_a_pause
				signals
				removable
			fi
			takes_processes
			another
			takes_threads
			[[ $POLICY == true ]] || refuses
		done
	done
fi
for word in freeze thaw kill; do
	capture osc $word gone
	check_exit "$word of none" 1
	check_match "$word of none: what there are" "there is no sandbox.*list" "$ERR"
done
check_nothing_left "control" "$before"
finish
