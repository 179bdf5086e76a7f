#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# vCPUs that a real VMM gets while it runs: QEMU, told over QMP, under a real
# runtime. Each is placed by the look of an interval, and forgotten when it is
# unplugged. And vCPU threads that no name tells from others. How soon is printed, and not judged: a
# machine that is busy with other tests is slow.

# shellcheck disable=SC2016 # $name in single quotes is jq's
# shellcheck disable=SC2317 # functions are called by name
# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"

INTERVAL_MS=500
PATIENCE=20
# In a guest whose CPU is emulated, and shared with other guests, QEMU itself takes seconds, and its
# guest minutes.
[[ -z ${OSC_VM_MODE-} ]] || PATIENCE=120
KVM_DEVICE='.linux.devices = [{path: "/dev/kvm", type: "c", major: 10, minor: 232, fileMode: 438}]
	| .linux.resources.devices += [{allow: true, type: "c", major: 10, minor: 232, access: "rwm"}]'

# A guest has to agree before a CPU is unplugged: without one QEMU answers
# device_del with an error. This one is 34 bytes long, in a boot sector, and does
# the least that ACPI asks of a guest: select each CPU in turn at I/O port 0xaf00,
# eject it if the host wants that (bits 2 and 3 of port 0xaf04), and sleep until
# the next timer interrupt.
EJECTS='\xfa\x66\x31\xc9\x66\x89\xc8\xba\x00\xaf\x66\xef\xba\x04\xaf\xec\xa8\x04\x74\x06\xb0\x04\xee\xb0\x08\xee\x41\x83\xe1\x03\xfb\xf4\xeb\xe2'
# And this one only spins.
SPINS='\xeb\xfe'

# make_disk FILE CODE
make_disk() {
	# shellcheck disable=SC2059 # that is what it is
	printf "$2" >"$1"
	truncate -s 510 "$1"
	printf '\x55\xaa' >>"$1"
	truncate -s 1M "$1"
}

now_ms() {
	local now=${EPOCHREALTIME/[.,]/}
	echo $((now / 1000))
}

# start NAME ACCELERATOR CPUS QMP|"" DEBUG_THREADS GUEST - and its container
start() {
	local name=$1 args
	NAME=$name ID=$TAG-$name QMP=$WORK/$name/rootfs/qmp
	set_layout "$name" "$ID"
	args=$(qemu_args "$2" "$3" | jq -c --arg threads "g,debug-threads=$5" \
		'map(if test("debug-threads=") then $threads else . end)
		+ ["-drive", "file=/disk,format=raw,if=ide"]')
	[[ -z $4 ]] || args=$(jq -c '. + ["-qmp", "unix:/qmp,server=on,wait=off"]' <<<"$args")
	make_bundle "$name" "$args" "$([[ $2 == kvm ]] && echo "$KVM_DEVICE" || echo .)"
	make_disk "$WORK/$name/rootfs/disk" "$6"
	add_hooks "$name" "prestart poststop"
	if ! run_container "$name"; then
		fail "$name: the runtime starts the container" "$(cat "$WORK/$name/log")"
		return 1
	fi
}

stop() {
	check "$NAME: kill and delete" stop_container "$NAME"
	check_nothing_left "$NAME" "$before"
}

qmp() {
	"$TESTS/lib/qmp" "$QMP" "$@"
}

qmp_answers() {
	qmp query-status
}

# cpu_thread NUMBER - its thread
cpu_thread() {
	threads "$PID" | sed -nE "s,^([0-9]+) CPU $1/(KVM|TCG)$,\1,p"
}

has_cpu_thread() {
	[[ -n $(cpu_thread "$1") ]]
}

cpu_placed() {
	has_cpu_thread "$1" && placed "$(cpu_thread "$1")" vcpu
}

# plug NUMBER NAME - and see that it is placed
plug() {
	local number=$1 name=$2 device began took
	device=$(qmp query-hotpluggable-cpus | jq -c --argjson n "$number" --arg id "cpu$number" \
		'map(select(.props["core-id"] == $n and (has("qom-path") | not)))[0]
		| {driver: .type, id: $id} + .props')
	began=$(now_ms)
	if ! qmp device_add "$device" >/dev/null 2>"$WORK/qmp.err"; then
		fail "$name: QEMU plugs CPU $number" "$(<"$WORK/qmp.err")" "$device"
		return
	fi
	if ! wait_for "$PATIENCE" cpu_placed "$number" >/dev/null; then
		fail "$name: its thread is placed" "$(cpu_placed "$number" || :)" "$(threads "$PID")"
		return
	fi
	took=$(($(now_ms) - began))
	ok "$name: its thread is placed, after $took ms with an interval of $INTERVAL_MS ms"
}

# shown TID - whether `show` names the thread anywhere
shown() {
	osc show "$ID" --json | jq -e --argjson tid "$1" '[.. | objects | .tid?] | index($tid) != null' >/dev/null
}

not_shown() {
	local rc=0
	shown "$1" || rc=$?
	((rc == 1))
}

# unplug NUMBER NAME - the guest may not be up yet, so this is tried again
unplug() {
	local number=$1 name=$2 tid
	tid=$(cpu_thread "$number")
	if [[ -z $tid ]]; then
		fail "$name: CPU $number has a thread"
		return
	fi
	check_wait "$name: show names its thread" 5 shown "$tid"
	if ! wait_for "$PATIENCE" qmp device_del "{\"id\": \"cpu$number\"}" >/dev/null 2>"$WORK/qmp.err"; then
		fail "$name: QEMU unplugs CPU $number" "$(tail -n 1 "$WORK/qmp.err")"
		return
	fi
	check_wait "$name: its thread ends" "$PATIENCE" test ! -e "/proc/$PID/task/$tid"
	check_wait "$name: show does not name it any more" 5 not_shown "$tid"
}

# scenario NAME ACCELERATOR
scenario() {
	start "$1" "$2" 1,maxcpus=4 qmp on "$EJECTS" || return 0
	check_threads "$1, as it starts" "$PID" 1
	check_wait "$1: QEMU answers" "$PATIENCE" qmp_answers
	# From a settled watcher's sight: it takes two seconds without news for that.
	sleep 3
	plug 1 "$1, first CPU plugged"
	# Again settled, and then two in a row.
	sleep 3
	plug 2 "$1, second CPU plugged"
	plug 3 "$1, third CPU plugged"
	check_threads "$1, all CPUs plugged" "$PID" 4
	unplug 2 "$1, a CPU unplugged"
	check_threads "$1, a CPU unplugged" "$PID" 3
	check_eq "$1: so many threads are vCPUs to show" 3 \
		"$(osc show "$ID" --json | jq '[.threads[] | select(.vcpu)] | length')"
	# Without KVM, QEMU 7.2 dies of that.
	if [[ $2 == kvm ]]; then
		plug 2 "$1, plugged again"
		check_threads "$1, plugged again" "$PID" 4
	fi
	check "$1: the watcher is the same" has_watcher "$ID"
	stop
}

# host_thread TID - the thread that has this number inside the container
host_thread() {
	awk -v inner="$1" '/^NSpid:/ && $NF == inner { split(FILENAME, part, "/"); print part[5] }' \
		/proc/"$PID"/task/*/status 2>/dev/null || :
}

# role_by_vmm TID - vcpu if QEMU says so
role_by_vmm() {
	local inner
	for inner in $(jq -r '.[]["thread-id"]' <<<"$CPUS"); do
		if [[ $(host_thread "$inner") == "$1" ]]; then
			echo vcpu
			return
		fi
	done
	echo rest
}

all_placed_by_vmm() {
	local tid name role
	while read -r tid name; do
		role=$(role_by_vmm "$tid")
		# VMMs have threads that come and go.
		placed "$tid" "$role" || [[ ! -d /proc/$PID/task/$tid ]] || {
			echo "thread $tid '$name', a $role thread; QEMU's own words: $CPUS"
			return 1
		}
	done < <(threads "$PID")
}

# unnamed NAME ACCELERATOR - all threads have the same name, but QEMU can be asked
unnamed() {
	start "$1" "$2" 2 qmp off "$EJECTS" || return 0
	check_wait "$1: QEMU answers" "$PATIENCE" qmp_answers
	CPUS=$(qmp query-cpus-fast || echo '[]')
	check_eq "$1: QEMU has two CPUs" 2 "$(jq length <<<"$CPUS")"
	check_eq "$1: no thread has a vCPU's name" 0 "$(threads "$PID" | cut -d' ' -f2- | grep -cE "$VCPU_RE" || :)"
	check_wait "$1: every thread is where QEMU says that it belongs" "$PATIENCE" all_placed_by_vmm
	check_wait "$1: QEMU answers others, too" 5 qmp_answers
	stop
}

# has_run_guest PID TID - by the time the kernel has counted, field 43 of its stat
has_run_guest() {
	local stat
	{ read -r stat <"/proc/$1/task/$2/stat"; } 2>/dev/null || return 1
	read -ra stat <<<"${stat##*) }"
	((stat[40] > 0))
}

# any_has_run_guest PID
any_has_run_guest() {
	local tid
	for tid in $(threads "$1" | cut -d ' ' -f 1); do
		! has_run_guest "$1" "$tid" || return 0
	done
	return 1
}

# counts_guest_time - whether the kernel does so at all; some do not
counts_guest_time() {
	local pid rc=0
	make_disk "$WORK/spins" "$SPINS"
	qemu-system-x86_64 -M pc -accel kvm -m 64 -display none -nodefaults \
		-drive "file=$WORK/spins,format=raw,if=ide" >/dev/null 2>&1 </dev/null &
	pid=$!
	disown
	started "$pid"
	wait_for 3 any_has_run_guest "$pid" || rc=1
	end_process "$pid"
	return $rc
}

guests_placed() {
	local tid count=0
	for tid in $(threads "$PID" | cut -d ' ' -f 1); do
		if has_run_guest "$PID" "$tid"; then
			count=$((count + 1))
			placed "$tid" vcpu || return 1
		fi
	done
	((count > 0)) || {
		echo "no thread has run a guest"
		return 1
	}
}

# secret NAME - no name, nobody to ask, but KVM knows
secret() {
	start "$1" kvm 1 '' off "$SPINS" || return 0
	check_eq "$1: no thread has a vCPU's name" 0 "$(threads "$PID" | cut -d' ' -f2- | grep -cE "$VCPU_RE" || :)"
	check_wait "$1: whoever has run a guest is in the sandbox cgroup" 20 guests_placed
	check_wait "$1: the others are not" 5 placed "$PID" rest
	stop
}

configure ".hotplug_interval_ms = $INTERVAL_MS"
before=$(snapshot)
scenario tcg tcg,thread=multi
unnamed unnamed tcg,thread=multi
if kvm_works; then
	scenario kvm kvm
	if counts_guest_time; then
		secret secret
	else
		skip "vCPU threads that only guest time gives away" "this kernel counts no guest time"
	fi
else
	skip "KVM guests" "QEMU cannot use /dev/kvm on this host"
fi

finish
