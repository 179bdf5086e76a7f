#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Placement by the kernel's word: while vCPUs are awaited the watcher is told when a thread gets its name, and by
# nobody else's threads; the socket for it is closed when nothing is awaited any more; and where there is none,
# vCPUs are placed all the same. The script plays the runtime, fake_vmm the VMM.

# shellcheck disable=SC2317 # functions are called by name
# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"
# shellcheck source=../lib/faults.sh
. "$TESTS/lib/faults.sh"

VMM=$(helper fake_vmm)
# In which the hook runs.
IN=()

# start NAME FAKE_VMM_ARGUMENT... - a container of it after its prestart. Sets PID, C and WATCHER.
start() {
	C=$1
	shift
	fake_container "$C"
	set_layout "$C"
	runs_instead "$C" "$VMM" "$@"
	capture "${IN[@]}" timeout -k 5 60 "$OSC" --state-dir "$STATE" --config "$CONF" prestart <"$WORK/$C/created"
	check_exit "$C: setup" 0
	wait_for 10 has_watcher "$C" || :
	WATCHER=$(watcher_pid "$C")
}

stop() {
	end_process "$PID"
	capture osc poststop <"$WORK/$C/stopped"
	check_exit "$C: poststop" 0
	drop_fake "$C" "$PID"
	check_nothing_left "$C" "$before"
}

# listens PID - it has a socket of the kernel's connector
listens() {
	local link
	while read -r link; do
		link=${link#socket:[}
		! awk '$2 == 11 { print $10 }' "/proc/$1/net/netlink" | grep -qx "${link%]}" || return 0
	done < <(find "/proc/$1/fd" -lname 'socket:*' -printf '%l\n' 2>/dev/null)
	return 1
}

is_deaf() {
	! listens "$1"
}

# thread NAME - its id
thread() {
	threads "$PID" | sed -n "s| $1\$||p"
}

has_thread() {
	[[ -n $(thread "$1") ]]
}

is_traced() {
	[[ $(sed -n 's/^TracerPid:\t//p' "/proc/$1/status" 2>/dev/null) != 0 ]]
}

# received - how often the watcher has been woken to read from its socket
received() {
	grep -c 'recvfrom(' "$WORK/trace" || :
}

has_received() {
	(($(received) > 0))
}

before=$(snapshot)
# Nothing times out, so that vCPUs are awaited as long as the script wants.
AWAITED='.hotplug_interval_ms = 200 | .vcpu_timeout_ms = 600000'
configure "$AWAITED"
said=$(osc --json check 2>/dev/null | jq -r '.findings[] | select(.name == "process events") | .verdict')
check_match "check says whether there are events" '^(ok|limited)$' "$said"

# --- with them ---------------------------------------------------------------

if [[ $said == ok ]]; then
	start told --rename worker 'CPU 0/KVM' "$WORK/rename" --late 'CPU 1/KVM' "$WORK/late" other
	check_wait "$C: the watcher listens" 10 listens "$WATCHER"
	wait_for 5 has_thread other || :
	# A thread that has been there for longer is looked at again only by a pass that is due a minute after the last
	# change, or if somebody tells.
	sleep 4
	if can_trace; then
		strace -p "$WATCHER" -e trace=recvfrom -o "$WORK/trace" >/dev/null 2>&1 &
		tracer=$!
		disown
		started "$tracer"
		wait_for 10 is_traced "$WATCHER" || :
		for ((i = 0; i < 5; i++)); do
			/bin/true
			"$VMM" --leader-exits 'CPU 0/KVM' >/dev/null 2>&1 </dev/null &
			stranger=$!
			disown
			started "$stranger"
			end_process "$stranger"
		done
		check_eq "$C: processes and threads of others do not wake it" 0 "$(received)"
	fi
	touch "$WORK/rename"
	check_wait "$C: an old thread that gets a vCPU's name is set apart" 10 settled "$PID" 1
	if [[ -n ${tracer-} ]]; then
		check "$C: its own name has woken it" has_received
		end_process "$tracer"
	else
		skip "$C: who wakes it" "strace cannot trace here"
	fi
	touch "$WORK/late"
	check_threads "$C" "$PID" 2
	check_wait "$C: with all vCPUs in their places it listens no more" 10 is_deaf "$WATCHER"
	check "$C: and goes on" has_watcher "$C"
	stop
	rm -f "$WORK/rename" "$WORK/late"

	configure '.sandbox_cgroup_only = true'
	start only 'CPU 0/KVM'
	check_wait "$C: nothing is to be placed: it does not listen" 10 is_deaf "$WATCHER"
	stop
else
	skip "events" "check says that there are none here"
fi

# --- without -----------------------------------------------------------------

if unshare -n true 2>/dev/null; then
	configure "$AWAITED"
	IN=(unshare -n)
	start untold --late 'CPU 1/KVM' "$WORK/late" 'CPU 0/KVM' other
	check_threads "$C" "$PID" 1
	check "$C: in a network namespace of its own it does not listen" is_deaf "$WATCHER"
	touch "$WORK/late"
	wait_for 5 has_thread 'CPU 1/KVM' || :
	check_threads "$C, one more" "$PID" 2
	check "$C: the watcher goes on" has_watcher "$C"
	stop
else
	skip "without events" "there can be no network namespace here"
fi

finish
