#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# A payload without vCPU threads is never unlimited: everything is in the sandbox
# cgroup under all limits from the first moment, and the log says so in time. vCPU
# threads that come later are still set apart; threads which a vCPU thread starts
# are not. And whatever a thread is called, all limits but the CPU quota hold it.

# shellcheck disable=SC2016 # $name in single quotes is jq's
# shellcheck disable=SC2317 # functions are called by name
# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"
# shellcheck source=../lib/limits.sh
. "$TESTS/lib/limits.sh"
# shellcheck source=../lib/observe.sh
. "$TESTS/lib/observe.sh"

# start NAME ARGS_JSON CONFIG_FILTER [JQ_FILTER]
start() {
	C=$1
	set_layout "$C" "$TAG-$C"
	configure "$3"
	make_bundle "$C" "$2" "${4-.}"
	add_hooks "$C" "prestart poststop"
	install -m 0755 "$VMM" "$WORK/$C/rootfs/fake_vmm"
	run_container "$C" || {
		fail "$C: the runtime starts the container" "$(cat "$WORK/$C/log")"
		return 1
	}
}

stop() {
	check "$C: kill and delete" stop_container "$C"
	check_nothing_left "$C" "$before"
}

# says STATE TEXT - the report on where vCPUs are
says() {
	osc show "$TAG-$C" --json | jq -e --arg state "$1" --arg text "$2" \
		'.placement.state == $state and (.placement.why | contains($text))'
}

has_file() {
	[[ -s $WORK/$C/rootfs/$1 ]]
}

# check_unsplit NAME - one cgroup, as long as nothing is set apart
check_unsplit() {
	check "$1: everything is in the sandbox cgroup" together "$PID"
	check_limits "$1" "$SANDBOX" "$SANDBOX"
	# With systemd there is a scope for what may come.
	if [[ $MODE == v2 ]]; then
		check "$1: no cgroup of vCPUs" cg_gone "$VCPU"
	elif [[ $MANAGER == systemd ]]; then
		check "$1: the overhead cgroup holds a process of ours alone" only_placeholder "$OVERHEAD"
	else
		check "$1: no overhead cgroup" cg_gone "$OVERHEAD"
	fi
}

VMM=$(helper fake_vmm)
before=$(snapshot)

# --- without a vCPU ----------------------------------------------------------

if start none '["/busybox", "sh", "-c", "/busybox nproc >/nproc; exec /busybox sleep 1000"]' '.vcpu_timeout_ms = 1500' \
	"$(limits_filter)"; then
	check_unsplit "$C, from the first moment"
	check_devices "$C" "$SANDBOX" false
	check_wait "$C: the payload has counted its CPUs" 10 has_file nproc
	if available cpuset; then
		check_eq "$C: to the payload there are as many CPUs as its cpuset has" 1 "$(<"$WORK/$C/rootfs/nproc")"
	fi
	check_wait "$C: show says in time that there is no vCPU" 15 says none "no vCPU thread appeared in time"
	check_unsplit "$C, after the timeout"
	check "$C: a watcher keeps looking" has_watcher "$TAG-$C"

	# With systemd the runtime's own cgroup is held, or systemd would take the container for ended.
	check "$C: nobody else is in the runtime's own cgroup" only_placeholder "$OWN"
	holder=$(cg_procs "$OWN")
	kill -KILL "$PID"
	[[ $MANAGER != systemd ]] || check_wait "$C: it ends with the container's process" 10 is_dead "${holder:-$$}"
	check_wait "$C: the container has stopped" 10 container_stopped "$TAG-$C"
	capture oci delete "$TAG-$C"
	check_eq "$C: delete has nothing to complain of" "0 " "$RC $ERR"
	check_nothing_left "$C" "$before"
fi

# --- an update while vCPUs are awaited ---------------------------------------

narrowed() {
	[[ $(<"$(cg_file pids "$SANDBOX" pids.max)") == 17 ]]
}

if ! available pids; then
	skip "an update while vCPUs are awaited" "no hierarchy has the controller pids here"
elif start awaited '["/busybox", "sleep", "1000"]' '.vcpu_timeout_ms = 3600000' '.linux.resources.pids = {limit: 30}'; then
	capture oci update --pids-limit 17 "$TAG-$C"
	check_exit "$C: update" 0
	check_wait "$C: what the runtime changes holds the payload, though no vCPU has come" 10 narrowed
	stop
fi

# --- names are no way out of limits ------------------------------------------

# The shell is the init of the container, and one idle thread is called a vCPU. Once that is set apart, more
# processes are started than there may be, and more memory is used.
FORKS='(while :; do /busybox sleep 1000 & done) 2>/forks.new; /busybox mv /forks.new /forks'
FILLS='/busybox dd if=/dev/zero of=/dev/null bs=100M count=1; echo $? >/fills'

# hog NAME WAIT_AND_COMMAND - sets PID, and VMM_PID
hog() {
	local limits=.
	! available pids || limits+=' | .linux.resources.pids = {limit: 30}'
	! available memory || limits+=' | .linux.resources.memory = {limit: 50331648}'
	start "$1" "$(json_list /busybox sh -c \
		"/fake_vmm vcpu0 idle & while [ ! -e /go ]; do /busybox sleep 0.1; done; $2; while :; do /busybox sleep 1; done")" \
		'.hotplug_interval_ms = 200' "$limits" || return
	has_vmm() { VMM_PID=$(pgrep -P "$PID" -x fake_vmm); }
	check_wait "$C: there is a thread with a vCPU's name" 10 has_vmm
	check_threads "$C: it" "$VMM_PID" 1
	check_threads "$C: init" "$PID" 0
}

# counted CONTROLLER V1_FILE V2_FILE KEY - what the kernel counts in the sandbox cgroup; v1 has some in files
# of their own
counted() {
	local file
	if [[ $MODE == v2 ]]; then file=$(cg_file "$1" "$SANDBOX" "$3"); else file=$(cg_file "$1" "$SANDBOX" "$2"); fi
	awk -v key="$4" 'NF == 1 || $1 == key { print $NF; exit }' "$file"
}

if ! available pids; then
	skip "forks" "no hierarchy has the controller pids here"
elif hog forks "$FORKS"; then
	touch "$WORK/$C/rootfs/go"
	check_wait "$C: the payload cannot start more" 30 has_file forks
	check_match "$C: it is told so" "can't fork" "$(<"$WORK/$C/rootfs/forks")"
	check_between "$C: the limit holds all of them together" 28 30 "$(cat "$(cg_file pids "$SANDBOX" pids.current)")"
	check_between "$C: the kernel has refused some for that" 1 $((1 << 30)) "$(counted pids pids.events pids.events max)"
	# Init's own sleeps come and go: only those that stay are asked for.
	check "$C: they are no vCPUs" placed "$(pgrep -P "$PID" -xf '/busybox sleep 1000' | tail -n 1)" rest
	stop
fi

if ! available memory; then
	skip "fills" "no hierarchy has the controller memory here"
elif hog fills "$FILLS"; then
	touch "$WORK/$C/rootfs/go"
	limit_was_hit() { (($(counted memory memory.failcnt memory.events max) > 0)); }
	check_wait "$C: the limit is hit" 60 limit_was_hit
	check_between "$C: the limit holds what is used" 0 50331648 "$(memory_usage "$SANDBOX")"
	check_threads "$C: the thread with a vCPU's name, then" "$VMM_PID" 1
	stop
fi

# --- vCPUs that come later ---------------------------------------------------

if start late '["/fake_vmm", "--wait", "/go", "CPU 0/KVM", "CPU 1/KVM", "worker"]' '.vcpu_timeout_ms = 300' "$(limits_filter)"; then
	check_unsplit "$C, at first"
	check_wait "$C: show says that there is no vCPU" 15 says none "no vCPU thread appeared in time"
	check_eq "$C: without any vCPU thread" 0 "$(threads "$PID" | cut -d' ' -f2- | grep -cE "$VCPU_RE" || :)"
	touch "$WORK/$C/rootfs/go"
	check_threads "$C, split after all" "$PID" 2
	check_limits "$C, split after all" "$SANDBOX" "$VCPU"
	check_no_limits "$C, split after all" "$OVERHEAD"
	check_wait "$C: show says that all are in their place" 10 says complete "all that were recognised"
	stop
fi

if start hotplug '["/fake_vmm", "--helper", "io thread", "/go", "vcpu0", "vcpu1"]' '.hotplug_interval_ms = 200'; then
	check_threads "$C" "$PID" 2
	touch "$WORK/$C/rootfs/go"
	has_helper() { threads "$PID" | grep -q ' io thread$'; }
	check_wait "$C: a vCPU thread starts a thread" 15 has_helper
	check_threads "$C, a thread born where the vCPUs are" "$PID" 2
	stop
fi

if start patterns '["/fake_vmm", "my-cpu-0", "other"]' '.vcpu_thread_patterns = ["my-cpu-%u"]'; then
	VCPU_RE='^my-cpu-[0-9]+$'
	check_threads "$C" "$PID" 1
	stop
fi

finish
