#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Whatever a VMM does with its processes, its threads and their names: vCPU threads
# and the others are where each belongs, and all together before there is a vCPU;
# and what a watcher does that is told to end, or has nothing to do any more. The
# script plays the runtime, fake_vmm the VMM.

# shellcheck disable=SC2317 # functions are called by name
# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"

INTERVAL_MS=200
VMM=$(helper fake_vmm)

# start NAME FAKE_VMM_ARGUMENT... - a container of it after its prestart, still
# waiting for `go`; FILTER changes its config.json. Sets PID and C.
start() {
	C=$1
	shift
	fake_container "$C" "${FILTER-.}"
	set_layout "$C"
	runs_instead "$C" "$VMM" "$@"
	capture osc prestart <"$WORK/$C/created"
	check_exit "$C: setup" 0
}

# file NAME - where fake_vmm looks for it, told before there is a container
file() {
	echo "$WORK/file-$1"
}

now() {
	touch "$(file "$1")"
}

stop() {
	end_process "$PID"
	capture osc poststop <"$WORK/$C/stopped"
	check_exit "$C: poststop" 0
	gone
}

gone() {
	drop_fake "$C" "$PID"
	check_nothing_left "$C" "$before"
	rm -f "$WORK"/file-*
}

# child PID [N] - the N-th child of a process
child() {
	pgrep -P "$1" | sed -n "${2-1}p"
}

has_child() {
	[[ -n $(child "$@") ]]
}

# thread PID NAME - its id
thread() {
	local line
	while IFS= read -r line; do
		[[ ${line#* } != "$2" ]] || echo "${line%% *}"
	done < <(threads "$1")
}

has_thread() {
	[[ -n $(thread "$@") ]]
}

# check_thread NAME PID THREAD_NAME vcpu|rest - within the slack of a busy host
check_thread() {
	wait_for 10 has_thread "$2" "$3" || :
	check_wait "$1: thread '$3' is where a $4 thread belongs" 10 placed "$(thread "$2" "$3")" "$4"
}

# placement FILTER - what show says of it
placement() {
	osc show "$C" --json | jq -c ".placement | $1"
}

placement_is() {
	local got
	got=$(placement "$1")
	[[ $got == "$2" ]] || {
		echo "expected $2, got $got"
		return 1
	}
}

# settle - the watcher takes two seconds without news for that
settle() {
	sleep 3
}

before=$(snapshot)
configure ".hotplug_interval_ms = $INTERVAL_MS"

# --- which process the VMM is ------------------------------------------------

start child --wait "$(file go)" --generations 1 'CPU 0/KVM' 'CPU 1/KVM' worker
now go
check_wait "$C: init has a child" 5 has_child "$PID"
check_threads "$C" "$(child "$PID")" 2
check_threads "$C: init" "$PID" 0
stop

start grandchild --wait "$(file go)" --generations 2 'CPU 0/KVM' 'CPU 1/KVM' worker
now go
check_wait "$C: init has a child" 5 has_child "$PID"
check_wait "$C: which has a child" 5 has_child "$(child "$PID")"
check_threads "$C" "$(child "$(child "$PID")")" 2
stop

# The process that a runtime makes executes the VMM, and some of those themselves.
start executed --wait "$(file go)" --exec "$(file exec)" 'CPU 0/KVM' 'CPU 1/KVM' 'CPU 2/KVM'
now go
check_threads "$C, at first" "$PID" 3
old=$(thread "$PID" 'CPU 2/KVM')
now exec
check_wait "$C: it executes itself" 10 test ! -e "/proc/$PID/task/$old"
check_threads "$C, anew" "$PID" 3
stop

start two --wait "$(file go)" --vmms 2 'CPU 0/KVM' 'CPU 1/KVM' worker
now go
check_wait "$C: init has two children" 5 has_child "$PID" 2
check_threads "$C, the first" "$(child "$PID" 1)" 2
check_threads "$C, the second" "$(child "$PID" 2)" 2
first=$(child "$PID" 1)
end_process "$first"
settle
check_threads "$C, the second, alone" "$(child "$PID")" 2
check "$C: the watcher goes on" has_watcher "$C"
stop

# Init has ended, its child is the VMM: the sandbox is alive as long as that is.
start orphan --wait "$(file go)" --outlive --generations 1 --late 'CPU 1/KVM' "$(file late)" 'CPU 0/KVM' worker
now go
check_wait "$C: init has a child" 5 has_child "$PID"
vmm=$(child "$PID")
started "$vmm"
check_threads "$C" "$vmm" 1
end_process "$PID"
settle
check "$C: the watcher outlives init" has_watcher "$C"
now late
wait_for 5 has_thread "$vmm" 'CPU 1/KVM' || :
check_threads "$C, without init" "$vmm" 2
end_process "$vmm"
gone

# --- threads that come, go and are renamed -----------------------------------

start threads --wait "$(file go)" --late 'CPU 1/KVM' "$(file late)" --late 'another worker' "$(file late)" \
	--exit 'CPU 2/KVM' "$(file exit)" --rename worker 'CPU 3/KVM' "$(file rename)" 'CPU 0/KVM' 'IO io0'
check_eq "$C: show, before there is a VMM" '["none","no vCPU thread has appeared yet",null,[]]' \
	"$(placement '[.state, .why, .expected, .vcpus]')"
check_match "$C: and what to do about it" "remedy: if a VMM .*-name NAME,debug-threads=on.*vcpu_thread_patterns" "$(osc show "$C")"
cp "$CONF" "$WORK/usual.json"
jq '.vcpu_evidence = "kernel"' "$WORK/usual.json" >"$CONF"
check_match "$C: and where the kernel has to show them" "remedy: if a VMM .*vcpu_evidence.*debug-threads=on" "$(osc show "$C")"
cp "$WORK/usual.json" "$CONF"
check_match "$C: for programs" "^if a VMM .*vcpu_thread_patterns$" "$(osc show "$C" --json | jq -r .remedy)"
now go
check_threads "$C" "$PID" 2
check_wait "$C: show says that the placement is complete" 5 placement_is .state '"complete"'
check_eq "$C: and how that is known" \
	'["all that were recognised; there are no KVM descriptors to count them by",null]' \
	"$(placement '[.why, .expected]')"
check_eq "$C: show says of each vCPU what, where and whence" \
	"[[0,$(thread "$PID" 'CPU 0/KVM'),\"name\",\"$VCPU\"],[2,$(thread "$PID" 'CPU 2/KVM'),\"name\",\"$VCPU\"]]" \
	"$(placement '[.vcpus[] | [.index, .tid, .source, .cgroup]]')"
check_eq "$C: and when" '["number","number"]' "$(placement '[.vcpus[].placed_ms | type]')"
capture osc show "$C"
check_match "$C: show says it to people" "placement: complete, all that were recognised" "$OUT"
check_match "$C: and of each thread what it was recognised by" "$(thread "$PID" 'CPU 2/KVM') +CPU 2/KVM +sandbox +vCPU 2 by name" "$OUT"
check_eq "$C: nothing is to be done" "" "$(grep remedy <<<"$OUT" || :)"
check_eq "$C: nothing is to be done, for programs" null "$(osc show "$C" --json | jq .remedy)"
settle
now late
wait_for 5 has_thread "$PID" 'CPU 1/KVM' || :
check_threads "$C, more of them" "$PID" 3
check_thread "$C" "$PID" 'another worker' rest
settle
now rename
wait_for 5 has_thread "$PID" 'CPU 3/KVM' || :
check_threads "$C, one is a vCPU by its new name" "$PID" 4
ended=$(thread "$PID" 'CPU 2/KVM')
now exit
check_wait "$C: one ends" 5 test ! -e "/proc/$PID/task/$ended"
capture osc show "$C" --json
check_exit "$C: show" 0
check_eq "$C: show does not name it" "" "$(jq --argjson tid "$ended" '.. | objects | select(.tid? == $tid)' <<<"$OUT")"
check_eq "$C: show names the others" 3 "$(jq '[.threads[] | select(.vcpu)] | length' <<<"$OUT")"
check_wait "$C: the others are all" 5 placement_is '[.state, [.vcpus[].index]]' '["complete",[0,1,3]]'

# Somebody moves a vCPU thread by hand.
settle
tid=$(thread "$PID" 'CPU 0/KVM')
for hierarchy in "${HIERARCHIES[@]}"; do
	if [[ $hierarchy != unified ]]; then
		[[ ! ,$hierarchy, =~ ,(cpu|cpuacct), ]] || echo "$tid" >"${CG_DIR[$hierarchy]}$OVERHEAD/tasks"
	elif [[ $MODE == v2 ]]; then
		echo "$tid" >"${CG_DIR[unified]}$OVERHEAD/cgroup.threads"
	fi
done
began=$EPOCHREALTIME
check_wait "$C: a vCPU thread that was moved away is moved back" 10 placed "$tid" vcpu
# How soon is not judged: a machine that is busy with other tests is slow.
echo "# $C: after $(((${EPOCHREALTIME/[.,]/} - ${began/[.,]/}) / 1000)) ms, with an interval of $INTERVAL_MS ms"
# Only in one hierarchy, and not the one that the watcher reads its list from.
if [[ $MODE != v2 && $(hierarchy_of cpuacct) != "$(hierarchy_of cpu)" ]]; then
	settle
	echo "$tid" >"$(cg_file cpuacct "$OVERHEAD" tasks)"
	check_wait "$C: also one that was moved in one hierarchy only" 10 placed "$tid" vcpu
fi
check_threads "$C, in the end" "$PID" 3
stop

# --- names that lie ----------------------------------------------------------

# A payload that calls its threads vCPUs limits these and nobody else; names that
# only look alike, and one that tries to break whoever parses its stat, do not.
start lies --wait "$(file go)" 'CPU 0/KVM' 'CPU 99/KVM' vcpu7 'CPU x/KVM' 'CPU 0/KVMs' ' CPU 0/KVM' 'CPU -1/KVM' \
	'a) R 1 (CPU 0/K' 'CPU 99999999999' vcpu ')' $'CPU\n0/KVM' worker
now go
wait_for 10 has_thread "$PID" worker || :
for name in 'CPU 0/KVM' 'CPU 99/KVM' vcpu7; do
	check_thread "$C" "$PID" "$name" vcpu
done
for name in 'CPU x/KVM' 'CPU 0/KVMs' ' CPU 0/KVM' 'CPU -1/KVM' 'a) R 1 (CPU 0/K' vcpu ')' worker; do
	check_thread "$C" "$PID" "$name" rest
done
check "$C: init is where a rest thread belongs" placed "$PID" rest
# Whatever this one is taken for, it must be in one of the two.
stop

# A vCPU thread that hides behind another name must not get away from its limits.
configure ".hotplug_interval_ms = $INTERVAL_MS | .vcpu_timeout_ms = 300"
start hides --wait "$(file go)" --rename 'CPU 0/KVM' worker "$(file rename)" 'IO io0'
now go
check_threads "$C" "$PID" 1
# For 3 s its name might be that of the thread which started it.
sleep 3.5
now rename
wait_for 5 has_thread "$PID" worker || :
settle
check "$C: it stays in the sandbox cgroup" placed "$(threads "$PID" | sed -n 's/ worker$//p')" vcpu
stop

# A VMM whose threads have no names that anybody knows.
start nameless --wait "$(file go)" --generations 1 --late 'CPU 0/KVM' "$(file late)" a b c
now go
check_wait "$C: init has a child" 5 has_child "$PID"
check "$C: the VMM is under the limits" together "$(child "$PID")"
check "$C: init is, too" together "$PID"
check_wait "$C: show says after the timeout that there is no vCPU" 10 placement_is '[.state, .why]' \
	'["none","no vCPU thread appeared in time"]'
check "$C: the VMM is under the limits still" together "$(child "$PID")"
now late
wait_for 5 has_thread "$(child "$PID")" 'CPU 0/KVM' || :
check_threads "$C, split after all" "$(child "$PID")" 1
check_threads "$C, split after all: init" "$PID" 0
stop

# A setting of earlier versions, to leave a payload without vCPUs in the overhead cgroup.
configure ".hotplug_interval_ms = $INTERVAL_MS | .vcpu_timeout_ms = 300 | .no_vcpu = \"keep\""
start kept --wait "$(file go)" 'CPU 0/KVM' worker
capture osc plan --json <"$WORK/$C/created"
check_match "$C: plan says that no_vcpu has no effect" "no_vcpu has no effect any more" "$(jq -r '.warnings[]' <<<"$OUT")"
check "$C: it is in the sandbox cgroup" together "$PID"
# That nothing happens can only be seen by waiting.
sleep 1
check "$C: and stays there, with no vCPU in time" together "$PID"
now go
wait_for 5 has_thread "$PID" 'CPU 0/KVM' || :
check_threads "$C, vCPUs that come later" "$PID" 1
stop

# --- what the overhead is limited to -----------------------------------------

# quota_is CGROUP QUOTA - of 100 ms
quota_is() {
	local got
	if [[ $MODE == v2 ]]; then
		got=$(<"$(cg_file cpu "$1" cpu.max)")
		[[ $got == "$2 100000" ]]
	else
		got=$(<"$(cg_file cpu "$1" cpu.cfs_quota_us)")
		[[ $got == "$2" ]]
	fi || {
		echo "expected $2, got $got"
		return 1
	}
}

# quotas_are VCPUS OTHERS - in microseconds per 100 ms, -1: none; on v2 OTHERS is that of both together
quotas_are() {
	local got
	if [[ $MODE == v2 ]]; then
		got="$(cat "$(cg_file cpu "$VCPU" cpu.max)") $(cat "$(cg_file cpu "$OVERHEAD" cpu.max)")"
		[[ $got == "$1 100000 ${2/-1/max} 99999" ]]
	else
		got="$(cat "$(cg_file cpu "$VCPU" cpu.cfs_quota_us)") $(cat "$(cg_file cpu "$OVERHEAD" cpu.cfs_quota_us)")"
		[[ $got == "$1 $2" ]]
	fi || {
		echo "expected $1 and $2, got $got"
		return 1
	}
}

if hierarchy_of cpu >/dev/null; then
	configure ".hotplug_interval_ms = $INTERVAL_MS | .overhead_limits.cpu = {quota: 30000, period: 100000, shares: 77}"
	start overhead --wait "$(file go)" --exit 'CPU 0/KVM' "$(file exit)" --late 'CPU 1/KVM' "$(file late)" worker
	check "$C: without a vCPU all is in the sandbox cgroup" together "$PID"
	now go
	check_threads "$C" "$PID" 1
	both=30000
	# In a period of 99999.
	[[ $MODE != v2 ]] || both=429996
	check_wait "$C: the vCPU has the sandbox's quota, the others theirs" 10 quotas_are 400000 $both
	[[ $MODE == v2 ]] || check_eq "$C: and their shares" 77 "$(<"$(cg_file cpu "$OVERHEAD" cpu.shares)")"
	now exit
	check_wait "$C: the last vCPU ends: all is together" 10 together "$PID"
	check_wait "$C: under the quota" 10 quota_is "$SANDBOX" 400000
	now late
	wait_for 5 has_thread "$PID" 'CPU 1/KVM' || :
	check_threads "$C, another vCPU" "$PID" 1
	check_wait "$C: the quotas are apart again" 10 quotas_are 400000 $both
	stop
else
	skip "overhead_limits" "no hierarchy has the controller cpu here"
fi

# Nothing can be set apart on v2 without a quota.
configure ".hotplug_interval_ms = $INTERVAL_MS"
FILTER='del(.linux.resources)' start unlimited 'CPU 0/KVM' worker
if [[ $MODE == v2 ]]; then
	check_wait "$C: placement says why nothing is apart" 10 placement_is '[.state, (.why | test("there is nothing to set apart"))]' \
		'["partial",true]'
	check "$C: all is together" together "$PID"
else
	check_threads "$C: without a quota" "$PID" 1
fi
stop

# --- a watcher that ends -----------------------------------------------------

configure ".hotplug_interval_ms = $INTERVAL_MS"
start told --wait "$(file go)" --late 'CPU 1/KVM' "$(file late)" 'CPU 0/KVM' worker
now go
check_threads "$C" "$PID" 1
check_wait "$C: there is a watcher" 5 has_watcher "$C"
watcher=$(watcher_pid "$C")
kill -TERM "$watcher"
check_wait "$C: SIGTERM ends it" 5 is_dead "$watcher"
check_wait "$C: there is no other" 5 no_watcher_left
check "$C: what holds the runtime's cgroup stays" only_placeholder "$OWN"
check_match "$C: the sandbox stays" "exists in" "$(cg_exists "$SANDBOX" || :)"
check_threads "$C, without a watcher" "$PID" 1
capture osc prune
check_exit "$C: prune" 0
check_match "$C: the sandbox stays after prune" "exists in" "$(cg_exists "$SANDBOX" || :)"
now late
wait_for 5 has_thread "$PID" 'CPU 1/KVM' || :
capture osc poststart <"$WORK/$C/running"
check_exit "$C: poststart" 0
check_wait "$C: poststart has started a watcher" 5 has_watcher "$C"
check_eq "$C: just one" 1 "$(watchers | wc -l)"
check_wait "$C: which places the new thread" 10 placed "$(thread "$PID" 'CPU 1/KVM')" vcpu
check_threads "$C, with a new watcher" "$PID" 2
stop

# A prestart that comes again does the same for a watcher that was killed.
start killed --wait "$(file go)" 'CPU 0/KVM' worker
watcher=$(watcher_pid "$C")
kill -KILL "$watcher" || :
check_wait "$C: the watcher is dead" 5 is_dead "$watcher"
capture osc prestart <"$WORK/$C/created"
check_exit "$C: prestart again" 0
check_wait "$C: there is a watcher again" 5 has_watcher "$C"
now go
check_threads "$C" "$PID" 1
stop

configure '.hotplug_interval_ms = 0'
start leaves --wait "$(file go)" --late 'CPU 1/KVM' "$(file late)" 'CPU 0/KVM' worker
now go
check_threads "$C" "$PID" 1
check_wait "$C: the watcher leaves once settled" 15 no_watcher_left
check_match "$C: the sandbox stays" "exists in" "$(cg_exists "$SANDBOX" || :)"
now late
wait_for 5 has_thread "$PID" 'CPU 1/KVM' || :
check "$C: nobody has seen the new thread" placed "$(thread "$PID" 'CPU 1/KVM')" rest
check_eq "$C: show knows that it is not placed" '["partial",[["number"],["null"]]]' \
	"$(placement '[.state, [.vcpus[] | [.placed_ms | type]]]')"
capture osc update "$C"
check_exit "$C: update" 0
check "$C: update has placed the new thread" placed "$(thread "$PID" 'CPU 1/KVM')" vcpu
check_threads "$C, rescanned" "$PID" 2
check "$C: update leaves no watcher" no_watcher_left
capture osc poststart <"$WORK/$C/running"
check_exit "$C: poststart" 0
check_wait "$C: the watcher of another stage leaves, too" 15 no_watcher_left
stop

# --- whose child it is -------------------------------------------------------

configure ".hotplug_interval_ms = $INTERVAL_MS"
C=session
fake_container "$C"
set_layout "$C"
# A runtime whose whole process group is killed right after prestart.
# shellcheck disable=SC2016 # that shell's own
setsid bash -c 'echo $$ >"$4.pid"; "$1" --state-dir "$2" --config "$3" prestart; echo $? >"$4"; exec sleep 1000' \
	bash "$OSC" "$STATE" "$CONF" "$WORK/rc" <"$WORK/$C/created" >/dev/null 2>&1 &
disown
wait_for 20 test -s "$WORK/rc" || :
started "$(<"$WORK/rc.pid")"
check_eq "$C: setup" 0 "$(cat "$WORK/rc" 2>&1)"
check_wait "$C: there is a watcher" 5 has_watcher "$C"
watcher=$(watcher_pid "$C")
kill -HUP -- "-$(<"$WORK/rc.pid")"
kill -KILL -- "-$(<"$WORK/rc.pid")" 2>/dev/null || :
wait_for 5 is_dead "$(<"$WORK/rc.pid")" || :
check "$C: the watcher outlives the runtime" has_watcher "$C"
check "$C: it is in none of the container's cgroups" stays_outside "$watcher"
check_eq "$C: it has a session of its own" "$watcher" "$(ps -o sid= -p "$watcher" | tr -d ' ')"
check_eq "$C: nothing of the hook's stdin, stdout and stderr" "/dev/null /dev/null /dev/null" \
	"$(readlink "/proc/$watcher/fd/0" "/proc/$watcher/fd/1" "/proc/$watcher/fd/2" | xargs)"
check_eq "$C: nor of its directory" / "$(readlink "/proc/$watcher/cwd")"
# In a shell of its own, as there is no way back.
if (echo -999 >/proc/self/oom_score_adj) 2>/dev/null; then
	check_eq "$C: it is the last to be killed for memory" -999 "$(<"/proc/$watcher/oom_score_adj")"
else
	skip "$C: it is the last to be killed for memory" "nobody may ask for that here"
fi
vmm_pid=$PID
"$VMM" 'CPU 0/KVM' worker >/dev/null 2>&1 </dev/null &
child=$!
disown
started "$child"
cg_enter "$SANDBOX" "$child"
check_threads "$C: it still places threads" "$child" 1
end_process "$child"
PID=$vmm_pid
stop

finish
