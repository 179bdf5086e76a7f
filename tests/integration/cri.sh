#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# containerd's CRI plugin, as the kubelet drives it: a pod whose containers have
# the hooks by `base_runtime_spec`, one of them a real VMM. The pause container
# gets no hooks from there. Limits of all containers together at each point, and
# nothing left afterwards. In a containerd of this script's own; first with
# absolute cgroup paths, then with systemd. And once the hooks by a CDI device,
# where containerd knows those.

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

# layout ONLY - where the contract puts the sandbox of $POD
layout() {
	local parent=$BASE/pod name=kata_$POD
	ONLY=$1
	if [[ $MANAGER == systemd ]]; then
		parent=$(slice_cgroup "$SLICE")
		name=cri-containerd-kata_$POD.scope
	fi
	SANDBOX=$parent/$name VCPU=$parent/$name OVERHEAD=
	[[ $1 == false ]] || return 0
	if [[ $MODE == v2 ]]; then
		VCPU=$SANDBOX/kata_vcpu OVERHEAD=$SANDBOX
	elif [[ $MANAGER == systemd ]]; then
		OVERHEAD=/kata.slice/kata-overhead.slice/kata-overhead-$POD.scope
	else
		OVERHEAD=${OVERHEAD_PARENT-$BASE/overhead}/$POD
	fi
}

# containers - that the record names
containers() {
	jq -c '[.containers[].id] | sort' "$STATE/sandboxes/$POD/record.json" 2>&1
}

# ids NAME... - as the record would name them
ids() {
	local name
	for name; do echo "${ID[$name]}"; done | jq -Rnc '[inputs] | sort'
}

# scenario ONLY
scenario() {
	local before watcher one two vmm
	P=$MANAGER-$([[ $1 == true ]] && echo only || echo split)
	one='{"cpu_quota": 20000, "cpu_period": 100000, "cpu_shares": 512, "memory_limit_in_bytes": 268435456}'
	two='{"cpu_quota": 30000, "cpu_period": 100000, "cpu_shares": 256, "memory_limit_in_bytes": 134217728}'
	before=$(snapshot)
	run_pod "$1" || return 0
	check "$P: the pause container has no sandbox" no_record_left
	check "$P: and no cgroup of ours" cg_gone "$SANDBOX"

	run_container_of_pod vmm 0 "$one" "$(qemu_args "$ACCELERATOR" "$VCPUS")" || return 0
	vmm=$PID
	check_threads "$P: the VMM" "$vmm" "$VCPUS"
	check_wait "$P: limits of the VMM's container" 10 limits_are 20000 512 268435456
	check_eq "$P: the record" "$(ids vmm)" "$(containers)"
	check_wait "$P: a watcher runs" 5 has_watcher "$POD"
	watcher=$(watcher_pid "$POD")
	[[ $1 == true ]] || check_no_limits "$P: the overhead" "$OVERHEAD" 512

	run_container_of_pod side 0 "$two" '["/busybox", "sleep", "1000000"]' || return 0
	check_wait "$P: the other container's process" 5 placed "$PID" rest
	check_wait "$P: limits of both" 10 limits_are 50000 768 402653184
	check_eq "$P: the record names both" "$(ids vmm side)" "$(containers)"
	if [[ $MANAGER == systemd ]]; then
		# Then systemd writes what it has been told.
		check "$P: systemd reloads" systemctl daemon-reload
		check_wait "$P: limits of both, after that" 10 limits_are 50000 768 402653184
	fi
	check_eq "$P: the watcher is the same" "$watcher" "$(watcher_pid "$POD")"

	kubelet_sees
	must ExecSync "{\"container_id\": \"${ID[vmm]}\", \"cmd\": [\"/busybox\", \"echo\", \"inside\"]}" &&
		check_eq "$P: exec prints" inside "$(jq -r '.stdout | @base64d' <<<"$OUT" | head -n 1)"
	must UpdateContainerResources "{\"container_id\": \"${ID[vmm]}\", \"linux\": {\"cpu_quota\": 40000, \"cpu_period\": 100000}}" || :
	check_wait "$P: the watcher carries the new quota over" 30 limits_are 70000 768 402653184

	end_container side
	check_wait "$P: limits of the VMM's container again" 10 limits_are 40000 512 268435456
	check_eq "$P: the record names it alone" "$(ids vmm)" "$(containers)"
	run_container_of_pod side 1 "$two" '["/busybox", "sleep", "1000000"]' || return 0
	check_wait "$P: limits with the other one restarted" 10 limits_are 70000 768 402653184
	check_threads "$P: the VMM, then" "$vmm" "$VCPUS"

	# The VMM goes first, the other one last.
	end_container vmm
	check "$P: the VMM has ended" is_dead "$vmm"
	check_wait "$P: limits of the other one" 10 limits_are 30000 256 134217728
	end_container side
	check_wait "$P: no sandbox left" 10 cg_gone "$SANDBOX" "$OVERHEAD"
	check "$P: no record left" no_record_left
	end_pod
	check_nothing_left "$P" "$before"
}

# kubelet_sees - what the kubelet is told of the VMM's container: containerd looks at the cgroup where
# its init is, which has the VMM's memory with either policy. The pod's cgroup has all of it.
kubelet_sees() {
	must ContainerStats "{\"container_id\": \"${ID[vmm]}\"}" || return 0
	check_between "$P: kubelet's view: CPU time of the container" 1 $((1 << 60)) \
		"$(jq '.stats.cpu.usage_core_nano_seconds.value // 0 | tonumber' <<<"$OUT")"
	check_between "$P: kubelet's view: memory of the container" $((8 << 20)) $((512 << 20)) \
		"$(jq '.stats.memory.working_set_bytes.value // 0 | tonumber' <<<"$OUT")"
	if [[ $MODE == v2 ]]; then
		check_between "$P: kubelet's view: memory of the pod" $((8 << 20)) $((1 << 30)) \
			"$(memory_usage "$BASE$([[ $MANAGER == systemd ]] || echo /pod)")"
	fi
}

# nested - each container of the pod is a sandbox of its own, in its own cgroup
nested() {
	local before vmm
	P=nested
	before=$(snapshot)
	configure ".layout = \"nested\" | .vcpu_evidence = \"$([[ $ACCELERATOR == kvm ]] && echo auto || echo name)\""
	run_pod true || return 0
	run_container_of_pod vmm 0 '{"memory_limit_in_bytes": 268435456}' "$(qemu_args "$ACCELERATOR" "$VCPUS")" || return 0
	vmm=$PID
	SANDBOX=$BASE/pod/${ID[vmm]}
	VCPU=$SANDBOX
	check_threads "$P: the VMM" "$vmm" "$VCPUS"
	kubelet_sees
	run_container_of_pod side 0 '{}' '["/busybox", "sleep", "1000000"]' || return 0
	check_eq "$P: sandboxes" "$(ids vmm side)" "$(osc list --json | jq -c '[.[].sandbox_id] | sort')"
	end_container vmm
	check "$P: the VMM has ended" is_dead "$vmm"
	end_container side
	check "$P: no record left" no_record_left
	end_pod
	configure '.layout = "sibling"'
	check_nothing_left "$P" "$before"
}

# by_cdi - one container has the hooks by a device, and another none
by_cdi() {
	local before vmm
	P=cdi
	before=$(snapshot)
	run_pod true plain-cgroupfs || return 0
	run_container_of_pod side 0 '{}' '["/busybox", "sleep", "1000000"]' || return 0
	check "$P: no sandbox without the device" no_record_left
	run_container_of_pod vmm 0 '{"cpu_quota": 20000, "cpu_period": 100000, "cpu_shares": 512, "memory_limit_in_bytes": 268435456}' \
		"$(qemu_args "$ACCELERATOR" "$VCPUS")" "$CDI_KIND=only" || return 0
	vmm=$PID
	check_threads "$P: the VMM" "$vmm" "$VCPUS"
	check "$P: its limits" limits_are 20000 512 268435456
	check_eq "$P: the record" "$(ids vmm)" "$(containers)"
	end_container vmm
	check_wait "$P: no sandbox left" 10 cg_gone "$SANDBOX"
	end_container side
	end_pod
	check_nothing_left "$P" "$before"
}

begin_cri
scenarios=("scenario false" "scenario true" nested)
if [[ -n ${OSC_BRIEF-} && -d /run/systemd/system ]] && knows_cdi; then
	skip "the whole scenario with absolute cgroup paths" "it runs here with tests/run --vm --all; with systemd it follows"
	scenarios=(nested)
fi
for one in "${scenarios[@]}"; do
	$one
	drop_pod
done
configure '.layout = "sibling"'
if knows_cdi; then
	by_cdi
	drop_pod
else
	skip "cdi" "$(containerd --version | cut -d ' ' -f 1,3) knows no CDI; 1.7 does"
fi
if use_systemd; then
	scenario false
	drop_pod
fi

finish
