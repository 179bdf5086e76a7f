#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The verb stat, under the real runtime: what it says lies between what the cgroups' own files say before
# and after, for the vCPUs and the overhead apart, in both layouts and with both policies.

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

BUSY='["/fake_vmm", "--burn", "CPU 0/KVM", "CPU 1/KVM", "worker"]'

# start NAME ARGS_JSON - with a quota, sets PID and C
start() {
	make_bundle "$1" "$2" ".linux.resources.cpu += {quota: 20000, period: 100000} | .linux.resources.memory.limit = 268435456"
	install -m 0755 "$(helper fake_vmm)" "$WORK/$1/rootfs/fake_vmm"
	add_hooks "$1" "prestart poststop"
	create_nested "$1" && oci start "$TAG-$1"
}

# all_run - each thread of BUSY, under its name
all_run() {
	[[ $(threads "$PID" | cut -d ' ' -f 2- | sort | paste -sd ,) == "CPU 0/KVM,CPU 1/KVM,fake_vmm,worker" ]]
}

# used_us CGROUP - CPU time, of it and what is in it; nothing where that is not counted
used_us() {
	local ns
	if [[ $MODE == v2 ]]; then
		sed -n 's/^usage_usec //p' "${CG_DIR[unified]}$1/cpu.stat"
	else
		ns=$(cat "$(cg_file cpuacct "$1" cpuacct.usage)" 2>/dev/null) && echo $((ns / 1000))
	fi
}

# part NAME MEMBER - a number of the last answer
part() {
	jq -r ".cpu.$1.$2" <<<"$OUT"
}

# between NAME LOW VALUE HIGH
between() {
	check "$1: between two readings of the kernel's own" test "$2" -le "$3" -a "$3" -le "$4"
}

# answers NAME - in JSON, and whole: no member is absent
answers() {
	capture osc --json stat "$TAG-$1"
	check_exit "$1: stat" 0
	check_eq "$1: its members" "container cpu interval_us io memory namespace pids pod pressure sandbox_id split state" \
		"$(jq -r 'keys | join(" ")' <<<"$OUT")"
	check_eq "$1: it runs" "running" "$(jq -r .state <<<"$OUT")"
}

# used_some NAME - in the time between two readings; on a slow machine it may have had no turn in one
used_some() {
	capture osc --json stat --interval 300ms "$TAG-$1"
	[[ $(part all usage_us) -gt 0 ]]
}

# grows NAME - what is used in some time
grows() {
	check_wait "$1: the VMM uses some" 30 used_some "$1"
	check_exit "$1: stat --interval" 0
	check "$1: of that time" test "$(jq -r .interval_us <<<"$OUT")" -ge 300000
	check_eq "$1: its share is that of the time" "true" \
		"$(jq '(.cpu.all.usage_us * 100 / .interval_us - .cpu.all.percent) | fabs < 0.01' <<<"$OUT")"
}

# apart NAME - the two parts are counted by the kernel, as far as it does
apart() {
	local name=$1 low high low_all high_all
	use_nested false
	start "$name" "$BUSY" || {
		fail "$name: the runtime starts the container" "$(cat "$WORK/$name/log")"
		return
	}
	check_split "$name: split" "$PID" 2 20000
	check_wait "$name: placement" 20 placement_says "$TAG-$name" "^complete"
	check_wait "$name: the vCPUs are throttled" 30 throttled_above "$VCPU" 0
	low=$(used_us "$VCPU") low_all=$(used_us "$C")
	answers "$name"
	high_all=$(used_us "$C") high=$(used_us "$VCPU")
	check_eq "$name: two vCPUs, apart" "2 true" "$(jq -r '"\(.cpu.vcpu_count) \(.split)"' <<<"$OUT")"
	if [[ -n $(used_us "$APART") ]]; then
		check_eq "$name: how that is known" "cgroup" "$(jq -r .cpu.source <<<"$OUT")"
		between "$name: the vCPUs' CPU time" "$low" "$(part vcpus usage_us)" "$high"
	else
		check_eq "$name: how that is known" "threads" "$(jq -r .cpu.source <<<"$OUT")"
		between "$name: all CPU time" "$low_all" "$(part all usage_us)" "$high_all"
	fi
	check "$name: the vCPUs were throttled" test "$(part vcpus throttled_periods)" -gt 0
	check "$name: the overhead has run" test "$(part overhead usage_us)" -gt 0
	check_eq "$name: both are all" "$(part all usage_us)" \
		"$(($(part vcpus usage_us) + $(part overhead usage_us)))"
	grows "$name"
	capture osc stat "$TAG-$name"
	check_exit "$name: stat, for people" 0
	[[ -z ${OSC_SHOW-} ]] || echo "$OUT"
	check_match "$name: the vCPUs' line" "vCPUs +[0-9.]+ s  throttled in [0-9.]+ % of its periods" "$OUT"
	stop "$name"
}

# counts NAME CONTROLLER JQ_PATH FILE_V1 FILE_V2
counts() {
	local file=$4
	[[ $MODE != v2 ]] || file=$5
	if [[ $MODE != v2 ]] && ! available "$2"; then
		check_eq "$1: $3 without the controller" "null" "$(jq -r "$3" <<<"$OUT")"
	else
		check_eq "$1: $3" "$(cat "$(cg_file "$2" "$C" "$file")")" "$(jq -r "$3" <<<"$OUT")"
	fi
}

# together NAME - all is in one cgroup, and the threads' own times tell
together() {
	local name=$1 low high
	use_nested true
	start "$name" "$BUSY" || {
		fail "$name: the runtime starts the container" "$(cat "$WORK/$name/log")"
		return
	}
	check_wait "$name: its threads run" 20 all_run
	low=$(used_us "$C")
	answers "$name"
	high=$(used_us "$C")
	check_eq "$name: by the threads" "threads 2 false" \
		"$(jq -r '"\(.cpu.source) \(.cpu.vcpu_count) \(.split)"' <<<"$OUT")"
	between "$name: all CPU time" "$low" "$(part all usage_us)" "$high"
	check "$name: the vCPUs have run" test "$(part vcpus usage_us)" -gt 0
	check_eq "$name: the rest is the overhead" "$(part all usage_us)" \
		"$(($(part vcpus usage_us) + $(part overhead usage_us)))"
	counts "$name" memory .memory.limit_bytes memory.limit_in_bytes memory.max
	counts "$name" pids .pids.current pids.current pids.current
	grows "$name"
	stop "$name"
}

# Nobody is a vCPU: nothing is claimed.
none() {
	local name=none
	use_nested false
	start $name '["/fake_vmm", "worker"]' || return
	answers $name
	check_eq "$name: nothing is known of vCPUs" "null null null" \
		"$(jq -r '"\(.cpu.source) \(.cpu.vcpus.usage_us) \(.cpu.overhead.usage_us)"' <<<"$OUT")"
	capture osc stat "$TAG-$name"
	check_match "$name: and that is said" "no vCPU that is known" "$OUT"
	stop $name
}

stop() {
	check "$1: kill and delete" stop_container "$1"
}

before=$(snapshot)
if ! hierarchy_of cpu >/dev/null; then
	skip "stat" "it takes the cpu controller"
else
	for LAYOUT in nested sibling; do
		apart "apart-$LAYOUT"
		together "together-$LAYOUT"
	done
	LAYOUT=nested
	none
fi
capture osc stat "$TAG-gone"
check_exit "of none" 1
check_match "of none: what there are" "there is no sandbox.*list" "$ERR"
check_nothing_left "stat" "$before"
finish
