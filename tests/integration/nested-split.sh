#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The split of layout nested, or of sibling with OSC_LAYOUT=sibling: vCPU threads are held by the
# runtime's quota, wherever it writes it, and the other threads are not; whatever is no vCPU, or no vCPU
# any more, is nowhere looser than without the hook.

# shellcheck disable=SC2016 # $name in single quotes is jq's
# shellcheck disable=SC2317 # functions are called by name
# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"
# shellcheck source=../lib/limits.sh
. "$TESTS/lib/limits.sh"
# shellcheck source=../lib/observe.sh
. "$TESTS/lib/observe.sh"
# shellcheck source=../lib/nested.sh
. "$TESTS/lib/nested.sh"

QUOTA=20000
ROOT=
WAS=

# bundle NAME ARGS_JSON [JQ_FILTER] - with a quota; fake_vmm is in it
bundle() {
	make_bundle "$1" "$2" ".linux.resources.cpu += {quota: $QUOTA, period: 100000} | ${3-.}"
	install -m 0755 "$(helper fake_vmm)" "$WORK/$1/rootfs/fake_vmm"
	add_hooks "$1" "prestart poststop"
}

# start NAME - sets PID, C and its neighbours; VMM is init's
start() {
	ROOT=$WORK/$1/rootfs
	rm -f "$ROOT"/*.file
	if ! create_nested "$1" || ! oci start "$TAG-$1"; then
		fail "$1: the runtime starts the container" "$(cat "$WORK/$1/log")"
		return 1
	fi
	VMM=$PID
}

# file NAME - one which a thread of fake_vmm waits for
file() {
	touch "$ROOT/$1.file"
}

# of_thread NAME - the VMM's, its TID
of_thread() {
	threads "$VMM" | sed -n "s,^\([0-9]*\) $1\$,\1,p"
}

# thread_is NAME vcpu|rest|whole
thread_is() {
	local tid
	tid=$(of_thread "$1")
	[[ -n $tid ]] && placed "$tid" "$2"
}

# is_complete ID - its placement.json says that each is in its place
is_complete() {
	placement_says "$1" "^complete"
}

# --- the quota ---------------------------------------------------------------

# ticks_above TID COUNT - CPU time that a thread has used
ticks_above() {
	(($(sed 's/.*) //' "/proc/$VMM/task/$1/stat" | awk '{ print $12 + $13 }') > $2))
}

# others_throttled - since it was split, as they began under the quota on v2
others_throttled() {
	if [[ $MODE == v2 ]]; then echo $(($(throttled "$OVERHEAD") - WAS)); else throttled "$OVERHEAD"; fi
}

# check_throttled NAME - the vCPUs are, and nobody else
check_throttled() {
	local others=$OVERHEAD was
	was=$(throttled "$VCPU")
	check_wait "$1: the vCPUs' cgroup is throttled" 30 throttled_above "$VCPU" $((was + 3))
	was=$(throttled "$others")
	check_wait "$1: the other threads run" 30 ticks_above "$(of_thread worker)" \
		$(($(sed 's/.*) //' "/proc/$VMM/task/$(of_thread worker)/stat" | awk '{ print $12 + $13 }') + 10))
	check_eq "$1: the other threads are not throttled" "$was" "$(throttled "$others")"
}

# least QUOTA SCOPE - of it and the scope's. With crun a container has a cgroup inside of its scope. Its update writes
# to that alone, and since a version between 1.8 and 1.21 the scope has the quota of the start, which holds as well.
least() {
	local scope=
	if [[ $KIND:$MANAGER:$LAYOUT == crun:systemd:nested ]]; then
		scope=$(systemctl show --property CPUQuotaPerSecUSec --value "$2")
	fi
	if [[ $scope == *ms ]] && ((${scope%ms} * 100 < $1)); then echo $((${scope%ms} * 100)); else echo "$1"; fi
}

# check_carried NAME QUOTA COMMAND... - a runtime's or systemd's word for $name
check_carried() {
	local what=$1 quota=$2
	shift 2
	capture "$@"
	check_exit "$what" 0
	check_split "$what: holds the vCPUs, and them alone" "$VMM" 2 "$(least "$quota" "$TAG-$name.scope")"
}

# in_runtimes CONTROLLER - what it writes there holds the payload: with sibling that is not so
in_runtimes() {
	[[ $LAYOUT == nested ]] && available "$1"
}

# overhead_has_shares N - on v1
overhead_has_shares() {
	[[ $(cg_text cpu "$OVERHEAD" cpu.shares) == "$1" ]]
}

# Whatever the runtime or systemd writes, the vCPUs are under its newest word, and nobody else is.
follows() {
	local name=busy unit before up=9000
	use_nested false
	before=$(snapshot)
	start $name || return 0
	check_split "split" "$VMM" 2 $QUOTA
	check_wait "split: placement" 10 is_complete "$TAG-$name"
	capture osc update "$TAG-$name"
	check_exit "split: the verb update" 0
	check_carried "update, down" 5000 oci update --cpu-quota 5000 "$TAG-$name"
	check_throttled "update, down"
	check_carried "update, up" 60000 oci update --cpu-quota 60000 "$TAG-$name"
	! in_runtimes memory || check_carried "update of memory" 60000 oci update --memory "$NEW_MEMORY" "$TAG-$name"
	! in_runtimes memory || check_eq "update of memory: it is in the runtime's cgroup" "$NEW_MEMORY" \
		"$(if [[ $MODE == v2 ]]; then cg_text memory "$C" memory.max; else cg_text memory "$C" memory.limit_in_bytes; fi)"
	check_carried "update, down again" 6000 oci update --cpu-quota 6000 "$TAG-$name"
	check_throttled "update, down again"
	if [[ $KIND == runc ]]; then
		# crun takes -1 for nothing to do.
		check_carried "update, no quota" max oci update --cpu-quota -1 "$TAG-$name"
		check_carried "update, a quota again" $QUOTA oci update --cpu-quota $QUOTA "$TAG-$name"
	fi
	if [[ $MODE != v2 ]]; then
		# The overhead has as many shares as the whole, which are more where the runtime says so.
		capture oci update --cpu-share 333 "$TAG-$name"
		check_exit "update of shares" 0
		check_wait "update of shares: the overhead's follow" 30 overhead_has_shares 333
	fi
	if [[ $MANAGER == systemd && $LAYOUT == nested ]]; then
		unit=$TAG-$name.scope
		check_carried "set-property CPUWeight" "$(quota_in "$VCPU")" systemctl set-property --runtime "$unit" CPUWeight=77
		check_carried "set-property MemoryMax" "$(quota_in "$VCPU")" systemctl set-property --runtime "$unit" MemoryMax=300M
		check_carried "set-property CPUQuota, down" 5000 systemctl set-property --runtime "$unit" CPUQuota=5%
		# Of the scope's word and the container's own, which are two with crun, the smaller one counts.
		[[ $KIND == runc ]] || up=6000
		check_carried "set-property CPUQuota, up" $up systemctl set-property --runtime "$unit" CPUQuota=9%
		check_carried "daemon-reload" $up systemctl daemon-reload
		check_carried "update after set-property" 8000 oci update --cpu-quota 8000 "$TAG-$name"
		! in_runtimes memory || check_carried "update of memory, which makes systemd write again" 8000 \
			oci update --memory $((NEW_MEMORY + (16 << 20))) "$TAG-$name"
		check_carried "daemon-reload in the end" 8000 systemctl daemon-reload
	elif [[ $MANAGER == systemd ]]; then
		unit=${SANDBOX_UNIT:-$TAG-kata_$name.scope}
		check_carried "set-property CPUWeight" "$(quota_in "$VCPU")" systemctl set-property --runtime "$unit" CPUWeight=77
		check_carried "set-property MemoryMax" "$(quota_in "$VCPU")" systemctl set-property --runtime "$unit" MemoryMax=300M
		check_carried "daemon-reload" "$(quota_in "$VCPU")" systemctl daemon-reload
		check_carried "update after set-property" 8000 oci update --cpu-quota 8000 "$TAG-$name"
		check_carried "daemon-reload in the end" 8000 systemctl daemon-reload
	fi
	check "kill and delete" stop_container $name
	check_nothing_left "split" "$before"
}

# --- who is a vCPU -----------------------------------------------------------

# Threads that come later, that get their name later, that are gone, and processes of `exec`.
sorts() {
	local name=threads before other
	use_nested false
	before=$(snapshot)
	start $name || return 0
	check_split "threads: split" "$VMM" 1 $QUOTA
	check_wait "threads: placement" 10 is_complete "$TAG-$name"
	file late
	check_split "a later vCPU" "$VMM" 2 $QUOTA
	file rename
	check_split "a thread that becomes a vCPU" "$VMM" 3 $QUOTA
	capture oci exec -d --pid-file "$WORK/$name/exec.pid" "$TAG-$name" /busybox sleep 1000
	check_exit "exec" 0
	other=$(<"$WORK/$name/exec.pid")
	if [[ $LAYOUT == nested ]]; then
		check_wait "exec: its process is where what is no vCPU is" 20 placed "$other" rest
	else
		# Runtimes start them in their own cgroup, with its limits.
		check_eq "exec: its process is under the quota" $QUOTA "$(quota_over "$other")"
	fi
	file helper
	check_wait "a helper of a vCPU: it is where what is no vCPU is" 20 thread_is io-helper rest
	check_split "threads: all of them" "$VMM" 3 $QUOTA
	check "threads: kill and delete" stop_container $name
	check_wait "exec: its process has ended" 10 is_dead "$other"
	check_nothing_left "threads" "$before"
}

# vCPUs end and the VMM lives on; others come.
ends() {
	local name=ending before
	use_nested false
	before=$(snapshot)
	start $name || return 0
	check_split "ending: split" "$VMM" 1 $QUOTA
	file exit
	check_wait "the last vCPU ends: all is under the quota again" 20 is_whole "$VMM" $QUOTA left
	file late
	check_split "another vCPU: split again" "$VMM" 1 $QUOTA
	check "ending: kill and delete" stop_container $name
	check_nothing_left "ending" "$before"
}

# The VMM ends, and init lives on; so does a process of the VMM's.
vmm_ends() {
	local name=survivor before
	use_nested false
	before=$(snapshot)
	start $name || return 0
	child() { VMM=$(child_of "$PID" fake_vmm); }
	check_wait "survivor: its VMM runs" 20 child
	check_split "survivor: split" "$VMM" 1 $QUOTA
	kill -KILL "$VMM"
	check_wait "the VMM ends: init is under the quota again" 20 is_whole "$PID" $QUOTA left
	if [[ $LAYOUT == nested ]]; then
		capture oci exec -d --pid-file "$WORK/$name/exec.pid" "$TAG-$name" /fake_vmm "CPU 0/KVM" "CPU 1/KVM"
		check_exit "survivor: another VMM, by exec" 0
		VMM=$(<"$WORK/$name/exec.pid")
		check_split "survivor: split again" "$VMM" 2 $QUOTA
		check "survivor: init is no vCPU" placed "$PID" rest
	fi
	check "survivor: kill and delete" stop_container $name
	check_nothing_left "survivor" "$before"
}

# Names are the payload's own word: where the kernel can tell they are not believed, and neither is a
# payload without vCPUs.
believes_nothing() {
	local name=liar before evidence
	before=$(snapshot)
	for evidence in auto kernel; do
		use_nested false ".vcpu_evidence = \"$evidence\" | .vcpu_timeout_ms = 300"
		start $name || return 0
		if [[ $evidence == auto ]] && ! has_hypervisor; then
			check_split "a payload with names, and no hypervisor: believed" "$VMM" 2 $QUOTA
		else
			check_wait "a payload with names alone, $evidence: placement says so" 20 placement_says "$TAG-$name" \
				"^none: no vCPU thread appeared in time"
			check "a payload with names alone, $evidence: all is under the quota" is_whole "$VMM" $QUOTA
			capture osc update "$TAG-$name"
			check_exit "a payload with names alone, $evidence: the verb update" 0
			check "a payload with names alone, $evidence: it does not believe them either" is_whole "$VMM" $QUOTA
		fi
		check "a payload with names alone, $evidence: kill and delete" stop_container $name
	done
	check_nothing_left "a payload with names alone" "$before"
}

has_hypervisor() {
	[[ -e /dev/kvm || -e /dev/mshv || -e /dev/nitro_enclaves ]]
}

# --- where there is nothing to split -----------------------------------------

# begins_later - no quota: nothing to set apart on v2, until one comes
begins_later() {
	local name=unlimited before
	use_nested false
	before=$(snapshot)
	start $name || return 0
	if [[ $MODE == v2 ]]; then
		check_wait "no quota: placement says so" 20 placement_says "$TAG-$name" "there is nothing to set apart"
		check "no quota: nothing is split" is_whole "$VMM" max
	else
		check_split "no quota: split" "$VMM" 1 max
	fi
	capture oci update --cpu-period 100000 --cpu-quota 30000 "$TAG-$name"
	check_exit "no quota: an update brings one" 0
	check_split "no quota: an update brings one" "$VMM" 1 30000
	check "no quota: kill and delete" stop_container $name
	check_nothing_left "no quota" "$before"
}

# inhabited - the payload has made a cgroup below C, with a process in it: no split on v2
inhabited() {
	local name=inhabited before pid dir
	use_nested false
	before=$(snapshot)
	fake_nested $name $QUOTA
	pid=$PID
	capture osc prestart <"$WORK/$name/created"
	check_exit "a cgroup of the payload's: prestart" 0
	remember_home "$pid" $name
	sleep infinity &
	PID=$!
	disown
	started "$PID"
	cg_make "$C/payload"
	cg_enter "$C/payload" "$PID"
	start_vmm $name "CPU 0/KVM" worker
	if [[ $MODE == v2 ]]; then
		check_wait "a cgroup of the payload's: placement says why" 20 placement_says $name "^partial: the vCPUs are not set apart: "
		check "a cgroup of the payload's: nothing is split" is_whole "$VMM" $QUOTA
		capture osc update $name
		check_exit "a cgroup of the payload's: the verb update" 0
		check "a cgroup of the payload's: the verb update splits nothing" is_whole "$VMM" $QUOTA
	else
		# The others of its processes are in another cgroup by the payload's own will.
		check_split "a cgroup of the payload's: split" "$VMM" 1 $QUOTA
	fi
	dir=$(quota_over "$PID")
	check_eq "a cgroup of the payload's: what is in it is under the quota" $QUOTA "$dir"
	end_process "$PID"
	end_process "$VMM"
	cg_remove "$C/payload"
	PID=$pid
	capture osc poststop <"$WORK/$name/stopped"
	check_exit "a cgroup of the payload's: poststop" 0
	[[ $LAYOUT == sibling ]] || check "a cgroup of the payload's: all is as it was" is_whole "$PID" $QUOTA
	drop_fake $name "$PID"
	check_nothing_left "a cgroup of the payload's" "$before"
}

# others - the hierarchies but that of cpu, and of cpuset, where a new cgroup takes nobody
others() {
	printf '%s\n' "${HIERARCHIES[@]}" | grep -vx -e "$(hierarchy_of cpu)" -e ".*cpuset.*"
}

# elsewhere PID... - in a cgroup of another parent there, as the runtime would be
elsewhere() {
	local name pid
	for name in $(others); do
		mkdir -p "${CG_DIR[$name]}$BASE/elsewhere/${C##*/}"
		for pid; do
			echo "$pid" >"${CG_DIR[$name]}$BASE/elsewhere/${C##*/}/cgroup.procs"
		done
	done
}

# apart_by_cpu - the vCPU is under its quota, and the rest is not
apart_by_cpu() {
	local tid name file
	file=$(hierarchy_of cpu)
	while read -r tid name; do
		cgroups_of "$tid"
		[[ $name =~ $VCPU_RE && ${CG[$file]} == "$C" || ! $name =~ $VCPU_RE && ${CG[$file]} == "$OVERHEAD" ]] || {
			echo "thread '$name' is in ${CG[$file]}"
			return 1
		}
	done < <(threads "$VMM")
	[[ $(quota_in "$C") == "$QUOTA" && $(quota_in "$OVERHEAD") == max ]]
}

# counts_at CGROUP - the watcher has the file open that tells of processes killed for want of memory
counts_at() {
	[[ $(readlink "/proc/$(watcher_pid "${C##*/}")/fd/"* 2>/dev/null) == *"$1/memory.oom_control"* ]]
}

# two_parents - a runtime that is in different cgroups itself, and is told no cgroupsPath, has its containers so
two_parents() {
	local name=two-parents before file
	if [[ $LAYOUT == sibling || $MODE == v2 || $MANAGER == systemd ]]; then
		skip "a runtime in two cgroups" "it is about layout nested in two hierarchies of v1"
		return
	fi
	use_nested false
	before=$(snapshot)
	fake_nested $name $QUOTA
	elsewhere "$PID"
	for file in $(others); do
		rmdir "${CG_DIR[$file]}$C"
	done
	jq 'del(.linux.cgroupsPath)' "$WORK/$name/config.json" >"$WORK/$name/other"
	mv "$WORK/$name/other" "$WORK/$name/config.json"
	capture osc prestart <"$WORK/$name/created"
	check_exit "a runtime in two cgroups: prestart" 0
	"$(helper fake_vmm)" "CPU 0/KVM" worker >/dev/null 2>&1 &
	VMM=$!
	disown
	started "$VMM"
	elsewhere "$VMM"
	echo "$VMM" >"$(cg_file cpu "$C" cgroup.procs)"
	check_wait "a runtime in two cgroups: split" 20 apart_by_cpu
	! available memory || check_wait "a runtime in two cgroups: the watcher counts where the container has its memory" 20 \
		counts_at "$BASE/elsewhere/${C##*/}"
	capture osc poststart <"$WORK/$name/running"
	check_exit "a runtime in two cgroups: poststart" 0
	check "a runtime in two cgroups: split still" apart_by_cpu
	end_process "$VMM"
	end_process "$PID"
	capture osc poststop <"$WORK/$name/stopped"
	check_exit "a runtime in two cgroups: poststop" 0
	drop_fake $name "$PID"
	for file in $(others); do
		rmdir "${CG_DIR[$file]}$BASE/elsewhere"{/"${C##*/}",}
	done
	check_nothing_left "a runtime in two cgroups" "$before"
}

# not_ours - a cgroup that is called like ours is somebody else's
not_ours() {
	local name=taken before pid
	use_nested false
	before=$(snapshot)
	fake_nested $name $QUOTA
	if [[ $APART == *.scope || $APART == *.scope/* && $LAYOUT == sibling ]]; then
		skip "a cgroup of our name" "systemd takes a directory that is there for that of its scope"
		drop_fake $name "$PID"
		return
	fi
	pid=$PID
	[[ $LAYOUT != sibling || $MODE != v2 ]] || C=$BASE/kata_$name APART=$BASE/kata_$name/kata_vcpu
	mkdir -p "${CG_DIR[$(hierarchy_of cpu)]}$APART"
	sleep infinity &
	PID=$!
	disown
	started "$PID"
	if [[ $MODE != v2 ]]; then
		echo "$PID" >"$(cg_file cpu "$APART" cgroup.procs)"
	fi
	capture osc prestart <"$WORK/$name/created"
	check_exit "a cgroup of our name: prestart" 0
	remember_home "$pid" $name
	start_vmm $name "CPU 0/KVM" worker
	check_wait "a cgroup of our name: placement says why" 20 placement_says $name "which is not ours"
	[[ $MODE == v2 ]] || check_eq "a cgroup of our name: who was in it is" "$APART" "$(cgroups_of "$PID" && echo "${CG[$(hierarchy_of cpu)]}")"
	end_process "$PID"
	check "a cgroup of our name: the vCPUs are under the quota" vcpus_held "$VMM" $QUOTA
	check_eq "a cgroup of our name: so is all else" $QUOTA "$(quota_over "$VMM")"
	PID=$pid
	end_process "$VMM"
	capture osc poststop <"$WORK/$name/stopped"
	check_exit "a cgroup of our name: poststop" 0
	if [[ $LAYOUT == sibling && $MODE == v2 ]]; then
		# It is inside of the sandbox cgroup, which goes with whatever was made in it.
		check "a cgroup of our name: it went with the sandbox" cg_gone "$C"
	else
		check "a cgroup of our name: it is there still" test -d "${CG_DIR[$(hierarchy_of cpu)]}$APART"
		rmdir "${CG_DIR[$(hierarchy_of cpu)]}$APART"
		[[ $LAYOUT == nested ]] || rmdir "${CG_DIR[$(hierarchy_of cpu)]}${APART%/*}"
	fi
	drop_fake $name "$PID"
	check_nothing_left "a cgroup of our name" "$before"
}

# --- the overhead's own quota ------------------------------------------------

overhead_limited() {
	local name=busy before extra=35000
	use_nested false ".overhead_limits = {cpu: {quota: $extra, period: 100000}}"
	before=$(snapshot)
	start $name || return 0
	check_split "overhead_limits: split" "$VMM" 2 $QUOTA $extra
	capture oci update --cpu-quota 30000 "$TAG-$name"
	check_exit "overhead_limits: update" 0
	check_split "overhead_limits: update" "$VMM" 2 "$(least 30000 "$TAG-$name.scope")" $extra
	check "overhead_limits: kill and delete" stop_container $name
	check_nothing_left "overhead_limits" "$before"
}

# --- an end that takes longer than runtimes wait -------------------------------

# has_little PERIOD QUOTA - systemd writes whole per cents behind the runtime's back, and who is last has the word
has_little() {
	is_split "$VMM" 2 $(($2 * 100000 / $1)) || { [[ $MANAGER == systemd ]] && is_split "$VMM" 2 1000; }
}

# stop_slowly NAME - runc from 1.3 on fails when it has waited for the threads, and is asked again
stop_slowly() {
	local said
	said=$(stop_container "$1") || {
		grep -q "device or resource busy" <<<"$said" && wait_for 20 oci delete "$TAG-$1"
	}
}

# Threads that were killed end when their quota lets them. A runtime sees the main thread's end, and gives up
# what it cannot remove 0.2 s later. In its own cgroup they end under its quota: with less than this they
# would owe more than poststop waits for. With Kata's layout they end without one.
ends_slowly() {
	local name=busy before period=250000 has="4 ms"
	[[ $LAYOUT == nested ]] || period=1000000 has="1 ms"
	use_nested false
	before=$(snapshot)
	start $name || return 0
	check_split "a slow end: split" "$VMM" 2 $QUOTA
	capture oci update --cpu-period $period --cpu-quota 1000 "$TAG-$name"
	check_exit "a slow end: update" 0
	check_wait "a slow end: they have $has of each second" 30 has_little "$period" 1000
	check "a slow end: kill and delete" stop_slowly $name
	check_nothing_left "a slow end" "$before"
}

# with_systemd_held COMMAND... - it sees only later what happens meanwhile
with_systemd_held() {
	local hold status=0
	hold=$(cg_file cpu /init.scope cgroup.freeze)
	echo 1 >"$hold"
	wait_for 10 grep -qx 'frozen 1' "${hold%.freeze}.events" && "$@" || status=1
	echo 0 >"$hold"
	return $status
}

# removed_by_hand - as a runtime does it, once nobody is in there any more
removed_by_hand() {
	local dir=${CG_DIR[$(hierarchy_of cpu)]}
	[[ -d $dir$C ]] && wait_for 60 grep -qx 'populated 0' "$dir$C/cgroup.events" && rmdir "$dir$VCPU" "$dir$C"
}

# keeps_the_scope NAME - whether systemd does so of one that is stopped; what it leaves of the container is not in the
# way of another try
keeps_the_scope() {
	check_split "a scope that systemd keeps: split" "$VMM" 2 $QUOTA
	capture oci update --cpu-period 250000 --cpu-quota 1000 "$TAG-$1"
	check_exit "a scope that systemd keeps: update" 0
	check_wait "a scope that systemd keeps: a small quota" 30 has_little 250000 1000
	systemctl stop "$TAG-$1.scope"
	with_systemd_held removed_by_hand && [[ $(systemctl show -P ActiveState "$TAG-$1.scope") == inactive &&
		-e /run/systemd/transient/$TAG-$1.scope ]]
}

# A scope with a threaded cgroup in it is stopped to systemd at once, whoever is in there still. Who removes
# it before systemd has seen that it is empty leaves a unit that nothing makes systemd forget, and a container of
# the same id gets no scope then.
forgets_the_scope() {
	local name=busy before try kept=''
	if ! grep -q '/osc-vm[.]service$' /proc/self/cgroup; then
		skip "a scope that systemd keeps" "process 1 is frozen for it, which is done in guests alone"
		return
	fi
	use_nested false
	before=$(snapshot)
	for try in 1 2 3; do
		start $name || return 0
		! keeps_the_scope $name || kept=$try
		[[ -z $kept ]] || break
		capture oci delete --force "$TAG-$name"
		check_nothing_left "a scope that systemd keeps: try $try" "$before"
	done
	if [[ -z $kept ]]; then
		skip "a scope that systemd keeps" "systemd has waited for its end, or seen it, three times"
		return
	fi
	jq -n --arg id "$TAG-$name" --arg bundle "$WORK/$name" \
		'{ociVersion: "1.0.2", id: $id, status: "stopped", pid: 0, bundle: $bundle}' >"$WORK/stopped"
	capture osc poststop <"$WORK/stopped"
	check_exit "a scope that systemd keeps: poststop" 0
	check_wait "a scope that systemd keeps: it is forgotten" 10 test ! -e "/run/systemd/transient/$TAG-$name.scope"
	capture oci delete --force "$TAG-$name"
	check_nothing_left "a scope that systemd keeps" "$before"
}

# --- a real VMM --------------------------------------------------------------

# guest NAME VCPUS CONFIG_FILTER - a VM of QEMU's, whose vCPUs are busy
guest() {
	local name=$1 before
	use_nested false "$3"
	before=$(snapshot)
	start "$name" || return 0
	check_split "$name: split" "$VMM" "$2" $QUOTA
	check_wait "$name: placement" 20 is_complete "$TAG-$name"
	capture oci update --cpu-quota 5000 "$TAG-$name"
	check_exit "$name: update" 0
	check_split "$name: update" "$VMM" "$2" 5000
	# Until the new quota was carried it bound everything.
	WAS=$(throttled "$OVERHEAD")
	check_wait "$name: the vCPUs' cgroup is throttled" 60 throttled_above "$VCPU" $(($(throttled "$VCPU") + 3))
	check_eq "$name: the others are not" 0 "$(others_throttled)"
	check "$name: pause" pause_container "$name"
	[[ $LAYOUT == sibling ]] || check_rests "$name: paused, the VMM rests" "$VMM"
	check "$name: resume" oci resume "$TAG-$name"
	check "$name: kill and delete" stop_container "$name"
	check_nothing_left "$name" "$before"
}

KVM_DEVICE='.linux.devices = [{path: "/dev/kvm", type: "c", major: 10, minor: 232, fileMode: 438}]
	| .linux.resources.devices += [{allow: true, type: "c", major: 10, minor: 232, access: "rwm"}]'

# guest_bundle NAME ACCELERATOR VCPUS JQ_FILTER - firmware of one instruction, at the reset vector: jump to itself
guest_bundle() {
	bundle "$1" "$(qemu_args "$2" "$3")" ".process.args += [\"-bios\", \"/loop.bin\"] | $4"
	truncate -s 65520 "$WORK/$1/rootfs/loop.bin"
	printf '\xeb\xfe%14s' '' >>"$WORK/$1/rootfs/loop.bin"
}

bundle busy '["/fake_vmm", "--burn", "CPU 0/KVM", "CPU 1/KVM", "worker"]'
bundle threads '["/fake_vmm", "--late", "CPU 1/KVM", "/late.file", "--rename", "worker", "CPU 2/KVM", "/rename.file",
	"--helper", "io-helper", "/helper.file", "CPU 0/KVM"]'
bundle ending '["/fake_vmm", "--exit", "CPU 0/KVM", "/exit.file", "--late", "CPU 1/KVM", "/late.file", "worker"]'
bundle survivor '["/busybox", "sh", "-c", "/fake_vmm \"CPU 0/KVM\" & while :; do /busybox sleep 1000 & wait; done"]'
bundle liar '["/fake_vmm", "CPU 0/KVM", "CPU 1/KVM", "worker"]'
bundle unlimited '["/fake_vmm", "CPU 0/KVM", "worker"]' 'del(.linux.resources.cpu)'

follows
sorts
ends
vmm_ends
believes_nothing
begins_later
overhead_limited
ends_slowly
if [[ $MANAGER == systemd && $MODE == v2 && $LAYOUT == nested ]]; then
	forgets_the_scope
fi
inhabited
two_parents
not_ours

if ! grep -q 'model name.*TCG' /proc/cpuinfo && kvm_works; then
	guest_bundle kvm kvm 2 "$KVM_DEVICE"
	guest kvm 2 '.vcpu_evidence = "auto"'
elif kvm_works; then
	# Emulation inside of emulation: only whether the kernel's word is found.
	guest_bundle kvm kvm 1 "$KVM_DEVICE"
	guest kvm 1 '.vcpu_evidence = "auto"'
else
	skip "KVM guest" "QEMU cannot use /dev/kvm on this host"
fi
guest_bundle tcg tcg,thread=multi 2 .
guest tcg 2 .

finish
