#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# layout = nested: the sandbox cgroup is a child of the runtime's own, so the
# runtime's limits, device list, stats, pause and update go on to cover the VMM.
# The README has a table of this beside layout sibling, whose side of it is tested
# by runtime-ops.sh: the name of each result begins with the row.

# shellcheck disable=SC2016 # $name in single quotes is jq's
# shellcheck disable=SC2317 # functions are called by name
# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"
# shellcheck source=../lib/limits.sh
. "$TESTS/lib/limits.sh"
# shellcheck source=../lib/observe.sh
. "$TESTS/lib/observe.sh"

NESTED='.layout = "nested" | .sandbox_cgroup_only = true'

# use NAME - where everything is; PARENT is where the runtime puts its processes
use() {
	set_layout "$1" "$TAG-$1" true
	PARENT=$OWN SANDBOX=$OWN/kata_$1
	configure "$NESTED"
}

# below PATH - crun makes a cgroup of its own in a scope on v2
below() {
	PARENT=$1 SANDBOX=$1/${SANDBOX##*/}
}

# On v1 the sandbox is in neither the cpuset nor the devices hierarchy.
expect_cgroup() {
	case ,$2, in
	*,cpuset,* | *,devices,*) EXPECTED=$PARENT ;;
	*) EXPECTED=$SANDBOX ;;
	esac
}

# check_all_placed NAME PID
check_all_placed() {
	local tid _ problems='' found count=0
	while read -r tid _; do
		count=$((count + 1))
		# VMMs have threads that come and go.
		found=$(placed "$tid" rest) || [[ ! -d /proc/$2/task/$tid ]] || problems+=$found
	done < <(threads "$2")
	check_eq "$1: all its threads are in the sandbox cgroup" "" "$problems"
	check "$1: there are threads" test "$count" -gt 0
}

# has_threads PID COUNT - or more
has_threads() {
	(($(threads "$1" | wc -l) >= $2))
}

# device_verdict MAJOR MINOR [CGROUP] - of a block device, for the container's
# processes, or in that cgroup
device_verdict() {
	local file=${CG_DIR[unified]-}${3-$SANDBOX}/cgroup.procs
	[[ $MODE == v2 ]] || file=$(cg_file devices "$PARENT" cgroup.procs)
	"$(helper device_probe)" --dir "$WORK" --cgroup-procs "$file" b "$1" "$2" 2>&1
}

pids_current() {
	cat "$(cg_file pids "$1" pids.current)"
}

allowed_cpus() {
	sed -n 's/^Cpus_allowed_list:\t//p' "/proc/$1/status"
}

operations() {
	local name=qemu before was other hierarchy
	use "$name"
	before=$(snapshot)
	if ! run_container "$name"; then
		fail "the runtime starts the container" "$(cat "$WORK/$name/log")"
		return
	fi
	[[ $MODE != v2 || ! -d ${CG_DIR[unified]}$OWN/container ]] || below "$OWN/container"
	check_eq "layout: the record's path" "$SANDBOX" "$(osc show "$TAG-$name" --json | jq -r .record.sandbox_path)"
	check_eq "layout: no watcher" none "$(watcher_pid "$TAG-$name")"
	check_wait "layout: the VMM's threads start" 20 has_threads "$PID" 4
	check_all_placed "layout" "$PID"

	if available pids; then
		was=$(threads "$PID" | wc -l)
		check_between "stats: tasks of the runtime's cgroup" "$((was - 3))" "$((was + 3))" "$(pids_current "$PARENT")"
	fi
	if available memory; then
		check_between "stats: memory of the runtime's cgroup" $((8 << 20)) "$LIMIT_MEMORY" "$(memory_usage "$PARENT")"
		# On v2 it has no controllers of its own.
		[[ $MODE == v2 ]] ||
			check_between "stats: memory of the sandbox cgroup in it" $((8 << 20)) "$LIMIT_MEMORY" "$(memory_usage "$SANDBOX")"
	fi
	if [[ $MODE == v2 ]] || available cpuacct; then
		was=$(cpu_usage "$PARENT")
		check_wait "stats: CPU time of the runtime's cgroup grows" 10 cpu_usage_above "$PARENT" "$was"
	fi
	if [[ $KIND == runc ]] && available memory; then
		capture oci events --stats "$TAG-$name"
		check_between "stats: memory in runc's events" $((8 << 20)) "$LIMIT_MEMORY" "$(jq '.data.memory.usage.usage // 0' <<<"$OUT" 2>&1)"
	fi
	if [[ $KIND == runc ]]; then
		check_match "ps: lists the VMM" "(^| )$PID( |$)" "$(pids_listed "$name" | xargs)"
	else
		check_eq "ps: crun does not look into cgroups below its own" "" "$(pids_listed "$name" | grep -x "$PID" || :)"
	fi

	check_limit "limits: of config.json hold the VMM" "$PARENT" "$PARENT" "$LIMIT_QUOTA" "$LIMIT_MEMORY"
	check_match "devices: those of config.json" "r=allow" "$(device_verdict 240 5)"
	check_match "devices: none of ours besides" "b 7:5 r=deny w=deny" "$(device_verdict 7 5)"

	capture oci exec "$TAG-$name" /busybox echo inside
	check_eq "exec: runs" "0 inside" "$RC $OUT"
	capture oci exec -d --pid-file "$WORK/$name/exec" "$TAG-$name" /busybox sleep 1000
	check_exit "exec: runs detached" 0
	other=$(cat "$WORK/$name/exec")
	# Not in every hierarchy: runc 1.1 does not know each controller.
	cgroups_of "$other" || :
	hierarchy=$(hierarchy_of cpu || hierarchy_of freezer)
	check_eq "exec: its process is in the runtime's cgroup, beside the sandbox" "$PARENT" "${CG[$hierarchy]-nothing}"

	check "pause: succeeds" pause_container "$name"
	check_rests "pause: the VMM rests" "$PID"
	capture oci resume "$TAG-$name"
	check_exit "resume: succeeds" 0
	check_runs "resume: the VMM runs on" "$PID"

	capture oci update --cpu-quota "$NEW_QUOTA" --memory "$NEW_MEMORY" "$TAG-$name"
	check_exit "update: succeeds" 0
	check_limit "update: holds the VMM" "$PARENT" "$PARENT" "$NEW_QUOTA" "$NEW_MEMORY"
	if available cpuset && (($(nproc) > 1)); then
		capture oci update --cpuset-cpus 1 "$TAG-$name"
		check_exit "update: of the cpuset" 0
		check_eq "update: the VMM has the new cpuset" 1 "$(allowed_cpus "$PID")"
	fi
	if [[ $MANAGER == systemd ]]; then
		check "devices: daemon-reload" systemctl daemon-reload
		# Of a device without a node runc does not tell systemd, which then takes it away.
		check_eq "devices: still those of the runtime's cgroup" "$(device_verdict 240 5 "$PARENT")" "$(device_verdict 240 5)"
		check_match "devices: still none besides" "b 7:5 r=deny w=deny" "$(device_verdict 7 5)"
	fi
	check_all_placed "layout, after all of these" "$PID"

	if [[ $VERSION =~ ^runc\ version\ 1\.([2-9]|[1-9][0-9]) ]]; then
		skip "kill --all" "this runc takes it for a plain kill"
		oci kill "$TAG-$name" KILL
	else
		capture oci kill --all "$TAG-$name" KILL
		check_exit "kill --all: succeeds" 0
		check_wait "kill --all: what exec has started has ended" 10 is_dead "$other"
	fi
	check_wait "kill: the VMM has ended" 10 is_dead "$PID"
	check "kill: delete" stop_container "$name"
	check_nothing_left "kill" "$before"
}

# Without a runtime, to see the stages one by one.
stages() {
	local before
	C=stages
	before=$(snapshot)
	configure "$NESTED"
	fake_container "$C"
	use "$C"
	capture osc plan --json <"$WORK/$C/created"
	check_eq "plan: path, manager and what is written" "$OWN/kata_$C cgroupfs {} []" \
		"$(jq -r '"\(.sandbox_path) \(.manager) \(.sandbox_files) \(.devices)"' <<<"$OUT")"
	if [[ -c /dev/kvm ]]; then
		check_match "plan: warns of a device that the runtime denies" "does not allow /dev/kvm" "$(jq -r '.warnings[]' <<<"$OUT")"
	fi
	capture osc prestart <"$WORK/$C/created"
	check_exit "stages: prestart" 0
	check_all_placed "stages" "$PID"
	capture osc prestart <"$WORK/$C/created"
	check_exit "stages: prestart again" 0
	check_all_placed "stages: again" "$PID"
	capture osc poststart <"$WORK/$C/running"
	check_exit "stages: poststart" 0
	configure '.sandbox_cgroup_only = true'
	capture osc poststart <"$WORK/$C/running"
	check_exit "stages: with another layout" 1
	check_match "stages: with another layout: says why" "made with layout nested" "$ERR"
	configure "$NESTED"
	check_all_placed "stages: in the end" "$PID"
	capture osc poststop <"$WORK/$C/stopped"
	check_exit "stages: poststop while it runs" 0
	check_wait "stages: its process is back in the runtime's cgroup" 5 is_in "$PID" "$OWN"
	check "stages: the sandbox cgroup is gone" cg_gone "$SANDBOX"
	drop_fake "$C" "$PID"
	check_nothing_left "stages" "$before"

	# A runtime that dies with its container, and nobody calls poststop.
	fake_container "$C"
	capture osc prestart <"$WORK/$C/created"
	check_exit "crash: prestart" 0
	end_process "$PID"
	capture osc prune
	check_exit "crash: prune" 0
	check "crash: the sandbox cgroup is gone" cg_gone "$SANDBOX"
	drop_fake "$C" "$PID"
	check_nothing_left "crash" "$before"

	fake_container "$C"
	configure '.layout = "nested"'
	capture osc prestart <"$WORK/$C/created"
	check_exit "refused: without sandbox_cgroup_only" 2
	check_match "refused: says why" "layout nested needs sandbox_cgroup_only" "$ERR"
	check "refused: nothing is touched" is_in "$PID" "$OWN"
	check "refused: no record" no_record_left
	drop_fake "$C" "$PID"
	check_nothing_left "refused" "$before"
}

make_bundle qemu "$(qemu_args tcg,thread=multi 2)" \
	".process.args += [\"-bios\", \"/loop.bin\"] | $(limits_filter)
	| .linux.resources.devices += [{allow: true, type: \"b\", major: 240, minor: 5, access: \"rwm\"}]"
# Firmware of one instruction, at the reset vector: jump to itself.
truncate -s 65520 "$WORK/qemu/rootfs/loop.bin"
printf '\xeb\xfe%14s' '' >>"$WORK/qemu/rootfs/loop.bin"
# It starts on the first CPU alone, and must be able to get another.
! available cpuset || (($(nproc) < 2)) || edit_config qemu '.linux.resources.cpu.cpus = "0-1"'
add_hooks qemu "prestart poststop"

stages
operations

finish
