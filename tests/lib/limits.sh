# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# The limits and the device list which a container of the integration tests has,
# and where the contract says that they must be found. Needs common.sh.

# Variables come from common.sh.
# shellcheck disable=SC2153,SC2154

LIMIT_QUOTA=50000
LIMIT_PERIOD=100000
LIMIT_SHARES=512
LIMIT_PIDS=64
LIMIT_MEMORY=$((512 << 20))

# available CONTROLLER - on this host, for cgroups below ours
available() {
	hierarchy_of "$1" >/dev/null
}

# cpuset_of CGROUP cpus|mems - what the cgroup really has
cpuset_of() {
	local file
	file=$(cg_file cpuset "$1" "cpuset.$2.effective")
	[[ -e $file ]] || file=$(cg_file cpuset "$1" "cpuset.effective_$2")
	[[ -e $file ]] || file=$(cg_file cpuset "$1" "cpuset.$2")
	cat "$file"
}

# first_of CPULIST
first_of() {
	echo "${1%%[^0-9]*}"
}

# limits_filter - a jq filter that adds them to a config.json; a runtime refuses
# a limit whose controller is mounted nowhere
limits_filter() {
	local filter=.
	if available cpu; then
		filter+=" | .linux.resources.cpu += {quota: $LIMIT_QUOTA, period: $LIMIT_PERIOD, shares: $LIMIT_SHARES}"
	fi
	if available cpuset; then
		filter+=" | .linux.resources.cpu += {cpus: \"$(first_of "$(cpuset_of "" cpus)")\", mems: \"$(first_of "$(cpuset_of "" mems)")\"}"
	fi
	if available pids; then
		filter+=" | .linux.resources.pids = {limit: $LIMIT_PIDS}"
	fi
	if available memory; then
		filter+=" | .linux.resources.memory = {limit: $LIMIT_MEMORY}"
	fi
	echo "$filter"
}

# has_controllers NAME - else fails, with one result for all, where nothing can be limited
has_controllers() {
	local controller
	for controller in cpu cpuset memory pids; do
		! available $controller || return 0
	done
	skip "$1" "no hierarchy has any of the controllers here"
	return 1
}

# check_file NAME CONTROLLER CGROUP FILE EXPECTED
check_file() {
	local CG_FILE got=unreadable
	if ! find_cg_file "$2" "$3" "$4"; then
		skip "$1: $4" "no hierarchy has the controller $2 here"
		return
	fi
	[[ ! -r $CG_FILE ]] || got=$(<"$CG_FILE")
	check_eq "$1: $4 in $3" "$5" "$got"
}

# check_limits NAME SANDBOX VCPU - all are the sandbox's; only its quota is that of the vCPUs alone once
# they are apart
check_limits() {
	local cpus mems
	has_controllers "$1: limits" || return 0
	if [[ $MODE == v2 ]]; then
		check_file "$1" cpu "$3" cpu.max "$LIMIT_QUOTA $LIMIT_PERIOD"
		# 512 shares, with the conversion of the runtimes since 2025 (59) or before (20).
		check_file "$1" cpu "$2" cpu.weight 59
		check_file "$1" pids "$2" pids.max "$LIMIT_PIDS"
		check_file "$1" memory "$2" memory.max "$LIMIT_MEMORY"
	else
		check_file "$1" cpu "$2" cpu.cfs_quota_us "$LIMIT_QUOTA"
		check_file "$1" cpu "$2" cpu.cfs_period_us "$LIMIT_PERIOD"
		check_file "$1" cpu "$2" cpu.shares "$LIMIT_SHARES"
		check_file "$1" pids "$2" pids.max "$LIMIT_PIDS"
		check_file "$1" memory "$2" memory.limit_in_bytes "$LIMIT_MEMORY"
	fi
	if available cpuset; then
		cpus=$(first_of "$(cpuset_of "" cpus)") mems=$(first_of "$(cpuset_of "" mems)")
	fi
	check_file "$1" cpuset "$2" cpuset.cpus "${cpus-}"
	check_file "$1" cpuset "$2" cpuset.mems "${mems-}"
}

# has_text CONTROLLER CGROUP FILE TEXT
has_text() {
	local CG_FILE
	find_cg_file "$1" "$2" "$3" && [[ $(cat "$CG_FILE" 2>&1) == "$4" ]]
}

# check_no_limits NAME OVERHEAD [SHARES] - it has no CPU quota, which is lifted a moment after vCPUs are set
# apart, and competes as the sandbox does. All other limits are the sandbox's, and bind it, too: on v1 it
# is nowhere else.
check_no_limits() {
	local name found=
	if ! available cpu; then
		skip "$1: no quota on the overhead" "no hierarchy has the controller cpu here"
	elif [[ $MODE == v2 ]]; then
		wait_for 10 has_text cpu "$2" cpu.max "max 99999" || :
		check_file "$1" cpu "$2" cpu.max "max 99999"
	else
		check_file "$1" cpu "$2" cpu.cfs_quota_us -1
		check_file "$1" cpu "$2" cpu.shares "${3-$LIMIT_SHARES}"
	fi
	# systemd makes its scopes in all of its hierarchies; nobody is in them.
	[[ $MODE != v2 && $MANAGER != systemd ]] || return 0
	for name in "${HIERARCHIES[@]}"; do
		[[ ,$name, =~ ,(cpu|cpuacct), || ! -d ${CG_DIR[$name]}$2 ]] || found+=" $name"
	done
	check_eq "$1: other hierarchies which have $2" "" "$found"
}

# cpu.weight of these shares, as runtimes convert them
declare -A WEIGHT=([256]=35 [512]=59 [768]=80 [1024]=100)

# quota_holder - the cgroup that has the quota: on v2 the vCPUs' if there are any
quota_holder() {
	if [[ $MODE == v2 && -n $(cat "${CG_DIR[unified]}$VCPU/cgroup.threads" 2>/dev/null) ]]; then
		echo "$VCPU"
	else
		echo "$SANDBOX"
	fi
}

# limits_are QUOTA SHARES MEMORY - of all containers of the sandbox together
limits_are() {
	local got
	if [[ $MODE == v2 ]]; then
		got="$(cat "$(cg_file cpu "$(quota_holder)" cpu.max)") $(cat "$(cg_file cpu "$SANDBOX" cpu.weight)")"
		got+=" $(cat "$(cg_file memory "$SANDBOX" memory.max)")"
		[[ $got == "$1 100000 ${WEIGHT[$2]} $3" ]]
	else
		got="$(cat "$(cg_file cpu "$SANDBOX" cpu.cfs_quota_us)") $(cat "$(cg_file cpu "$SANDBOX" cpu.shares)")"
		got+=" $(cat "$(cg_file memory "$SANDBOX" memory.limit_in_bytes)")"
		[[ $got == "$1 $2 $3" ]]
	fi || {
		echo "expected quota $1, shares $2, memory $3; got $got"
		return 1
	}
}

# What the kernel shows for "no limit" depends on the page size.
unlimited_memory() {
	echo $((0x7fffffffffffffff / $(getconf PAGESIZE) * $(getconf PAGESIZE)))
}

# check_devices NAME CGROUP - what a process in the sandbox may open and
# make; CGROUP must be one that processes can join. config.json denies everything, as `runc spec` writes it, so whatever is
# allowed comes from the sandbox's own list. 240 is a major without a driver.
check_devices() {
	local probe device expected got file rules
	probe=${OSC_PROBE:-$(helper device_probe)}
	if [[ $MODE == v2 ]]; then
		file=${CG_DIR[unified]}$2/cgroup.procs
	elif ! file=$(cg_file devices "$2" cgroup.procs); then
		skip "$1: devices" "no hierarchy has the controller devices here"
		return
	fi
	rules=("c 1 3 allow" "c 1 9 allow" "c 10 200 allow" "c 240 77 deny" "b 240 77 deny" "b 7 5 deny")
	if [[ -c /dev/kvm ]]; then rules+=("c 10 232 allow"); fi
	for device in "${rules[@]}"; do
		expected=${device##* } device=${device% *}
		# Any node may be made, not every node may be opened.
		# shellcheck disable=SC2086 # three words
		got=$("$probe" --dir "$WORK" --cgroup-procs "$file" $device 2>&1) || got="exit status $?: $got"
		check_eq "$1: device $device in the sandbox" \
			"${device% *}:${device##* } r=$expected w=$expected rw=$expected m=allow" "$got"
	done
}

# check_probe - that the kernel refuses what is denied above for no other reason
check_probe() {
	check_eq "device c 240 77 outside of any sandbox" "c 240:77 r=allow w=allow rw=allow m=allow" \
		"$("${OSC_PROBE:-$(helper device_probe)}" --dir "$WORK" c 240 77 2>&1 || :)"
}
