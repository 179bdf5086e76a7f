#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Limits that an operator changes: `update` with --cpus, --mems and --resources. They hold in every hierarchy, with
# and without the split, beside what the runtime changes and whoever joins or leaves; what is refused, or fails
# in the middle, changes nothing.

# shellcheck disable=SC2016 # $name in single quotes is jq's
# shellcheck disable=SC2317 # functions are called by name
# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"
# shellcheck source=../lib/limits.sh
. "$TESTS/lib/limits.sh"
# shellcheck source=../lib/pods.sh
. "$TESTS/lib/pods.sh"

MIB=$((1 << 20))
VMM=$(helper fake_vmm)
two_cpus=$one_cpu
[[ $(nproc) == 1 || $one_cpu == none ]] || two_cpus=$all_cpus

# update NAME ID DOCUMENT [ARGS...] - what it says is JSON
update() {
	local name=$1 id=$2 document=$3
	shift 3
	if [[ -n $document ]]; then
		capture osc --json update "$id" --resources - "$@" <<<"$document"
	else
		capture osc --json update "$id" "$@"
	fi
	check_exit "$POD: $name" 0
}

# changed NAME CONTROLLER V1_FILE V1_VALUE V2_FILE V2_VALUE - so says the last answer, and so it is
changed() {
	local file=$3 value=$4
	[[ $MODE != v2 ]] || file=$5 value=$6
	has "$@"
	! available "${2/blkio/io}" ||
		check_eq "$POD: $1: the answer has $file" "$value" "$(jq -r --arg file "$file" '.changed[$file]' <<<"$OUT")"
}

# becomes NAME CONTROLLER V1_FILE V1_VALUE V2_FILE V2_VALUE - as has(), when the watcher has had the time
becomes() {
	local file=$3 value=$4
	[[ $MODE != v2 ]] || file=$5 value=$6
	if available "$2"; then
		check_wait "$POD: $1: $file" 10 is_now "$2" "$SANDBOX" "$file" "$value"
	else
		skip "$POD: $1: $file" "no hierarchy has the controller $2 here"
	fi
}

# is_now CONTROLLER CGROUP FILE TEXT
is_now() {
	local got
	got=$(cat "$(cg_file "$1" "$2" "$3")" 2>&1) || :
	[[ $got == "$4" ]] || {
		echo "expected $4, got $got"
		return 1
	}
}

# quota_is US - that of the vCPUs
quota_is() {
	if [[ $MODE == v2 ]]; then
		is_now cpu "$VCPU" cpu.max "$1 100000"
	else
		is_now cpu "$VCPU" cpu.cfs_quota_us "$1"
	fi
}

# is_lifted - v2: the overhead has no quota, as we say it
is_lifted() {
	[[ $MODE != v2 || $ONLY == true ]] || is_now cpu "$SANDBOX" cpu.max "max 99999"
}

# kill_watcher ID
kill_watcher() {
	local watcher
	watcher=$(watcher_pid "$1")
	kill -KILL "$watcher"
	check_wait "$POD: the watcher is killed" 10 is_dead "$watcher"
}

# --- a VM of a runtime's, with and without the split ------------------------------

# A device list that somebody else has made smaller, as another hook may, stays as it is. Of v2 without systemd
# nobody can read which there is.

# has_list - whether it can be read
has_list() {
	[[ $MANAGER == systemd ]] || { [[ $MODE != v2 ]] && available devices; }
}

list_now() {
	[[ $MANAGER != systemd ]] || systemctl show -p DeviceAllow -p DevicePolicy -- "${SANDBOX##*/}" 2>&1
	[[ $MODE == v2 ]] || ! available devices || cat "$(cg_file devices "$SANDBOX" devices.list)"
}

# shorten_list - by the TUN device, which is allowed by default
shorten_list() {
	list_before=$(list_now)
	if [[ $MANAGER == systemd ]]; then
		systemctl set-property --runtime -- "${SANDBOX##*/}" DeviceAllow= DevicePolicy=strict
	else
		echo "c 10:200 rwm" >"$(cg_file devices "$SANDBOX" devices.deny)"
	fi
	[[ $(list_now) != "$list_before" ]] || fail "$POD: another hook denies a device"
	list_before=$(list_now)
}

# keeps_list NAME
keeps_list() {
	! has_list || check_eq "$POD: $1: the device list is what another hook has left" "$list_before" "$(list_now)"
}

# document MEMBER=VALUE... - linux.resources of what can be limited here
document() {
	jq -cn '{linux: {resources: {}}} | '"$(with "$@")"' | .linux.resources'
}

# start NAME ONLY - under the real runtime, with every limit
start() {
	POD=$1 RECORD=$STATE/sandboxes/$TAG-$1/record.json
	set_layout "$1" "$TAG-$1" "$2"
	configure ".hotplug_interval_ms = 200 | .sandbox_cgroup_only = $2"
	make_bundle "$1" '["/fake_vmm", "CPU 0/KVM", "CPU 1/KVM", "worker"]' \
		"$(with cpu=50000 shares=1024 cpus="$two_cpus" pids=60 memory=$((256 * MIB)))"
	install -m 0755 "$VMM" "$WORK/$1/rootfs/fake_vmm"
	add_hooks "$1" "prestart poststop"
	before=$(snapshot)
	if ! run_container "$1"; then
		fail "$1: the runtime starts the container" "$(cat "$WORK/$1/log")"
		return 1
	fi
	[[ $2 == true ]] || check_wait "$1: split" 20 settled "$PID" 2
}

# vm NAME ONLY - the operator's word beside the runtime's: of each limit the last one counts
vm() {
	local own id=$TAG-$1
	start "$1" "$2" || return 0
	! has_list || shorten_list
	update "one CPU" "$id" "" --cpus "$one_cpu"
	keeps_list "one CPU"
	if [[ $two_cpus != "$one_cpu" ]]; then
		changed "one CPU" cpuset cpuset.cpus "$one_cpu" cpuset.cpus "$one_cpu"
		check_file "$POD: the runtime's own" cpuset "$OWN" cpuset.cpus "$two_cpus"
	fi
	update "one node" "$id" "" --mems "$(first_of "$all_mems")"
	has "one node" cpuset cpuset.mems "$(first_of "$all_mems")" cpuset.mems "$(first_of "$all_mems")"
	update "the rest" "$id" "$(document cpu=30000 shares=512 pids=40 memory=$((128 * MIB)))"
	changed "the rest" pids pids.max 40 pids.max 40
	changed "the rest" memory memory.limit_in_bytes $((128 * MIB)) memory.max $((128 * MIB))
	changed "the rest" cpu cpu.shares 512 "cpu.weight" 59
	has "the rest: the CPU stays" cpuset cpuset.cpus "$one_cpu" cpuset.cpus "$one_cpu"
	check_file "$POD: the runtime's own" pids "$OWN" pids.max 60
	if available cpu; then
		check_wait "$POD: the quota is the vCPUs'" 10 quota_is 30000
		check_wait "$POD: and not the overhead's" 10 is_lifted
	fi
	[[ $2 == true ]] || check_threads "$POD, then" "$PID" 2
	check_eq "$POD: the record has it" "40 $one_cpu" "$(jq -r '"\(.updated.pids.limit) \(.updated.cpu.cpus)"' "$RECORD")"
	update "the same again" "$id" "$(document pids=40)"
	check_eq "$POD: the same again: nothing has changed" "{}" "$(jq -c .changed <<<"$OUT")"

	# The runtime writes all that it knows, and what is another than it was before counts.
	capture oci update --pids-limit 50 "$id"
	check_exit "$POD: runtime's update of pids" 0
	becomes "runtime's update of pids" pids pids.max 50 pids.max 50
	keeps_list "runtime's update of pids"
	has "memory is the operator's" memory memory.limit_in_bytes $((128 * MIB)) memory.max $((128 * MIB))
	has "shares, too" cpu cpu.shares 512 cpu.weight 59
	has "and the CPUs" cpuset cpuset.cpus "$one_cpu" cpuset.cpus "$one_cpu"
	if available cpu; then
		check_wait "$POD: and the quota" 10 quota_is 30000
		capture oci update --cpu-quota 45000 "$id"
		check_exit "$POD: runtime's update of the quota" 0
		check_wait "$POD: runtime's update of the quota: it is the vCPUs'" 10 quota_is 45000
		check_wait "$POD: runtime's update of the quota: and not the overhead's" 10 is_lifted
		has "the CPUs are still the operator's" cpuset cpuset.cpus "$one_cpu" cpuset.cpus "$one_cpu"
		update "a larger quota" "$id" '{"cpu": {"quota": 80000}}'
		check_wait "$POD: a larger quota: it is the vCPUs'" 10 quota_is 80000
		check_wait "$POD: a larger quota: and not the overhead's" 10 is_lifted
	fi
	check_eq "$POD: what the runtime has changed is its own" "null $((128 * MIB))" \
		"$(jq -r '"\(.updated.pids.limit) \(.updated.memory.limit)"' "$RECORD")"
	# No watcher, and what is refused in the middle leaves the quota where it was. On v2 alone it is around all
	# threads for a moment, and only a watcher takes it away from the overhead again.
	if [[ $2 == false ]] && available cpu && available cpuset; then
		kill_watcher "$id"
		capture osc update "$id" --cpus 8000 --resources - <<<'{"cpu": {"quota": 15000}}'
		check_exit "$POD: refused without a watcher" 1
		check "$POD: refused without a watcher: there is one" has_watcher "$id"
		check_wait "$POD: refused without a watcher: the quota" 10 quota_is 80000
		check_wait "$POD: refused without a watcher: lifted" 10 is_lifted
	fi
	# Nor one that succeeds.
	if [[ $2 == false ]] && available cpu; then
		kill_watcher "$id"
		update "without a watcher" "$id" '{"cpu": {"quota": 25000}}'
		check "$POD: without a watcher: there is one" has_watcher "$id"
		check_wait "$POD: without a watcher: the quota" 10 quota_is 25000
		check_wait "$POD: without a watcher: lifted" 10 is_lifted
	fi
	capture osc update "$id" --resources "$WORK/$1/none"
	check_exit "$POD: a file that is not there" 1
	document pids=33 >"$WORK/file"
	capture osc update "$id" --resources "$WORK/file"
	check_exit "$POD: a file" 0
	has "a file" pids pids.max 33 pids.max 33
	! available pids || check_match "$POD: a file: what it says" "^$id: pids.max 33, in $SANDBOX\$" "$OUT"
	check "$POD: kill and delete" stop_container "$1"
	check_nothing_left "$POD" "$before"
}

if has_controllers "a VM"; then
	vm split false
	vm whole true
fi

if [[ $MANAGER == systemd ]]; then
	skip "pods" "their paths are those of cgroupfs here"
	finish
fi

# --- pods --------------------------------------------------------------------------

# Who joins and leaves changes nothing of what is set for all of them, and everything of the rest.
configure ".vcpu_timeout_ms = 1 | .hotplug_interval_ms = 200" # so that the watcher is not in a hurry for long
new_pod pod
joins c1 "$(with cpu=20000 pids=10 memory=$((64 * MIB)))"
joins c2 "$(with cpu=30000 pids=5 memory=$((32 * MIB)))"
has "the sum" pids pids.max 15 pids.max 15
update "by a container's id" c2 "$(document pids=100)"
changed "set" pids pids.max 100 pids.max 100
check_eq "$POD: set: the answer" "[\"$POD\",\"$SANDBOX\",false]" "$(jq -c '[.sandbox_id, .cgroup, .runtimes_own]' <<<"$OUT")"
joins c3 "$(with cpu=10000 pids=1 memory=$((16 * MIB)))"
has "one joins" pids pids.max 100 pids.max 100
has "one joins: the rest is a sum" memory memory.limit_in_bytes $((112 * MIB)) memory.max $((112 * MIB))
has "one joins: the quota is one" cpu cpu.cfs_quota_us 60000 cpu.max "60000 100000"
capture osc plan --json <"$WORK/$POD/c3/created"
! available pids || check_eq "$POD: plan says so" 100 "$(jq -r '.sandbox_files["pids.max"]' <<<"$OUT")"
update "memory" "$POD" "$(document memory=$((80 * MIB)))"
has "memory" memory memory.limit_in_bytes $((80 * MIB)) memory.max $((80 * MIB))
joins c4
has "one without limits" pids pids.max 100 pids.max 100
has "one without limits" memory memory.limit_in_bytes $((80 * MIB)) memory.max $((80 * MIB))
has "one without limits: not set" cpu cpu.cfs_quota_us -1 cpu.max "max 100000"
leaves c4
leaves c3
has "two leave" pids pids.max 100 pids.max 100
has "two leave" memory memory.limit_in_bytes $((80 * MIB)) memory.max $((80 * MIB))
has "two leave: the quota is one of two" cpu cpu.cfs_quota_us 50000 cpu.max "50000 100000"
# As a runtime does it in its own cgroup of one of them.
if available pids; then
	check_wait "$POD: the watcher has settled" 10 watches_files "$POD"
	echo 20 >"$(cg_file pids "$(own_cgroup "$POD/c1")" pids.max)"
	becomes "the runtime's word" pids pids.max 25 pids.max 25
	has "the runtime's word: memory stays" memory memory.limit_in_bytes $((80 * MIB)) memory.max $((80 * MIB))
fi
# knows ID PIDS - the watcher has taken what is in the runtime's cgroup
knows() {
	jq -e --arg id "$1" --argjson pids "$2" '.containers[] | select(.id == $id) | .resources.pids.limit == $pids' "$RECORD"
}
# stop_watcher - between two looks of its, so that it has no lock
stop_watcher() {
	local watcher lock=${RECORD%/*}/lock
	watcher=$(watcher_pid "$POD")
	{
		flock 9
		kill -STOP "$watcher"
		check_wait "$POD: the watcher is stopped" 10 grep -q '^State:[[:blank:]]T' "/proc/$watcher/status"
	} 9<"$lock"
}
# It sees both at once, and which was the last word all the same.
if available pids; then
	stop_watcher
	echo 8 >"$(cg_file pids "$(own_cgroup "$POD/c1")" pids.max)"
	update "after the runtime's word" "$POD" "$(document pids=77)"
	kill -CONT "$(watcher_pid "$POD")"
	check_wait "$POD: after the runtime's word: the watcher has seen that" 10 knows c1 8
	becomes "after the runtime's word" pids pids.max 77 pids.max 77
	check_eq "$POD: after the runtime's word: the record has it" 77 "$(jq .updated.pids.limit "$RECORD")"
	stop_watcher
	update "before the runtime's word" "$POD" "$(document pids=78)"
	echo 20 >"$(cg_file pids "$(own_cgroup "$POD/c1")" pids.max)"
	kill -CONT "$(watcher_pid "$POD")"
	becomes "before the runtime's word" pids pids.max 25 pids.max 25
fi
leaves c2
has "the last one" memory memory.limit_in_bytes $((80 * MIB)) memory.max $((80 * MIB))
has "the last one" pids pids.max 20 pids.max 20
leaves c1
pod_gone c1 c2 c3 c4

# real NAME [JQ_FILTER] - one more container of the pod, by the real runtime
real() {
	make_bundle "$1" '["/busybox", "sleep", "1000"]' "$(with "${@:2}")"' | .annotations = {"io.kubernetes.cri.container-type": "container",
		"io.kubernetes.cri.sandbox-id": "'"$POD"'"} | .linux.cgroupsPath = "'"/$TAG/$POD/$1"'"'
	add_hooks "$1" "prestart poststop"
	run_container "$1" || fail "$POD: the runtime starts $1" "$(cat "$WORK/$1/log")"
}

# runtime_pod - both are the runtime's, which changes one of them, while the operator has changed the whole
runtime_pod() {
	new_pod runtime
	real one pids=20 memory=$((64 * MIB)) shares=512
	real two pids=10 memory=$((32 * MIB)) shares=256
	has "the sum" pids pids.max 30 pids.max 30
	update "the whole" "$TAG-two" "$(document pids=90 memory=$((48 * MIB)))" --cpus "$one_cpu"
	has "the whole" pids pids.max 90 pids.max 90
	has "the whole" memory memory.limit_in_bytes $((48 * MIB)) memory.max $((48 * MIB))
	has "the whole" cpuset cpuset.cpus "$one_cpu" cpuset.cpus "$one_cpu"
	check_wait "$POD: the watcher has settled" 10 watches_files "$POD"
	capture oci update --pids-limit 25 "$TAG-one"
	check_exit "$POD: runtime's update of one" 0
	becomes "runtime's update of one: the sum again" pids pids.max 35 pids.max 35
	has "runtime's update of one: memory" memory memory.limit_in_bytes $((48 * MIB)) memory.max $((48 * MIB))
	has "runtime's update of one: the CPUs" cpuset cpuset.cpus "$one_cpu" cpuset.cpus "$one_cpu"
	check "$POD: two is deleted" stop_container two
	has "two is deleted" pids pids.max 25 pids.max 25
	has "two is deleted: memory" memory memory.limit_in_bytes $((48 * MIB)) memory.max $((48 * MIB))
	check "$POD: one is deleted" stop_container one
	cg_remove "/$TAG/$POD"
	check_nothing_left "$POD" "$before_pod"
}

if has_controllers "a pod of the runtime's"; then
	runtime_pod
fi

# --- refused, or undone -----------------------------------------------------------------

new_pod refused
joins c1 "$(with cpu=20000 pids=10 memory=$((64 * MIB)) cpus="$one_cpu")"
joins c2 "$(with cpu=20000 pids=10 memory=$((64 * MIB)) cpus="$one_cpu")"
update "some" "$POD" "$(document pids=30)"
ONLY=true look

# no NAME EXIT REGEX ARGS... - one line, and everything is as it was; the document is standard input
no() {
	local name=$1 exit=$2 regex=$3
	shift 3
	capture osc update "$@"
	check_exit "$POD: $name" "$exit"
	check_match "$POD: $name: says why" "$regex" "$ERR"
	check_eq "$POD: $name: in one line" 1 "$(wc -l <<<"$ERR")"
	check_eq "$POD: $name: limits as before" "$limits_before" "$(limits_now)"
	check_eq "$POD: $name: record as before" "$record_before" "$(jq . "$RECORD" 2>&1)"
}
for list in "" 3-1 0,x 0-9000 a "0 1"; do
	no "the CPUs \"$list\"" 2 "cpus is no list" "$POD" --cpus "$list"
	no "the nodes \"$list\"" 2 "mems is no list" "$POD" --mems "$list"
done
no "a list in the document" 2 'standard input: cpu.cpus: "3-1" is not a list' "$POD" --resources - <<<'{"cpu": {"cpus": "3-1"}}'
no "twice" 2 "twice" "$POD" --cpus 0 --resources - <<<'{"cpu": {"cpus": "0"}}'
no "device rules" 2 "devices: update does not set this" "$POD" --resources - <<<'{"devices": [{"allow": true, "access": "rwm"}]}'
no "block I/O" 2 "blockIO: update does not set this" "$POD" --resources - <<<'{"pids": {"limit": 7}, "blockIO": {"weight": 100}}'
no "files by name" 2 "unified: update does not set this" "$POD" --resources - <<<'{"unified": {"pids.max": "7"}}'
no "a key that is misspelt" 2 "limits" "$POD" --resources - <<<'{"pids": {"limits": 7}}'
no "a whole config.json" 2 "linux" "$POD" --resources - <<<'{"linux": {"resources": {}}}'
no "another type" 2 "pids.limit" "$POD" --resources - <<<'{"pids": {"limit": "7"}}'
no "nothing" 2 "empty" "$POD" --resources - <<<''
no "less with swap than without" 2 "less than memory.limit" "$POD" --resources - <<<'{"memory": {"limit": 8388608, "swap": 4194304}}'
no "no such sandbox" 1 "there is no sandbox" nobody --cpus 0
capture osc update "$POD" --resources - <<<'{"cpu": {"shares": 0, "cpus": ""}, "pids": {"limit": 0}, "blockIO": {"weight": 0}}'
check_exit "$POD: a template in which nothing is said" 0
check_eq "$POD: a template in which nothing is said: limits as before" "$limits_before" "$(limits_now)"
# What comes before it has been written by then.
if available cpuset; then
	no "CPUs that there are not" 1 "keeps the limits that it had" "$POD" --cpus 8000 --resources - <<<'{"pids": {"limit": 7}, "cpu": {"quota": 5000}, "memory": {"limit": 8388608}}'
fi
if available pids; then
	no "more pids than there are" 1 "keeps the limits that it had" "$POD" --resources - <<<'{"pids": {"limit": 5000000}, "cpu": {"quota": 5000, "shares": 2}, "memory": {"limit": 8388608}}'
fi
leaves c1
has "one leaves: what was set before is still set" pids pids.max 30 pids.max 30
leaves c2
pod_gone c1 c2

# What is the runtime's own, its runtime changes.
configure "$BASIC | .layout = \"nested\""
before_nested=$(snapshot)
fake_container nested "$(with pids=10)"
capture osc prestart <"$WORK/nested/created"
check_exit "nested: prestart" 0
was=$(cat "$(cg_file pids "$(own_cgroup nested)" pids.max)" 2>&1)
capture osc update nested --resources - <<<'{"pids": {"limit": 7}}'
check_exit "nested: refused" 2
check_match "nested: names what to use" "runc, crun, podman" "$ERR"
check_eq "nested: as before" "$was" "$(cat "$(cg_file pids "$(own_cgroup nested)" pids.max)" 2>&1)"
capture osc --json update nested
check_exit "nested: without options it is tended" 0
check_eq "nested: the answer" '[true,{}]' "$(jq -c '[.runtimes_own, .changed]' <<<"$OUT")"
end_process "$PID"
capture osc poststop <"$WORK/nested/stopped"
check_exit "nested: poststop" 0
drop_fake nested "$PID"
check_nothing_left nested "$before_nested"

finish
