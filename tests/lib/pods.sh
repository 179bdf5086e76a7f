# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# Pods of fake containers, for which the script plays the runtime: who joins, who
# leaves, and what the sandbox is limited to then. Needs common.sh and limits.sh.

# Variables come from common.sh, and are for the scripts; $name in single quotes is jq's.
# shellcheck disable=SC2034,SC2153,SC2154,SC2016

# No process here is a VMM, and nobody is to be told of that: nothing is split, all is in the sandbox cgroup.
BASIC='.vcpu_timeout_ms = 3600000'
declare -A PIDS=()
configure "$BASIC"

# --- containers of a pod -----------------------------------------------------

# new_pod NAME [ONLY] - which the next containers are of
new_pod() {
	POD=$1
	before_pod=$(snapshot)
	cg_make "/$TAG/$POD"
	set_pod_layout "/$TAG/$POD" "$POD" "${2-false}"
	RECORD=$STATE/sandboxes/$POD/record.json
}

# member NAME [JQ_FILTER] [ROLE] - a container of it, which no hook knows of yet, without any limit
member() {
	local id=$1
	[[ ${3-container} == container ]] || id=$POD
	fake_container "$POD/$1" 'del(.linux.resources) | .annotations = {"io.kubernetes.cri.container-type": "'"${3-container}"'",
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
	if [[ $MODE == v2 ]]; then
		check_file "$POD: $1" "${2/blkio/io}" "$SANDBOX" "$5" "$6"
	else
		check_file "$POD: $1" "$2" "$SANDBOX" "$3" "$4"
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
	local name cgroup dir
	for name in "${HIERARCHIES[@]}"; do
		for cgroup in "$SANDBOX" ${OVERHEAD:+"$OVERHEAD"}; do
			dir=${CG_DIR[$name]}$cgroup
			grep '' "$dir"/{cpu.shares,cpu.weight,cpu.idle,cpu.cfs_*,cpu.max,cpuset.cpus,cpuset.mems,memory.*limit_in_bytes,memory.max,memory.swap.max,pids.max,devices.list} \
				"$dir"/blkio.throttle.*_device "$dir"/io.max "$dir"/hugetlb.*.max 2>/dev/null | sed "s,.*/,${cgroup##*/} ," || :
		done
	done | grep -v ' hugetlb.*:max$' | sort -u
}

# one_watcher - that of the record and no other
one_watcher() {
	local found
	found=$(watchers | xargs)
	[[ $found == "$(watcher_pid "$POD")" ]] || {
		echo "watchers: $found, in the record: $(watcher_pid "$POD")"
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
	parent=$BASE
	[[ $MODE != v2 ]] || parent=
	all_cpus=$(cpuset_of "$parent" cpus) all_mems=$(cpuset_of "$parent" mems)
fi
one_cpu=$(first_of "$all_cpus")
# What a cpuset says whose list was taken away; with processes in it one of v2 cannot be emptied.
no_cpus=$all_cpus
[[ $MODE != v2 ]] || no_cpus=$(cat /sys/devices/system/cpu/possible)

# --- steps that fail ---------------------------------------------------------

# keeps NAME - of what was seen before: limits, record (but for order), watcher, process
keeps() {
	check_eq "$POD: $1: limits as before" "$limits_before" "$(limits_now)"
	check_eq "$POD: $1: record as before" "$record_before" "$(jq . "$RECORD" 2>&1)"
	[[ $ONLY == true ]] || check "$POD: $1: watcher as before" one_watcher
}

look() {
	limits_before=$(limits_now) record_before=$(jq . "$RECORD")
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
