# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# A containerd of the script's own, and `ctr run` of a config.json with a VMM in it.
# Source it behind common.sh, with OSC_LIB_ONLY set: paths are absolute ones first, then
# those of systemd.

# shellcheck disable=SC2016 # $name in single quotes is jq's
# shellcheck disable=SC2034,SC2153,SC2154,SC2317 # the scripts and common.sh set, use and call these
# shellcheck source=containerd.sh
. "$TESTS/lib/containerd.sh"

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

# asks_ps - whether containerd asks its shims for the container's processes when it starts
asks_ps() {
	[[ ! $(containerd --version) =~ \ v?1\.[0-6]\. ]]
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
		$(patient_containerd)
		[grpc]
		  address = "$WORK/containerd.sock"
	EOF
	run_containerd
}

# run_containerd - sets CONTAINERD
run_containerd() {
	containerd --config "$WORK/containerd.toml" >>"$WORK/containerd.log" 2>&1 </dev/null &
	CONTAINERD=$!
	started "$CONTAINERD"
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

# begin_ctr - or end the script
begin_ctr() {
	local program
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
}

# use_systemd - from here on; where it runs
use_systemd() {
	if [[ ! -d /run/systemd/system ]]; then
		skip "paths of systemd" "systemd does not run here"
		return 1
	fi
	MANAGER=systemd
	SLICE=$TAG.slice
	# On v1 systemd removes empty cgroups of others where it first needs a hierarchy.
	cg_remove "$BASE"
	BASE=/$SLICE
	find_foreign
	# Runtimes leave the slices which they make, so make ours before.
	systemctl start "$SLICE"
	cg_make "$BASE"
}
