#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# What the watcher does besides placing threads: CPU limits that the runtime's
# `update` changes reach the sandbox cgroup, vCPUs are pinned and unpinned, a VM's
# kernel threads are in the overhead cgroup, and what somebody else has taken apart
# is set apart again.

# shellcheck disable=SC2016 # $name in single quotes is jq's
# shellcheck disable=SC2317 # functions are called by name
# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"

VMM=$(helper fake_vmm)

# start NAME ARGS_JSON CONFIG_FILTER JQ_FILTER - under the real runtime
start() {
	C=$1
	set_layout "$C" "$TAG-$C"
	configure ".hotplug_interval_ms = 200 | $3"
	make_bundle "$C" "$2" "$4"
	install -m 0755 "$VMM" "$WORK/$C/rootfs/fake_vmm"
	add_hooks "$C" "prestart poststop"
	before=$(snapshot)
	if ! run_container "$C"; then
		fail "$C: the runtime starts the container" "$(cat "$WORK/$C/log")"
		return 1
	fi
}

stop() {
	check "$C: kill and delete" stop_container "$C"
	check_nothing_left "$C" "$before"
}

# file_is CONTROLLER CGROUP FILE TEXT
file_is() {
	local got
	got=$(cat "$(cg_file "$1" "$2" "$3")" 2>&1) || :
	[[ $got == "$4" ]] || {
		echo "expected $4, got $got"
		return 1
	}
}

cpus_are() {
	file_is cpuset "$SANDBOX" cpuset.cpus "$1"
}

# quota_is US
quota_is() {
	if [[ $MODE == v2 ]]; then
		file_is cpu "$VCPU" cpu.max "$1 100000"
	else
		file_is cpu "$VCPU" cpu.cfs_quota_us "$1"
	fi
}

# allowed NAME LIST - the CPUs of the thread of that name
allowed() {
	local tid got
	tid=$(threads "$PID" | sed -n "s,^\([0-9]*\) $1\$,\1,p")
	got=$(sed -n 's/^Cpus_allowed_list:\t//p' "/proc/$tid/status" 2>&1)
	[[ $got == "$2" ]] || {
		echo "thread '$1' ($tid): expected $2, got $got"
		return 1
	}
}

TWO='["/fake_vmm", "CPU 0/KVM", "CPU 1/KVM", "worker"]'

# --- the runtime's update ----------------------------------------------------

if (($(nproc) < 2)) || ! hierarchy_of cpuset >/dev/null || ! hierarchy_of cpu >/dev/null; then
	skip "update, pinning" "it takes two CPUs, and the cpu and cpuset controllers"
else
	if start update "$TWO" . '.linux.resources.cpu = {quota: 50000, period: 100000, cpus: "0-1"}'; then
		check_threads "$C" "$PID" 2
		check "$C: the cpuset of config.json" cpus_are 0-1
		check "$C: the quota of config.json" quota_is 50000
		check "$C: runtime's update of the cpuset" oci update --cpuset-cpus 1 "$TAG-$C"
		check_wait "$C: the sandbox has the new cpuset" 5 cpus_are 1
		check "$C: and the old quota" quota_is 50000
		check "$C: runtime's update of the quota" oci update --cpu-quota 30000 "$TAG-$C"
		check_wait "$C: the sandbox has the new quota" 5 quota_is 30000
		check "$C: and the new cpuset" cpus_are 1
		check "$C: back again" oci update --cpuset-cpus 0-1 "$TAG-$C"
		check_wait "$C: the sandbox has the first cpuset" 5 cpus_are 0-1
		check_threads "$C, at the end" "$PID" 2
		# The next stage must not bring the old limits back.
		capture osc poststart < <(jq -n --arg id "$TAG-$C" --arg b "$WORK/$C" --argjson pid "$PID" \
			'{ociVersion: "1.0.2", id: $id, status: "running", pid: $pid, bundle: $b}')
		check_exit "$C: another stage" 0
		stop
	fi
	if start unlimited "$TWO" . 'del(.linux.resources.cpu)'; then
		if [[ $MODE == v2 ]]; then
			check "$C: nothing to set apart yet" together "$PID"
		else
			check_threads "$C" "$PID" 2
		fi
		check "$C: runtime's update of what had no limit" oci update --cpu-quota 40000 --cpuset-cpus 0 "$TAG-$C"
		check_wait "$C: the sandbox has the quota" 5 quota_is 40000
		check_wait "$C: the sandbox has the cpuset" 5 cpus_are 0
		check_threads "$C, then" "$PID" 2
		stop
	fi

	# --- pinning ---------------------------------------------------------------

	if start pinned "$TWO" '.enable_vcpus_pinning = true' '.linux.resources.cpu += {cpus: "0-1"}'; then
		check_threads "$C" "$PID" 2
		check_wait "$C: vCPU 0 is pinned" 5 allowed "CPU 0/KVM" 0
		check_wait "$C: vCPU 1 is pinned" 5 allowed "CPU 1/KVM" 1
		check "$C: runtime's update to one CPU" oci update --cpuset-cpus 1 "$TAG-$C"
		check_wait "$C: vCPU 0 has what there is" 5 allowed "CPU 0/KVM" 1
		check_wait "$C: vCPU 1 has what there is" 5 allowed "CPU 1/KVM" 1
		check "$C: runtime's update to two CPUs" oci update --cpuset-cpus 0-1 "$TAG-$C"
		check_wait "$C: vCPU 0 is pinned again" 5 allowed "CPU 0/KVM" 0
		check_wait "$C: vCPU 1 is pinned again" 5 allowed "CPU 1/KVM" 1
		stop
	fi
	if start pinned_later "$TWO" '.enable_vcpus_pinning = true' .; then
		check_threads "$C" "$PID" 2
		capture osc update "$TAG-$C" --cpus 0-1
		check_exit "$C: the operator's update to two CPUs" 0
		check_wait "$C: vCPU 0 is pinned" 5 allowed "CPU 0/KVM" 0
		check_wait "$C: vCPU 1 is pinned" 5 allowed "CPU 1/KVM" 1
		stop
	fi
	if start mismatch "$TWO" '.enable_vcpus_pinning = true' '.linux.resources.cpu += {cpus: "1"}'; then
		check_threads "$C" "$PID" 2
		check "$C: vCPU 0 is not pinned" allowed "CPU 0/KVM" 1
		stop
	fi
	if start by_annotation "$TWO" . '.linux.resources.cpu += {cpus: "0-1"}
		| .annotations = {"io.katacontainers.config.runtime.enable_vcpus_pinning": "true"}'; then
		check_threads "$C" "$PID" 2
		check_wait "$C: vCPU 1 is pinned" 5 allowed "CPU 1/KVM" 1
		stop
	fi
fi

# --- the VM's kernel threads -------------------------------------------------

# apart_in - the hierarchies that threads are set apart in
apart_in() {
	if [[ $MODE == v2 ]]; then
		echo unified
	else
		printf '%s\n' "$(hierarchy_of cpu)" "$(hierarchy_of cpuacct)" | sort -u
	fi
}

# pit_in CGROUP - a timer thread of some VM is there, wherever threads are set apart
pit_in() {
	local name pid found
	for name in $(apart_in); do
		found=
		while read -r pid; do
			[[ $(cat "/proc/$pid/comm" 2>/dev/null) != kvm-pit/* ]] || found=yes
		done <"${CG_DIR[$name]}$1/cgroup.procs" 2>/dev/null || :
		[[ $found ]] || {
			echo "$name: no kvm-pit thread in $1"
			return 1
		}
	done
}

# pit_outside CGROUP - in none
pit_outside() {
	local name
	for name in $(apart_in); do
		if [[ $(while read -r pid; do cat "/proc/$pid/comm"; done <"${CG_DIR[$name]}$1/cgroup.procs") == *kvm-pit/* ]]; then
			echo "$name: a kvm-pit thread in $1"
			return 1
		fi
	done
}

# timers - how many VMs of this host have a timer, and a VMM that is process 1 of its namespace
timers() {
	grep -lx kvm-pit/1 /proc/[0-9]*/comm 2>/dev/null | wc -l
}

# timers_are N
timers_are() {
	[[ $(timers) == "$1" ]]
}

# left_alone N - of so many timers `show` says that they may be another VM's
left_alone() {
	osc show "$TAG-$C" --json |
		jq -e --argjson n "$1" '.unsure_kernel_threads | length == $n and all(.name == "kvm-pit/1")' >/dev/null
}

# start_vm NAME
start_vm() {
	start "$1" "$(qemu_args kvm 1)" . '.linux.devices = [{path: "/dev/kvm", type: "c", major: 10, minor: 232, fileMode: 438}]
		| .linux.resources.devices += [{allow: true, type: "c", major: 10, minor: 232, access: "rwm"}]'
}

if ! kvm_works; then
	skip "kvm-pit" "QEMU cannot use /dev/kvm on this host"
elif ! timers_are 0; then
	skip "kvm-pit" "a VM of this host has the number that ours will have"
else
	if start_vm pit; then
		check_threads "$C" "$PID" 1
		check_wait "$C: the timer's thread is in the overhead" 10 pit_in "$OVERHEAD"
		check "$C: show has nothing to say about it" left_alone 0
		check_eq "$C: nor to people" 0 "$(osc show "$TAG-$C" | grep -c "left alone")"
		stop
	fi
	# A neighbour with the same number: nothing tells whose timer is whose.
	mapfile -t line < <(qemu_args kvm 1 | jq -r '.[]')
	unshare --pid --fork --kill-child "${line[@]}" >/dev/null 2>&1 </dev/null &
	neighbour=$!
	disown
	check_wait "a neighbour has a timer" 10 timers_are 1
	if start_vm pits; then
		check_threads "$C" "$PID" 1
		check_wait "$C: show says that both may be its own" 10 left_alone 2
		check_match "$C: to people, too" "left alone: kernel thread [0-9]+, kvm-pit/1, may be" "$(osc show "$TAG-$C")"
		sleep 1
		check "$C: its timer stays where it is" pit_outside "$OVERHEAD"
		kill -KILL "$neighbour"
		check_wait "$C: the neighbour has gone" 10 timers_are 1
		check "$C: show knows whose the other one is" left_alone 0
		stop
	else
		kill -KILL "$neighbour"
	fi
fi

# --- what others take apart --------------------------------------------------

# empty_apart - threads of what a split has made go to the cgroup beside it, and it goes
empty_apart() {
	local from=$OVERHEAD to=$SANDBOX name tid
	[[ $MODE != v2 ]] || from=$VCPU
	for name in $(apart_in); do
		while read -r tid; do
			if [[ $MODE == v2 ]]; then
				echo "$tid" >"${CG_DIR[$name]}$to/cgroup.threads"
			else
				echo "$tid" >"${CG_DIR[$name]}$to/tasks"
			fi
		done < <(cat "${CG_DIR[$name]}$from"/{cgroup.threads,tasks} 2>/dev/null)
		rmdir "${CG_DIR[$name]}$from" || return
	done
}

if ! hierarchy_of cpu >/dev/null; then
	skip "a removed cgroup" "no hierarchy has the controller cpu"
elif [[ $MANAGER == systemd && $MODE != v2 ]]; then
	skip "a removed cgroup" "there it is a scope, which systemd has to be asked for"
elif start removed '["/fake_vmm", "CPU 0/KVM", "worker"]' . .; then
	check_threads "$C" "$PID" 1
	watcher=$(watcher_pid "$TAG-$C")
	kill -STOP "$watcher"
	check "$C: somebody empties and removes the cgroup" empty_apart
	check "$C: all is together" together "$PID"
	kill -CONT "$watcher"
	check_wait "$C: it is set apart again" 20 settled "$PID" 1
	check_threads "$C, again" "$PID" 1
	check "$C: by the same watcher" has_watcher "$TAG-$C"
	stop
fi

finish
