#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# What is different when systemd manages the cgroups: the scopes' properties, that
# systemd and the kernel go on agreeing about them, names and slices, a scope that
# is stopped from outside, a bus that does not answer, and the journal.

# shellcheck disable=SC2016 # $name in single quotes is jq's
# shellcheck disable=SC2317 # functions are called by name
export OSC_MANAGER=systemd
# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"
# shellcheck source=../lib/limits.sh
. "$TESTS/lib/limits.sh"

declare -A PIDS=()

# --- helpers -----------------------------------------------------------------

# check_property NAME CGROUP PROPERTY=EXPECTED...
check_property() {
	local name=$1 unit=${2##*/} property shown got
	shift 2
	shown=$'\n'$(systemctl show -- "$unit" 2>&1 || :)$'\n'
	for property; do
		got=${shown##*$'\n'"${property%%=*}="}
		[[ $got != "$shown" ]] || got="none in $shown"
		check_eq "$name: ${property%%=*} of $unit" "${property#*=}" "${got%%$'\n'*}"
	done
}

# neighbour SLICE - a unit of somebody else
neighbour() {
	systemd-run --quiet --scope --collect --unit="$TAG-neighbour.scope" --slice="$1" -- sleep 1000 >/dev/null 2>&1 &
	PIDS[neighbour]=$!
	disown
	started "${PIDS[neighbour]}"
	wait_for 20 runs_sleep "${PIDS[neighbour]}"
}

# start NAME ONLY [JQ_FILTER] [ARGS_JSON] - a VMM under the runtime
start() {
	set_layout "$1" "$TAG-$1" "$2"
	configure ".sandbox_cgroup_only = $2"
	make_bundle "$1" "${4-$(qemu_args tcg,thread=multi 2)}" "$(limits_filter) | ${3-.}"
	add_hooks "$1" "prestart poststop"
	install -m 0755 "$VMM" "$WORK/$1/rootfs/fake_vmm"
	if ! run_container "$1"; then
		fail "$1: the runtime starts the container" "$(cat "$WORK/$1/log")"
		oci delete --force "$TAG-$1" >/dev/null 2>&1 || :
		force_clean "$before"
		return 1
	fi
}

# as_before NAME - threads, limits and devices are what they have to be
as_before() {
	check_threads "$1" "$PID" 2
	check_limits "$1" "$SANDBOX" "$VCPU"
	[[ -z $OVERHEAD ]] || check_no_limits "$1" "$OVERHEAD"
	check_devices "$1" "$SANDBOX"
	check "$1: the runtime's own scope holds our placeholder" only_placeholder "$OWN"
	check_property "$1" "$OWN" ActiveState=active
}

# --- the units, and what systemd does to them later --------------------------

# check_units NAME
check_units() {
	local memory=MemoryLimit unit units=("$SANDBOX")
	if [[ $MODE == v2 ]]; then
		memory=MemoryMax
	elif [[ $ONLY == false ]]; then
		units+=("$OVERHEAD")
	fi
	for unit in "${units[@]}"; do
		check_property "$1" "$unit" LoadState=loaded ActiveState=active Delegate=yes \
			CollectMode=inactive-or-failed "ControlGroup=$unit"
	done
	# That of the overhead has no devices: nobody opens one there.
	check_property "$1" "$SANDBOX" DevicePolicy=strict
	check_match "$1: DeviceAllow of ${SANDBOX##*/}" '/dev/char/1:3 rw' \
		"$(systemctl show --value --property=DeviceAllow -- "${SANDBOX##*/}" 2>&1 | xargs)"
	check_property "$1" "$SANDBOX" "Slice=${SLICE:-system.slice}" "$memory=$LIMIT_MEMORY" "TasksMax=$LIMIT_PIDS" \
		CPUQuotaPerSecUSec=500ms
	if [[ ${#units[@]} == 2 ]]; then
		check_property "$1" "$OVERHEAD" Slice=kata-overhead.slice $memory=infinity TasksMax=infinity \
			CPUQuotaPerSecUSec=infinity
	fi
}

# scenario NAME ONLY
scenario() {
	local slice
	start "$1" "$2" || return 0
	as_before "$1"
	check_units "$1"
	check "$1: daemon-reload" systemctl daemon-reload
	as_before "$1, after daemon-reload"
	for slice in "$SLICE" "${TAG}other.slice"; do
		neighbour "$slice"
		check "$1: set-property on a neighbour in $slice" systemctl set-property --runtime "$TAG-neighbour.scope" \
			CPUQuota=30% CPUWeight=50 MemoryMax=1G TasksMax=100 IOWeight=50 "DeviceAllow=/dev/null rw"
		as_before "$1, after set-property on a neighbour in $slice"
		end_process "${PIDS[neighbour]}"
		systemctl revert "$TAG-neighbour.scope" >/dev/null 2>&1 || :
	done
	check_threads "$1, after the neighbours' end" "$PID" 2
	check_units "$1, after the neighbours' end"
	check "$1, after all that: exec into the container" oci exec "$TAG-$1" /busybox true
	check "$1: kill and delete" stop_container "$1"
	check_nothing_left "$1" "$before"
}

# catches_term PID
catches_term() {
	((0x$(sed -n 's/^SigCgt:[[:space:]]*//p' "/proc/$1/status") >> 14 & 1))
}

# stopped NAME ONLY CGROUP_VARIABLE - systemctl stop of one of our scopes
stopped() {
	local scope
	start "$1" "$2" || return 0
	check_threads "$1" "$PID" 2
	scope=${!3##*/}
	# Before it does, it ignores the signal, as the first process of a container.
	check_wait "$1: the VMM catches SIGTERM" 20 catches_term "$PID"
	check "$1: systemctl stop $scope" timeout 60 systemctl stop "$scope"
	if [[ $3 == OVERHEAD ]]; then
		# systemd looks for processes in its own hierarchy, where nobody but our placeholder is in it.
		check "$1: the VMM lives" is_alive "$PID"
		check_threads "$1, without its unit" "$PID" 2
		check_file "$1, without its unit" cpu "$VCPU" cpu.cfs_quota_us "$LIMIT_QUOTA"
	else
		check_wait "$1: the VMM is dead" 20 is_dead "$PID"
	fi
	check "$1: delete" stop_container "$1"
	check_nothing_left "$1" "$before"
}

# --- names and slices --------------------------------------------------------

# placement NAME ONLY NAME_IN_PATH - with the slice as it is now
placement() {
	local name=$1
	start "$1" "$2" ".linux.cgroupsPath = \"$SLICE:$TAG:${3//\\/\\\\}\"" '["/fake_vmm", "vcpu0", "vcpu1", "worker"]' || return 0
	set_layout "$3" "$TAG-$1" "$2"
	check_threads "$1" "$PID" 2
	check "$1: the runtime's own scope holds our placeholder" only_placeholder "$OWN"
	check_units "$1"
	check "$1: kill and delete" stop_container "$1"
	check_nothing_left "$1" "$before"
}

# --- without a runtime -------------------------------------------------------

# hook_fails NAME - what the last `capture` of a setup left: nothing
hook_fails() {
	check_exit "$1: exit status" 1
	check_eq "$1: one line on stderr" 1 "$(wc -l <<<"$ERR")"
	check_match "$1: it names the bus" '[Bb]us' "$ERR"
	if ((took <= 30)); then
		ok "$1: within 30 s"
	else
		fail "$1: within 30 s" "it took $took s"
	fi
	check_eq "$1: the container's process is where it was" "$was" "$(cat "/proc/$PID/cgroup" 2>&1)"
	check "$1: it is alive" is_alive "$PID"
	check_nothing_left "$1" "$inside"
}

# fake NAME [JQ_FILTER]
fake() {
	C=$1
	fake_container "$1" "${2-.}" "$TAG-$1"
	set_layout "$1" "$TAG-$1"
	was=$(cat "/proc/$PID/cgroup")
	inside=$(snapshot)
}

# fake_teardown NAME - and the runtime removes its own
fake_teardown() {
	end_process "$PID"
	capture osc poststop <"$WORK/$1/stopped"
	check_exit "$1: poststop" 0
	drop_fake "$1" "$PID"
	check_nothing_left "$1" "$before"
}

timed_setup() {
	local started=$SECONDS
	capture "$@" prestart <"$WORK/$C/created"
	took=$((SECONDS - started))
}

stop_bus() {
	systemctl stop dbus.socket dbus.service
}

start_bus() {
	systemctl start dbus.socket dbus.service
	wait_for 30 busctl --system status >/dev/null 2>&1
}

# deaf_bus COMMAND... - where the system bus accepts, and never says anything
deaf_bus() {
	unshare -m --propagation private sh -c 'mount --bind "$0" /run/dbus/system_bus_socket && exec "$@"' "$WORK/bus" "$@"
}

# journal_has SANDBOX_ID STAGE TEXT - with all of our fields
journal_has() {
	journalctl --quiet --no-pager -o json "SANDBOX_ID=$1" | jq -es --arg id "$1" --arg stage "$2" --arg text "$3" --arg cgroup "$SANDBOX" '
		any(.[]; .SANDBOX_ID == $id and .CONTAINER_ID == $id and .STAGE == $stage
			and (.CGROUP | type == "string" and startswith($cgroup)) and (.MESSAGE | type == "string" and contains($text)))' || {
		echo "the journal has:"
		journalctl --quiet --no-pager -o json "SANDBOX_ID=$1" | jq -c '{MESSAGE, STAGE, CGROUP, SANDBOX_ID, CONTAINER_ID}'
		return 1
	}
}

# at_once STAGE STATE NAME... - a hook for each, at once; prints those that failed
at_once() {
	local stage=$1 state=$2 name jobs=() failed=0 i=0
	shift 2
	for name; do
		osc "$stage" <"$WORK/$name/$state" >"$WORK/$name/log" 2>&1 &
		jobs+=($!)
	done
	for name; do
		wait "${jobs[i]}" || {
			echo "$name: exit status $?: $(<"$WORK/$name/log")"
			failed=1
		}
		i=$((i + 1))
	done
	return "$failed"
}

# --- run ---------------------------------------------------------------------

VMM=$(helper fake_vmm)
before=$(snapshot)
check_probe
scenario split false
scenario only true

# Runtimes make these directories in hierarchies that systemd does not manage, and
# leave them.
cg_make "$(slice_cgroup "$TAG-nested.slice")"
cg_make "$(slice_cgroup "")"
before=$(snapshot)
SLICE=$TAG-nested.slice placement nested false nested
if [[ $RUNTIME == runc ]]; then
	SLICE='' placement no-slice false no-slice
else
	skip "no-slice" "crun asks systemd for a unit without a name"
fi
# An id may have a "+", which no unit's name has; a backslash stays as it is.
placement plus+id false 'back\x2bslash'

if [[ $RUNTIME != runc ]]; then
	# What follows depends on no runtime, so once is enough.
	finish
fi

stopped stopped-split false SANDBOX
stopped stopped-only true SANDBOX
if [[ $MODE != v2 ]]; then
	stopped stopped-overhead false OVERHEAD
fi

configure .
sandbox_id="$TAG pod@+%é"
fake pod '.annotations = {"io.kubernetes.cri.container-type": "container", "io.kubernetes.cri.sandbox-id": "'"$sandbox_id"'"}'
SANDBOX=$(slice_cgroup "$SLICE")/$TAG-kata_${TAG}'\x20pod\x40\x2b\x25\xc3\xa9.scope'
capture osc prestart <"$WORK/pod/created"
check_exit "odd sandbox id: setup" 0
check "odd sandbox id: the scope's name is escaped" cg_exists "$SANDBOX"
check_property "odd sandbox id" "$SANDBOX" ActiveState=active
fake_teardown pod

if [[ -z ${OSC_VM_MODE-} ]]; then
	skip "no bus" "only where this script may stop it, in a virtual machine"
elif stop_bus; then
	start_bus
	for only in false true; do
		configure ".sandbox_cgroup_only = $only"
		fake dead-bus-$only
		stop_bus
		timed_setup osc
		start_bus
		hook_fails "no bus, only=$only"
		capture osc prestart <"$WORK/$C/created"
		check_exit "bus is back, only=$only: setup" 0
		end_process "$PID"
		stop_bus
		capture osc poststop <"$WORK/$C/stopped"
		start_bus
		# Whether that could be done without a bus is not the question here.
		capture osc poststop <"$WORK/$C/stopped"
		capture osc prune
		check_exit "no bus at poststop, only=$only: prune afterwards" 0
		drop_fake "$C" "$PID"
		check_nothing_left "no bus at poststop, only=$only" "$before"
	done
else
	start_bus
	skip "no bus" "systemctl cannot stop dbus here"
fi

# Only one of the two programs can talk to it, and the other becomes that one.
configure .
fake alone
mv "$OSC-systemd" "$WORK/away"
capture osc prestart <"$WORK/$C/created"
check_exit "the program for systemd is not there: setup" 1
check_eq "the program for systemd is not there: the container's process is where it was" "$was" "$(<"/proc/$PID/cgroup")"
check_nothing_left "the program for systemd is not there" "$inside"
check_match "the program for systemd is not there: says so" "cannot start $OSC-systemd, which scopes need: ENOENT" "$ERR"
mv "$WORK/away" "$OSC-systemd"
capture osc prestart <"$WORK/$C/created"
check_exit "the program for systemd is there: setup" 0
check_eq "the program for systemd is there: the watcher is a child of it" "$OSC-systemd" \
	"$(readlink "/proc/$(watcher_pid "$TAG-$C")/exe")"
fake_teardown alone

fake deaf-bus
python3 -c '
import socket, sys, time
s = socket.socket(socket.AF_UNIX)
s.bind(sys.argv[1])
s.listen(16)
kept = []
while True:
    kept.append(s.accept())
' "$WORK/bus" >/dev/null 2>&1 &
started "$!"
disown
wait_for 20 test -S "$WORK/bus"
timed_setup deaf_bus timeout -k 5 90 "$OSC" --state-dir "$STATE" --config "$CONF"
hook_fails "a bus that never answers"
end_process "${STARTED[-1]% *}"
timed_setup osc
check_exit "a bus that answers: setup" 0
fake_teardown deaf-bus

configure '.sandbox_cgroup_only = true'
fake journal '.annotations = {"io.katacontainers.config.runtime.sandbox_cgroup_only": "false"}'
capture osc prestart <"$WORK/$C/created"
check_exit "journal: setup" 0
check_wait "journal: a refused annotation, from the hook" 15 journal_has "$TAG-$C" prestart sandbox_cgroup_only
fake_teardown "$C"
configure '.vcpu_timeout_ms = 100'
fake journal-watcher
capture osc prestart <"$WORK/$C/created"
check_exit "journal, watcher: setup" 0
check_wait "journal: no vCPU thread, from the watcher" 15 journal_has "$TAG-$C" watch "no vCPU"
fake_teardown "$C"

configure .
names=()
for i in {1..8}; do
	names+=("many$i")
	fake_container "many$i" . "$TAG-many$i"
	PIDS[many$i]=$PID
done
check "8 sandboxes at once: setup" at_once prestart created "${names[@]}"
check_eq "8 sandboxes at once: records" 8 "$(find "$STATE/sandboxes" -name record.json | wc -l)"
for name in "${names[@]}"; do
	set_layout "$name" "$TAG-$name"
	check "8 sandboxes at once: process of $name" together "${PIDS[$name]}"
	end_process "${PIDS[$name]}"
done
check "8 sandboxes at once: teardown" at_once poststop stopped "${names[@]}"
for name in "${names[@]}"; do
	cg_remove "$(own_cgroup "$name")"
done
check_nothing_left "8 sandboxes at once" "$before"

finish
