#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# containerd on v2: what `ctr` does to a container with a VMM that never rests, it does
# to the same container with the hook in layout nested; and a restart of containerd
# keeps a running VMM, and it tells of one that is killed for want of memory, in each
# layout. Each is played without the hook and with it, and what is seen has to be equal;
# what is known to differ is skipped, with what was seen.

# shellcheck disable=SC2016 # $name in single quotes is jq's
# shellcheck disable=SC2034,SC2317 # common.sh uses and calls these
OSC_LIB_ONLY=yes
# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"
# shellcheck source=../lib/limits.sh
. "$TESTS/lib/limits.sh"
# shellcheck source=../lib/observe.sh
. "$TESTS/lib/observe.sh"
# shellcheck source=../lib/ctr.sh
. "$TESTS/lib/ctr.sh"
# shellcheck source=../lib/compare.sh
. "$TESTS/lib/compare.sh"

QUOTA=60000

# set_hook - the layout and configuration for HOOK, of which P is the name
set_hook() {
	set_layout "$P" "$TAG-$P"
	configure ".layout = \"$([[ $HOOK == sibling ]] && echo sibling || echo nested)\""
}

# run_bundle - with the hook, or without; sets ID, PID, C, K and BEFORE
run_bundle() {
	[[ $HOOK == bare ]] || add_hooks "$P" "prestart poststop"
	BEFORE=$(snapshot)
	run_ctr "$P" || return
	remember_c "$PID"
}

# run_vmm - one that never rests
run_vmm() {
	set_hook
	[[ $ACCELERATOR == kvm ]] || edit_configuration '.vcpu_evidence = "name"'
	vmm_bundle "$P" ".process.args += [\"-bios\", \"/loop.bin\"] | .linux.resources.pids = {limit: 64}
		| .linux.resources.cpu = {quota: $QUOTA, period: 100000} | .linux.resources.memory = {limit: $((256 << 20))}"
	busy_firmware "$WORK/$P/rootfs/loop.bin"
	run_bundle || return
	case $HOOK in
	bare) wait_for 120 has_vcpus ;;
	nested)
		check_split "$P: the split" "$PID" "$VCPUS" "$QUOTA"
		check_wait "$P: a watcher runs" 5 has_watcher "$ID"
		check_watcher "$P" "$(watcher_pid "$ID")"
		;;
	sibling) check_wait "$P: the split" 120 settled "$PID" "$VCPUS" ;;
	esac
}

edit_configuration() {
	jq "$1" "$CONF" >"$CONF.new"
	mv "$CONF.new" "$CONF"
}

has_vcpus() {
	(($(vcpus_of "$PID" | wc -w) == VCPUS))
}

# status_of - of the task
status_of() {
	ctr_ task list | awk -v id="$ID" '$1 == id { status = $3 } END { print status ? status : "lost" }'
}

# plain TEXT - without what is of this container alone
plain() {
	local text=${1//"$ID"/ID}
	echo "${text//"${P}"/NAME}"
}

# see_task KEY COMMAND... - of ctr task
see_task() {
	local key=$1
	shift
	capture ctr_ task "$@"
	see "$key" "$RC $(plain "$(head -n 1 <<<"$ERR")")"
}

# number_of FILTER - in the last answer
number_of() {
	jq -r "($1) // 0" <<<"$OUT" 2>/dev/null || echo 0
}

# see_metrics - they are those of C, which has the whole VMM
see_metrics() {
	local memory cpu ticks after
	ticks=$(cpu_ticks "$PID") memory=$(c_file memory.current) cpu=$(cpu_usage "$C")
	capture ctr_ task metrics --format json "$ID"
	# A guest that starts has more and more, and one that has started may give some back.
	after=$(c_file memory.current)
	((memory <= after)) || read -r memory after <<<"$after $memory"
	see "metrics" "$RC $ERR"
	see "metrics: pids" "$(about "$(c_file pids.current)" "$(number_of .pids.current)" "$(c_file pids.current)")"
	see "metrics: memory" "$(about $((memory * 9 / 10)) "$(number_of .memory.usage)" $((after * 11 / 10)))"
	see "metrics: CPU time" "$(about "$cpu" "$(number_of .cpu.usage_usec)" "$(cpu_usage "$C")")"
	see "metrics: the guest's CPU time is in it" \
		"$( (($(number_of .cpu.usage_usec) > ticks * 9000)) && echo yes || echo no)"
}

see_pause() {
	see_task "pause" pause "$ID"
	see "pause: status" "$(status_of)"
	see "pause: the VMM" "$(wait_for 10 rests "$PID" >/dev/null && echo rests || echo runs)"
	see_task "resume" resume "$ID"
	see "resume: the VMM" "$(wait_for 15 used "$PID" $(($(cpu_ticks "$PID") + 10)) && echo runs || echo rests)"
}

# see_ps - the names of the pids that `task ps` lists, but for threads, which newer runtimes list, too
see_ps() {
	local pid names=''
	capture ctr_ task ps "$ID"
	while read -r pid _; do
		[[ $pid =~ ^[0-9]+$ ]] || continue
		[[ $(sed -n 's/^Tgid:\t//p' "/proc/$pid/status" 2>/dev/null) != "$pid" ]] || names+="$(cat "/proc/$pid/comm") "
	done <<<"$OUT"
	see "ps" "$RC $names$(grep -o 'cgroup.procs.*upported' <<<"$ERR" || echo "$ERR")"
}

# see_delete - and what is left
see_delete() {
	capture ctr_ task delete "$ID"
	see "delete" "$RC $(plain "$(grep -v 'exit with non-zero exit code' <<<"$ERR" || :)")"
	see "delete: the exit status" "$(grep -o 'exit code [0-9]*' <<<"$ERR" || :)"
	see_when "delete: C" 20 "" cg_exists "$C"
	check "$P: ctr containers delete" ctr_ containers delete "$ID"
	check_wait "$P: the VMM has ended" 10 is_dead "$PID"
	check_nothing_left "$P" "$BEFORE"
}

operations() {
	run_vmm || return
	see "run: init is in the runtime's own cgroup" "$(plain "$C")"
	see "run: the vCPUs' quota" "$(vcpu_quota "$PID")"
	capture ctr_ task exec --exec-id one "$ID" /busybox cat /proc/self/cgroup
	see "exec" "$RC $(plain "$OUT")"
	see_ps
	see_metrics
	see_pause
	see_task "kill" kill --signal KILL "$ID"
	see_when "kill: status" 20 STOPPED status_of
	see_delete
}

# --- want of memory ----------------------------------------------------------

# start_events - what containerd tells goes to $WORK/events
start_events() {
	ctr --address "$WORK/containerd.sock" events >"$WORK/events" 2>&1 </dev/null &
	EVENTS=$!
	started "$EVENTS"
	disown
	check_wait "$P: ctr events begins" 20 hears
}

# hears - an event that we cause: the client takes its time
hears() {
	ctr_ containers label "$ID" "asked=$SECONDS" >/dev/null 2>&1
	[[ $(told /containers/update) ]]
}

# told TOPIC - that of an event about the container, but once
told() {
	awk -v topic="$1" -v id="$ID" 'index($0, " " topic " ") && index($0, "\"" id "\"") { print topic; exit }' "$WORK/events"
}

placement_is() {
	[[ $(osc show "$ID" --json | jq -r .placement.state) == "$1" ]]
}

# oom - another process of its container takes all memory, and the VMM, its first process, is killed for it
oom() {
	set_hook
	make_bundle "$P" "$(json_list /busybox sh -c "$STARVED")" \
		".linux.resources.cpu = {quota: $QUOTA, period: 100000} | .linux.resources.memory = {limit: $((32 << 20))}"
	edit_config "$P" '.root.path = $path' --arg path "$WORK/$P/rootfs"
	install -m 0755 "$(helper fake_vmm)" "$WORK/$P/rootfs/fake_vmm"
	run_bundle || return
	start_events
	[[ $HOOK == bare ]] || check_wait "$P: the vCPU is in its place" 60 placement_is complete
	starve "$PID"
	see_when "status" 60 STOPPED status_of
	# systemd may have removed a scope before containerd has read there why.
	[[ $MANAGER == systemd ]] || see_when "event" 20 /tasks/oom told /tasks/oom
	end_process "$EVENTS"
	see_delete
}

# --- a restart of containerd -------------------------------------------------

restart_containerd() {
	kill -TERM "$CONTAINERD" || return
	wait_for 30 is_dead "$CONTAINERD" || kill -KILL "$CONTAINERD"
	wait_for 10 is_dead "$CONTAINERD"
	run_containerd
}

# check_restart - in this shell, which has to know the new one
check_restart() {
	local old=$CONTAINERD
	restart_containerd || :
	if [[ $CONTAINERD != "$old" ]] && is_alive "$CONTAINERD"; then
		ok "$P: containerd restarts"
	else
		fail "$P: containerd restarts" "$(tail -n 5 "$WORK/containerd.log")"
	fi
}

# restart - with a VMM that runs, which goes on to be reached
restart() {
	run_vmm || return
	check_restart
	see_when "restart: the task" 10 RUNNING status_of
	see "restart: the VMM" "$(is_alive "$PID" && echo lives || echo "is dead")"
	see_task "restart, then pause" pause "$ID"
	see_task "restart, then resume" resume "$ID"
	see_task "restart, then exec" exec --exec-id two "$ID" /busybox true
	see_task "restart, then kill" kill --signal KILL "$ID"
	see_when "restart, then kill: status" 20 STOPPED status_of
	see "restart, then kill: the VMM" "$(wait_for 10 is_dead "$PID" && echo "is dead" || echo lives)"
	end_lost
}

# end_lost - a container of which containerd may know nothing any more
end_lost() {
	drop_ctr
	kill -KILL "$PID" 2>/dev/null || :
	wait_for 10 is_dead "$PID"
	oci --root "$WORK/runtime/default" delete --force "$ID" >/dev/null 2>&1 || :
	check_nothing_left "$P" "$BEFORE"
}

# lost HOOK REASON - what is known of a task that containerd takes for an orphan when it starts
lost() {
	local key reason="$2, so containerd loses the container when it restarts"
	for key in pause resume exec kill; do
		document "$1" "restart, then $key" '1 .*' "$reason"
	done
	document "$1" "restart: the task" 'lost|STOPPED|UNKNOWN' "$reason"
	document "$1" "restart, then kill: status" 'lost|STOPPED|UNKNOWN' "$reason"
	document "$1" "restart, then kill: the VMM" lives "$reason"
}

# known_differences - of layouts, runtimes and containerd
known_differences() {
	if ! reads_threaded; then
		document nested ps '1 .*cgroup.procs.*upported' "$VERSION cannot read a threaded cgroup"
		! asks_ps || lost nested "$VERSION cannot read a threaded cgroup"
	fi
}

# play SCENARIO HOOK... - without the hook, with it, and the difference
play() {
	local scenario=$1 hook
	shift
	forget
	known_differences
	for HOOK in bare "$@"; do
		P=$MANAGER-${scenario:0:3}-$HOOK
		"$scenario" || return 0
	done
	for HOOK; do
		check_same "$MANAGER: $scenario"
	done
}

is_frozen() {
	[[ $(c_file cgroup.events) == *"frozen 1"* ]]
}

# freezes - whether a cgroup can be that has a VM, without the hook. In Linux 6.1 a kernel thread of KVM's that is
# there with the VMM (kvm-nx-lpage-recovery) keeps it from that, and runc, which waits for it, neither pauses nor
# ends the container. If the VM does not come up that is not known, and the scenes will tell.
freezes() {
	local frozen=yes
	HOOK=bare P=$MANAGER-freezes
	run_vmm || return 0
	echo 1 >"${CG_DIR[unified]}$C/cgroup.freeze"
	wait_for 5 is_frozen || frozen=
	echo 0 >"${CG_DIR[unified]}$C/cgroup.freeze"
	end_lost
	[[ -n $frozen ]]
}

play_all() {
	play operations nested
	play restart nested sibling
	play oom nested sibling
}

find_hierarchies
[[ $MODE == v2 ]] || not_here "it is what layout nested is on v2"
begin_ctr
if [[ $ACCELERATOR == kvm ]] && ! freezes; then
	skip "KVM guest" "with KVM's kernel thread in it no cgroup can be frozen, and so runc cannot pause what is to be compared"
	ACCELERATOR=tcg,thread=multi
fi
play_all
if use_systemd; then
	play_all
fi

finish
