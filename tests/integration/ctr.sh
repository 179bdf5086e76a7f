#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# containerd: `ctr run` of a config.json with the hooks and a real VMM, in a
# containerd of this script's own. Both policies, limits, exec, pause, each way
# in which a container ends, and nothing left afterwards. First with absolute
# cgroup paths, then with those of systemd.

# shellcheck disable=SC2016 # $name in single quotes is jq's
# shellcheck disable=SC2034,SC2317 # common.sh uses and calls these
OSC_LIB_ONLY=yes
# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"
# shellcheck source=../lib/limits.sh
. "$TESTS/lib/limits.sh"

KVM_DEVICE='.linux.devices = [{path: "/dev/kvm", type: "c", major: 10, minor: 232, fileMode: 438}]
	| .linux.resources.devices += [{allow: true, type: "c", major: 10, minor: 232, access: "rwm"}]'
ACCELERATOR=kvm
VCPUS=2
# One name for both managers: a dash in a slice's name would make it a child.
TAG=osctest$$
BASE=/$TAG
MANAGER=cgroupfs

# not_here REASON - ends the script
not_here() {
	skip ctr "$1"
	report
}

ctr_() {
	timeout -k 5 60 ctr --address "$WORK/containerd.sock" "$@"
}

# end_ctr STATUS - the containers while containerd lives, then everything else
end_ctr() {
	local id
	set +e
	for id in $(ctr_ containers list --quiet 2>/dev/null); do
		ctr_ task delete --force "$id" >/dev/null 2>&1
		ctr_ containers delete "$id" >/dev/null 2>&1
	done
	(exit "$1")
	cleanup
}

# start_containerd - without the plugin for Kubernetes, which wants a network
start_containerd() {
	cat >"$WORK/containerd.toml" <<-EOF
		version = 2
		root = "$WORK/containerd"
		state = "$WORK/containerd-state"
		disabled_plugins = ["io.containerd.grpc.v1.cri"]
		[grpc]
		  address = "$WORK/containerd.sock"
	EOF
	containerd --config "$WORK/containerd.toml" >"$WORK/containerd.log" 2>&1 </dev/null &
	STARTED+=("$!")
	disown
	wait_for 60 ctr_ version >/dev/null 2>&1
}

# run_ctr NAME - detached; sets ID and PID
run_ctr() {
	local options=()
	ID=$TAG-$1
	if [[ $MANAGER == systemd ]]; then
		# ctr asks for the path, and takes that of the config.json.
		options=(--runc-systemd-cgroup --cgroup "$(cgroups_path "$1")")
	fi
	rm -f "$WORK/$1/pid"
	capture ctr_ run --detach --null-io --runc-binary "$(type -P "$RUNTIME")" --runc-root "$WORK/runtime" \
		"${options[@]}" --pid-file "$WORK/$1/pid" --config "$WORK/$1/config.json" "$ID"
	if [[ $RC != 0 ]]; then
		fail "$1: ctr run" "exit status $RC" "$ERR"
		drop_ctr
		return 1
	fi
	PID=$(<"$WORK/$1/pid")
}

drop_ctr() {
	ctr_ task delete --force "$ID" >/dev/null 2>&1 || :
	ctr_ containers delete "$ID" >/dev/null 2>&1 || :
}

# vmm_bundle NAME FILTER
vmm_bundle() {
	local filter=$2
	[[ $ACCELERATOR != kvm ]] || filter="$KVM_DEVICE | $filter"
	make_bundle "$1" "$(qemu_args "$ACCELERATOR" "$VCPUS")" "$filter"
	# containerd makes a bundle of its own, with this config.json in it.
	edit_config "$1" '.root.path = $path' --arg path "$WORK/$1/rootfs"
}

# task_is STATUS
task_is() {
	ctr_ task list | awk -v id="$ID" -v status="$1" '$1 == id { found = $3 == status } END { exit !found }'
}

# delete_task NAME - ctr warns of the task's exit status, and of nothing else
delete_task() {
	capture ctr_ task delete "$ID"
	check_eq "$1: ctr task delete has nothing to complain of" "" \
		"$(grep -v 'exit with non-zero exit code' <<<"$ERR" || :)"
	check "$1: ctr containers delete" ctr_ containers delete "$ID"
}

# gone NAME SNAPSHOT
gone() {
	check_wait "$1: the VMM has ended" 10 is_dead "$PID"
	check_wait "$1: no cgroup of the container left" 15 cg_gone "$OWN" "$SANDBOX" "$OVERHEAD"
	check_nothing_left "$1" "$2"
}

# scenario NAME ONLY - limits, exec, pause, kill, delete
scenario() {
	local name=$1 before watcher=none options=()
	[[ $2 == false ]] || options=(--sandbox-cgroup-only)
	set_layout "$name" "$TAG-$name" "$2"
	vmm_bundle "$name" "$(limits_filter)"
	add_hooks "$name" "prestart poststop" "${options[@]}"
	before=$(snapshot)
	run_ctr "$name" || return 0
	ok "$name: ctr run"
	check_threads "$name" "$PID" "$VCPUS"
	check_limits "$name" "$SANDBOX" "$VCPU"
	if [[ $2 == false ]]; then
		check_no_limits "$name" "$OVERHEAD"
		check_wait "$name: a watcher runs" 5 has_watcher "$ID"
		watcher=$(watcher_pid "$ID")
		check "$name: it lives in the overhead cgroup" placed "$watcher" rest
	fi
	check_devices "$name" "$DOMAIN" "$2"
	check "$name: nobody of the container is in the runtime's own cgroup" only_placeholder "$OWN"

	check "$name: exec into the container" ctr_ task exec --exec-id one "$ID" /busybox true
	check "$name: pause" ctr_ task pause "$ID"
	check "$name: resume" ctr_ task resume "$ID"
	check_threads "$name after that" "$PID" "$VCPUS"
	check "$name: ctr task kill" ctr_ task kill --signal KILL "$ID"
	check_wait "$name: the task has stopped" 20 task_is STOPPED
	delete_task "$name"
	gone "$name" "$before"
	[[ $watcher == none ]] || check "$name: the watcher has ended" is_dead "$watcher"
}

# split NAME - starts a VMM without limits, sets BEFORE
split() {
	set_layout "$1" "$TAG-$1"
	vmm_bundle "$1" .
	add_hooks "$1" "prestart poststop"
	BEFORE=$(snapshot)
	run_ctr "$1" || return
	check_threads "$1" "$PID" "$VCPUS"
}

# force NAME - ctr task delete --force of a running one. It has the runtime kill
# all processes: for runc 1.1 and crun that are those in the runtime's own
# cgroup, where the VMM is not, and it then waits for ever. Whoever kills the
# task by its process must still get rid of everything afterwards.
force() {
	split "$1" || return 0
	capture timeout 30 ctr --address "$WORK/containerd.sock" task delete --force "$ID"
	if [[ $RC == 124 ]] && is_alive "$PID"; then
		ok "$1: ctr task delete --force hangs, as the README says, and the VMM lives"
		check "$1: ctr task kill" ctr_ task kill --signal KILL "$ID"
		check_wait "$1: the task has stopped" 20 task_is STOPPED
		delete_task "$1"
	else
		check_exit "$1: ctr task delete --force" 0
		check "$1: it has ended the VMM" is_dead "$PID"
		check "$1: ctr containers delete" ctr_ containers delete "$ID"
	fi
	gone "$1" "$BEFORE"
}

# die NAME - the VMM dies
die() {
	split "$1" || return 0
	kill -KILL "$PID"
	check_wait "$1: the task has stopped" 20 task_is STOPPED
	delete_task "$1"
	gone "$1" "$BEFORE"
}

# lose_shim NAME - the shim dies; containerd has the runtime delete the container
lose_shim() {
	local shim
	split "$1" || return 0
	shim=$(awk '$1 == "PPid:" { print $2 }' "/proc/$PID/status")
	check_match "$1: the VMM's parent is the shim" '^containerd-shim' "$(cat "/proc/$shim/comm" 2>&1)"
	kill -KILL "$shim"
	gone "$1" "$BEFORE"
	drop_ctr
}

for program in ctr containerd "$RUNTIME"; do
	type -P "$program" >/dev/null || not_here "there is no $program"
done

setup
trap 'end_ctr $?' EXIT
if ! start_containerd; then
	fail "containerd starts" "$(tail -n 20 "$WORK/containerd.log")"
	finish
fi
if ! kvm_works; then
	skip "KVM guest" "QEMU cannot use /dev/kvm on this host"
	ACCELERATOR=tcg,thread=multi
fi

scenario cgroupfs-split false
scenario cgroupfs-only true
force cgroupfs-force
die cgroupfs-die
lose_shim cgroupfs-shim
if [[ -d /run/systemd/system ]]; then
	MANAGER=systemd
	SLICE=$TAG.slice
	# On v1 systemd removes empty cgroups of others where it first needs a hierarchy.
	cg_remove "$BASE"
	BASE=/$SLICE
	find_foreign
	# Runtimes leave the slices which they make, so make ours before.
	systemctl start "$SLICE"
	cg_make "$BASE"
	scenario systemd-split false
	scenario systemd-only true
	force systemd-force
	lose_shim systemd-shim
else
	skip "paths of systemd" "systemd does not run here"
fi

finish
