#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# What the runtime's own operations do to a container whose processes have left
# the runtime's cgroup. oci-sandbox-cgroup-layouts(7) has a list of this: the name of each result
# begins with the item that it belongs to. Where the VMM has to be busy, it is a
# real QEMU whose first CPU never rests.

# shellcheck disable=SC2016 # $name in single quotes is jq's
# shellcheck disable=SC2317 # functions are called by name
# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"
# shellcheck source=../lib/limits.sh
. "$TESTS/lib/limits.sh"
# shellcheck source=../lib/observe.sh
. "$TESTS/lib/observe.sh"

KVM_DEVICE='.linux.devices = [{path: "/dev/kvm", type: "c", major: 10, minor: 232, fileMode: 438}]
	| .linux.resources.devices += [{allow: true, type: "c", major: 10, minor: 232, access: "rwm"}]'

# freeze 0|1 - the sandbox, by hand
freeze() {
	local words=(THAWED FROZEN)
	if [[ $MODE == v2 ]]; then
		echo "$1" >"${CG_DIR[unified]}$SANDBOX/cgroup.freeze"
	else
		echo "${words[$1]}" >"$(cg_file freezer "$SANDBOX" freezer.state)"
	fi
}

# --- containers --------------------------------------------------------------

# prepare NAME ARGS_JSON [JQ_FILTER] - a bundle with our hooks in every stage, and
# behind them one which leaves what it is given in STAGE.state and the name of the
# container's process in STAGE.note. In crun's poststart it waits until that
# process is QEMU: runc calls it inside of create, where this would be for ever.
prepare() {
	local wait=0
	[[ $KIND == runc || $2 == *busybox* ]] || wait=20
	if [[ ! -x $WORK/note ]]; then
		cat >"$WORK/note" <<-'EOT'
			#!/bin/bash
			IFS= read -r -d '' state
			echo "$state" >"$1.state"
			[[ $state =~ \"pid\":\ ?([0-9]+) ]] && pid=${BASH_REMATCH[1]}
			for ((i = 0; i < $2 * 20; i++)); do
				[[ $(cat "/proc/$pid/comm") != qemu* ]] || break
				sleep 0.05
			done
			cat "/proc/${pid:-0}/comm" >"$1.new" 2>/dev/null
			mv "$1.new" "$1.note"
		EOT
		chmod 0755 "$WORK/note"
	fi
	make_bundle "$1" "$2" "${3-.}"
	add_hooks "$1" prestart
	edit_config "$1" '.hooks.prestart[0] as $ours | reduce ("poststart", "poststop") as $stage (.;
		.hooks[$stage] = [($ours | .args[-1] = $stage),
			{path: $note, timeout: 60, args: ["note", ($out + $stage), (if $stage == "poststart" then $wait else "0" end)]}])' \
		--arg note "$WORK/note" --arg out "$WORK/$1/" --arg wait "$wait"
	cp "$WORK/$1/config.json" "$WORK/$1/config.first"
}

# use NAME ONLY [JQ_FILTER] - a bundle for one more container; sets `name`
use() {
	name=$1
	set_layout "$1" "$TAG-$1" "$2"
	configure ".sandbox_cgroup_only = $2 | .extra_devices = [\"b 7:* rwm\"]"
	rm -f "$WORK/$1"/*.note
	cp "$WORK/$1/config.first" "$WORK/$1/config.json"
	[[ -z ${3-} ]] || edit_config "$1" "$3"
}

# create NAME SECONDS - sets RC; a runtime that takes longer is killed
create() {
	local pid
	CONTAINERS+=("$TAG-$1")
	RC=0
	oci create --bundle "$WORK/$1" --pid-file "$WORK/$1/pid" "$TAG-$1" </dev/null >"$WORK/$1/log" 2>&1 &
	pid=$!
	wait_for "$2" is_dead "$pid" || kill -KILL "$pid"
	wait "$pid" || RC=$?
}

# ran STAGE - whether the last container's hook of that stage has run
ran() {
	if [[ -e $WORK/$name/$1.note ]]; then echo yes; else echo no; fi
}

# check_placed NAME PID VCPUS - check_threads in one result
check_placed() {
	if wait_for 20 settled "$2" "$3"; then
		ok "$1: every thread is where it belongs"
	else
		fail "$1: every thread is where it belongs" "see below"
		check_threads "$1" "$2" "$3"
	fi
}

# check_clean NAME SNAPSHOT - check_nothing_left in one result
check_clean() {
	if wait_for 15 nothing_left "$2" >"$WORK/left"; then
		ok "$1: nothing is left"
	else
		fail "$1: nothing is left" "$(tail -n 8 "$WORK/left")"
		force_clean "$2"
	fi
}

# --- a running sandbox -------------------------------------------------------

operations() {
	local name p="only=$1" own before held other was usage in_create=yes process='^runc' other=created
	use qemu "$1"
	[[ $KIND == runc ]] || in_create=no process='^qemu' other=running
	before=$(snapshot)

	create "$name" 60
	check_eq "poststart, $p: create with hooks of all stages" 0 "$RC"
	((RC == 0)) || {
		cat "$WORK/$name/log"
		return
	}
	PID=$(<"$WORK/$name/pid")
	check_eq "poststart, $p: $KIND has called it when create returns" "$in_create" "$(ran poststart)"
	capture oci start "$TAG-$name"
	check_exit "poststart, $p: start" 0
	check_eq "poststart, $p: it has been called when start returns" yes "$(ran poststart)"
	check_eq "poststart, $p: status and pid that it gets" "$other $PID" \
		"$(jq -r '"\(.status) \(.pid)"' "$WORK/$name/poststart.state" 2>&1)"
	check_match "poststart, $p: what the container's process is then" "$process" "$(cat "$WORK/$name/poststart.note" 2>&1)"
	check_threads "poststart, $p" "$PID" 2

	# crun makes a cgroup of its own in a scope on v2.
	own=$OWN
	[[ $MODE != v2 || ! -d ${CG_DIR[unified]}$OWN/container ]] || own+=/container
	check_eq "state, $p: status and pid" "running $PID" "$(oci state "$TAG-$name" | jq -r '"\(.status) \(.pid)"')"
	check "stats, $p: the runtime's cgroup holds none of them" only_placeholder "$OWN"
	held=$(cg_procs "$own")
	check_file "stats, $p" pids "$own" pids.current "$(wc -w <<<"$held")"
	if available memory; then
		check_between "stats, $p: memory of the runtime's cgroup" 0 $((4 << 20)) "$(memory_usage "$own")"
		check_between "stats, $p: memory of $SANDBOX" $((8 << 20)) $((LIMIT_MEMORY)) "$(memory_usage "$SANDBOX")"
		check_between "stats, $p: memory of the cgroup that both are in" $((8 << 20)) $((2 * LIMIT_MEMORY)) "$(memory_usage "${SANDBOX%/*}")"
	else
		skip "stats, $p: memory" "no hierarchy has the controller memory here"
	fi
	was=$(cpu_usage "$own") usage=$(cpu_usage "$VCPU")
	check_wait "stats, $p: CPU time of $VCPU grows" 10 cpu_usage_above "$VCPU" "$usage"
	check_eq "stats, $p: CPU time of the runtime's cgroup does not" "$was" "$(cpu_usage "$own")"
	capture oci events --stats "$TAG-$name"
	if [[ $KIND == crun ]]; then
		check_match "stats, $p: crun has no events" "unknown command" "$RC $ERR"
	else
		check_eq "stats, $p: processes in runc's events" "$(wc -w <<<"$held")" "$(jq '.data.pids.current // 0' <<<"$OUT" 2>&1)"
		check_between "stats, $p: memory in runc's events" 0 $((4 << 20)) "$(jq '.data.memory.usage.usage // 0' <<<"$OUT" 2>&1)"
		check_eq "stats, $p: CPU time in runc's events is that of the runtime's cgroup" "$was$([[ $MODE != v2 ]] || echo 000)" \
			"$(jq '.data.cpu.usage.total // 0' <<<"$OUT" 2>&1)"
	fi
	if [[ $VERSION == "crun version 1.8"* && -z $held ]]; then
		capture oci ps "$TAG-$name"
		check_exit "ps, $p: this crun crashes" 139
	else
		check_eq "ps, $p: does not list the VMM" "$held" "$(pids_listed "$name")"
	fi

	capture oci exec "$TAG-$name" /busybox echo inside
	check_eq "exec, $p: runs" "0 inside" "$RC $OUT"
	capture oci exec -d --pid-file "$WORK/$name/exec" "$TAG-$name" /busybox sh -c 'while :; do :; done'
	check_exit "exec, $p: runs detached" 0
	other=$(cat "$WORK/$name/exec")
	check "exec, $p: its process is in the runtime's cgroup" is_in "$other" "$own"
	check_limit "exec, $p: the runtime's limits are there" "$own" "$own" "$LIMIT_QUOTA" "$LIMIT_MEMORY"
	check_file "exec, $p: the runtime's limits are there" pids "$own" pids.max "$LIMIT_PIDS"
	check_eq "ps, $p: lists what exec has started" "$(printf '%s\n' "$held" "$other" | grep . | sort -n)" "$(pids_listed "$name")"
	[[ $1 == false ]] || check_exec_devices "exec, $p" "$own"

	check "pause, $p: succeeds" pause_container "$name"
	check_eq "pause, $p: status" paused "$(status "$name")"
	check_rests "pause, $p: what exec has started rests" "$other"
	check_rests "pause, $p: the VMM rests, too" "$PID"
	capture oci exec "$TAG-$name" /busybox true
	check_match "pause, $p: exec is refused" "^[1-9][0-9]* .*paused" "$RC $ERR"
	capture oci resume "$TAG-$name"
	check_exit "resume, $p: succeeds" 0
	check_eq "resume, $p: status" running "$(status "$name")"
	check_runs "resume, $p: what exec has started runs on" "$other"
	check_runs "resume, $p: the VMM runs on" "$PID"
	freeze 1
	check_rests "resume, $p: the VMM rests when the sandbox's cgroup is frozen by hand" "$PID"
	freeze 0
	check_runs "resume, $p: the VMM runs when it is thawed" "$PID"

	capture oci update --cpu-quota "$NEW_QUOTA" --memory "$NEW_MEMORY" "$TAG-$name"
	check_exit "update, $p: succeeds" 0
	check_limit "update, $p: changes the runtime's cgroup" "$own" "$own" "$NEW_QUOTA" "$NEW_MEMORY"
	wait_for 10 quota_is "$VCPU" "$NEW_QUOTA" || :
	check_limit "update, $p: the watcher carries both over" "$VCPU" "$SANDBOX" "$NEW_QUOTA" "$NEW_MEMORY"

	if [[ $VERSION =~ ^runc\ version\ 1\.([2-9]|[1-9][0-9]) ]]; then
		skip "kill --all, $p" "this runc takes it for a plain kill"
	else
		capture oci kill --all "$TAG-$name" KILL
		check_exit "kill --all, $p: succeeds" 0
		check_wait "kill --all, $p: what exec has started has ended" 10 is_dead "$other"
		if [[ -n $held ]]; then
			check_wait "kill --all, $p: so has the VMM" 10 is_dead "$PID"
		else
			check_runs "kill --all, $p: the VMM runs on" "$PID"
		fi
	fi
	if is_alive "$PID"; then
		check_placed "placement, $p: still the same after all of these" "$PID" 2
		capture oci kill "$TAG-$name" KILL
		check_exit "kill, $p: succeeds" 0
	fi
	# Where kill --all has emptied the runtime's cgroup, its scope is gone, and the
	# status alone does not say whether the VMM has ended.
	check_wait "kill, $p: the VMM has ended" 20 is_dead "$PID"
	check_wait "kill, $p: status is stopped" 10 container_stopped "$TAG-$name"
	capture oci delete "$TAG-$name"
	check_eq "kill, $p: delete, and no hook fails" "0 " "$RC $(grep -i hook <<<"$ERR" || :)"
	check_eq "kill, $p: delete calls poststop" yes "$(ran poststop)"
	check_clean "kill, $p" "$before"
}

# check_exec_devices NAME CGROUP - loop devices, of extra_devices, are what the sandbox's
# list has and the runtime's has not
check_exec_devices() {
	local file=${CG_DIR[unified]-}$2/cgroup.procs
	[[ $MODE == v2 ]] || file=$(cg_file devices "$2" cgroup.procs)
	check_eq "$1: the runtime's device list is there" "b 7:5 r=deny w=deny rw=deny m=allow" \
		"$("$(helper device_probe)" --dir "$WORK" --cgroup-procs "$file" b 7 5 2>&1)"
}

# deleted ONLY - a running container, by delete --force
deleted() {
	local name p="only=$1" before
	use small "$1"
	before=$(snapshot)
	if ! run_container "$name"; then
		fail "delete --force, $p: the runtime starts the container" "$(cat "$WORK/$name/log")"
		return
	fi
	check_placed "delete --force, $p: starts" "$PID" 1
	capture oci delete --force "$TAG-$name"
	check_exit "delete --force, $p: succeeds" 0
	check "delete --force, $p: the VMM has ended" is_dead "$PID"
	check_eq "delete --force, $p: calls poststop" yes "$(ran poststop)"
	check_eq "delete --force, $p: the runtime has forgotten it" "" "$(ls -A "$WORK/runtime")"
	check_clean "delete --force, $p" "$before"
}

# shared_pids - without a PID namespace of its own, nothing ends with init. Such a
# container's other processes are found in the runtime's cgroup, or not at all.
shared_pids() {
	local name p="host's PID namespace" before helper
	use small false '.linux.namespaces |= map(select(.type != "pid"))'
	before=$(snapshot)
	if ! run_container "$name"; then
		fail "kill, $p: the runtime starts the container" "$(cat "$WORK/$name/log")"
		return
	fi
	check_placed "kill, $p: starts" "$PID" 1
	helper=$(<"$WORK/$name/rootfs/helper")
	started "$helper"
	capture oci kill "$TAG-$name" KILL
	check_wait "kill, $p: the VMM has ended" 10 is_dead "$PID"
	if [[ $VERSION =~ ^runc\ version\ 1\.([2-9]|[1-9][0-9]) ]]; then
		check_wait "kill, $p: so has a process beside it, by the runtime's cgroup" 10 is_dead "$helper"
	else
		check "kill, $p: a process beside it has not" is_alive "$helper"
	fi
	capture oci delete "$TAG-$name"
	check_exit "kill, $p: delete" 0
	check_wait "kill, $p: delete ends the process, as without the hook" 10 is_dead "$helper"
	check_clean "kill, $p" "$before"
}

# --- failing hooks -----------------------------------------------------------

# failing STAGE NAME ONLY - creates a container where, after ours, another hook of
# that stage fails
failing() {
	p="hook fails in $1, only=$3"
	use "$2" "$3" ".hooks.$1 += [{path: \"$(type -P busybox)\", timeout: 60, args: [\"busybox\", \"false\"]}]"
	create "$2" 60
}

# refused CALLS_POSTSTOP - the last one's create has failed, and the runtime has no
# trace of it; crun forgets poststop then
refused() {
	check_between "$p: create fails" 1 255 "$RC"
	check_eq "$p: the runtime has forgotten the container" "" "$(ls -A "$WORK/runtime")"
	check "$p: the runtime's cgroup is gone" cg_gone "$OWN"
	check_eq "$p: $KIND calls poststop" "$1" "$(ran poststop)"
}

failing_hooks() {
	local name p before poststop=yes other
	[[ $KIND == runc ]] || poststop=no
	before=$(snapshot)
	failing prestart small false
	refused $poststop
	check_clean "$p" "$before"

	failing createRuntime other true
	refused $poststop
	other=$SANDBOX
	# crun leaves it to the sandbox's watcher, or to the next setup, whichever comes first.
	[[ $KIND == crun ]] || check "$p: the sandbox is gone" cg_gone "$other"
	failing prestart small true
	refused $poststop
	check "$p: nothing is there that the last one left" cg_gone "$other"
	check "$p: neither is its record" test ! -e "$STATE/sandboxes/$TAG-other"
	check_clean "$p" "$before"

	failing poststart small false
	if [[ $KIND == runc ]]; then
		refused yes
	else
		capture oci start "$TAG-$name"
		check_exit "$p: start succeeds" 0
		check_eq "$p: the container runs" running "$(status "$name")"
		check "$p: kill and delete" stop_container "$name"
		check_eq "$p: crun calls poststop" yes "$(ran poststop)"
	fi
	check_clean "$p" "$before"

	p="our hook fails"
	use small false
	echo '{"sandbox_cgroups_only": true}' >"$CONF"
	create "$name" 60
	# Ours is the first poststop hook, and fails for the same reason: runc stops there.
	refused no
	if [[ $KIND == runc ]]; then
		check_match "$p: runc shows why" "exit status 2.*oci-sandbox-cgroup: $CONF: unknown key.*sandbox_cgroups_only" \
			"$(cat "$WORK/$name/log")"
	else
		check_match "$p: crun shows the exit status" "$OSC.*exit code: 2" "$(cat "$WORK/$name/log")"
	fi
	if [[ -S /run/systemd/journal/socket ]] && type -P journalctl >/dev/null; then
		in_journal() { journalctl -q -o cat -t oci-sandbox-cgroup | grep -F "$CONF: unknown key"; }
		check_wait "$p: the journal says why" 10 in_journal
	else
		skip "$p: the journal says why" "there is no journal here"
	fi
	check_clean "$p" "$before"
	# The same bundle, and nothing is in its way.
	configure .
	create "$name" 60
	check_eq "$p: create after it is mended" 0 "$RC"
	check "$p: kill and delete then" stop_container "$name"
	check_clean "$p, then mended" "$before"
}

# KVM in a machine that is emulated itself is slow, and switches code of that
# machine's kernel on and off with each VM, which not every emulator survives.
ACCELERATOR=tcg,thread=multi EXTRA_DEVICE=.
if ! grep -q 'model name.*TCG' /proc/cpuinfo && kvm_works; then
	ACCELERATOR=kvm EXTRA_DEVICE=$KVM_DEVICE
fi
prepare qemu "$(qemu_args "$ACCELERATOR" 2)" \
	"$EXTRA_DEVICE | .process.args += [\"-bios\", \"/loop.bin\"] | $(limits_filter)"
# Firmware of one instruction, at the reset vector: jump to itself.
truncate -s 65520 "$WORK/qemu/rootfs/loop.bin"
printf '\xeb\xfe%14s' '' >>"$WORK/qemu/rootfs/loop.bin"
# Its helper only matters where nothing ends it.
prepare small '["/busybox", "sh", "-c", "/busybox sleep 1000 & echo $! >/helper; exec /fake_vmm \"CPU 0/KVM\""]'
install -m 0755 "$(helper fake_vmm)" "$WORK/small/rootfs/fake_vmm"
cp -r "$WORK/small" "$WORK/other"
for file in "$WORK/other"/config.*; do
	sed -i "s,$WORK/small/,$WORK/other/,; /cgroupsPath/s,small\",other\"," "$file"
done

for only in false true; do
	operations $only
	deleted $only
done
shared_pids
failing_hooks

finish
