#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Whose a sandbox is. Two sandboxes that want the same cgroup, stages of the containers of a pod
# that cross, ids that come back elsewhere, processes of ours that cannot start, and what setups
# remove in passing. The script plays the runtime.

# shellcheck disable=SC2016 # $name in single quotes is jq's
# shellcheck disable=SC2317 # functions are called by name
# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"
# shellcheck source=../lib/limits.sh
. "$TESTS/lib/limits.sh"
# shellcheck source=../lib/observe.sh
. "$TESTS/lib/observe.sh"
# shellcheck source=../lib/faults.sh
. "$TESTS/lib/faults.sh"

declare -A PIDS=()
# No process here is a VMM, and nobody is to be told of that: nothing is split, all is in the sandbox cgroup.
BASIC='.vcpu_timeout_ms = 3600000'
configure "$BASIC"
before=$(snapshot)

# container NAME [JQ_FILTER]
container() {
	fake_container "$@"
	PIDS[$1]=$PID
}

# of_pod POD - a filter
of_pod() {
	echo '.annotations = {"io.kubernetes.cri.container-type": "container", "io.kubernetes.cri.sandbox-id": "'"$1"'"}'
}

# stage STAGE NAME EXIT [TITLE]
stage() {
	local state=created
	[[ $1 != poststop ]] || state=stopped
	[[ $1 != poststart ]] || state=running
	capture osc "$1" <"$WORK/$2/$state"
	check_exit "${4-$2}: $1" "$3"
}

# gone TITLE NAME... - their processes, the runtime's cgroups and everything of ours
gone() {
	local title=$1 name
	shift
	for name; do
		end_process "${PIDS[$name]}"
	done
	for name; do
		capture osc poststop <"$WORK/$name/stopped"
		drop_fake "$name" "${PIDS[$name]}"
	done
	check_nothing_left "$title" "$before"
}

# read_quota CGROUP - in microseconds, or "max"
read_quota() {
	local quota
	if [[ $MODE == v2 ]]; then
		read -r quota _ <"$(cg_file cpu "$1" cpu.max)"
	else
		quota=$(<"$(cg_file cpu "$1" cpu.cfs_quota_us)")
	fi
	echo "${quota/#-1/max}"
}

# --- one cgroup, two sandboxes -----------------------------------------------

quota='.linux.resources.cpu = {quota: 20000, period: 100000}'
available cpu || quota=.
for only in false true; do
	title="the same path, only=$only"
	configure "$BASIC | .sandbox_cgroup_only = $only"
	container a "$quota"
	container b ".linux.cgroupsPath = \"$BASE/a\" | .linux.resources.pids = {limit: 5}"
	stage prestart a 0 "$title, the first"
	stage prestart b 1 "$title, the second"
	check_match "$title: says whose it is" 'is that of sandbox a, which is running' "$ERR"
	check "$title: the second is where it was" is_in "${PIDS[b]}" "$BASE/b"
	set_layout a a "$only"
	check "$title: the first is where it belongs" together "${PIDS[a]}"
	stage poststop b 0 "$title, the second, which never got in"
	check "$title: the first still is" together "${PIDS[a]}"
	check "$title: and has its sandbox" cg_exists "$SANDBOX"
	# It dies, and nobody says so: the path is free.
	[[ $only == true ]] || kill -STOP "$(watcher_pid a)"
	end_process "${PIDS[a]}"
	stage prestart b 0 "$title, the second, now that the first is dead"
	set_layout a b "$only"
	check "$title: the second is where it belongs" together "${PIDS[b]}"
	check_eq "$title: sandboxes" b "$(osc list --json | jq -r '.[].sandbox_id')"
	stage poststop a 0 "$title, a late one of the first"
	capture osc prune
	check_exit "$title: prune" 0
	check "$title: the second still is" together "${PIDS[b]}"
	gone "$title" a b
done
configure "$BASIC"

# A claim that a killed stage left, of a sandbox that was never made.
container a
mkdir -p "$STATE/paths" "$STATE/sandboxes"
stage prestart a 0 "a claim without a sandbox"
claim=$(find "$STATE/paths" -lname "a$BASE/kata_a" -printf '%f')
end_process "${PIDS[a]}"
stage poststop a 0 "a claim without a sandbox"
check "a claim goes with its sandbox" no_record_left
ln -s "ghost$BASE/kata_a" "$STATE/paths/$claim"
fake_process a
PIDS[a]=$PID
stage prestart a 0 "a claim of nobody"
check_eq "a claim of nobody: it is a's now" "a$BASE/kata_a" "$(readlink "$STATE/paths/$claim")"
gone "a claim of nobody" a
ln -s "ghost$BASE/kata_a" "$STATE/paths/$claim"
capture osc prune
check "prune releases a claim of nobody" no_record_left

# --- strangers ---------------------------------------------------------------

# An annotation is its author's word: who is not in the pod's cgroup is not in the pod.
container resident "$(of_pod home) | $quota"
container stranger "$(of_pod home) | .linux.cgroupsPath = \"$BASE/elsewhere/stranger\""
stage prestart resident 0 "a pod"
set_pod_layout "$BASE" home
inside=$(snapshot)
stage prestart stranger 2 "a stranger"
check_match "a stranger: says why" 'not in the same parent cgroup' "$ERR"
check "a stranger: it is where it was" is_in "${PIDS[stranger]}" "$BASE/stranger"
check "a stranger: the resident is where it was" together "${PIDS[resident]}"
check "a stranger: nothing has changed" same_as "$inside"
! available cpu || check_eq "a stranger: the resident's quota holds" 20000 "$(read_quota "$SANDBOX")"
check_eq "a stranger: it is not in the record" resident "$(jq -r '.containers[].id' "$STATE/sandboxes/home/record.json")"
stage poststop stranger 0 "a stranger"
check "a stranger's poststop: the resident is where it was" together "${PIDS[resident]}"
gone "a stranger" resident stranger

# A sandbox that is called like a container of another one is not that container's.
container member "$(of_pod home)"
stage prestart member 0 "a member"
container namesake "$(of_pod member) | .linux.cgroupsPath = \"$BASE/elsewhere/namesake\""
stage prestart namesake 0 "a pod of the member's name"
end_process "${PIDS[member]}"
stage poststop member 0 "the member's end"
check "the member's end: its pod is gone" test ! -e "$STATE/sandboxes/home"
check "the member's end: the other is there" test -e "$STATE/sandboxes/member"
gone "names of pods and containers" member namesake
cg_remove "$BASE/elsewhere"

# Of two runtimes that come with the same id the first one has it.
container first "$quota" twin
container second . twin
stage prestart first 0 "a namesake, the first"
stage prestart second 1 "a namesake, the second"
check_match "a namesake, the second: says why" 'container twin already runs in sandbox twin' "$ERR"
end_process "${PIDS[second]}"
set_layout first twin
inside=$(snapshot)
for times in once twice; do
	capture osc poststop <"$WORK/second/stopped"
	check_exit "a namesake's poststop, $times" 0
	check_match "a namesake's poststop, $times: says whose it is not" 'container twin of bundle .*/first runs on' "$ERR"
	check "a namesake's poststop, $times: the first lives" is_alive "${PIDS[first]}"
	check "a namesake's poststop, $times: it is where it was" together "${PIDS[first]}"
	check "a namesake's poststop, $times: nothing has changed" same_as "$inside"
	check "a namesake's poststop, $times: the watcher lives" has_watcher twin
done
# What crun says of the bundle now and then is no other's.
capture osc poststop < <(jq '.bundle = "/"' "$WORK/first/stopped")
check_exit "a poststop of no bundle" 0
check "a poststop of no bundle: its container is gone" is_dead "${PIDS[first]}"
gone "namesakes" first second

# A cgroup that holds somebody else is not taken over.
container taken "$quota"
cg_make "$BASE/kata_taken"
sleep infinity &
other=$!
disown
started "$other"
cg_enter "$BASE/kata_taken" "$other"
stage prestart taken 1 "a cgroup that is somebody's"
check_match "a cgroup that is somebody's: says so" 'kata_taken is there already and holds processes' "$ERR"
check "a cgroup that is somebody's: the container is where it was" is_in "${PIDS[taken]}" "$BASE/taken"
! available cpu || check_eq "a cgroup that is somebody's: it gets no quota" max "$(read_quota "$BASE/kata_taken")"
stage poststop taken 0 "a cgroup that is somebody's"
check "a cgroup that is somebody's: who was in it is" is_in "$other" "$BASE/kata_taken"
end_process "$other"
cg_remove "$BASE/kata_taken"
gone "a cgroup that is somebody's" taken

# Nor is the runtime's own of a container that is in its sandbox cgroup by now, so that nobody is in it; or one
# around that.
is_everywhere() {
	[[ $(cg_exists "$1" | wc -w) == $((${#HIERARCHIES[@]} + 3)) ]]
}
for name in kata_left kata_right/x; do
	wanting=${name#kata_} title="a cgroup that is $name's own"
	wanting=${wanting%/x}
	container "$name" "$quota" "${name##*/}"
	stage prestart "$name" 0 "$title"
	container "$wanting" "$quota"
	stage prestart "$wanting" 1 "$title: another container"
	check_match "$title: says so" "kata_$wanting is (that of a container which runs in another sandbox|there already and holds processes)" "$ERR"
	check "$title: the other is where it was" is_in "${PIDS[$wanting]}" "$BASE/$wanting"
	end_process "${PIDS[$wanting]}"
	stage poststop "$wanting" 0 "$title: another container"
	check "$title: it is there" is_everywhere "$BASE/$name"
	gone "$title" "$name" "$wanting"
done
cg_remove "$BASE/kata_right"

# Nor may a container be inside of another's sandbox cgroup, whoever has made that cgroup.
for layout in sibling nested; do
	title="inside of another's, $layout"
	container around "$quota"
	stage prestart around 0 "$title: the other"
	container kata_around/in "$quota" in
	configure "$BASIC | .layout = \"$layout\""
	stage prestart kata_around/in 1 "$title"
	check_match "$title: says whose" "$BASE/kata_around/in is inside of $BASE/kata_around, which is that of sandbox around;" "$ERR"
	capture osc plan --json <"$WORK/kata_around/in/created"
	check_exit "$title: plan" 0
	check_match "$title: plan warns" "it would be refused: $BASE/kata_around/in is inside of $BASE/kata_around," "$(jq -r '.warnings[]' <<<"$OUT")"
	capture osc plan --stage poststop --json <"$WORK/kata_around/in/stopped"
	check_exit "$title: plan of a teardown" 0
	check_eq "$title: a teardown is not refused" "" "$(jq -r '.warnings[]' <<<"$OUT" | grep refused)"
	check "$title: it is where it was" is_in "${PIDS[kata_around/in]}" "$BASE/kata_around/in"
	check_eq "$title: sandboxes" around "$(osc list --json | jq -r '.[].sandbox_id')"
	stage poststop kata_around/in 0 "$title"
	configure "$BASIC"
	check "$title: the other is" is_in "${PIDS[around]}" "$BASE/kata_around"
	gone "$title" kata_around/in around
done
# What a killed stage has claimed, and did not make, is around nobody.
container around
mkdir -p "$STATE/paths" "$STATE/sandboxes"
stage prestart around 0 "inside of a claim"
claim=$(find "$STATE/paths" -lname "around$BASE/kata_around" -printf '%f')
end_process "${PIDS[around]}"
stage poststop around 0 "inside of a claim"
drop_fake around "${PIDS[around]}"
ln -s "ghost$BASE/kata_around" "$STATE/paths/$claim"
container kata_around/in "$quota" in
capture osc plan --json <"$WORK/kata_around/in/created"
check_eq "inside of a claim of nobody: plan does not mind" "" "$(jq -r '.warnings[]' <<<"$OUT" | grep refused)"
stage prestart kata_around/in 0 "inside of a claim of nobody"
check "inside of a claim of nobody: it has its sandbox" is_in "${PIDS[kata_around/in]}" "$BASE/kata_around/kata_in"
end_process "${PIDS[kata_around/in]}"
stage poststop kata_around/in 0 "inside of a claim of nobody"
drop_fake kata_around/in "${PIDS[kata_around/in]}"
cg_remove "$BASE/kata_around"
capture osc prune
check_nothing_left "inside of a claim of nobody" "$before"

# What others may have written is not believed.
container private
stage prestart private 0 "a state directory of others"
for part in . sandboxes sandboxes/private/record.json; do
	chmod a+w "$STATE/$part"
	stage poststart private 1 "a state directory of others, $part"
	check_match "a state directory of others, $part: says so" 'can be written by others' "$ERR"
	check "a state directory of others, $part: the container is where it was" is_in "${PIDS[private]}" "$BASE/kata_private"
	chmod go-w "$STATE/$part"
done
stage poststart private 0 "a state directory that is ours again"
gone "a state directory of others" private

# --- stages that cross -------------------------------------------------------

cg_make "$BASE/pod"
inside=$before
before=$(snapshot)
container pod/first "$(of_pod pod)" first
container pod/late "$(of_pod pod)" late
# What a runtime would do for containers whose poststop is late, or comes twice.
if can_trace; then
	container other
	stage prestart other 0 "a late poststop"
	# It looks, finds no sandbox, and waits; meanwhile another container begins one.
	strace -o /dev/null -e trace=unlinkat -e inject=unlinkat:delay_exit=1500000:when=1 \
		"$OSC" --state-dir "$STATE" --config "$CONF" poststop <"$WORK/pod/late/stopped" >"$WORK/log" 2>&1 &
	late=$!
	sleep 0.5
	stage prestart pod/first 0 "a late poststop, a container that begins the sandbox meanwhile"
	RC=0
	wait "$late" || RC=$?
	check_eq "a late poststop: succeeds" 0 "$RC"
	set_pod_layout "$BASE/pod" pod
	check "a late poststop: the sandbox is there" cg_exists "$SANDBOX"
	check "a late poststop: its container is in it" together "${PIDS[pod/first]}"
	gone "a late poststop" pod/first pod/late other
else
	skip "a late poststop" "strace cannot trace here"
	gone "a late poststop" pod/first pod/late
fi

# An id that is used again, in another pod, while the old pod has not heard of its end.
container pod/keep "$(of_pod podA)" keep
container pod/x "$(of_pod podA)" x
stage prestart pod/keep 0
stage prestart pod/x 0
end_process "${PIDS[pod/x]}"
container pod/again "$(of_pod podB)" x
stage prestart pod/again 0 "an id that comes back"
container pod/y "$(of_pod podA)" y
stage prestart pod/y 0
check_eq "an id that comes back: its pod is the new one" podB "$(readlink "$STATE/containers/x")"
check_eq "an id that comes back: the old pod has forgotten it" "keep y" \
	"$(jq -r '[.containers[].id] | sort | join(" ")' "$STATE/sandboxes/podA/record.json")"
end_process "${PIDS[pod/again]}"
rm "$WORK/pod/again/config.json"
stage poststop pod/again 0 "an id that comes back, without its config.json"
check "an id that comes back: its sandbox is gone" cg_gone "$BASE/pod/kata_podB"
gone "an id that comes back" pod/keep pod/x pod/again pod/y
before=$inside
cg_remove "$BASE/pod"

# The process ends before its poststart.
container brief
stage prestart brief 0
end_process "${PIDS[brief]}"
stage poststart brief 0 "a process that has ended"
stage prestart brief 2 "a process that has ended"
gone "a process that has ended" brief

# A watcher that has left, because it need not stay, and one more container.
VMM=$(helper fake_vmm)
configure ".hotplug_interval_ms = 0"
# vmm NAME - the container's process is one with a vCPU
vmm() {
	container "$1" "$(of_pod left)"
	end_process "$PID"
	"$VMM" "CPU 0/KVM" worker >/dev/null 2>&1 </dev/null &
	PID=$!
	disown
	started "$PID"
	PIDS[$1]=$PID
	cg_enter "$(own_cgroup "$1")" "$PID"
	sed -i "s/\"pid\": [0-9]*/\"pid\": $PID/" "$WORK/$1/created"
	stage prestart "$1" 0 "a watcher that leaves"
}
no_watcher() {
	[[ $(watcher_pid left) == none ]] && no_watcher_left
}
set_layout left
vmm one
check_threads "a watcher that leaves: the first VMM" "${PIDS[one]}" 1
check_wait "a watcher that leaves: it has" 30 no_watcher
vmm two
check_threads "a watcher that leaves: the next VMM" "${PIDS[two]}" 1
check_threads "a watcher that leaves: the first VMM, then" "${PIDS[one]}" 1
gone "a watcher that leaves" one two
configure "$BASIC"

# --- what cannot be looked at ------------------------------------------------

for name in bad1 bad2; do
	mkdir -m 700 "$STATE/sandboxes/$name"
	touch "$STATE/sandboxes/$name/lock"
	(umask 077 && echo '{' >"$STATE/sandboxes/$name/record.json")
done
for verb in list "prune --dry-run" prune; do
	# shellcheck disable=SC2086 # words
	capture osc $verb
	check_exit "damaged records: $verb" 1
	check_match "damaged records: $verb names the first" "sandbox bad[12]: record.json" "$ERR"
	check_eq "damaged records: $verb names both" 2 "$(grep -cE "sandbox bad[12]: record.json" <<<"$ERR")"
	check "damaged records: $verb leaves them" test -e "$STATE/sandboxes/bad1/record.json" -a -e "$STATE/sandboxes/bad2/record.json"
	[[ $verb != list ]] || check_eq "damaged records: list has both" 2 "$(grep -c unreadable <<<"$OUT")"
done
rm -r "$STATE/sandboxes/bad1" "$STATE/sandboxes/bad2"
capture osc list
check_exit "damaged records: list, without them" 0

# --- processes of ours that cannot start -------------------------------------

# calls SYSCALL - of a setup of `victim`, which is undone
calls() {
	strace -o "$WORK/trace" -e trace="$1" "$OSC" --state-dir "$STATE" --config "$CONF" prestart \
		<"$WORK/victim/created" >/dev/null 2>&1
	osc poststop <"$WORK/victim/stopped" 2>/dev/null
	grep -c "^$1(" "$WORK/trace"
}

if can_trace; then
	container victim
	# The last write lets the watcher go.
	count=$(calls write)
	# That one has ended.
	fake_process victim
	PIDS[victim]=$PID
	was=$(cat "/proc/${PIDS[victim]}/cgroup")
	capture strace -o /dev/null -e trace=write -e inject=write:error=EIO:when="$count" \
		"$OSC" --state-dir "$STATE" --config "$CONF" prestart <"$WORK/victim/created"
	check_exit "a watcher that cannot be let go: prestart" 1
	check_match "a watcher that cannot be let go: says so" 'cannot let process [0-9]+ of ours go' "$ERR"
	check_eq "a watcher that cannot be let go: the process is where it was" "$was" "$(cat "/proc/${PIDS[victim]}/cgroup")"
	check "a watcher that cannot be let go: no process of ours left" no_process_left
	capture strace -o /dev/null -P /dev/null -e trace=openat -e inject=openat:error=EMFILE \
		"$OSC" --state-dir "$STATE" --config "$CONF" prestart <"$WORK/victim/created"
	check_exit "no /dev/null: prestart" 1
	check_match "no /dev/null: says so" '/dev/null.*EMFILE' "$ERR"
	# It cannot open what it needs at first: it tries until it can.
	strace -f -o /dev/null -P /proc/self/mountinfo -e trace=openat -e inject=openat:error=ENFILE:when=2..40 \
		"$OSC" --state-dir "$STATE" --config "$CONF" prestart <"$WORK/victim/created" >"$WORK/log" 2>&1 &
	disown
	set_layout victim
	check_wait "a watcher that cannot open anything: prestart succeeds" 20 together "${PIDS[victim]}"
	sleep 0.3
	check "a watcher that cannot open anything: lives" has_watcher victim
	end_process "${PIDS[victim]}"
	# Nobody calls poststop: it must have come to work for that.
	check_wait "a watcher that cannot open anything: works in the end" 30 cg_gone "$SANDBOX"
	gone "processes of ours that cannot start" victim
	# Killed between making parents and the cgroup: poststop finds only these.
	container victim ".linux.cgroupsPath = \"$BASE/new/er/victim\""
	capture strace -o /dev/null -e trace=mkdirat -e inject=mkdirat:signal=KILL:when=8 \
		"$OSC" --state-dir "$STATE" --config "$CONF" prestart <"$WORK/victim/created"
	check "parents of a cgroup that was never made: some are there" cg_exists "$BASE/new"
	end_process "${PIDS[victim]}"
	stage poststop victim 0 "parents of a cgroup that was never made"
	check "parents of a cgroup that was never made: they are gone" cg_gone "$BASE/new"
	gone "parents of a cgroup that was never made" victim
else
	skip "processes of ours that cannot start" "strace cannot trace here"
fi

# --- what setups remove in passing -------------------------------------------

# One dead sandbox among many: each setup looks at some of all of them.
configure "$BASIC | .sandbox_cgroup_only = true"
container dead
container live
stage prestart dead 0
stage prestart live 0
for ((i = 0; i < 100; i++)); do
	mkdir "$STATE/sandboxes/copy$i"
	touch "$STATE/sandboxes/copy$i/lock"
	sed "s/\"sandbox_id\": *\"live\"/\"sandbox_id\": \"copy$i\"/" "$STATE/sandboxes/live/record.json" \
		>"$STATE/sandboxes/copy$i/record.json"
done
end_process "${PIDS[dead]}"
for ((setups = 0; setups < 2000; setups++)); do
	[[ -d $STATE/sandboxes/dead ]] || break
	osc prestart <"$WORK/live/created" || fail "many sandboxes: setup" "exit status $?"
done
check "many sandboxes: setups find the dead one, here the ${setups}th" test ! -d "$STATE/sandboxes/dead"
rm -r "$STATE/sandboxes"/copy*
gone "many sandboxes" dead live
configure "$BASIC"

# One whose watcher is stuck costs others nothing.
container dead
container live
stage prestart dead 0
kill -STOP "$(watcher_pid dead)"
end_process "${PIDS[dead]}"
stage prestart live 0 "a dead sandbox whose watcher is stuck"
check "a dead sandbox whose watcher is stuck: a setup has not waited to end it" has_watcher dead
kill -CONT "$(watcher_pid dead)"
gone "a dead sandbox whose watcher is stuck" dead live

# A directory that a stage made before it was killed.
mkdir -p "$STATE/sandboxes/nothing"
capture osc list
check_eq "a sandbox without a lock: list does not change it" "" "$(ls -A "$STATE/sandboxes/nothing")"
capture osc prune
check "a sandbox without a lock: prune removes it" no_record_left

finish
