#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Nothing is ever left: teardown with less than it was promised, with processes
# still inside, twice, after kills of the watcher and of the hook at any system
# call, and without any teardown at all. The script plays the runtime.

# shellcheck disable=SC2016 # $name in single quotes is jq's
# shellcheck disable=SC2317 # functions are called by name
# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"
# shellcheck source=../lib/faults.sh
. "$TESTS/lib/faults.sh"

# start NAME [JQ_FILTER] - a container after its prestart
start() {
	C=$1
	fake_container "$C" "${2-.}"
	set_layout "$C" "$C" "${ONLY-false}"
	inside=$(snapshot)
	capture osc prestart <"$WORK/$C/created"
	check_exit "$C: setup" 0
	check "$C: the sandbox exists" cg_exists "$SANDBOX"
}

# teardown NAME STATE_FILTER - feeds poststop
teardown() {
	capture osc poststop < <(jq "$2" "$WORK/$C/stopped")
	check_exit "$1: poststop" 0
}

# gone NAME - after the runtime has removed its own cgroup, too
gone() {
	drop_fake "$C" "$PID"
	check_nothing_left "$1" "$before"
}

VMM=$(helper fake_vmm)
before=$(snapshot)

# --- less input than promised ------------------------------------------------

for ONLY in false true; do
	configure ".sandbox_cgroup_only = $ONLY"

	start plain-"$ONLY"
	end_process "$PID"
	teardown "$C" .
	check_nothing_left "$C, the runtime's cgroup apart" "$inside"
	teardown "$C, a second time" .
	gone "$C"

	start no-config-"$ONLY"
	end_process "$PID"
	rm "$WORK/$C/config.json"
	teardown "$C" .
	gone "$C"

	start no-bundle-"$ONLY"
	end_process "$PID"
	state=$(<"$WORK/$C/stopped")
	rm -r "${WORK:?}/$C"
	capture osc poststop <<<"$state"
	check_exit "$C: poststop" 0
	gone "$C"

	start no-pid-"$ONLY"
	end_process "$PID"
	teardown "$C" 'del(.pid)'
	gone "$C"

	start bundle-root-"$ONLY"
	end_process "$PID"
	teardown "$C" '.bundle = "/"'
	gone "$C"

	start id-only-"$ONLY"
	end_process "$PID"
	teardown "$C" '{ociVersion, id}'
	gone "$C"

	# Without a record, the plan says what to look for.
	start no-record-"$ONLY"
	end_process "$PID"
	watcher=$(watcher_pid "$C")
	[[ $watcher == none ]] || kill -KILL "$watcher"
	wait_for 5 no_process_left >/dev/null
	rm -r "$STATE"
	teardown "$C" .
	check "$C: its cgroups are gone" cg_gone "$SANDBOX" "$OVERHEAD"
	gone "$C"

	# A record that cannot be trusted: from another boot, of another version, half
	# written. The plan says what to look for then, too.
	for edit in 'boot:.boot_id = "00000000-0000-0000-0000-000000000000"' 'schema:.schema = 99' half:; do
		start "record-${edit%%:*}-$ONLY"
		end_process "$PID"
		watcher=$(watcher_pid "$C")
		[[ $watcher == none ]] || kill -KILL "$watcher"
		wait_for 5 no_process_left >/dev/null
		record=$STATE/sandboxes/$C/record.json
		if [[ -n ${edit#*:} ]]; then
			jq "${edit#*:}" "$record" >"$WORK/record"
		else
			head -c 100 "$record" >"$WORK/record"
		fi
		cp "$WORK/record" "$record"
		# Whether such a record is worth an error is not the question here.
		capture osc poststop <"$WORK/$C/stopped"
		gone "$C"
	done

	# Its watcher is where the hook was started, and nobody can say any more who that is.
	start "damaged-$ONLY"
	watcher=$(watcher_pid "$C")
	record=$STATE/sandboxes/$C/record.json
	head -c 100 "$record" >"$WORK/record"
	cp "$WORK/record" "$record"
	end_process "$PID"
	teardown "$C" .
	check_wait "$C: its watcher ends by itself" 10 is_dead "$watcher"
	gone "$C"

	fake_container never-set-up-"$ONLY"
	C=never-set-up-$ONLY
	end_process "$PID"
	teardown "$C" .
	gone "$C"
done
unset ONLY
configure .

# Without a record, what holds processes is not ours to touch.
fake_container not-ours
C=not-ours
set_layout $C
end_process "$PID"
cg_make "$SANDBOX"
sleep 1000 >/dev/null 2>&1 &
other=$!
disown
started "$other"
cg_enter "$SANDBOX" "$other"
was=$(cat "/proc/$other/cgroup")
capture osc poststop <"$WORK/$C/stopped"
check_eq "$C: the other's process is where it was" "$was" "$(cat "/proc/$other/cgroup" 2>&1)"
end_process "$other"
cg_remove "$SANDBOX"
gone "$C"

# --- processes that are still inside -----------------------------------------

# outside PID - in the runtime's own cgroup or above the sandbox's, in every hierarchy
outside() {
	local name
	cgroups_of "$1" || return 1
	for name in "${HIERARCHIES[@]}"; do
		[[ ${CG[$name]} == "$OWN" || ${SANDBOX%/*}/ == "${CG[$name]%/}"/* || ${OVERHEAD%/*}/ == "${CG[$name]%/}"/* ]] || {
			echo "$name: expected an ancestor of $SANDBOX or $OVERHEAD, got ${CG[$name]}"
			return 1
		}
	done
}

# in_own PID - in every hierarchy
in_own() {
	local name
	cgroups_of "$1" || return 1
	for name in "${HIERARCHIES[@]}"; do
		[[ ${CG[$name]} == "$OWN" ]] || {
			echo "$name: ${CG[$name]}"
			return 1
		}
	done
}

# Its runtime has said that the container is dead, and may be mistaken.
start leftover
sleep 1000 >/dev/null 2>&1 &
other=$!
disown
started "$other"
cg_enter "$SANDBOX" "$other"
teardown "$C" .
check "$C: init is dead" is_dead "$PID"
check_match "$C: which is said" "process $PID of container $C.* was killed" "$ERR"
check "$C: another process is alive" is_alive "$other"
check "$C: it is in the runtime's own cgroup" in_own "$other"
check_wait "$C: the sandbox's cgroups are gone" 10 cg_gone "$SANDBOX" "$OVERHEAD"
check_wait "$C: no watcher left" 10 no_process_left
check "$C: no record left" no_record_left
end_process "$other"
cg_remove "/$TAG/$C"
capture osc prune
check_exit "$C: prune, once it has ended" 0
check_nothing_left "$C" "$before"

# A process is being killed, its main thread has ended, another is still at work
# in the kernel: cgroup.procs lists it as long as that lasts.
leader_ended() {
	[[ $(threads "$PID" | wc -l) == 2 ]] && is_dead "$PID"
}

for leftovers in move kill; do
	configure ".leftovers = \"$leftovers\" | .hotplug_interval_ms = 100"
	C=leader-ended-$leftovers
	fake_container "$C"
	set_layout "$C"
	end_process "$PID"
	"$VMM" --wait "$WORK/$C/go" --leader-exits "CPU 0/KVM" >/dev/null 2>&1 &
	PID=$!
	disown
	started "$PID"
	cg_enter "$OWN" "$PID"
	capture osc prestart < <(jq --argjson pid "$PID" '.pid = $pid' "$WORK/$C/created")
	check_exit "$C: setup" 0
	touch "$WORK/$C/go"
	check_wait "$C: its leader has ended, a thread lives" 10 leader_ended
	teardown "$C" .
	check_wait "$C: the sandbox's cgroups are gone" 10 cg_gone "$SANDBOX" "$OVERHEAD"
	check_wait "$C: it is dead" 10 test ! -e "/proc/$PID/stat"
	kill -KILL "$PID" 2>/dev/null || :
	wait_for 10 test ! -e "/proc/$PID" || :
	osc prune >/dev/null
	gone "$C"
done

# Whatever is set apart, and whoever was: each end of a sandbox that is split.
for end in poststop watcher prune no-record; do
	C=split-$end
	configure '.hotplug_interval_ms = 100'
	fake_container "$C"
	set_layout "$C"
	end_process "$PID"
	"$VMM" "CPU 0/KVM" worker >/dev/null 2>&1 &
	PID=$!
	disown
	started "$PID"
	cg_enter "$OWN" "$PID"
	capture osc prestart < <(jq --argjson pid "$PID" '.pid = $pid' "$WORK/$C/created")
	check_exit "$C: setup" 0
	check_threads "$C" "$PID" 1
	watcher=$(watcher_pid "$C")
	if [[ $end == prune || $end == no-record ]]; then
		kill -KILL "$watcher"
		wait_for 5 is_dead "$watcher" || :
	fi
	end_process "$PID"
	case $end in
	poststop) teardown "$C" . ;;
	watcher) check_wait "$C: the watcher tears down by itself" 10 cg_gone "$SANDBOX" "$OVERHEAD" ;;
	prune)
		capture osc prune
		check_exit "$C: prune" 0
		;;
	no-record)
		wait_for 5 no_process_left >/dev/null
		rm -r "$STATE"
		teardown "$C" .
		check "$C: its cgroups are gone" cg_gone "$SANDBOX" "$OVERHEAD"
		# That it had made the overheads' parent was said in the state directory.
		cg_remove "/$TAG/overhead"
		;;
	esac
	gone "$C"
done

configure '.leftovers = "kill"'
start leftover-kill
teardown "$C" .
check_wait "$C: it is dead" 10 is_dead "$PID"
gone "$C"
configure .

# --- what is frozen ----------------------------------------------------------

# freeze CGROUP - and what it holds
freeze() {
	if [[ $MODE == v2 ]]; then
		echo 1 >"${CG_DIR[unified]}$1/cgroup.freeze"
	else
		echo FROZEN >"$(cg_file freezer "$1" freezer.state)"
	fi
}

is_frozen() {
	if [[ $MODE == v2 ]]; then
		grep -qx 'frozen 1' "${CG_DIR[unified]}$1/cgroup.events"
	else
		grep -qx FROZEN "$(cg_file freezer "$1" freezer.state)"
	fi
}

# freezer_tree - where a cgroup of the payload's can be frozen
freezer_tree() {
	if [[ $MODE == v2 ]]; then echo "${CG_DIR[unified]}"; else echo "${CG_DIR[$(hierarchy_of freezer)]}"; fi
}

if [[ $MODE == v2 ]] || hierarchy_of freezer >/dev/null; then
	for how in move kill child; do
		[[ $how == move ]] || configure '.leftovers = "kill"'
		start "frozen-$how"
		if [[ $how == child ]]; then
			mkdir "$(freezer_tree)$SANDBOX/own"
			echo "$PID" >"$(freezer_tree)$SANDBOX/own/cgroup.procs"
			freeze "$SANDBOX/own"
		else
			freeze "$SANDBOX"
			check_wait "$C: it is frozen" 10 is_frozen "$SANDBOX"
		fi
		if [[ $how == move ]]; then
			capture osc delete --force "$C"
			check_exit "$C: delete --force" 0
			check "$C: it is alive, and in a parent cgroup" outside "$PID"
		else
			teardown "$C" .
			check_wait "$C: it is dead" 10 is_dead "$PID"
		fi
		gone "$C"
		configure .
	done
else
	skip "what is frozen" "no hierarchy has the controller freezer here"
fi

# --- the watcher is killed ---------------------------------------------------

start watcher-killed
check_wait "$C: there is a watcher" 5 has_watcher "$C"
killed=$(watcher_pid "$C")
kill -KILL "$killed" || :
check_wait "$C: it is dead" 5 no_watcher_left
capture osc check
check_match "$C: check misses it" "limited  sandbox +$C: its watcher has gone" "$OUT"
capture osc update "$C"
check_exit "$C: the verb update" 0
check "$C: the verb update: there is another" has_watcher "$C"
check_eq "$C: the verb update: only one" "$(watcher_pid "$C")" "$(watchers | xargs)"
capture osc check
check_eq "$C: check misses none" "" "$(grep "its watcher has gone" <<<"$OUT" || :)"
killed=$(watcher_pid "$C")
capture osc update "$C"
check_eq "$C: the verb update again: it is the same one" "$killed" "$(watcher_pid "$C")"
kill -KILL "$killed" || :
check_wait "$C: it is dead, too" 5 no_watcher_left
end_process "$PID"
teardown "$C" .
gone "$C"

start watcher-killed-prune
check_wait "$C: there is a watcher" 5 has_watcher "$C"
kill -KILL "$(watcher_pid "$C")" || :
check_wait "$C: it is dead" 5 no_watcher_left
end_process "$PID"
capture osc prune --dry-run --json
check_exit "$C: prune --dry-run" 0
check_match "$C: prune --dry-run names the sandbox" "$C" "$OUT"
check_match "$C: prune --dry-run removes nothing" "exists in" "$(cg_exists "$SANDBOX" || :)"
capture osc prune
check_exit "$C: prune" 0
gone "$C"

# --- a hierarchy that cannot be opened ---------------------------------------

if can_trace; then
	start cannot-open
	check_wait "$C: there is a watcher" 5 has_watcher "$C"
	watcher=$(watcher_pid "$C")
	last=${HIERARCHY_DIRS[-1]}
	capture strace -o /dev/null -P "$last" -e trace=openat -e inject=openat:error=EMFILE \
		"$OSC" --state-dir "$STATE" --config "$CONF" poststop <"$WORK/$C/stopped"
	check_exit "$C: poststop" 1
	check_match "$C: poststop says which" "$last: EMFILE" "$ERR"
	check "$C: nothing was ended: init" is_alive "$PID"
	check_eq "$C: nothing was ended: the watcher" "$watcher" "$(watcher_pid "$C")"
	end_process "$PID"
	teardown "$C" .
	gone "$C"
else
	skip "poststop that cannot open a hierarchy" "strace cannot trace here"
fi

# --- nobody calls poststop ---------------------------------------------------

start no-poststop
end_process "$PID"
gone "$C: the watcher tears down by itself"

configure '.sandbox_cgroup_only = true'
ONLY=true start no-poststop-only
pid1=$PID C1=$C
capture osc prune
check_exit "$C: prune while it lives" 0
check_match "$C: prune leaves it alone while it lives" "exists in" "$(cg_exists "/$TAG/kata_$C" || :)"
end_process "$PID"
fake_container next
capture osc prestart <"$WORK/next/created"
check_exit "$C: setup of another sandbox" 0
check_wait "$C: a setup prunes what the dead left" 10 cg_gone "/$TAG/kata_$C"
end_process "$PID"
capture osc poststop <"$WORK/next/stopped"
check_exit "$C: teardown of the other" 0
drop_fake next "$PID"
PID=$pid1 C=$C1
gone "$C"
configure .

# --- operator's verbs --------------------------------------------------------

start verbs
capture osc list --json
check_exit "$C: list" 0
check_match "$C: list names it" "\"$C\"" "$OUT"
capture osc show "$C" --json
check_exit "$C: show" 0
check_eq "$C: show names it" "$C" "$(jq -r '[.. | .sandbox_id? | strings][0]' <<<"$OUT" 2>&1)"
capture osc show no-such-sandbox
check_exit "$C: show of an unknown sandbox" 1
end_process "$PID"
wait_for 10 cg_gone "$SANDBOX" >/dev/null || :
gone "$C: dead, so the watcher tears down"

configure '.sandbox_cgroup_only = true'
ONLY=true start delete
end_process "$PID"
capture osc delete "$C"
check_exit "$C: delete" 0
gone "$C"
capture osc delete "$C"
check_exit "$C: delete of an unknown sandbox" 1
configure .

# --- the hook is killed in the middle ----------------------------------------

# ready_to_be_killed N - for poststop with a container that is set up and dead, and a process that is left over
ready_to_be_killed() {
	is_alive "$PID" || fake_process "$C"
	lives=$PID
	[[ $stage == poststop ]] || return 0
	osc prestart <"$WORK/$C/created" >"$WORK/log" 2>&1 || PROBLEMS+=("#$1: setup: $(<"$WORK/log")")
	lives=
	if [[ -n $left_over ]]; then
		sleep infinity >/dev/null 2>&1 &
		lives=$!
		disown
		started "$lives"
		set_layout "$C"
		cg_enter "$SANDBOX" "$lives"
	fi
	end_process "$PID"
}

# cleans_up N - by poststop and, where that cannot know everything any more, prune, or by prune alone
cleans_up() {
	local n=$1
	[[ -z $lives ]] || is_alive "$lives" || PROBLEMS+=("#$n: the container died with the hook")
	if [[ $cleanup == poststop ]]; then
		osc poststop <"$WORK/$C/stopped" >"$WORK/log" 2>&1 || PROBLEMS+=("#$n: poststop: $(<"$WORK/log")")
	else
		end_process "$PID"
		osc prune >"$WORK/log" 2>&1 || PROBLEMS+=("#$n: prune: $(<"$WORK/log")")
	fi
	if [[ $cleanup == poststop ]] && ! wait_for 2 nothing_left "$inside" >/dev/null; then
		tally pruned
		osc prune >"$WORK/log" 2>&1 || PROBLEMS+=("#$n: prune: $(<"$WORK/log")")
	fi
	if ! wait_for 3 nothing_left "$inside" >/dev/null; then
		PROBLEMS+=("#$n left: $(left_now "$inside")")
		force_clean "$inside"
	fi
	! is_alive "$PID" || cg_enter "/$TAG/$C" "$PID"
	[[ -z $left_over || -z $lives ]] || end_process "$lives"
}

# killed STAGE CALLS CLEANUP [NAME] - as it enters each of those calls. A container lives on while it is
# set up; when it is torn down it is dead, and with a NAME, which says so, another process is left over.
killed() {
	local cleanup=$3 left_over=${4-} lives=
	INPUT=$WORK/$C/stopped
	[[ $1 == poststop ]] || INPUT=$WORK/$C/created
	sweep_faults "killed, then $3${4:+, $4}" "$1" "$2" signal=KILL ready_to_be_killed cleans_up
}

if can_trace; then
	C=empty
	fake_container $C
	capture osc prestart <"$WORK/$C/created"
	check_exit "nobody is left: setup" 0
	end_process "$PID"
	capture timeout 60 strace -o "$WORK/trace" -e trace=openat2,openat "$OSC" --state-dir "$STATE" --config "$CONF" poststop \
		<"$WORK/$C/stopped"
	check_exit "nobody is left: teardown" 0
	[[ $MANAGER == systemd ]] ||
		check_eq "nobody is left: the cgroup is removed without a look into it" "" "$(grep "kata_$C\|cgroup.procs" "$WORK/trace" || :)"
	drop_fake $C "$PID"
	C=killed
	fake_container $C '.linux.resources = {devices: [{allow: false, access: "rwm"}]}'
	inside=$(snapshot)
	killed prestart "mkdirat openat2 write symlinkat renameat $FSYNC clone" poststop
	killed prestart mkdirat prune
	killed poststop "unlinkat pidfd_send_signal" poststop
	killed poststop "openat2 write" poststop "a process left over"
	killed poststop unlinkat prune
	drop_fake $C "$PID"
else
	skip "the hook is killed at a system call" "strace cannot trace here"
fi

finish
