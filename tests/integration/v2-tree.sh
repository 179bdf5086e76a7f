#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The cgroups of v2 with a real VMM under a real runtime. On a host
# with v1 hierarchies it runs in a cgroup name space and a private mount name
# space where only cgroup2 is mounted, rooted in a cgroup of this script; the
# host's own mounts stay as they are. No controller is available there, so nothing is
# set apart: limits, and the threaded cgroup that vCPUs have their quota in, are for
# hosts that are v2 as a whole, where the same script runs as is.

# shellcheck disable=SC2016 # $name in single quotes is jq's
# shellcheck disable=SC2317 # functions are called by name

if [[ -z ${OSC_V2_INSIDE-} ]]; then
	OSC_LIB_ONLY=1
fi
# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"
# shellcheck source=../lib/limits.sh
. "$TESTS/lib/limits.sh"

if [[ -z ${OSC_V2_INSIDE-} ]]; then
	find_hierarchies
	export OSC_V2_INSIDE=1
	if [[ $MODE == v2 ]]; then
		exec "$0"
	fi
	# cgroup2 may be mounted nowhere: a mount name space of our own shows it.
	outer='trap : HUP INT TERM
		mount=$(mktemp -d) && mount -t cgroup2 none "$mount" && group=$mount/osc-test-$$ || exit
		mkdir "$group" && sh -c '\''echo $$ >"$0/cgroup.procs" && exec unshare -C -m sh -c "mount -t cgroup2 none /sys/fs/cgroup && exec \"\$1\"" sh "$1"'\'' "$group" "$1"
		status=$?
		find "$group" -depth -type d -exec rmdir {} + ; umount "$mount" && rmdir "$mount"
		exit $status'
	exec unshare -m sh -c "$outer" sh "$0"
fi

type_of() {
	cat "${CG_DIR[unified]}$1/cgroup.type" 2>&1
}

vcpus_run() {
	[[ $(threads "$PID" | cut -d' ' -f2- | grep -cE "$VCPU_RE") == 2 ]]
}

# whole_says ID TEXT - in the report of that sandbox
whole_says() {
	osc show "$1" --json | jq -e --arg text "$2" '.placement.state == "partial" and (.placement.why | contains($text))'
}

# scenario NAME ONLY
scenario() {
	local name=$1 before
	set_layout "$name" "$TAG-$name" "$2"
	configure ".sandbox_cgroup_only = $2"
	make_bundle "$name" "$(qemu_args tcg,thread=multi 2)" "$(limits_filter)"
	add_hooks "$name" "prestart poststop"
	before=$(snapshot)
	if ! run_container "$name"; then
		fail "$name: the runtime starts the container" "$(cat "$WORK/$name/log")"
		return
	fi
	if [[ $2 == false ]]; then
		check_wait "$name: a watcher runs" 5 has_watcher "$TAG-$name"
		check "$name: it is in no cgroup of the container" stays_outside "$(watcher_pid "$TAG-$name")"
	fi
	if [[ $2 == false ]] && available cpu; then
		check_threads "$name" "$PID" 2
		check_eq "$name: type of $SANDBOX" "domain threaded" "$(type_of "$SANDBOX")"
		check_eq "$name: type of $VCPU" threaded "$(type_of "$VCPU")"
		check_no_limits "$name" "$OVERHEAD"
	else
		[[ $2 == true ]] || check_wait "$name: placement says why nothing is set apart" 90 whole_says "$TAG-$name" "no cpu controller"
		check_wait "$name: both vCPU threads are there" 90 vcpus_run
		check "$name: everything is in the sandbox cgroup" together "$PID"
		check_eq "$name: type of $SANDBOX" domain "$(type_of "$SANDBOX")"
		check "$name: no threaded child" cg_gone "$SANDBOX/kata_vcpu"
	fi
	check "$name: nobody else is in the runtime's own cgroup" only_placeholder "$OWN"
	check_limits "$name" "$SANDBOX" "$VCPU"
	check_devices "$name" "$SANDBOX"
	check "$name: exec into the container" oci exec "$TAG-$name" /busybox true
	check "$name: pause" oci pause "$TAG-$name"
	check "$name: resume" oci resume "$TAG-$name"
	if [[ $2 == false ]] && available cpu; then
		check_threads "$name, after exec, pause and resume" "$PID" 2
	else
		check "$name: everything still is, after exec, pause and resume" together "$PID"
	fi
	check "$name: kill and delete" stop_container "$name"
	check_nothing_left "$name" "$before"
}

check_eq "the host looks like" v2 "$MODE"
check_probe
scenario split false
scenario only true

finish
