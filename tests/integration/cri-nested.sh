#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# containerd's CRI plugin on v2: what the kubelet does to a container with a VMM that never
# rests, it does to the same container with the hook in layout nested. And in both layouts:
# a VMM that is killed for want of memory, and the end of containers that share the PID
# namespace of the host or of their pod. Each call is made without the hook and with it, and
# what is seen has to be equal; what is known to differ is skipped, with what was seen.

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

# resources MIB
resources() {
	echo "{\"cpu_quota\": 60000, \"cpu_period\": 100000, \"cpu_shares\": 512, \"memory_limit_in_bytes\": $(($1 << 20))}"
}

# layout ONLY - each container is a sandbox of its own, and remember_c() says where
layout() {
	ONLY=$1 SANDBOX='' VCPU='' OVERHEAD=''
}

# plain TEXT - without the ids
plain() {
	local text=${1//"${POD:-none}"/POD} id
	for id in "${ID[@]}"; do
		text=${text//"$id"/ID}
	done
	echo "$text"
}

# see_cri KEY METHOD JSON
see_cri() {
	cri "$2" "$3"
	see "$1" "$RC $(plain "$ERR")"
}

# container [JSON_MEMBERS [NAME]] - a request for the VMM's container, or another one
container() {
	echo "{\"container_id\": \"${ID[${2-vmm}]}\"${1:+, $1}}"
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

# see_stop NAME PID... - the container ends, within its grace and with these processes
see_stop() {
	# On a slow machine containerd would kill at the end of its grace what is just being removed, which fails.
	local name=$1 begun=$SECONDS pid grace=$((5 * ${OSC_PATIENCE:-1}))
	shift
	see_cri "StopContainer $name" StopContainer "$(container "\"timeout\": $grace" "$name")"
	see "StopContainer $name: in time" "$( ((SECONDS - begun <= 2 * grace)) && echo yes || echo no)"
	wait_for 5 all_dead "$@" || :
	see "StopContainer $name: what lives of it" "$(living "$@")"
	[[ $HOOK != bare ]] || check_eq "$P: StopContainer $name: what lives of it" "" "$(living "$@")"
	# So that what follows can be compared, too.
	for pid; do
		end_process "$pid"
	done
	check_wait "$P: $name has ended" 60 has_exited "$name"
}

all_dead() {
	[[ -z $(living "$@") ]]
}

has_exited() {
	cri ContainerStatus "$(container "" "$1")"
	[[ $(jq .status.state <<<"$OUT") == 2 ]]
}

# living PID... - the names of those
living() {
	local pid
	for pid; do
		! is_alive "$pid" || cat "/proc/$pid/comm"
	done | xargs
}

see_remove() {
	local own
	own=$(own_of "${ID[$1]}")
	see_cri "RemoveContainer $1" RemoveContainer "$(container "" "$1")"
	unset "ID[$1]"
	see "RemoveContainer $1: the runtime's cgroup" "$(wait_for 20 cg_gone "$own" >/dev/null && echo gone || echo left)"
}

# own_of ID - the cgroup that the runtime makes for a container
own_of() {
	if [[ $MANAGER == systemd ]]; then
		echo "$(slice_cgroup "$SLICE")/cri-containerd-$1.scope"
	else
		echo "$BASE/pod/$1"
	fi
}

# see_end - of the pod, and nothing is left
see_end() {
	[[ $HOOK == bare ]] || check_wait "$P: no record left" 20 no_record_left
	see_cri "StopPodSandbox" StopPodSandbox "{\"pod_sandbox_id\": \"$POD\"}"
	see_cri "RemovePodSandbox" RemovePodSandbox "{\"pod_sandbox_id\": \"$POD\"}"
	POD=
	check_nothing_left "$P" "$BEFORE"
}

# start_pod EVIDENCE - for HOOK; sets BEFORE
start_pod() {
	local handler=$MANAGER-false
	[[ $HOOK != bare ]] || handler=plain-$MANAGER
	configure ".layout = \"${HOOK/bare/nested}\" | .vcpu_evidence = \"$1\""
	BEFORE=$(snapshot)
	run_pod false "$handler"
}

operations() {
	local command
	start_pod "$([[ $ACCELERATOR == kvm ]] && echo auto || echo name)" || return
	command=$(qemu_args "$ACCELERATOR" "$VCPUS" | jq -c '. + ["-bios", "/loop.bin"]')
	run_container_of_pod vmm 0 "$(resources 256)" "$command" || return
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
	see_stop vmm "$PID"
	see_remove vmm
	see_end
}

# --- a VMM that is played ----------------------------------------------------

PLAYED='/fake_vmm "CPU 0/KVM"'

# run_played MIB SCRIPT - as container vmm, whose first process becomes the VMM or has it for a child
run_played() {
	run_container_of_pod vmm 0 "$(resources "$1")" "$(json_list /busybox sh -c "$2")" || return
	check_wait "$P: the VMM runs" 60 runs_played
	[[ $HOOK == bare ]] || check_wait "$P: the vCPU is in its place" 60 placement_is complete
}

runs_played() {
	local pid
	for pid in $(family_of "$PID"); do
		[[ -z $(vcpus_of "$pid") ]] || return 0
	done
	return 1
}

# family_of PID - and its children
family_of() {
	echo "$1 $(cat "/proc/$1/task/$1/children" 2>/dev/null)"
}

placement_is() {
	local sandbox=${ID[vmm]}
	[[ $HOOK != sibling ]] || sandbox=$POD
	[[ $(osc show "$sandbox" --json | jq -r .placement.state) == "$1" ]]
}

# status_is STATUS - sets STATUS: the number of a state (2 has ended), the exit code and the reason
status_is() {
	cri ContainerStatus "$(container)"
	STATUS=$(jq -r '.status | "\(.state // 0) \(.exit_code // 0) \(.reason)"' <<<"$OUT" 2>&1)
	[[ $STATUS == "$1" ]]
}

# oom - another process of its container takes all memory, and the VMM is killed for it
oom() {
	start_pod name || return
	run_played 32 "$STARVED" || return
	starve "$PID"
	wait_for 60 status_is "2 137 OOMKilled" || :
	# systemd may have removed a scope before containerd has read there why: seen with the hook and without it.
	[[ $MANAGER != systemd ]] || STATUS=${STATUS/%OOMKilled/Error}
	see "ContainerStatus" "$STATUS"
	check_wait "$P: the VMM has ended" 20 is_dead "$PID"
	see_remove vmm
	see_end
}

# --- PID namespaces that are shared ------------------------------------------

# host_pid - the VMM and another one are children of the first process
host_pid() {
	local PID_NAMESPACE=2
	start_pod name || return
	run_played 256 "/busybox sleep 1000000 & $PLAYED & wait" || return
	# shellcheck disable=SC2046 # pids
	see_stop vmm $(family_of "$PID")
	see_remove vmm
	see_end
}

# shared_pid - the VMM is the first process of its container, and another container runs beside it
shared_pid() {
	local PID_NAMESPACE=0 side
	start_pod name || return
	run_container_of_pod side 0 "$(resources 64)" "$(json_list /busybox sh -c '/busybox sleep 1000000 & wait')" || return
	side=$PID
	run_played 256 "/busybox sleep 1000000 & exec $PLAYED" || return
	# shellcheck disable=SC2046 # pids
	see_stop vmm $(family_of "$PID")
	see_remove vmm
	# shellcheck disable=SC2046 # pids
	see "the other container" "$(living $(family_of "$side"))"
	# shellcheck disable=SC2046 # pids
	see_stop side $(family_of "$side")
	see_remove side
	see_end
}

# play SCENE HOOK... - without the hook, with it, and the difference
play() {
	local scene=$1
	shift
	forget
	for HOOK in bare "$@"; do
		P=$MANAGER-${scene%_*}-$HOOK
		"$scene" || {
			drop_pod
			return 0
		}
	done
	for HOOK; do
		check_same "$MANAGER: $scene"
	done
}

play_all() {
	local nested=nested
	play operations nested
	play oom nested sibling
	if ! reads_threaded; then
		nested=
		skip "$MANAGER: shared PID namespaces, nested" "$VERSION cannot read a threaded cgroup, so kill --all fails, and \
StopContainer waits for a VMM that goes on; --layout=auto takes sibling there"
	fi
	play host_pid $nested sibling
	play shared_pid $nested sibling
}

find_hierarchies
[[ $MODE == v2 ]] || not_here "it is what layout nested is on v2"
begin_cri
play_all
if use_systemd; then
	play_all
fi

finish
