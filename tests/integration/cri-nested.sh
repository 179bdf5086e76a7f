#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# containerd's CRI plugin and layout nested on v2: what the kubelet does to a container
# with a VMM that never rests, it does to the same container with the hook. Each call is
# made without the hook and with it, and what is seen has to be equal.

# shellcheck disable=SC2016 # $name in single quotes is jq's
# shellcheck disable=SC2034,SC2317 # common.sh uses and calls these
OSC_LIB_ONLY=yes
# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"
# shellcheck source=../lib/limits.sh
. "$TESTS/lib/limits.sh"
# shellcheck source=../lib/observe.sh
. "$TESTS/lib/observe.sh"
# shellcheck source=../lib/registration.sh
. "$TESTS/lib/registration.sh"
# shellcheck source=../lib/cri.sh
. "$TESTS/lib/cri.sh"
# shellcheck source=../lib/compare.sh
. "$TESTS/lib/compare.sh"

RESOURCES='{"cpu_quota": 60000, "cpu_period": 100000, "cpu_shares": 512, "memory_limit_in_bytes": 268435456}'

# layout ONLY - each container is a sandbox of its own, and remember_c() says where
layout() {
	ONLY=$1 SANDBOX='' VCPU='' OVERHEAD=''
}

# plain TEXT - without the ids
plain() {
	local text=${1//"${POD:-none}"/POD}
	echo "${text//"${ID[vmm]:-none}"/ID}"
}

# see_cri KEY METHOD JSON
see_cri() {
	cri "$2" "$3"
	see "$1" "$RC $(plain "$ERR")"
}

# container JSON_MEMBERS - a request for the VMM's container
container() {
	echo "{\"container_id\": \"${ID[vmm]}\"${1:+, $1}}"
}

# update KEY RESOURCES
update() {
	see_cri "$1" UpdateContainerResources "$(container "\"linux\": $2")"
}

# apart NAME QUOTA - with the hook: the split
apart() {
	[[ $HOOK == bare ]] || check_split "$P: $1" "$PID" "$VCPUS" "$2"
}

# working_set - of C, as containerd reckons it
working_set() {
	echo $(($(c_file memory.current) - $(c_file memory.stat | awk '$1 == "inactive_file" { print $2 }')))
}

# number_of FILTER - in the last answer
number_of() {
	jq -r "$1 // 0" <<<"$OUT" 2>/dev/null || echo 0
}

# see_stats - they are those of C, which has the whole VMM
see_stats() {
	local memory cpu got ticks
	ticks=$(cpu_ticks "$PID") memory=$(working_set) cpu=$(cpu_usage "$C")
	see_cri "ContainerStats" ContainerStats "$(container)"
	got=$(number_of .stats.cpu.usage_core_nano_seconds.value)
	see "ContainerStats: CPU time" "$(about "$cpu" $((got / 1000)) "$(cpu_usage "$C")")"
	see "ContainerStats: the guest's CPU time is in it" "$( ((got > ticks * 9000000)) && echo yes || echo no)"
	got=$(number_of .stats.memory.working_set_bytes.value)
	see "ContainerStats: memory" "$(about $((memory * 9 / 10)) "$got" $(($(working_set) * 11 / 10)))"
	see "ContainerStats: the VMM's memory is in it" "$( ((got > 8 << 20)) && echo yes || echo no)"
}

# cpus_allowed - to each thread of the VMM
cpus_allowed() {
	sed -n 's/^Cpus_allowed_list:\t//p' "/proc/$PID/task"/*/status | sort -u | xargs
}

has_vcpus() {
	(($(vcpus_of "$PID" | wc -w) == VCPUS))
}

see_update() {
	update "update of cpu" '{"cpu_quota": 20000, "cpu_period": 100000}'
	see_when "update of cpu: the vCPUs' quota" 20 20000 vcpu_quota "$PID"
	apart "after update of cpu" 20000
	update "update of memory" "{\"memory_limit_in_bytes\": $((200 << 20))}"
	see_when "update of memory: the limit" 20 $((200 << 20)) c_file memory.max
	see_when "update of memory: the vCPUs' quota" 20 20000 vcpu_quota "$PID"
	apart "after update of memory" 20000
	update "update of cpuset" '{"cpuset_cpus": "0"}'
	see_when "update of cpuset: the VMM's CPUs" 20 0 cpus_allowed
	see_when "update of cpuset: the vCPUs' quota" 20 20000 vcpu_quota "$PID"
	apart "after update of cpuset" 20000
}

# see_end - as the kubelet does
see_end() {
	see_cri "StopContainer" StopContainer "$(container '"timeout": 5')"
	check_wait "$P: the VMM has ended" 20 is_dead "$PID"
	see_cri "RemoveContainer" RemoveContainer "$(container)"
	unset "ID[vmm]"
	see_when "RemoveContainer: C" 20 "" cg_exists "$C"
	check_wait "$P: no record left" 20 no_record_left
	see_cri "StopPodSandbox" StopPodSandbox "{\"pod_sandbox_id\": \"$POD\"}"
	see_cri "RemovePodSandbox" RemovePodSandbox "{\"pod_sandbox_id\": \"$POD\"}"
	POD=
}

operations() {
	local before handler=plain-$MANAGER command
	before=$(snapshot)
	[[ $HOOK == bare ]] || handler=$MANAGER-false
	run_pod false "$handler" || return
	command=$(qemu_args "$ACCELERATOR" "$VCPUS" | jq -c '. + ["-bios", "/loop.bin"]')
	run_container_of_pod vmm 0 "$RESOURCES" "$command" || return
	remember_c "$PID"
	wait_for 120 has_vcpus
	see "start: init is in the runtime's own cgroup" "$(plain "$C")"
	see_when "start: the vCPUs' quota" 20 60000 vcpu_quota "$PID"
	apart "the split" 60000
	if [[ $HOOK == nested ]]; then
		check_wait "$P: a watcher runs" 5 has_watcher "${ID[vmm]}"
		check_watcher "$P" "$(watcher_pid "${ID[vmm]}")"
	fi
	see_stats
	see_cri "ExecSync" ExecSync "$(container '"cmd": ["/busybox", "cat", "/proc/self/cgroup"]')"
	see "ExecSync prints" "$(jq -r '.stdout | @base64d' <<<"$OUT" | head -n 1)"
	see_update
	see_end
	check_nothing_left "$P" "$before"
}

# play - without the hook, with it, and the difference
play() {
	forget
	for HOOK in bare nested; do
		P=$MANAGER-$HOOK
		operations || {
			drop_pod
			return 0
		}
	done
	check_same "$MANAGER"
}

find_hierarchies
[[ $MODE == v2 ]] || not_here "it is what layout nested is on v2"
begin_cri
configure ".layout = \"nested\" | .vcpu_evidence = \"$([[ $ACCELERATOR == kvm ]] && echo auto || echo name)\""
play
if use_systemd; then
	play
fi

finish
