#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Limits and devices of pods: they follow as containers come and go, and go back
# when a step fails. The script plays the runtime.

# shellcheck disable=SC2317 # functions are called by name
# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"
# shellcheck source=../lib/limits.sh
. "$TESTS/lib/limits.sh"
# shellcheck source=../lib/pods.sh
. "$TESTS/lib/pods.sh"

# --- limits of those who come and go -----------------------------------------

new_pod limits
swap_file=memory.memsw.limit_in_bytes
joins c1 "$(with cpu=20000 shares=512 cpus="$one_cpu" pids=10 memory=$((64 << 20)) read_bps=1000000)"
has "lone" cpu cpu.shares 512 cpu.weight 59
has "lone" cpuset cpuset.cpus "$one_cpu" cpuset.cpus "$one_cpu"
if throttles; then
	has "lone" blkio blkio.throttle.read_bps_device "$DISK 1000000" io.max "$DISK rbps=1000000 wbps=max riops=max wiops=max"
else
	skip "limits: throttles" "no block device or no controller for it"
fi
joins c2 "$(with cpu=30000 shares=256 cpus="$one_cpu" pids=5 memory=$((32 << 20)))"
has "two with limits" cpu cpu.cfs_quota_us 50000 cpu.max "50000 100000"
has "two with limits" cpu cpu.shares 768 cpu.weight 80
has "two with limits" pids pids.max 15 pids.max 15
has "two with limits" memory memory.limit_in_bytes $((96 << 20)) memory.max $((96 << 20))
has "two with limits" cpuset cpuset.cpus "$one_cpu" cpuset.cpus "$one_cpu"
if throttles; then
	has "two: a lone one's throttle is gone" blkio blkio.throttle.read_bps_device "" io.max ""
fi
joins c3
has "one without limits" cpu cpu.cfs_quota_us -1 cpu.max "max 100000"
has "one without limits" cpu cpu.shares 1792 cpu.weight 156
has "one without limits" pids pids.max max pids.max max
has "one without limits" memory memory.limit_in_bytes "$(unlimited_memory)" memory.max max
has "one without limits" cpuset cpuset.cpus "$no_cpus" cpuset.cpus "$no_cpus"
leaves c3
has "without it again" cpu cpu.cfs_quota_us 50000 cpu.max "50000 100000"
has "without it again" cpu cpu.shares 768 cpu.weight 80
has "without it again" memory memory.limit_in_bytes $((96 << 20)) memory.max $((96 << 20))
has "without it again" cpuset cpuset.cpus "$one_cpu" cpuset.cpus "$one_cpu"
leaves c2
has "the first one alone" cpu cpu.shares 512 cpu.weight 59
has "the first one alone" pids pids.max 10 pids.max 10
if throttles; then
	has "the first one alone" blkio blkio.throttle.read_bps_device "$DISK 1000000" io.max "$DISK rbps=1000000 wbps=max riops=max wiops=max"
fi
reborn c3
capture osc prestart <"$WORK/$POD/c3/created"
check_exit "limits: c3 again" 0
leaves c1
has "one without limits alone" cpu cpu.cfs_quota_us -1 cpu.max "max 100000"
has "one without limits alone" cpu cpu.shares 1024 cpu.weight 100
has "one without limits alone" pids pids.max max pids.max max
has "one without limits alone" cpuset cpuset.cpus "$no_cpus" cpuset.cpus "$no_cpus"
if throttles; then
	has "one without limits alone" blkio blkio.throttle.read_bps_device "" io.max ""
fi
leaves c3
pod_gone c1 c2 c3

# --- limits that the overhead has no place for ----------------------------------

# It shares them with the vCPUs: nothing is written, and the administrator is told.
configure "$BASIC | .overhead_limits = {pids: {limit: 99}, memory: {limit: 1000000000}, cpu: {cpus: \"$one_cpu\"}}"
new_pod settings
member c1 "$(with pids=10)"
capture osc plan --json <"$WORK/$POD/c1/created"
check_exit "settings: plan" 0
for file in pids.max "memory\.[a-z_]+" cpuset.cpus; do
	check_match "settings: plan says that the overhead shares $file" \
		"overhead_limits: $file is not set, because the overhead shares the sandbox's ${file%%[.\\]*}" "$(jq -r '.warnings[]' <<<"$OUT")"
done
check_eq "settings: plan has nothing to write for it" "{} {}" "$(jq -c '.overhead_files // {}, .overhead_resets // {}' <<<"$OUT" | xargs)"
capture osc prestart <"$WORK/$POD/c1/created"
check_exit "settings: it joins" 0
has "settings: its own limit" pids pids.max 10 pids.max 10
configure "$BASIC"
joins c2 "$(with pids=5)"
has "settings: both" pids pids.max 15 pids.max 15
check_eq "settings: the record has no files of the overhead's" null "$(jq -c .overhead_files "$RECORD")"
leaves c1
leaves c2
pod_gone c1 c2

# Memory, and memory with swap, which v1 always wants to be at least as much.
new_pod swap
counts_swap() {
	[[ $MODE == v2 ]] || { available memory && [[ -e $(cg_file memory "$SANDBOX" $swap_file) ]]; }
}
joins c1 "$(with memory=$((64 << 20)) swap=$((96 << 20)))"
joins c2 "$(with memory=$((256 << 20)) swap=$((512 << 20)))"
has "wider" memory memory.limit_in_bytes $((320 << 20)) memory.max $((320 << 20))
if counts_swap; then
	has "wider" memory $swap_file $((608 << 20)) memory.swap.max $((288 << 20))
fi
leaves c2
has "narrower" memory memory.limit_in_bytes $((64 << 20)) memory.max $((64 << 20))
if counts_swap; then
	has "narrower" memory $swap_file $((96 << 20)) memory.swap.max $((32 << 20))
fi
joins c3 "$(with memory=$((1 << 20)))"
if counts_swap; then
	has "swap of one without" memory $swap_file "$(unlimited_memory)" memory.swap.max max
fi
leaves c3
leaves c1
pod_gone c1 c2 c3

# The pod's first container often only holds namespaces: what it does not have is not counted.
new_pod first
joins pause "$(with memory=$((64 << 20)))" sandbox
joins c1 "$(with memory=$((256 << 20)) swap=$((512 << 20)) pids=7)"
has "memory without swap counts" memory memory.limit_in_bytes $((320 << 20)) memory.max $((320 << 20))
has "pids of the other" pids pids.max 7 pids.max 7
if counts_swap; then
	has "memory without swap may have any" memory $swap_file "$(unlimited_memory)" memory.swap.max max
else
	skip "first: swap" "no swap accounting here"
fi
leaves c1
leaves pause
joins_again() {
	reborn "$1"
	edit_config "$POD/$1" "$2"
	capture osc prestart <"$WORK/$POD/$1/created"
	check_exit "$POD: $1 joins again" 0
}
joins_again pause 'del(.linux.resources)'
joins_again c1 .
has "nothing counts for nothing" memory memory.limit_in_bytes $((256 << 20)) memory.max $((256 << 20))
if counts_swap; then
	has "nothing counts for nothing" memory $swap_file $((512 << 20)) memory.swap.max $((256 << 20))
fi
leaves pause
leaves c1
joins_again pause "$(with memory=$((64 << 20)) swap=$((64 << 20)))"
joins_again c1 .
if counts_swap; then
	has "both" memory $swap_file $((576 << 20)) memory.swap.max $((256 << 20))
fi
leaves c1
leaves pause
pod_gone pause c1

# What the second one alone has is the same whoever was there before.
only_241='.linux.resources.devices = [{allow: false, access: "rwm"}, {allow: true, type: "c", major: 241, minor: 1, access: "r"}]'
alone="$(with cpu=20000 cpus="$one_cpu" pids=5 memory=$((64 << 20))) | $only_241"
for first in nobody c1; do
	new_pod left
	[[ $first == nobody ]] || joins c1 "$(with shares=512 pids=9) | .linux.resources.devices = [{allow: true, access: \"rwm\"}]"
	joins c2 "$alone"
	if [[ $first == nobody ]]; then
		want=$(limits_now)
	else
		# On v2 there is no such file before somebody needs it.
		[[ $MODE == v2 ]] || has "beside one without a list" cpuset cpuset.cpus "$no_cpus" "" ""
		leaves c1
		check_eq "left: limits and devices of c2 alone" "$want" "$(limits_now)"
		! available pids || check_match "left: they are those of c2" 'pids\.max:5' "$want"
		drop_fake "$POD/c1" "${PIDS[c1]}"
	fi
	leaves c2
	pod_gone c2
done

# An idle cgroup has no shares, and takes none.
new_pod idle
joins c1 "$(with shares=1024)"
if available cpu && [[ -e $(cg_file cpu "$SANDBOX" cpu.idle) ]]; then
	joins c2 "$(with shares=512) | .linux.resources.cpu.idle = 1"
	has "beside another" cpu cpu.shares 1536 cpu.weight 138
	has "beside another" cpu cpu.idle 0 cpu.idle 0
	leaves c1
	has "alone" cpu cpu.idle 1 cpu.idle 1
	joins c3
	has "with another" cpu cpu.idle 0 cpu.idle 0
	has "with another" cpu cpu.shares 1536 cpu.weight 138
	leaves c2
	has "it leaves" cpu cpu.shares 1024 cpu.weight 100
	drop_fake "$POD/c2" "${PIDS[c2]}"
	leaves c3
	drop_fake "$POD/c3" "${PIDS[c3]}"
else
	skip "idle: a container that is idle" "no controller cpu, or this kernel has no cpu.idle"
	leaves c1
fi
pod_gone c1

# v1 refuses a quota beyond that of the pod's cgroup, which a kubelet sets.
if [[ $MODE != v2 ]] && available cpu; then
	new_pod bounded
	echo 20000 >"$(cg_file cpu "/$TAG/$POD" cpu.cfs_quota_us)"
	joins c1 "$(with cpu=20000)"
	has "as much as the pod" cpu cpu.cfs_quota_us 20000 "" ""
	joins c2 "$(with cpu=20000)"
	has "more than the pod" cpu cpu.cfs_quota_us -1 "" ""
	leaves c1
	has "as much as the pod again" cpu cpu.cfs_quota_us 20000 "" ""
	leaves c2
	pod_gone c1 c2
else
	skip "a quota beyond that of the pod's cgroup" "needs cgroup v1 with the controller cpu"
fi

# On v1 the lists of cpusets inside of ours must always be parts of ours.
if [[ $MODE != v2 && $all_cpus == *[-,]* ]]; then
	new_pod cpusets
	other_cpu=${all_cpus##*[-,]}
	joins c1 "$(with cpus="$one_cpu")"
	inner=$(cg_file cpuset "$SANDBOX" inner)
	mkdir -p "$inner/deep" "$inner-2"
	for dir in "$inner" "$inner/deep" "$inner-2"; do
		echo "$one_cpu" >"$dir/cpuset.cpus"
		first_of "$all_mems" >"$dir/cpuset.mems"
	done
	joins c2 "$(with cpus="$other_cpu")"
	both=$one_cpu,$other_cpu
	((other_cpu != one_cpu + 1)) || both=$one_cpu-$other_cpu
	for dir in "" /inner /inner/deep /inner-2; do
		check_file "cpusets: wider" cpuset "$SANDBOX$dir" cpuset.cpus "$both"
	done
	echo "$other_cpu" >"$inner-2/cpuset.cpus"
	leaves c1
	# To a list that is no part of the one before, in a child that has no other CPU.
	for dir in "" /inner /inner/deep /inner-2; do
		check_file "cpusets: narrower" cpuset "$SANDBOX$dir" cpuset.cpus "$other_cpu"
	done
	rmdir "$inner/deep" "$inner" "$inner-2"
	leaves c2
	pod_gone c1 c2
else
	skip "cpusets inside of the sandbox" "needs cgroup v1 with the controller cpuset, and two CPUs"
fi

# --- steps that fail ---------------------------------------------------------

for only in false true; do
	configure "$BASIC | .sandbox_cgroup_only = $only"
	new_pod "failures-$only" "$only"
	joins c1 "$(with cpu=20000 shares=512 cpus="$one_cpu" pids=10 memory=$((64 << 20)) read_bps=1000000) |
		.linux.resources.devices = [{allow: false, access: \"rwm\"}, {allow: true, type: \"c\", major: 241, minor: 1, access: \"r\"}]"
	look
	if available cpuset; then
		# The files of other controllers have been written by then.
		member c2 "$(with cpu=30000 shares=256 cpus=1000 pids=5)"
		is_refused c2 1 'cpuset\.cpus.*(Invalid argument|Numerical result out of range)'
	else
		skip "failures-$only: a CPU that does not exist" "no hierarchy has the controller cpuset here"
	fi
	member c3 "$(with cpu=30000 shares=256) | .linux.resources.hugepageLimits = [{pageSize: \"3MB\", limit: 0}]"
	edit_config "$POD/c3" '.linux.resources.devices = [{allow: true, access: "rwm"}]'
	is_refused c3 1 hugetlb
	# Another policy than the first container's.
	member c4 '.annotations["io.katacontainers.config.runtime.sandbox_cgroup_only"] = "true"'
	if [[ $only == false ]]; then
		is_refused c4 2 'same policy'
	else
		configure "$BASIC | .sandbox_cgroup_only = false"
		member c5
		is_refused c5 2 'same policy'
		configure "$BASIC | .sandbox_cgroup_only = true"
		drop_fake "$POD/c5" "${PIDS[c5]}"
	fi
	# A path of the other form.
	member c7 '.linux.cgroupsPath = "system.slice:osc:c7"'
	is_refused c7 2 'same manager'
	# Limits that would be lost in a sum, but that it cannot have alone.
	member c8 '.linux.resources.cpu.idle = 2'
	is_refused c8 2 'cpu\.idle'
	for name in c2 c3 c4 c7 c8; do
		[[ ! -f $WORK/$POD/$name/created ]] || drop_fake "$POD/$name" "${PIDS[$name]}"
	done
	joins c6 "$(with pids=7)"
	has "after refusals" pids pids.max 17 pids.max 17
	has "after refusals" cpuset cpuset.cpus "$no_cpus" cpuset.cpus "$no_cpus"
	leaves c1
	leaves c6
	pod_gone c1 c6
done

# v1 refuses a memory limit below what is in use: of those that stay, and of a successor.
configure "$BASIC | .sandbox_cgroup_only = true"
if [[ $MODE != v2 ]] && available memory; then
	new_pod busy true
	joins c1 "$(with pids=10 memory=$((256 << 20)))"
	joins c2 "$(with pids=5 memory=$((8 << 20)))"
	bash -c 'echo $$ >"$1"; x=$(head -c 48000000 /dev/zero | tr "\0" x); echo "${#x}" >"$2"; read -r _ </dev/zero' \
		hog "$(cg_file memory "$SANDBOX" cgroup.procs)" "$WORK/hog" >/dev/null 2>&1 &
	hog=$!
	disown
	started "$hog"
	hog_is_full() {
		[[ -s $WORK/hog ]]
	}
	check_wait "busy: memory is in use" 20 hog_is_full
	look
	end_process "${PIDS[c1]}"
	capture osc poststop <"$WORK/$POD/c1/stopped"
	check_exit "busy: c1 leaves, but what is in use is more than c2's limit" 1
	check_match "busy: says which limit, and what is now" 'memory\.limit_in_bytes.*EBUSY.*keeps the limits' "$ERR"
	keeps "c1 cannot be subtracted"
	# A successor of c1 with less, in the place of the dead one.
	reborn c1
	edit_config "$POD/c1" '.linux.resources.memory.limit = 1048576 | .linux.resources.pids.limit = 1'
	is_refused c1 1 'memory\.limit_in_bytes.*EBUSY'
	end_process "${PIDS[c1]}"
	end_process "$hog"
	capture osc poststop <"$WORK/$POD/c1/stopped"
	check_exit "busy: c1 leaves once the memory is free" 0
	has "c2 alone" memory memory.limit_in_bytes $((8 << 20)) memory.max $((8 << 20))
	has "c2 alone" pids pids.max 5 pids.max 5
	leaves c2
	pod_gone c1 c2
else
	skip "a memory limit below what is in use" "needs cgroup v1 with the controller memory"
fi
configure "$BASIC"

# A limit that this host has nothing for, which it takes only alone.
configure "$BASIC"
minor=9
while [[ -e /sys/dev/block/250:$minor ]]; do minor=$((minor + 1)); done
new_pod lost
joins c1 "$(with cpu=20000 pids=10)"
joins c2 "$(with cpu=30000 pids=5) | .linux.resources.network.classID = 7 |
	.linux.resources.blockIO = {throttleReadBpsDevice: [{major: 250, minor: $minor, rate: 1000}]}"
joins c3 "$(with cpu=10000 pids=7)"
has "three" pids pids.max 22 pids.max 22
leaves c1
has "two" pids pids.max 12 pids.max 12
look
end_process "${PIDS[c3]}"
capture osc poststop <"$WORK/$POD/c3/stopped"
check_exit "lost: c3 leaves, and c2 alone has a limit for nothing" 1
check_match "lost: says which limit, and what is now" '(blkio|io|net_cls)( controller|\.).*keeps the limits' "$ERR"
keeps "c2 cannot be alone"
# It can be beside another.
reborn c1
capture osc prestart <"$WORK/$POD/c1/created"
check_exit "lost: c1 joins again" 0
in_record "c1 joins again" c1 c2
has "c1 joins again" pids pids.max 15 pids.max 15
end_process "${PIDS[c1]}"
capture osc poststop <"$WORK/$POD/c1/stopped"
check_exit "lost: c1 leaves" 1
leaves c2
check "lost: nothing is left of the sandbox" cg_gone "$SANDBOX" "$OVERHEAD"
pod_gone c1 c2 c3

# A list that can be expressed only together with a wider one.
if [[ $MODE != v2 ]] && available devices; then
	new_pod devices
	hole='.linux.resources.devices = [{allow: false, access: "rwm"}, {allow: true, type: "c", major: 241, access: "rwm"},
		{allow: false, type: "c", major: 241, minor: 5, access: "rw"}]'
	joins c1 '.linux.resources.devices = [{allow: true, access: "rwm"}]'
	joins c2 "$hole"
	list=$(cat "$(cg_file devices "$SANDBOX" devices.list)")
	leaves c1
	check_match "devices: a list that v1 cannot express stays the wider one, with a warning" 'keeps its device list' "$ERR"
	check_eq "devices: the list is as it was" "$list" "$(cat "$(cg_file devices "$SANDBOX" devices.list)")"
	in_record "c1 has left" c2
	joins c3 '.linux.resources.devices = [{allow: false, access: "rwm"}, {allow: true, type: "c", major: 241, access: "rwm"}]'
	check_match "devices: narrower as soon as it can be" $'\nc 241:\\* rwm(\n|$)' $'\n'"$(cat "$(cg_file devices "$SANDBOX" devices.list)")"
	leaves c2
	leaves c3
	pod_gone c1 c2 c3

	# What another hook allows in our cgroup is not ours to take away. (Making any node is allowed, so "m" is in each.)
	new_pod foreign
	own() { echo ".linux.resources.devices = [{allow: false, access: \"rwm\"}, {allow: true, type: \"c\", major: 241, minor: $1, access: \"rw\"}]"; }
	joins c1 "$(own 1)"
	echo "b 242:7 rw" >"$(cg_file devices "$SANDBOX" devices.allow)"
	echo "c 241:1 w" >"$(cg_file devices "$SANDBOX" devices.deny)"
	capture osc createRuntime <"$WORK/$POD/c1/created"
	check_exit "$POD: the next stage of c1" 0
	listed() { grep -E '^(c 241|b 242):' "$(cg_file devices "$SANDBOX" devices.list)" | sort | xargs; }
	check_eq "$POD: stays, and so does what was denied" "b 242:7 rwm c 241:1 rm" "$(listed)"
	joins c2 "$(own 2)"
	check_eq "$POD: stays when another container joins" "b 242:7 rwm c 241:1 rm c 241:2 rwm" "$(listed)"
	leaves c2
	check_eq "$POD: and when it leaves, with what is its own" "b 242:7 rwm c 241:1 rwm" "$(listed)"
	leaves c1
	pod_gone c1 c2

	# What is in force in the runtime's cgroup counts, and not what config.json says; also later.
	new_pod taken
	member c1 "$(own 1)"
	list=$(cg_file devices "$(own_cgroup "$POD/c1")" devices)
	echo a >"$list.deny"
	echo "c 241:3 r" >"$list.allow"
	capture osc prestart <"$WORK/$POD/c1/created"
	check_exit "$POD: c1 joins" 0
	check_eq "$POD: the runtime's list" "c 241:3 rm" "$(listed)"
	echo "b 242:1 rw" >"$list.allow"
	echo "c 241:3 r" >"$list.deny"
	capture osc poststart <"$WORK/$POD/c1/running"
	check_exit "$POD: the next stage of c1" 0
	check_eq "$POD: its changes" "b 242:1 rwm" "$(listed)"
	leaves c1
	pod_gone c1
else
	skip "a device list that v1 cannot express" "needs cgroup v1 with the controller devices"
fi

# Two lists whose union is too long to be said, unless a wider one is there.
new_pod wide
joins c1 '.linux.resources.devices = [{allow: false, access: "rwm"}, (range(300; 557) | {allow: true, type: "c", major: ., access: "r"})]'
joins c2 '.linux.resources.devices = [{allow: true, access: "rwm"}]'
joins c3 '.linux.resources.devices = [{allow: false, access: "rwm"}, (range(256) | {allow: true, type: "c", minor: ., access: "w"})] |
	'"$(with pids=5)"
leaves c2
check_match "wide: a union that is too long stays the wider one, with a warning" 'keeps its device list' "$ERR"
in_record "c2 has left" c1 c3
leaves c1
has "c3 alone" pids pids.max 5 pids.max 5
leaves c3
pod_gone c1 c2 c3

finish
