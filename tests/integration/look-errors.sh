#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# An error of looking is not a fact. Whatever a stage, a verb or the watcher opens, reads or lists, with any of
# five errnos at any of these calls: it has done all or nothing, says so by its exit status and one line, and no
# container that lives loses its cgroup or a limit for it. What is left then a poststop or a prune removes.
# tests/lib/looks.sh says how to have all of them tried. The script plays the runtime.

# shellcheck disable=SC2016 # $name in single quotes is jq's
# shellcheck disable=SC2317 # functions are called by name
# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"
# shellcheck source=../lib/faults.sh
. "$TESTS/lib/faults.sh"
# shellcheck source=../lib/looks.sh
. "$TESTS/lib/looks.sh"
# shellcheck source=../lib/limits.sh
. "$TESTS/lib/limits.sh"
# shellcheck source=../lib/pods.sh
. "$TESTS/lib/pods.sh"
# shellcheck source=../lib/nested.sh
. "$TESTS/lib/nested.sh"

# --- what there is -----------------------------------------------------------

# Whom nothing may happen to: where they are, and what the sandbox's limits are.
declare -A AT=()
LIMITS=

# limit_texts - of all files of the sandbox that can hold one
limit_texts() {
	local files=() CG_FILE each
	for each in cpu:cpu.cfs_quota_us cpu:cpu.shares cpu:cpu.max cpu:cpu.weight cpuset:cpuset.cpus cpuset:cpuset.mems \
		memory:memory.limit_in_bytes memory:memory.max pids:pids.max devices:devices.list; do
		! find_cg_file "${each%:*}" "$SANDBOX" "${each#*:}" || files+=("$CG_FILE")
	done
	cat "${files[@]}" 2>/dev/null || :
}

# witness PID... - where they are now
witness() {
	local pid
	AT=()
	for pid; do
		AT[$pid]=$(<"/proc/$pid/cgroup")
	done
	LIMITS=$(limit_texts)
}

# untouched [LIMITS] - the witnesses are where they were, under those limits, or others that are as good
untouched() {
	local pid now known=${#PROBLEMS[@]}
	for pid in "${!AT[@]}"; do
		at "$pid" "${AT[$pid]}"
	done
	now=$(limit_texts)
	[[ $now == "$LIMITS" || $now == "${1-$LIMITS}" ]] || PROBLEMS+=("limits: $(diff <(echo "$LIMITS") <(echo "$now") | xargs)")
	((${#PROBLEMS[@]} == known)) || RUINED=1
}

# at PID CGROUPS - whether a process is there
at() {
	local now
	{ now=$(<"/proc/$1/cgroup"); } 2>/dev/null || now="it has ended"
	[[ $now == "$2" ]] || PROBLEMS+=("process $1 is not where it should be: $(xargs <<<"$now")")
}

# ours - the cgroups, records and processes that a script without any sandbox has none of
ours() {
	find "${HIERARCHY_DIRS[@]/%/$BASE}" "$STATE"/{sandboxes,containers,paths,parents} -mindepth 1 \
		"(" -type d "(" -name "kata_*" -o -path "*/overhead*" ")" -o -path "$STATE/*" ")" 2>/dev/null
	our_processes
}

nothing_of_ours() {
	[[ -z $(ours || :) ]]
}

# sound RC - no lock is held for long, and each record can be read
sound() {
	local file
	# What has worked is read again by what ends it.
	[[ -n $1 && $1 != 0 ]] || return 0
	# A watcher may remove a dead sandbox meanwhile.
	for file in "$STATE"/sandboxes/*/lock; do
		{ flock -w 5 9 9<"$file"; } 2>/dev/null || [[ ! -e $file ]] || PROBLEMS+=("somebody holds $file")
	done
	for file in "$STATE"/sandboxes/*/record.json; do
		jq -e .schema "$file" >/dev/null 2>&1 || [[ ! -e $file ]] || PROBLEMS+=("$file cannot be read")
	done
}

# works ARGS... - without a fault
works() {
	osc "$@" <"$INPUT" >"$WORK/works" 2>&1 || PROBLEMS+=("then $*: $(<"$WORK/works")")
}

# all_gone - by itself, or by what an administrator does
all_gone() {
	wait_for 3 nothing_of_ours && return
	tally pruned
	works prune
	wait_for 3 nothing_of_ours || {
		PROBLEMS+=("left: $(ours | head -n 4 | xargs)")
		force_clean "$BEFORE"
	}
}

# --- setup -------------------------------------------------------------------

WAS=
DONE=
DONE_LIMITS=

# container NAME LAYOUT ONLY [JQ_FILTER] - in its own cgroup
container() {
	C=$1
	configure "$BASIC | .layout = \"$2\" | .sandbox_cgroup_only = $3"
	fake_container "$C" "$(limits_filter) | ${4-.}"
	set_layout "$C" "$C" "$3"
	[[ $2 == sibling ]] || SANDBOX=$(own_cgroup "$C")
	INPUT=$WORK/$C/created
	WAS=$(<"/proc/$PID/cgroup")
}

alive() {
	is_alive "$PID" || fake_process "$C"
}

# set_up RC - all of it, or nothing
set_up() {
	sound "$1"
	if [[ -z $1 ]]; then
		DONE=$(<"/proc/$PID/cgroup") DONE_LIMITS=$(limit_texts)
	fi
	if [[ -z $1 || $1 == 0 ]]; then
		at "$PID" "$DONE"
		[[ $(limit_texts) == "$DONE_LIMITS" ]] || PROBLEMS+=("limits: $(diff <(echo "$DONE_LIMITS") <(limit_texts) | xargs)")
		[[ $ONLY == true ]] || has_watcher "$C" || PROBLEMS+=("there is no watcher")
		end_process "$PID"
		INPUT=$WORK/$C/stopped works poststop
	else
		at "$PID" "$WAS"
	fi
	all_gone
}

setups() {
	local layout only
	for layout in sibling:false sibling:true nested:false; do
		only=${layout#*:}
		container "s-${layout/:/-}" "${layout%:*}" "$only"
		sweep_looks "setup, ${layout%:*}, only=$only" alive set_up prestart
		drop_fake "$C" "$PID"
	done
}

# A stage that comes to what runs changes nothing.
again() {
	container again sibling false
	works prestart
	INPUT=$WORK/$C/running
	witness "$PID"
	sweep_looks "poststart" : still_there poststart
	end_process "$PID"
	INPUT=$WORK/$C/stopped works poststop
	drop_fake "$C" "$PID"
	check_nothing_left "poststart" "$BEFORE"
}

still_there() {
	sound "$1"
	untouched
	has_watcher "$C" || PROBLEMS+=("there is no watcher")
}

# --- a pod -------------------------------------------------------------------

# with_pod NAME - c1 is in it, c2 is not yet
with_pod() {
	configure "$BASIC"
	new_pod "$1"
	joins c1 '.linux.resources = {cpu: {quota: 50000, period: 100000, shares: 100}, pids: {limit: 100}}'
	member c2 '.linux.resources = {cpu: {quota: 20000, period: 100000, shares: 200}, pids: {limit: 20}}'
	WAS=$(<"/proc/$PID/cgroup")
	witness "${PIDS[c1]}"
}

c2_comes() {
	is_alive "${PIDS[c2]}" || reborn c2
	INPUT=$WORK/$POD/c2/created
}

c2_goes() {
	end_process "${PIDS[c2]}"
	INPUT=$WORK/$POD/c2/stopped
	works poststop
	untouched
}

# joined RC
joined() {
	sound "$1"
	if [[ -z $1 ]]; then
		DONE=$(<"/proc/${PIDS[c2]}/cgroup") DONE_LIMITS=$(limit_texts)
	fi
	if [[ -z $1 || $1 == 0 ]]; then
		at "${PIDS[c2]}" "$DONE"
		[[ $(limit_texts) == "$DONE_LIMITS" ]] || PROBLEMS+=("limits: $(diff <(echo "$DONE_LIMITS") <(limit_texts) | xargs)")
	else
		at "${PIDS[c2]}" "$WAS"
		untouched
	fi
	c2_goes
	has_watcher "$POD" || PROBLEMS+=("there is no watcher")
}

c2_has_ended() {
	c2_comes
	works prestart
	end_process "${PIDS[c2]}"
	INPUT=$WORK/$POD/c2/stopped
}

# left_pod RC
left_pod() {
	sound "$1"
	if [[ -z $1 || $1 == 0 ]]; then untouched; else untouched "$DONE_LIMITS"; fi
	c2_goes
	has_watcher "$POD" || PROBLEMS+=("there is no watcher")
}

pods() {
	with_pod pod
	sweep_looks "setup of the second of a pod" c2_comes joined prestart
	c2_comes
	works prestart
	DONE_LIMITS=$(limit_texts)
	c2_goes
	sweep_looks "poststop of the first of two" c2_has_ended left_pod poststop
	leaves c1
	pod_gone c1 c2
}

# --- the end -----------------------------------------------------------------

has_ended() {
	alive
	INPUT=$WORK/$C/created
	works prestart
	end_process "$PID"
	INPUT=$WORK/$C/stopped
}

# ended RC - what is not gone goes with the next try
ended() {
	sound "$1"
	[[ -z $1 || $1 == 0 ]] || works poststop
	wait_for 3 nothing_of_ours || PROBLEMS+=("after a second try: left: $(ours | head -n 4 | xargs)")
	all_gone
}

removed() {
	sound "$1"
	all_gone
}

ends() {
	local layout
	for layout in sibling nested; do
		container "e-$layout" $layout false
		sweep_looks "poststop of the last, $layout" has_ended ended poststop
		[[ $layout == nested ]] || sweep_looks "delete of a dead one" has_ended removed delete "$C"
		drop_fake "$C" "$PID"
	done
}

# --- verbs -------------------------------------------------------------------

refused() {
	[[ $1 != 0 ]] || PROBLEMS+=("it was not refused")
	still_there "$1"
}

# says RC - what it says without a fault, or that it cannot
says() {
	[[ -n $1 ]] || DONE=$(<"$WORK/out")
	[[ $1 != 0 || $(<"$WORK/out") == "$DONE" ]] || PROBLEMS+=("exit status 0, but: $(diff <(echo "$DONE") "$WORK/out" | xargs)")
	still_there "$1"
}

declare -A DEAD=()

# A sandbox that has died beside the one that lives.
one_is_dead() {
	local C=dead PID=${DEAD[pid]}
	alive
	INPUT=$WORK/$C/created works prestart
	end_process "$(watcher_pid "$C")"
	end_process "$PID"
	DEAD[pid]=$PID
}

# pruned RC
pruned() {
	still_there "$1"
	[[ -z $1 || $1 == 0 ]] || works prune
	wait_for 3 dead_gone || PROBLEMS+=("the dead one is there still: $(find "${HIERARCHY_DIRS[@]/%/$BASE}" -name kata_dead | head -n 2)")
}

dead_gone() {
	[[ ! -e $STATE/sandboxes/dead && -z $(find "${HIERARCHY_DIRS[@]/%/$BASE}" -name kata_dead) ]]
}

verbs() {
	local id=living
	container dead sibling false
	end_process "$PID"
	DEAD[pid]=$PID
	container "$id" sibling false
	works prestart
	wait_for 10 test -e "$STATE/sandboxes/$id/placement.json" || fail "the watcher looks"
	witness "$PID"
	INPUT=/dev/null
	sweep_looks "delete of one that lives" : refused delete "$id"
	sweep_looks "list" : says list
	sweep_looks "show" : says show "$id"
	sweep_looks "prune" one_is_dead pruned prune
	end_process "$PID"
	INPUT=$WORK/$id/stopped works poststop
	drop_fake "$id" "$PID"
	drop_fake dead "${DEAD[pid]}"
	check_nothing_left "verbs" "$BEFORE"
}

# --- verbs that change it ----------------------------------------------------

DOING=()

# what_holds - limits, and what the record has of what verbs have said; on v2 it alone tells which devices are allowed
what_holds() {
	limit_texts
	jq -c '.updated, .devices' "$STATE/sandboxes/$C/record.json"
}

# other_word - what the verb changes is as it was before
other_word() {
	INPUT=/dev/null works "${DOING[@]}"
	WAS=$(what_holds)
}

# changed RC - and the record says the same as the limits
changed() {
	local expected now
	sound "$1"
	now=$(what_holds)
	if [[ -z $1 ]]; then
		DONE=$now
		[[ $DONE != "$WAS" ]] || PROBLEMS+=("it changes nothing")
	fi
	expected=$WAS
	if [[ -z $1 || $1 == 0 || $(<"$WORK/log") == *"the limits are in force"* ]]; then
		expected=$DONE
	fi
	[[ $now == "$expected" ]] || PROBLEMS+=("it is otherwise: $(diff <(echo "$expected") <(echo "$now") | xargs)")
	at "$PID" "${AT[$PID]}"
	has_watcher "$C" || PROBLEMS+=("there is no watcher")
}

# sets NAME WORD... - a document with these limits
sets() {
	jq -cn '{linux: {resources: {}}} | '"$(with "${@:2}")"' | .linux.resources' >"$WORK/$1.json"
}

changes() {
	local id=changed only
	sets more cpu=30000 shares=256 cpus="$all_cpus" pids=40 memory=$((256 << 20))
	sets less cpu=20000 shares=128 cpus="$one_cpu" pids=30 memory=$((128 << 20))
	for only in false true; do
		container "$id" sibling "$only" '.linux.resources.devices = [{allow: false, access: "rwm"}]'
		works prestart
		witness "$PID"
		INPUT=/dev/null
		DOING=(update "$id" --resources "$WORK/more.json")
		sweep_looks "update, only=$only" other_word changed update "$id" --resources "$WORK/less.json"
		DOING=(add-device "$id" /dev/zero)
		sweep_looks "remove-device, only=$only" other_word changed remove-device "$id" /dev/zero
		DOING=(remove-device "$id" /dev/zero)
		sweep_looks "add-device, only=$only" other_word changed add-device "$id" /dev/zero
		end_process "$PID"
		INPUT=$WORK/$id/stopped works poststop
		drop_fake "$id" "$PID"
		check_nothing_left "changes, only=$only" "$BEFORE"
	done
}

# --- the watcher -------------------------------------------------------------

QUOTA=20000
WATCHED=watched
INIT=
WATCHER=

# What it has to do is due when it is traced: there was no vCPU before.
watcher_waits() {
	INPUT=$WORK/$WATCHED/created works prestart
	WATCHER=$(watcher_pid "$WATCHED")
	wait_for 10 test -e "$STATE/sandboxes/$WATCHED/placement.json" || PROBLEMS+=("the watcher does not look")
}

is_traced() {
	[[ $(sed -n 's/^TracerPid:\t//p' "/proc/$1/status" 2>/dev/null) != 0 ]]
}

vcpus_apart() {
	is_split "$VMM" 1 "$QUOTA" >/dev/null
}

# watcher_traced OPTION... -- - until it has set the vCPU of a VMM apart
watcher_traced() {
	local tracer
	timeout 60 strace -p "$WATCHER" "${@:1:$#-1}" >"$WORK/log" 2>&1 &
	tracer=$!
	disown
	wait_for 10 is_traced "$WATCHER" || PROBLEMS+=("strace does not trace: $(<"$WORK/log")")
	start_vmm "$WATCHED" "CPU 0/KVM" worker
	wait_for 20 vcpus_apart || :
	kill -TERM "$tracer" 2>/dev/null || :
	wait_for 10 is_dead "$tracer"
}

# apart RC - it tries until it does not fail, and never lets a vCPU go meanwhile
apart() {
	vcpus_apart || PROBLEMS+=("$(is_split "$VMM" 1 "$QUOTA" || :)")
	vcpus_held "$VMM" "$QUOTA" >/dev/null || PROBLEMS+=("$(vcpus_held "$VMM" "$QUOTA" || :)")
	is_alive "$WATCHER" || PROBLEMS+=("the watcher has ended")
	INPUT=$WORK/$WATCHED/stopped works poststop
	is_whole "$INIT" "$QUOTA" >/dev/null || PROBLEMS+=("in the end: $(is_whole "$INIT" "$QUOTA" || :)")
	end_process "$VMM"
	all_gone
}

watches() {
	use_nested false
	fake_nested "$WATCHED" "$QUOTA"
	INIT=$PID
	RUN=watcher_traced FIRST=
	sweep_looks "the watcher, until it has split" watcher_waits apart
	drop_fake "$WATCHED" "$INIT"
	check_nothing_left "the watcher" "$BEFORE"
}

# -----------------------------------------------------------------------------

if ! can_trace; then
	skip "any look that fails" "strace cannot trace here"
	finish
fi
echo "seed $SEED: OSC_SEED=$SEED tests/integration/$SCRIPT"
BEFORE=$(snapshot)
setups
again
pods
ends
verbs
changes
watches
echo "looks that failed: $TRIED tried, $SURVIVED survived"

finish
