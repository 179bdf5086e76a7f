#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# What the kernel counts on cgroup v2 while a real VMM with a CPU that never rests
# is split: its vCPUs are throttled and nothing else is, the guest's memory is the
# sandbox's, and the cgroups around it stay what they were.

# shellcheck disable=SC2016 # $name in single quotes is jq's
# shellcheck disable=SC2317 # functions are called by name
# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"
# shellcheck source=../lib/limits.sh
. "$TESTS/lib/limits.sh"

QUOTA=20000
PERIOD=100000
GUEST_MIB=64
KVM_DEVICE='.linux.devices = [{path: "/dev/kvm", type: "c", major: 10, minor: 232, fileMode: 438}]
	| .linux.resources.devices += [{allow: true, type: "c", major: 10, minor: 232, access: "rwm"}]'

if [[ $MODE != v2 ]]; then
	skip "numbers of cgroup v2" "this host has v1 hierarchies"
	finish
fi
for controller in cpu memory; do
	if ! available $controller; then
		skip "numbers of cgroup v2" "the controller $controller is not available here"
		finish
	fi
done

# make_rom FILE - firmware that is nothing but `jmp $` at the reset vector, 16
# bytes before its end
make_rom() {
	head -c 65536 /dev/zero >"$1"
	printf '\xeb\xfe' | dd of="$1" bs=1 seek=65520 conv=notrunc status=none
}

# stat_of CGROUP FILE KEY
stat_of() {
	awk -v key="$3" '$1 == key { print $2; found = 1 } END { if (!found) print "none" }' "${CG_DIR[unified]}$1/$2" 2>&1
}

# throttled CGROUP TIMES - at least that often
throttled() {
	local times
	times=$(stat_of "$1" cpu.stat nr_throttled)
	if [[ $times == none ]] || ((times < $2)); then
		echo "nr_throttled of $1: expected at least $2, got $times"
		return 1
	fi
}

# memory_of CGROUP - in bytes
memory_of() {
	cat "${CG_DIR[unified]}$1/memory.current" 2>&1
}

holds_guest() {
	(($(memory_of "$SANDBOX") >= GUEST_MIB << 20)) || {
		echo "memory.current of $SANDBOX: expected at least $((GUEST_MIB << 20)), got $(memory_of "$SANDBOX")"
		return 1
	}
}

# plain_domains - all cgroups around the sandbox, up to the root
plain_domains() {
	local cgroup type dirs=() path=${SANDBOX%/*} result=0 root=${CG_DIR[unified]}
	for cgroup in "$root$path"/*/; do
		[[ ${cgroup%/} == "$root$SANDBOX" ]] || dirs+=("${cgroup%/}")
	done
	while [[ -n $path ]]; do
		dirs+=("$root$path")
		path=${path%/*}
	done
	for cgroup in "${dirs[@]}"; do
		type=$(<"$cgroup/cgroup.type")
		[[ $type == domain ]] || {
			echo "$cgroup: $type"
			result=1
		}
	done
	# The runtime's and the parent at least.
	((${#dirs[@]} >= 2)) || {
		echo "only ${dirs[*]} is there"
		result=1
	}
	return "$result"
}

# neighbour - a cgroup of somebody else's beside ours, with a process. Sets NEIGHBOUR.
neighbour() {
	if [[ $MANAGER == systemd ]]; then
		systemd-run --quiet --scope --collect --unit="$TAG-neighbour.scope" --slice="$SLICE" -- sleep 1000 >/dev/null 2>&1 &
	else
		cg_make "$BASE/neighbour"
		sleep 1000 >/dev/null 2>&1 &
	fi
	NEIGHBOUR=$!
	disown
	started "$NEIGHBOUR"
	wait_for 20 runs_sleep "$NEIGHBOUR"
	[[ $MANAGER == systemd ]] || cg_enter "$BASE/neighbour" "$NEIGHBOUR"
}

# split NAME ACCELERATOR [JQ_FILTER]
split() {
	local name=$1 args used elapsed started own_memory was
	set_layout "$name" "$TAG-$name"
	args=$(jq -c --arg mib $GUEST_MIB '. + ["-bios", "/rom", "-mem-prealloc", "-m", $mib]' <<<"$(qemu_args "$2" 2)")
	make_bundle "$name" "$args" "${3-.} | .linux.resources.cpu = {quota: $QUOTA, period: $PERIOD}
		| .linux.resources.memory = {limit: $LIMIT_MEMORY}"
	make_rom "$WORK/$name/rootfs/rom"
	add_hooks "$name" "prestart poststop"
	if ! run_container "$name"; then
		fail "$name: the runtime starts the container" "$(cat "$WORK/$name/log")"
		return
	fi
	check_threads "$name" "$PID" 2
	check_file "$name" cpu "$VCPU" cpu.max "$QUOTA $PERIOD"

	# Before they were set apart the quota held everything.
	check_wait "$name: the quota of the others is lifted" 10 has_text cpu "$OVERHEAD" cpu.max "max 99999"
	was=$(stat_of "$OVERHEAD" cpu.stat nr_throttled)
	check_wait "$name: the vCPUs are throttled" 60 throttled "$VCPU" 3
	started=$(date +%s%N)
	used=$(stat_of "$VCPU" cpu.stat usage_usec)
	check_wait "$name: again and again" 60 throttled "$VCPU" $(($(stat_of "$VCPU" cpu.stat nr_throttled) + 10))
	used=$(($(stat_of "$VCPU" cpu.stat usage_usec) - used))
	elapsed=$((($(date +%s%N) - started) / 1000))
	# Twice as much, for what a period's slices of each CPU allow in between.
	if ((used > 0 && used * PERIOD <= elapsed * QUOTA * 2)); then
		ok "$name: they use no more than their quota"
	else
		fail "$name: they use no more than their quota" "$used us in $elapsed us, with $QUOTA of $PERIOD"
	fi
	check_eq "$name: the overhead is not throttled any more" "$was" "$(stat_of "$OVERHEAD" cpu.stat nr_throttled)"

	check_wait "$name: the sandbox has the guest's memory" 60 holds_guest
	own_memory=$(memory_of "$OWN")
	if ((own_memory < GUEST_MIB << 18)); then
		ok "$name: the runtime's own cgroup has next to none"
	else
		fail "$name: the runtime's own cgroup has next to none" "memory.current of $OWN is $own_memory"
	fi
	check "$name: the cgroups around it are plain domains" plain_domains
	check "$name: kill and delete" stop_container "$name"
	check_nothing_left "$name" "$before"
}

neighbour
before=$(snapshot)
if kvm_works; then
	split kvm kvm "$KVM_DEVICE"
else
	split tcg tcg,thread=multi
fi
end_process "$NEIGHBOUR"
cg_remove "$BASE/neighbour"

# --- a parent that holds processes -------------------------------------------

if [[ $MANAGER == systemd ]]; then
	# systemd cannot start the runtime's own scope in a slice that holds a process.
	finish
fi

# refused NAME LIMITS_FILTER - both policies, beside a process in the parent
refused() {
	local name=$1 parent=$BASE/$1 inside was only what
	cg_make "$parent"
	sleep 1000 >/dev/null 2>&1 &
	other=$!
	disown
	started "$other"
	cg_enter "$parent" "$other"
	fake_container "$name/c" "$2" "$TAG-c"
	set_layout "$name/c" "$TAG-c"
	SANDBOX=$parent/kata_c
	for only in false true; do
		what="the parent holds a process, $name limit, only=$only"
		configure ".sandbox_cgroup_only = $only"
		inside=$(snapshot)
		was=$(cat "/proc/$PID/cgroup")
		capture osc prestart <"$WORK/$name/c/created"
		check_exit "$what: setup" 1
		check_match "$what: it names the parent" "$parent" "$ERR"
		check_match "$what: it says why" "holds processes" "$ERR"
		check_match "$what: it says what to do" "; move them .*cgroupsPath" "$ERR"
		check_eq "$what: the container's process is where it was" "$was" "$(cat "/proc/$PID/cgroup")"
		check "$what: the cgroups around it are plain domains" plain_domains
		check_nothing_left "$what" "$inside"
	done
	end_process "$other"
	capture osc prestart <"$WORK/$name/c/created"
	check_exit "the parent holds none any more, $name limit: setup" 0
	end_process "$PID"
	capture osc poststop <"$WORK/$name/c/stopped"
	drop_fake "$name/c" "$PID"
	cg_remove "$parent"
	check_nothing_left "the parent holds none any more, $name limit" "$before"
}

before=$(snapshot)
refused memory ".linux.resources = {memory: {limit: $LIMIT_MEMORY}}"
# A threaded controller can be enabled there, which makes the parent a threaded
# domain and what is in it invalid.
refused cpu ".linux.resources.cpu = {quota: $QUOTA, period: $PERIOD}"

finish
