#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Layout nested under a real runtime: whatever a runtime does to a container, it does to the same
# container with the hook. Each operation is played without the hook, with sandbox_cgroup_only and
# with the split, and what is seen has to be equal, but for what
# oci-sandbox-cgroup-layouts(7) names: runc before 1.2 and crun cannot read a threaded cgroup. The
# split itself is in nested-split.sh.

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

# --- what is seen ------------------------------------------------------------

# The name of the container, who it is played for (bare, only, split), and what was seen of it.
NAME=vm
HOOK=
declare -A SEEN=()
ALONE="host's PID namespace, delete -f: the VMM"
KEYS=()

# see KEY VALUE - the value of one operation, which has no pid in it
see() {
	if [[ $HOOK == bare ]]; then
		KEYS+=("$1")
	fi
	SEEN[$HOOK:$1]=$2
}

# said - what the last `capture` printed as an error, but for what runtimes warn of: of their own work, that
# depends on how busy the host is; of hooks, they say no more than that
said() {
	grep -vE 'level=warning.*(rmdir|freeze)|rmdir.*busy|Failed to remove paths' <<<"$ERR" || :
}

# see_when KEY SECONDS EXPECTED COMMAND... - what the command prints, once that is what is expected
see_when() {
	local key=$1 seconds=$2 expected=$3
	shift 3
	prints() { [[ $("$@" 2>&1) == "$expected" ]]; }
	wait_for "$seconds" prints "$@" || :
	see "$key" "$("$@" 2>&1 || :)"
}

# documented KEY - whether exactly that is seen which is known of such runtimes on v2
documented() {
	[[ $MODE == v2 && $HOOK == split ]] || return 1
	if reads_threaded; then
		# Of a threaded cgroup it reads threads.
		[[ $1 == ps && ${SEEN[split:ps]} == "0: CPU 0/KVM ${SEEN[bare:ps]#0: }" ]]
		return
	fi
	case $1 in
	ps) [[ ${SEEN[split:ps]} =~ ^[1-9][0-9]*:.*cgroup.procs.*upported ]] ;;
	"kill --all USR2") [[ ${SEEN[split:$1]} =~ ^[1-9][0-9]*:\ nobody$ ]] ;;
	# crun writes to cgroup.kill.
	"kill --all KILL") [[ $KIND == runc && ${SEEN[split:$1]} =~ ^[1-9][0-9]*:\ lives$ ]] ;;
	# What is left then is not found any more: neither when it is killed nor when C is removed; but
	# systemd kills what is in a scope that it stops.
	"host's PID namespace, delete -f"*)
		[[ $KIND == runc ]] && [[ ${SEEN[split:$ALONE]-} == lives ||
			${SEEN[split:$1]} =~ ^0\ time=.*level=warning.*/kata_vcpu/cgroup.procs:\ operation\ not\ supported ]]
		;;
	*) return 1 ;;
	esac
}

# check_seen - one result for each operation of the last container
check_seen() {
	local key
	[[ $HOOK != bare ]] || return 0
	for key in "${KEYS[@]}"; do
		if [[ ${SEEN[$HOOK:$key]-none} == "${SEEN[bare:$key]-none}" ]]; then
			ok "$HOOK, $key: as without the hook: $(head -n 1 <<<"${SEEN[bare:$key]}" | cut -c -100)"
		elif documented "$key"; then
			ok "$HOOK, $key: differs as documented: ${SEEN[$HOOK:$key]}"
		else
			fail "$HOOK, $key: as without the hook" "$(diff <(echo "without: ${SEEN[bare:$key]-none}") <(echo "with: ${SEEN[$HOOK:$key]-none}") || :)"
		fi
	done
}

# --- a container -------------------------------------------------------------

# Init is a shell, which hears of USR2; its VMM begins when it is told to. 16 MiB are charged to whoever
# writes them.
write_payload() {
	cat >"$WORK/$NAME/rootfs/payload" <<-'EOT'
		trap 'echo got >/init.got' USR2
		/busybox dd if=/dev/zero of=/dev/shm/ballast bs=1M count=16 2>/dev/null
		/fake_vmm --wait /go --burn "CPU 0/KVM" worker &
		echo $! >/ready
		while :; do /busybox sleep 1000 & wait; done
	EOT
}

# names PID... - what they are, in order
names() {
	local pid
	for pid; do
		cat "/proc/$pid/comm" 2>&1
	done | sort | xargs
}

# listed - by the runtime's ps
listed() {
	capture oci ps --format json "$TAG-$NAME"
	if [[ $RC == 0 ]]; then
		# shellcheck disable=SC2046 # pids
		see ps "0: $(names $(jq '. // [] | .[]' <<<"$OUT"))"
	else
		see ps "$RC: $(grep -o '[^/ ]*cgroup.procs.*upported' <<<"$ERR" || echo "$ERR")"
	fi
}

# settings_of - every setting in C, and of its devices
settings_of() {
	local name file dir device
	for name in "${HIERARCHIES[@]}"; do
		dir=${CG_DIR[$name]}${HOME_OF[$name]-}
		for file in cgroup.type cgroup.subtree_control cgroup.freeze notify_on_release freezer.state devices.list pids.max \
			cpu.max cpu.weight cpu.cfs_quota_us cpu.cfs_period_us cpu.shares cpuset.cpus cpuset.mems \
			memory.max memory.high memory.limit_in_bytes memory.memsw.limit_in_bytes; do
			[[ -z ${HOME_OF[$name]-} || ! -e $dir/$file ]] || echo "$name $file: $(cat "$dir/$file" 2>&1)"
		done
	done
	dir=${CG_DIR[unified]-}$C/cgroup.procs
	[[ $MODE == v2 ]] || dir=$(cg_file devices "$C" cgroup.procs)
	for device in "b 7 5" "c 10 200" "c 240 77" "b 240 5"; do
		# shellcheck disable=SC2086 # three words
		[[ ! -w $dir ]] || "$(helper device_probe)" --dir "$WORK" --cgroup-procs "$dir" $device 2>&1
	done
}

# but_quota - of the settings: what the split changes is the quota, and on v2 the type
but_quota() {
	grep -vE ' (cpu\.max|cgroup\.type|cgroup\.subtree_control):'
}

# places PID - its cgroups, but that which the split changes
places() {
	local name
	cgroups_of "$1"
	for name in "${!CG[@]}"; do
		[[ $MODE != v2 && $name == "$(hierarchy_of cpu)" ]] || echo "$name ${CG[$name]}"
	done | sort
}

# watched - its watcher has looked at what there was before vCPUs
watched() {
	[[ -e $STATE/sandboxes/$TAG-$NAME/placement.json ]]
}

# vmm_runs - and is split where it is to be
vmm_runs() {
	[[ $(threads "$VMM" | wc -l) == 3 ]] || return 1
	if [[ $HOOK == split ]]; then is_split "$VMM" 1 "$LIMIT_QUOTA"; else is_whole "$VMM" "$LIMIT_QUOTA"; fi
}

# allowed_cpus - of all threads
allowed_cpus() {
	cat /proc/"$VMM"/task/*/status 2>/dev/null | sed -n 's/^Cpus_allowed_list:\t//p' | sort -u | xargs
}

# setting CONTROLLER FILE_OF_V2 FILE_OF_V1 - in C
setting() {
	if [[ $MODE == v2 ]]; then cg_text "$1" "$C" "$2"; else cg_text "$1" "$C" "$3"; fi
}

# vcpu_quota - what its vCPU is held by
vcpu_quota() {
	quota_over "$(vcpus_of "$VMM")"
}

# begin - the container, up to where its VMM runs. 1: there is none.
begin() {
	local before
	rm -f "$WORK/$NAME/rootfs"/{go,ready,*.got} "$WORK/$NAME/exec.pid"
	edit_config "$NAME" 'del(.hooks)'
	[[ $HOOK == bare ]] || add_hooks "$NAME" "prestart poststop"
	ONLY=true
	[[ $HOOK != split ]] || ONLY=false
	use_nested "$ONLY"
	before=$(snapshot)
	if ! create_nested "$NAME"; then
		fail "$HOOK: the runtime creates the container" "$(cat "$WORK/$NAME/log")"
		return 1
	fi
	see "create: cgroups that are new" "$(diff <(echo "$before") <(snapshot) || :)"
	see "create: where init is" "$(sed 's/^[0-9]*://' "/proc/$PID/cgroup" | sort)"
	see "create: what is set there" "$(settings_of)"
	capture oci start "$TAG-$NAME"
	see "start" "$RC"
	if ! wait_for 20 test -s "$WORK/$NAME/rootfs/ready"; then
		fail "$HOOK: the container runs" "$(cat "$WORK/$NAME/log")"
		return 1
	fi
	# Between fork and exec it has another name.
	has_vmm() { VMM=$(child_of "$PID" fake_vmm); }
	if ! wait_for 20 has_vmm; then
		fail "$HOOK: the container has a VMM" "$(cat "/proc/$PID/task/$PID/children" 2>&1)"
		return 1
	fi
	[[ $HOOK != split ]] || check_wait "$HOOK: a watcher looks" 20 watched
	see "before vCPUs: cgroups that are new" "$(diff <(echo "$before") <(snapshot) || :)"
	see "before vCPUs: where the VMM is" "$(sed 's/^[0-9]*://' "/proc/$VMM/cgroup" | sort)"
	see "before vCPUs: what is set there" "$(settings_of)"
	touch "$WORK/$NAME/rootfs/go"
	check_wait "$HOOK: the VMM runs, and its vCPU is under the quota of config.json" 30 vmm_runs
}

# end KEY... - it is gone without a trace; the result of `delete` has been seen
end() {
	check_wait "$HOOK, $1: the VMM has ended" 20 is_dead "$VMM"
	see "$1: what the runtime remembers" "$(ls -A "$WORK/runtime")"
	check_nothing_left "$HOOK, $1" "$BEFORE"
}

# --- what a runtime does -----------------------------------------------------

stats() {
	local total
	capture oci events --stats "$TAG-$NAME"
	if [[ $KIND == crun ]]; then
		see "events --stats" "$RC $ERR"
		return
	fi
	see "events --stats: tasks" "$RC $(jq '.data.pids.current' <<<"$OUT" 2>&1)"
	see "events --stats: memory is the VMM's, too" \
		"$(jq '.data.memory.usage.usage | . > 16777216 and . < 67108864' <<<"$OUT" 2>&1)"
	total=$(jq '.data.cpu.usage.total' <<<"$OUT" 2>&1)
	grows() { oci events --stats "$TAG-$NAME" | jq -e ".data.cpu.usage.total > $total" >/dev/null; }
	see "events --stats: CPU time grows" "$(wait_for 10 grows && echo yes || echo no)"
}

executes() {
	local pid
	capture oci exec "$TAG-$NAME" /busybox echo inside
	see exec "$RC $OUT"
	capture oci exec -d --pid-file "$WORK/$NAME/exec.pid" "$TAG-$NAME" /busybox sh -c \
		'trap "echo got >/exec.got" USR2; echo >/exec.ready; while :; do /busybox sleep 1000 & wait; done'
	see "exec -d" "$RC"
	pid=$(<"$WORK/$NAME/exec.pid")
	wait_for 10 test -e "$WORK/$NAME/rootfs/exec.ready" || :
	# It is listed, too.
	sleeps() { child_of "$pid" busybox >/dev/null; }
	wait_for 10 sleeps || :
	see "exec -d: where it is" "$(places "$pid")"
	rm -f "$WORK/$NAME/rootfs/exec.ready"
}

pauses() {
	local was
	see "pause" "$(pause_container "$NAME" && echo 0)"
	see "pause: status" "$(status "$NAME")"
	see "pause: the VMM rests" "$(wait_for 10 rests "$VMM" >/dev/null && echo yes || echo no)"
	capture oci exec "$TAG-$NAME" /busybox true
	see "pause: exec is refused" "$([[ $RC != 0 && $ERR == *paused* ]] && echo yes || echo "$RC $ERR")"
	capture oci resume "$TAG-$NAME"
	see "resume" "$RC $(status "$NAME")"
	was=$(cpu_ticks "$VMM")
	see "resume: the VMM runs on" "$(wait_for 15 used "$VMM" $((was + 5)) && echo yes || echo no)"
}

# updates OPTION VALUE EXPECTED COMMAND... - what the command prints then. "now": that is not waited for, as the
# runtime has written it.
updates() {
	local key="update $1 $2"
	capture oci update "$1" "$2" "$TAG-$NAME"
	see "$key" "$RC $(said)"
	if [[ $3 == now ]]; then
		see "$key: holds" "$("${@:4}" 2>&1 || :)"
		return
	fi
	see_when "$key: holds" 10 "$3" "${@:4}"
}

all_updates() {
	if available cpu; then
		updates --cpu-quota "$NEW_QUOTA" "$NEW_QUOTA" vcpu_quota
		updates --cpu-quota 45000 45000 vcpu_quota
		updates --cpu-share 256 now setting cpu cpu.weight cpu.shares
		updates --cpu-share "$LIMIT_SHARES" now setting cpu cpu.weight cpu.shares
	fi
	! available memory || updates --memory "$NEW_MEMORY" now setting memory memory.max memory.limit_in_bytes
	! available pids || updates --pids-limit 50 now setting pids pids.max pids.max
	if available cpuset && (($(nproc) > 1)); then
		updates --cpuset-cpus 1 1 allowed_cpus
		updates --cpuset-cpus 0-1 0-1 allowed_cpus
	fi
	if available cpu; then
		# What was not asked for is as it was.
		see_when "updates: the quota in the end" 10 45000 vcpu_quota
	fi
	see "updates: what is set in the end" "$(settings_of | but_quota)"
}

# heard - who has got USR2
heard() {
	local who=()
	[[ ! -e $WORK/$NAME/rootfs/init.got ]] || who+=(init)
	[[ ! -e $WORK/$NAME/rootfs/exec.got ]] || who+=(exec)
	is_alive "$VMM" || who+=(VMM)
	echo "${who[*]:-nobody}"
}

signals_all() {
	capture oci kill --all "$TAG-$NAME" USR2
	all() { [[ $(heard) == "init exec VMM" ]]; }
	# This one waits only for what it was told will come.
	[[ $RC != 0 ]] || wait_for 5 all || :
	see "kill --all USR2" "$RC: $(heard)"
}

# life_of_operations - all of them, and then kill and delete
life_of_operations() {
	begin || return 0
	stats
	executes
	listed
	pauses
	all_updates
	[[ $HOOK != only ]] || seen_by_the_verbs
	signals_all
	capture oci kill "$TAG-$NAME" KILL
	see "kill" "$RC $(said)"
	wait_for 20 container_stopped "$TAG-$NAME" || :
	see "kill: status" "$(status "$NAME")"
	capture oci delete "$TAG-$NAME"
	see "delete" "$RC $(said)"
	end "kill and delete"
}

life_to_kill_all() {
	begin || return 0
	executes
	capture oci kill --all "$TAG-$NAME" KILL
	[[ $RC != 0 ]] || wait_for 10 is_dead "$VMM" || :
	see "kill --all KILL" "$RC: $(is_dead "$VMM" && echo dead || echo lives)"
	oci kill "$TAG-$NAME" KILL >/dev/null 2>&1 || :
	wait_for 20 container_stopped "$TAG-$NAME" || :
	capture oci delete "$TAG-$NAME"
	see "kill --all: delete" "$RC $(said)"
	end "kill --all"
}

life_to_delete_force() {
	begin || return 0
	executes
	capture oci delete -f "$TAG-$NAME"
	see "delete -f" "$RC $(said)"
	end "delete -f"
}

# With the host's PID namespace nothing ends with init; the runtime kills what is in its cgroup.
life_without_pid_namespace() {
	local other
	begin || return 0
	other=$(child_of "$PID" busybox) || other=$(child_of "$PID" sleep) || :
	started "$VMM" "$other"
	capture oci delete -f "$TAG-$NAME"
	see "host's PID namespace, delete -f" "$RC $(said)"
	wait_for 5 is_dead "$VMM" || :
	see "$ALONE" "$(is_dead "$VMM" && echo dead || echo lives)"
	[[ -z $VMM ]] || end_process "$VMM"
	[[ -z $other ]] || end_process "$other"
	# runc 1.1 gives up on its cgroup, with or without the hook, when one that it has killed takes long to
	# end; so nothing can be said of that one.
	wait_for 20 cg_gone "$APART" >/dev/null || :
	cg_remove "$C"
	end "host's PID namespace"
}

# play LIFE - without the hook, and then with it
play() {
	KEYS=()
	SEEN=()
	BEFORE=$(snapshot)
	for HOOK in bare only split; do
		"$1"
		check_seen
	done
}

# --- sandbox_cgroup_only -----------------------------------------------------

# The hook has recorded what the runtime has made.
seen_by_the_verbs() {
	local id=$TAG-$NAME
	check_eq "only: the record's path is the runtime's cgroup" "$C" "$(osc show "$id" --json | jq -r .record.sandbox_path)"
	check_eq "only: no watcher" none "$(watcher_pid "$id")"
	check_match "only: list" "$id" "$(osc list 2>&1)"
	capture osc prune
	check_eq "only: prune leaves it alone" "0 " "$RC $OUT"
	check "only: after all of that it is as it was" is_whole "$VMM" 45000
}

# --- the stages, one by one --------------------------------------------------

# stages ONLY
stages() {
	local name=stages before p="stages, only=$1" path was
	before=$(snapshot)
	fake_nested "$name" 20000
	use_nested "$1"
	was=$(snapshot)
	path=$C
	[[ $1 == true || $MODE != v2 ]] || path=$APART
	capture osc plan --json <"$WORK/$name/created"
	check_eq "$p: plan: the path" "$path" "$(jq -r .sandbox_path <<<"$OUT")"
	check_eq "$p: plan: no devices" "[]" "$(jq -c .devices <<<"$OUT")"
	if [[ -c /dev/kvm ]]; then
		check_match "$p: plan: warns of a device that the runtime denies" "does not allow /dev/kvm" "$(jq -r '.warnings[]' <<<"$OUT")"
	fi
	for stage in prestart createRuntime; do
		capture osc $stage <"$WORK/$name/created"
		check_exit "$p: $stage" 0
		check "$p: $stage has made no cgroup" same_as "$was"
		check "$p: $stage has moved nothing" is_whole "$PID" 20000
	done
	capture osc poststart <"$WORK/$name/running"
	check_exit "$p: poststart" 0
	check "$p: poststart has made no cgroup" same_as "$was"
	if [[ $1 == false ]]; then
		check_wait "$p: a watcher" 5 has_watcher "$name"
		check "$p: its watcher is not in the runtime's cgroup" not_in "$C" "$(watcher_pid "$name")"
	fi
	configure ".layout = \"sibling\" | .sandbox_cgroup_only = $1"
	capture osc poststart <"$WORK/$name/running"
	check_exit "$p: with another layout" 1
	check_match "$p: with another layout: says why" "made with layout nested" "$ERR"
	use_nested "$1"
	check "$p: in the end" is_whole "$PID" 20000
	capture osc poststop <"$WORK/$name/stopped"
	check_exit "$p: poststop while it runs" 0
	check "$p: poststop leaves it where it is" is_whole "$PID" 20000
	check "$p: no process of ours is left" no_process_left
	drop_fake "$name" "$PID"
	check_nothing_left "$p" "$before"
}

# not_in CGROUP PID - in any hierarchy, nor below
not_in() {
	local name
	cgroups_of "$2" || return
	for name in "${HIERARCHIES[@]}"; do
		[[ ${CG[$name]-}/ != "$1"/* ]] || {
			echo "process $2 is in ${CG[$name]} of $name"
			return 1
		}
	done
}

# A process that is in a cgroup with others, because its runtime makes none.
without_cgroup() {
	local name=shared before
	[[ $MANAGER != systemd ]] || return 0
	before=$(snapshot)
	fake_container "$name"
	cg_make "$BASE/others"
	cg_enter "$BASE/others" "$PID"
	use_nested false
	capture osc prestart <"$WORK/$name/created"
	check_exit "no cgroup of its own: refused" 2
	check_match "no cgroup of its own: says why" "which is no cgroup of its own" "$ERR"
	check "no cgroup of its own: no record" no_record_left
	drop_fake "$name" "$PID"
	cg_remove "$BASE/others"
	check_nothing_left "no cgroup of its own" "$before"
}

for only in true false; do
	stages $only
done
without_cgroup

make_bundle $NAME '["/busybox", "sh", "/payload"]' \
	"$(limits_filter) | .linux.resources.devices += [{allow: true, type: \"b\", major: 240, minor: 5, access: \"rwm\"}]"
# It starts on the first CPU alone, and must be able to get another.
! available cpuset || (($(nproc) < 2)) || edit_config $NAME '.linux.resources.cpu.cpus = "0-1"'
install -m 0755 "$(helper fake_vmm)" "$WORK/$NAME/rootfs/fake_vmm"
write_payload
play life_of_operations
if [[ -n ${OSC_BRIEF-} ]]; then
	skip "kill --all KILL, delete -f, the host's PID namespace" "they run here with tests/run --vm --all"
	finish
fi
play life_to_kill_all
play life_to_delete_force
edit_config $NAME '.linux.namespaces |= map(select(.type != "pid"))'
play life_without_pid_namespace

finish
