#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Processes that the kernel kills for want of memory: the watcher says so in the journal, once for each,
# whoever of the container it was, and not of what was before it.

# shellcheck disable=SC2016 # what is in single quotes another shell expands
# shellcheck disable=SC2317 # functions are called by name
# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"

# As the manual page has it.
EVENT=4b04a55aeec945f6ad1bea3f757d3727
VMM=$(helper fake_vmm)

if ! hierarchy_of memory >/dev/null; then
	skip "processes killed for want of memory" "no hierarchy has the controller memory"
	finish
fi

# --- a journal of our own ----------------------------------------------------

python3 -c 'import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
while True: print(s.recv(65536).decode(), flush=True)' "$WORK/journal.socket" >"$WORK/journal" &
started "$!"
disown
check_wait "a journal of our own" 20 test -S "$WORK/journal.socket"

# with_journal COMMAND... - whatever it starts writes to $WORK/journal what it says to the journal
with_journal() {
	unshare -m bash -c '
		mount --make-rprivate / || exit
		if [[ ! -S /run/systemd/journal/socket ]]; then
			mount -t tmpfs none /run && mkdir -p /run/systemd/journal && : >/run/systemd/journal/socket || exit
		fi
		mount --bind "$0" /run/systemd/journal/socket && exec "$@"' "$WORK/journal.socket" "$@"
}

oci() {
	local options=(--root "$WORK/runtime")
	[[ $MANAGER != systemd ]] || options+=(--systemd-cgroup)
	with_journal "$RUNTIME" "${options[@]}" "$@"
}

# heard FIELD - of each message about kills in this sandbox; a message ends with an empty line
heard() {
	awk -v RS= -F '\n' -v id="SANDBOX_ID=$TAG-$C" -v code="MESSAGE_ID=$EVENT" -v field="$1=" '
		{
			about = value = ""
			for (i = 1; i <= NF; i++) {
				if ($i == id || $i == code) about = about "x"
				if (index($i, field) == 1) value = substr($i, length(field) + 1)
			}
			if (about == "xx") print value
		}' "$WORK/journal"
}

# heard_times N
heard_times() {
	[[ $(heard MESSAGE | wc -l) == "$1" ]] || {
		echo "expected $1 messages, got:"
		heard MESSAGE
		return 1
	}
}

# told_since MESSAGES KILLS - so many are told of in the messages after the first ones, each in its words. Those that
# come soon after each other are told together; how soon they come the host decides.
told_since() {
	local line kills sum=0
	while read -r line; do
		[[ $line =~ "has killed "([1-9][0-9]*)" process" ]] || return 1
		kills=${BASH_REMATCH[1]} sum=$((sum + BASH_REMATCH[1]))
		[[ $line == "$(expected_words "$kills process$( ((kills == 1)) || echo es)")" ]] || {
			echo "not as expected: $line"
			return 1
		}
	done < <(heard MESSAGE | tail -n "+$(($1 + 1))")
	((sum == $2)) || {
		echo "expected $2 kills to be told, got $sum:"
		heard MESSAGE
		return 1
	}
}

# --- a container -------------------------------------------------------------

# Init and its VMM have next to nothing; who is to be killed takes all that there is.
PAYLOAD='/fake_vmm "CPU 0/KVM" worker &
while :; do
	if [ -e /child ]; then
		/busybox tail /dev/zero
		/busybox rm /child
	elif [ -e /self ]; then
		exec /busybox tail /dev/zero
	fi
	/busybox sleep 0.05
done'

# start NAME - sets C, BOUND, ROOTFS and PID
start() {
	C=$1-$LAYOUT
	[[ $ONLY == false ]] || C+=-only
	set_layout "$C" "$TAG-$C" "$ONLY"
	BOUND=$SANDBOX
	[[ $LAYOUT == sibling ]] || BOUND=$OWN
	make_bundle "$C" "$(json_list /busybox sh /payload)" '.linux.resources.memory = {limit: 67108864}'
	ROOTFS=$WORK/$C/rootfs
	install -m 0755 "$VMM" "$ROOTFS/fake_vmm"
	echo "$PAYLOAD" >"$ROOTFS/payload"
	add_hooks "$C" "prestart poststop"
	before=$(snapshot)
	if ! run_container "$C"; then
		fail "$C: the runtime starts the container" "$(cat "$WORK/$C/log")"
		return 1
	fi
	# crun's is in its scope, and without a split that alone is recorded.
	if [[ $LAYOUT:$ONLY == nested:true ]] && cgroups_of "$PID"; then
		BOUND=${CG[$(hierarchy_of memory)]}
	fi
	check_wait "$C: a watcher counts" 20 counts
}

# counts - the watcher has the file open, and so has read it, or will before anything else
counts() {
	local fd
	for fd in "/proc/$(watcher_pid "$TAG-$C")/fd/"*; do
		[[ $(readlink "$fd") != *"$BOUND"/memory.@(events|oom_control) ]] || return 0
	done
	return 1
}

stop() {
	check "$C: kill and delete" stop_container "$C"
	check_nothing_left "$C" "$before"
}

# kill_child - one of the container is killed, and init lives
kill_child() {
	touch "$ROOTFS/child"
	check_wait "$C: the kernel kills a process" 60 test ! -e "$ROOTFS/child"
}

# expected_words N PROCESSES - what the N-th message says
expected_words() {
	local whose=sandbox raise="the memory limit of its containers, or memory_overhead_bytes"
	if [[ $LAYOUT == nested ]]; then
		whose=runtime raise="the container's memory limit"
	fi
	local words="sandbox $TAG-$C: the kernel has killed $1 of the $whose's cgroup $BOUND for want of memory"
	# Of a container that is inside of what has the limit nothing tells whether it was that.
	if [[ $MODE == v2 && ($LAYOUT == sibling || $BOUND == "$OWN") ]]; then
		echo "$words, at its memory limit; raise $raise"
	else
		echo "$words; raise $raise, unless the host is short of it"
	fi
}

# --- what is said ------------------------------------------------------------

# one_after_the_other - a first one is told at once, one that comes soon after it at the end
one_after_the_other() {
	local watcher
	start "killed" || return 0
	check "$C: nothing yet" heard_times 0
	kill_child
	check_wait "$C: it is told" 20 heard_times 1
	check_eq "$C: the words" "$(expected_words "1 process")" "$(heard MESSAGE)"
	check_eq "$C: the cgroup" "$BOUND" "$(heard CGROUP)"
	check_eq "$C: a warning" 4 "$(heard PRIORITY)"
	check_eq "$C: by the watcher" watch "$(heard STAGE)"

	# A watcher that nobody lets say more is followed by one that does not know of the second.
	watcher=$(watcher_pid "$TAG-$C")
	kill -STOP "$watcher"
	kill_child
	kill -KILL "$watcher"
	check_wait "$C: the watcher ends" 10 is_dead "$watcher"
	check "$C: another one" with_journal timeout 60 "$OSC" --state-dir "$STATE" --config "$CONF" update "$TAG-$C"
	check_wait "$C: it counts" 20 counts
	check "$C: it is another one" test "$(watcher_pid "$TAG-$C")" != "$watcher"
	kill_child
	check_wait "$C: it tells" 20 heard_times 2
	check_eq "$C: of what it has seen" "$(expected_words "1 process")" "$(heard MESSAGE | sed -n 2p)"

	kill_child
	kill_child
	kill -TERM "$(watcher_pid "$TAG-$C")"
	check_wait "$C: a watcher that ends tells the rest" 20 told_since 2 2
	stop
	check "$C: that was all" told_since 2 2
}

# with_init - what the sandbox ends of
with_init() {
	start "ended" || return 0
	kill_child
	check_wait "$C: it is told" 20 heard_times 1
	touch "$ROOTFS/self"
	check_wait "$C: init is killed" 60 is_dead "$PID"
	check_wait "$C: it is told, with the container there" 20 heard_times 2
	check_eq "$C: the words" "$(expected_words "1 process")" "$(heard MESSAGE | sed -n 2p)"
	check "$C: delete" oci delete "$TAG-$C"
	check_nothing_left "$C" "$before"
	check "$C: it is told once" heard_times 2
}

# kill_vmm - the child of init that is one
kill_vmm() {
	local child children
	read -ra children <"/proc/$PID/task/$PID/children"
	for child in "${children[@]}"; do
		[[ $(cat "/proc/$child/comm") != fake_vmm ]] || kill -KILL "$child"
	done
}

# calm - nobody is killed for want of memory
calm() {
	start "calm" || return 0
	check "$C: somebody kills its VMM" kill_vmm
	stop
	check "$C: nothing is told" heard_times 0
}

RUNTIME=$(runtime_here "$RUNTIME")
for ONLY in false true; do
	for LAYOUT in sibling nested; do
		configure ".layout = \"$LAYOUT\" | .sandbox_cgroup_only = $ONLY | .enable_vcpus_pinning = true |
			.hotplug_interval_ms = 200"
		with_init
		[[ $ONLY == false ]] || continue
		one_after_the_other
		calm
	done
done

finish
