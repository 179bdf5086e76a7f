#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# sandbox_cgroup_only = false with a real VMM under a real runtime: all of it in
# the sandbox cgroup with the limits of config.json, but that the threads which are
# no vCPUs have no CPU quota; nothing left afterwards.

# shellcheck disable=SC2016 # $name in single quotes is jq's
# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"
# shellcheck source=../lib/limits.sh
. "$TESTS/lib/limits.sh"

KVM_DEVICE='.linux.devices = [{path: "/dev/kvm", type: "c", major: 10, minor: 232, fileMode: 438}]
	| .linux.resources.devices += [{allow: true, type: "c", major: 10, minor: 232, access: "rwm"}]'

# scenario NAME ACCELERATOR VCPUS [JQ_FILTER]
scenario() {
	local name=$1 accelerator=$2 vcpus=$3 before watcher
	set_layout "$name" "$TAG-$name"
	make_bundle "$name" "$(qemu_args "$accelerator" "$vcpus")" "${4-.} | $(limits_filter)"
	add_hooks "$name" "prestart poststop"
	before=$(snapshot)

	if ! run_container "$name"; then
		fail "$name: the runtime starts the container" "$(cat "$WORK/$name/log")"
		return
	fi
	ok "$name: the runtime starts the container"
	check_threads "$name" "$PID" "$vcpus"
	check "$name: the runtime's own cgroup holds none of them" only_placeholder "$OWN"

	check_wait "$name: a watcher runs" 5 has_watcher "$TAG-$name"
	watcher=$(watcher_pid "$TAG-$name")
	check_eq "$name: its name" osc-watch "$(name_of_ours "$watcher")"
	check_eq "$name: its name in a list" "osc-watch $TAG-$name" "$(ps -o args= -p "$watcher")"
	check_eq "$name: it stays in the cgroups of who called the hook" "$(sort "/proc/$$/cgroup")" "$(sort "/proc/$watcher/cgroup" 2>&1)"
	check "$name: which are not the container's" stays_outside "$watcher"

	check_limits "$name" "$SANDBOX" "$VCPU"
	check_no_limits "$name" "$OVERHEAD"
	check_devices "$name" "$SANDBOX"

	check "$name: exec into the container" oci exec "$TAG-$name" /busybox true
	check "$name: pause" pause_container "$name"
	check "$name: resume" oci resume "$TAG-$name"
	check "$name: kill and delete" stop_container "$name"
	check_wait "$name: the watcher has ended" 15 is_dead "$watcher"
	check_nothing_left "$name" "$before"
}

check_probe
if kvm_works; then
	scenario kvm2 kvm 2 "$KVM_DEVICE"
	# Emulation inside of emulation takes long, and shows nothing more.
	[[ -z ${OSC_VM_MODE-} ]] || finish
else
	skip "KVM guest" "QEMU cannot use /dev/kvm on this host"
fi
scenario tcg2 tcg,thread=multi 2
scenario tcg4 tcg,thread=multi 4

finish
