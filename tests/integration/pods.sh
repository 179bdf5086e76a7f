#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Pods: several containers in one sandbox. Limits follow as they come and go, and
# go back when a step fails; the first one makes the sandbox and the last one out
# removes it, whatever their roles, whoever died without a poststop, and whichever
# hook is killed; 64 start and stop at once. The script plays the runtime.
#
#   OSC_POD_MANY    containers that start and stop at once, default 64
#   OSC_POD_ROUNDS  of so many containers that come and go, default 2
#   OSC_POD_KILLS   of hooks at random moments, default 15
#   OSC_POD_CALLS   system calls at each of which hooks are killed, default some

# shellcheck disable=SC2016 # $name in single quotes is jq's
# shellcheck disable=SC2317 # functions are called by name
# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"
# shellcheck source=../lib/limits.sh
. "$TESTS/lib/limits.sh"

# No process here is a VMM, and nobody is to be constrained for that on a slow machine.
BASIC='.vcpu_timeout_ms = 3600000'
MANY=${OSC_POD_MANY:-64}
ROUNDS=${OSC_POD_ROUNDS:-2}
KILLS=${OSC_POD_KILLS:-15}
declare -A PIDS=()
configure "$BASIC"

# --- containers of a pod -----------------------------------------------------

# new_pod NAME [ONLY] - which the next containers are of
new_pod() {
	POD=$1
	before_pod=$(snapshot)
	cg_make "/$TAG/$POD"
	set_layout "$POD" "$POD" "${2-false}"
	# The runtime's cgroups are in the pod's, so the sandbox is, too.
	SANDBOX=/$TAG/$POD/kata_$POD VCPU=/$TAG/$POD/kata_$POD
	if [[ $MODE == v2 && $ONLY == false ]]; then
		VCPU=$SANDBOX/sandbox OVERHEAD=$SANDBOX/overhead
	fi
	RECORD=$STATE/sandboxes/$POD/record.json
}

# member NAME [JQ_FILTER] [ROLE] - a container of it, which no hook knows of yet
member() {
	local id=$1
	[[ ${3-container} == container ]] || id=$POD
	fake_container "$POD/$1" '.annotations = {"io.kubernetes.cri.container-type": "'"${3-container}"'",
		"io.kubernetes.cri.sandbox-id": "'"$POD"'"} | '"${2-.}" "$id"
	PIDS[$1]=$PID
}

# joins NAME [JQ_FILTER] [ROLE]
joins() {
	member "$@"
	capture osc prestart <"$WORK/$POD/$1/created"
	check_exit "$POD: $1 joins" 0
}

# reborn NAME - the same container with another process, as after a restart
reborn() {
	local id
	id=$(jq -r .id "$WORK/$POD/$1/created")
	fake_process "$POD/$1" "$id"
	PIDS[$1]=$PID
}

# leaves NAME
leaves() {
	end_process "${PIDS[$1]}"
	capture osc poststop <"$WORK/$POD/$1/stopped"
	check_exit "$POD: $1 leaves" 0
}

# pod_gone NAME... - its containers' and its own cgroup are the runtime's
pod_gone() {
	local name
	for name; do
		drop_fake "$POD/$name" "${PIDS[$name]}"
	done
	cg_remove "/$TAG/$POD"
	check_nothing_left "$POD" "$before_pod"
}

# has NAME CONTROLLER V1_FILE V1_VALUE V2_FILE V2_VALUE - what the sandbox is limited to
has() {
	local cgroup=$VCPU
	[[ $2 != memory && $2 != blkio ]] || cgroup=$SANDBOX
	if [[ $MODE == v2 ]]; then
		check_file "$POD: $1" "${2/blkio/io}" "$cgroup" "$5" "$6"
	else
		check_file "$POD: $1" "$2" "$cgroup" "$3" "$4"
	fi
}

# in_record NAME ID... - exactly these containers
in_record() {
	local name=$1
	shift
	check_eq "$POD: $name: containers in the record" "$(printf '%s\n' "$@" | sort)" \
		"$(jq -r '.containers[].id' "$RECORD" 2>&1 | sort)"
}

# limits_now - every file of the sandbox that can hold a limit, with its content
limits_now() {
	local name dir
	for name in "${HIERARCHIES[@]}"; do
		for dir in "${CG_DIR[$name]}$SANDBOX" "${CG_DIR[$name]}$VCPU"; do
			grep -H '' "$dir"/{cpu.shares,cpu.weight,cpu.cfs_*,cpu.max,cpuset.cpus,cpuset.mems,memory.*limit_in_bytes,memory.max,pids.max,devices.list} \
				"$dir"/blkio.throttle.*_device "$dir"/hugetlb.*.max 2>/dev/null || :
		done
	done | sed 's,.*/,,' | grep -v '^hugetlb.*:max$' | sort -u
}

# one_watcher - that of the record and no other
one_watcher() {
	local pid found=()
	for pid in $(our_processes); do
		[[ $(cat "/proc/$pid/comm" 2>/dev/null) != osc-watch ]] || found+=("$pid")
	done
	[[ ${found[*]} == "$(watcher_pid "$POD")" ]] || {
		echo "watchers: ${found[*]}, in the record: $(watcher_pid "$POD")"
		return 1
	}
}

with() {
	local filter=. controller
	for controller; do
		case $controller in
		cpu=*) ! available cpu || filter+=" | .linux.resources.cpu += {quota: ${controller#*=}, period: 100000}" ;;
		shares=*) ! available cpu || filter+=" | .linux.resources.cpu.shares = ${controller#*=}" ;;
		cpus=*) ! available cpuset || filter+=" | .linux.resources.cpu.cpus = \"${controller#*=}\"" ;;
		pids=*) ! available pids || filter+=" | .linux.resources.pids = {limit: ${controller#*=}}" ;;
		memory=*) ! available memory || filter+=" | .linux.resources.memory.limit = ${controller#*=}" ;;
		swap=*) ! available memory || filter+=" | .linux.resources.memory.swap = ${controller#*=}" ;;
		read_bps=*) ! throttles || filter+=" | .linux.resources.blockIO.throttleReadBpsDevice = [{major: ${DISK%:*}, minor: ${DISK#*:}, rate: ${controller#*=}}]" ;;
		esac
	done
	echo "$filter"
}

# A device that can be throttled.
DISK=$(cat /sys/block/*/dev 2>/dev/null | head -n 1 || :)
throttles() {
	[[ -n $DISK ]] && if [[ $MODE == v2 ]]; then available io; else available blkio; fi
}

all_cpus=none all_mems=none
if available cpuset; then
	# On v2 the controller is passed down to our cgroup by the first sandbox that needs it.
	parent=/$TAG
	[[ $MODE != v2 ]] || parent=
	all_cpus=$(cpuset_of "$parent" cpus) all_mems=$(cpuset_of "$parent" mems)
fi
one_cpu=$(first_of "$all_cpus")
# What a cpuset without a list of its own says.
if [[ $MODE == v2 ]]; then no_cpus=''; else no_cpus=$all_cpus; fi

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
has "one without limits" cpuset cpuset.cpus "$no_cpus" cpuset.cpus ""
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
has "one without limits alone" cpuset cpuset.cpus "$no_cpus" cpuset.cpus ""
if throttles; then
	has "one without limits alone" blkio blkio.throttle.read_bps_device "" io.max ""
fi
leaves c3
pod_gone c1 c2 c3

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

# keeps NAME - of what was seen before: limits, record (but for order), watcher, process
keeps() {
	check_eq "$POD: $1: limits as before" "$limits_before" "$(limits_now)"
	check_eq "$POD: $1: record as before" "$record_before" "$(jq -S . "$RECORD" 2>&1)"
	[[ $ONLY == true ]] || check "$POD: $1: watcher as before" one_watcher
}

look() {
	limits_before=$(limits_now) record_before=$(jq -S . "$RECORD")
}

# is_refused NAME EXIT REGEX - the current container does not get in
is_refused() {
	local was
	was=$(cat "/proc/$PID/cgroup")
	capture osc prestart <"$WORK/$POD/$1/created"
	check_exit "$POD: $1 is refused" "$2"
	check_match "$POD: $1 is refused: says why" "$3" "$ERR"
	check_eq "$POD: $1 is refused: its process is where it was" "$was" "$(cat "/proc/$PID/cgroup")"
	keeps "$1 is refused"
}

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
	# Both have it, so it is a limit of the sandbox.
	jq '.linux.resources.hugepageLimits = [{pageSize: "3MB", limit: 0}]' "$WORK/$POD/c3/config.json" >/dev/null
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
	for name in c2 c3 c4; do
		[[ ! -f $WORK/$POD/$name/created ]] || drop_fake "$POD/$name" "${PIDS[$name]}"
	done
	joins c6 "$(with pids=7)"
	has "after refusals" pids pids.max 17 pids.max 17
	# With processes in it a v2 cpuset cannot be emptied again.
	[[ $MODE != v2 || $only == false ]] || no_cpus=$(cat /sys/devices/system/cpu/possible)
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
	STARTED+=("$hog")
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

# A list that can be expressed only together with a wider one.
if [[ $MODE != v2 ]] && available devices; then
	new_pod devices
	hole='.linux.resources.devices = [{allow: false}, {allow: true, type: "c", major: 241},
		{allow: false, type: "c", major: 241, minor: 5, access: "rw"}]'
	joins c1 '.linux.resources.devices = [{allow: true}]'
	joins c2 "$hole"
	list=$(cat "$(cg_file devices "$SANDBOX" devices.list)")
	leaves c1
	check_match "devices: a list that v1 cannot express stays the wider one, with a warning" 'keeps its device list' "$ERR"
	check_eq "devices: the list is as it was" "$list" "$(cat "$(cg_file devices "$SANDBOX" devices.list)")"
	in_record "c1 has left" c2
	joins c3 '.linux.resources.devices = [{allow: false}, {allow: true, type: "c", major: 241}]'
	check_match "devices: narrower as soon as it can be" $'\nc 241:\\* rwm(\n|$)' $'\n'"$(cat "$(cg_file devices "$SANDBOX" devices.list)")"
	leaves c2
	leaves c3
	pod_gone c1 c2 c3
else
	skip "a device list that v1 cannot express" "needs cgroup v1 with the controller devices"
fi

# Two lists whose union is too long to be said, unless a wider one is there.
new_pod wide
joins c1 '.linux.resources.devices = [{allow: false}, (range(300; 557) | {allow: true, type: "c", major: ., access: "r"})]'
joins c2 '.linux.resources.devices = [{allow: true}]'
joins c3 '.linux.resources.devices = [{allow: false}, (range(256) | {allow: true, type: "c", minor: ., access: "w"})] |
	'"$(with pids=5)"
leaves c2
check_match "wide: a union that is too long stays the wider one, with a warning" 'keeps its device list' "$ERR"
in_record "c2 has left" c1 c3
leaves c1
has "c3 alone" pids pids.max 5 pids.max 5
leaves c3
pod_gone c1 c2 c3

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
check "dead: the new c3 is in the overhead cgroup" placed "${PIDS[c3]}" rest
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
	check "$POD: c1 is still in the overhead cgroup" placed "${PIDS[c1]}" rest
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

new_pod many
names=()
for ((i = 1; i <= MANY; i++)); do
	names+=("m$i")
	member "m$i" "$(with cpu=$((1000 + i)) pids="$i")"
done

# many_at_once STAGE_OF... - "NAME" starts, "-NAME" stops, all at once
many_at_once() {
	local name jobs=() failed=0 i stage state
	for name; do
		stage=prestart state=created
		[[ $name != -* ]] || stage=poststop state=stopped
		osc "$stage" <"$WORK/$POD/${name#-}/$state" >"$WORK/$POD/${name#-}/log" 2>&1 &
		jobs+=($!)
	done
	i=0
	for name; do
		wait "${jobs[i]}" || {
			echo "$name: exit status $?: $(<"$WORK/$POD/${name#-}/log")"
			failed=1
		}
		i=$((i + 1))
	done
	return "$failed"
}

# Those that are up, by number.
declare -A UP=()
quiet() {
	local i quota=0 pids=0 up=() failed=0
	for i in "${!UP[@]}"; do
		up+=("m$i")
		quota=$((quota + 1000 + i)) pids=$((pids + i))
	done
	in_record "$1" "${up[@]}"
	has "$1" cpu cpu.cfs_quota_us "$quota" cpu.max "$quota 100000"
	has "$1" pids pids.max "$pids" pids.max "$pids"
	check "$POD: $1: one watcher" one_watcher
	for i in "${!UP[@]}"; do
		placed "${PIDS[m$i]}" rest >/dev/null || failed=$((failed + 1))
	done
	check_eq "$POD: $1: processes that are not in the overhead cgroup" 0 "$failed"
}

check "many: $MANY start at once" many_at_once "${names[@]}"
for ((i = 1; i <= MANY; i++)); do UP[$i]=1; done
quiet "$MANY containers"
RANDOM=64
for ((round = 1; round <= ROUNDS; round++)); do
	turn=() started=0
	for ((i = 1; i <= MANY; i++)); do
		if ((RANDOM % 2)); then
			if [[ -n ${UP[$i]-} ]]; then
				end_process "${PIDS[m$i]}"
				turn+=("-m$i")
				unset "UP[$i]"
			else
				reborn "m$i"
				turn+=("m$i")
				UP[$i]=1
				started=$((started + 1))
			fi
		fi
	done
	check "many, round $round: $started start and $((${#turn[@]} - started)) stop at once" many_at_once "${turn[@]}"
	quiet "round $round"
done
turn=()
for i in "${!UP[@]}"; do
	end_process "${PIDS[m$i]}"
	turn+=("-m$i")
done
check "many: all ${#turn[@]} stop at once" many_at_once "${turn[@]}"
check "many: nothing is left of the sandbox" cg_gone "$SANDBOX" "$OVERHEAD"
pod_gone "${names[@]}"

# --- hooks that are killed ---------------------------------------------------

new_pod killed
joins c1 "$(with cpu=10000 pids=100 cpus="$one_cpu" read_bps=1000000)"
joins c2 "$(with cpu=10000 pids=100 cpus="$one_cpu")"
member victim "$(with cpu=5000 pids=10)"
member guest "$(with cpu=1000 pids=1)"
end_process "$PID"

# killed_after MS STAGE STATE - a hook that is killed then, unless it was faster
killed_after() {
	local hook
	(
		"$OSC" --state-dir "$STATE" --config "$CONF" "$2" <"$WORK/$POD/victim/$3" >"$WORK/log" 2>&1 &
		hook=$!
		sleep "0.$(printf '%04d' "$1")"
		kill -KILL "$hook" 2>/dev/null
		wait "$hook"
	) 2>/dev/null || :
}

# next_one NAME - comes and goes, and sets everything right
next_one() {
	local pids=201 got
	reborn guest
	osc prestart <"$WORK/$POD/guest/created" 2>"$WORK/log" || problems+=("$1: a container joins: $(<"$WORK/log")")
	! is_alive "${PIDS[victim]}" || ! jq -e '.containers[] | select(.id == "victim")' "$RECORD" >/dev/null || pids=211
	if available pids; then
		got=$(cat "$(cg_file pids "$VCPU" pids.max)")
		[[ $got == "$pids" ]] || problems+=("$1: pids.max: expected $pids, got $got")
	fi
	if throttles && [[ $MODE != v2 ]]; then
		got=$(cat "$(cg_file blkio "$SANDBOX" blkio.throttle.read_bps_device)")
		[[ -z $got ]] || problems+=("$1: a throttle of several containers: $got")
	fi
	wait_for 5 one_watcher >/dev/null || problems+=("$1: $(one_watcher)")
	end_process "${PIDS[guest]}"
	osc poststop <"$WORK/$POD/guest/stopped" 2>"$WORK/log" || problems+=("$1: it leaves: $(<"$WORK/log")")
}

RANDOM=4711
problems=()
for ((n = 1; n <= KILLS; n++)); do
	is_alive "${PIDS[victim]}" || reborn victim
	killed_after $((RANDOM % 250)) prestart created
	is_alive "${PIDS[victim]}" || problems+=("#$n: the container died with the hook")
	case $((n % 4)) in
	0) # the runtime tries again
		osc prestart <"$WORK/$POD/victim/created" 2>"$WORK/log" || problems+=("#$n: prestart again: $(<"$WORK/log")")
		;;
	1) # and stops it
		end_process "${PIDS[victim]}"
		osc poststop <"$WORK/$POD/victim/stopped" 2>"$WORK/log" || problems+=("#$n: poststop: $(<"$WORK/log")")
		;;
	2) # poststop is killed as well
		end_process "${PIDS[victim]}"
		killed_after $((RANDOM % 250)) poststop stopped
		;;
	3) # never calls poststop
		end_process "${PIDS[victim]}"
		;;
	esac
	next_one "#$n"
done
if [[ ${#problems[@]} -eq 0 ]]; then
	ok "killed: $KILLS hooks in the middle, the pod is as it must be after the next one"
else
	fail "killed: hooks in the middle" "${problems[@]}"
fi
# sweep STAGE SYSCALL - killed at each call of it, and nobody tells us of the victim's end
sweep() {
	local n calls=0 rc hits=0 state=created
	[[ $1 == prestart ]] || state=stopped
	problems=()
	for ((n = 0; n <= calls; n++)); do
		end_process "${PIDS[victim]}"
		reborn victim
		if [[ $1 == poststop ]]; then
			osc prestart <"$WORK/$POD/victim/created" 2>"$WORK/log" || problems+=("#$n: setup: $(<"$WORK/log")")
			end_process "${PIDS[victim]}"
		fi
		rc=0
		if ((n == 0)); then
			strace -o "$WORK/trace" -e trace="$2" "$OSC" --state-dir "$STATE" --config "$CONF" "$1" <"$WORK/$POD/victim/$state" >"$WORK/log" 2>&1 || rc=$?
			calls=$(grep -cE "^$2\\(" "$WORK/trace" || :)
		else
			(
				timeout 60 strace -o /dev/null -e trace="$2" -e inject="$2:signal=KILL:when=$n" \
					"$OSC" --state-dir "$STATE" --config "$CONF" "$1" <"$WORK/$POD/victim/$state" >"$WORK/log" 2>&1
				exit $?
			) 2>/dev/null || rc=$?
			((rc != 137)) || hits=$((hits + 1))
		fi
		((n % 2)) || end_process "${PIDS[victim]}"
		next_one "#$n"
	done
	if [[ ${#problems[@]} -gt 0 ]]; then
		fail "killed: $1 at $2" "${problems[@]}"
	elif ((calls == 0)); then
		ok "killed: $1 makes no call of $2"
	elif ((hits == 0)); then
		fail "killed: $1 at $2" "expected kills at $calls calls, but none happened"
	else
		ok "killed: $1 at each of $hits calls of $2"
	fi
}

if strace -o /dev/null -e trace=none true 2>/dev/null; then
	for call in ${OSC_POD_CALLS-renameat symlinkat unlinkat write}; do
		for stage in prestart poststop; do
			sweep "$stage" "$call"
		done
	done
else
	skip "killed: at each system call" "strace cannot trace here"
fi
check "killed: c1 is where it was" placed "${PIDS[c1]}" rest
check "killed: c2 is where it was" placed "${PIDS[c2]}" rest
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
