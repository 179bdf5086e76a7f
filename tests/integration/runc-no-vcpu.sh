#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# A payload without vCPU threads must not stay unlimited, unless the operator
# says so; vCPU threads that come after the timeout are still split off; threads
# which a vCPU thread starts go back to the overhead.

# shellcheck disable=SC2317 # functions are called by name
# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"

# start NAME ARGS_JSON CONFIG_FILTER
start() {
	set_layout "$1" "$TAG-$1"
	configure "$3"
	make_bundle "$1" "$2"
	add_hooks "$1" "prestart poststop"
	install -m 0755 "$VMM" "$WORK/$1/rootfs/fake_vmm"
	run_container "$1" || {
		fail "$1: the runtime starts the container" "$(cat "$WORK/$1/log")"
		return 1
	}
}

stop() {
	check "$1: kill and delete" stop_container "$1"
	check_nothing_left "$1" "$before"
}

VMM=$(helper fake_vmm)
before=$(snapshot)

if start constrain '["/busybox", "sleep", "1000"]' '.vcpu_timeout_ms = 300'; then
	check_wait "constrain: everything is moved into the sandbox cgroup" 15 constrained "$PID"
	check "constrain: a watcher keeps looking" has_watcher "$TAG-constrain"
	stop constrain
fi

if start keep '["/busybox", "sleep", "1000"]' '.vcpu_timeout_ms = 300 | .no_vcpu = "keep"'; then
	check_threads keep "$PID" 0
	# That nothing happens can only be seen by waiting: twice the timeout and more.
	sleep 1
	check_threads "keep, after the timeout" "$PID" 0
	stop keep
fi

if start late '["/fake_vmm", "--wait", "/go", "CPU 0/KVM", "CPU 1/KVM", "worker"]' '.vcpu_timeout_ms = 300'; then
	check_wait "late: everything is moved into the sandbox cgroup at first" 15 constrained "$PID"
	check_eq "late: without any vCPU thread" 0 "$(threads "$PID" | cut -d' ' -f2- | grep -cE "$VCPU_RE" || :)"
	touch "$WORK/late/rootfs/go"
	check_threads "late, split after all" "$PID" 2
	stop late
fi

if start hotplug '["/fake_vmm", "--helper", "io thread", "/go", "vcpu0", "vcpu1"]' '.hotplug_interval_ms = 200'; then
	check_threads hotplug "$PID" 2
	touch "$WORK/hotplug/rootfs/go"
	has_helper() { threads "$PID" | grep -q ' io thread$'; }
	check_wait "hotplug: a vCPU thread starts a thread" 15 has_helper
	check_threads "hotplug, a thread born in the sandbox cgroup" "$PID" 2
	stop hotplug
fi

if start patterns '["/fake_vmm", "my-cpu-0", "other"]' '.vcpu_thread_patterns = ["my-cpu-%u"]'; then
	VCPU_RE='^my-cpu-[0-9]+$'
	check_threads patterns "$PID" 1
	stop patterns
fi

finish
