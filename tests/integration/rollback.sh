#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# What goes wrong goes wrong cleanly. A setup that fails puts the process back
# and leaves nothing, whatever fails in it; bad input is refused with one line
# before anything is touched. The script plays the runtime.

# shellcheck disable=SC2016 # $name in single quotes is jq's
# shellcheck disable=SC2317 # functions are called by name
# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"
# shellcheck source=../lib/faults.sh
. "$TESTS/lib/faults.sh"

# one_line - of the last capture's stderr
check_one_line() {
	check_eq "$1: one line on stderr" 1 "$(grep -c '' "$WORK/capture.err")"
	check_eq "$1: nothing on stdout" "" "$OUT"
}

# refuses_setup NAME REGEX - of the current fake container $C with $PID
refuses_setup() {
	local was
	was=$(cat "/proc/$PID/cgroup")
	capture osc prestart <"$WORK/$C/created"
	check_exit "$1: exit status" 1
	check_one_line "$1"
	check_match "$1: says what failed" "$2" "$ERR"
	check_eq "$1: the process is where it was" "$was" "$(cat "/proc/$PID/cgroup" 2>&1)"
	check_nothing_left "$1" "$before"
}

# --- the kernel refuses ------------------------------------------------------

C=refused
fake_container $C
before=$(snapshot)

for only in false true; do
	configure ".sandbox_cgroup_only = $only"
	if hierarchy_of cpuset >/dev/null; then
		edit_config $C '.linux.resources = {cpu: {cpus: "1000"}}'
		refuses_setup "CPU that does not exist, only=$only" 'cpuset\.cpus.*(Invalid argument|Numerical result out of range)'
	else
		skip "CPU that does not exist, only=$only" "no hierarchy has the controller cpuset here"
	fi
	edit_config $C '.linux.resources = {cpu: {quota: 500, period: 100000}}'
	refuses_setup "quota below a millisecond, only=$only" 'cpu\.(cfs_quota_us|max).*Invalid argument'
	if [[ -n ${CG_DIR[unified]-} ]]; then
		# No room for another directory, after others have been made in hybrid mode.
		limit=${CG_DIR[unified]}/$TAG/cgroup.max.descendants
		edit_config $C 'del(.linux.resources)'
		echo 1 >"$limit"
		refuses_setup "no room in cgroup2, only=$only" 'Resource temporarily unavailable'
		echo max >"$limit"
	else
		skip "no room in cgroup2, only=$only" "cgroup2 is not mounted on this host"
	fi
done
edit_config $C 'del(.linux.resources)'
configure .
capture osc prestart <"$WORK/$C/created"
check_exit "the same sandbox once nothing refuses: setup" 0
capture osc poststop <"$WORK/$C/stopped"
check_exit "the same sandbox once nothing refuses: teardown" 0
drop_fake $C "$PID"

# --- any system call fails ---------------------------------------------------

# undone_or_coped N RC - a setup that reports failure must have undone everything
# that it did to cgroups; if the state directory itself is out of order, prune may
# have to finish the work. A setup that copes must be undone by poststop.
undone_or_coped() {
	local n=$1 rc=$2
	if ((rc == 0)); then
		tally coped
		osc poststop <"$WORK/$C/stopped" >"$WORK/log" 2>&1 || PROBLEMS+=("#$n: teardown: $(<"$WORK/log")")
		fake_process "$C"
	elif ((rc == 1 || rc == 2 || rc == 127)); then
		# 127 is the dynamic loader's.
		tally undone
		[[ -s $WORK/log ]] || PROBLEMS+=("#$n: exit status $rc without a message")
	else
		PROBLEMS+=("#$n: exit status $rc: $(<"$WORK/log")")
	fi
	if [[ $(cat "/proc/$PID/cgroup") != "$was" ]]; then
		PROBLEMS+=("#$n (exit status $rc): the process is not where it was: $(xargs <"/proc/$PID/cgroup")")
		cg_enter "/$TAG/$C" "$PID"
	fi
	if ! wait_for 3 nothing_left "$before" >/dev/null; then
		if [[ $call =~ ^(mkdirat|openat2|write|bpf)$ ]]; then
			PROBLEMS+=("#$n (exit status $rc, $(head -n 1 "$WORK/log")) left: $(left_now "$before")")
		fi
		tally pruned
		osc prune >"$WORK/log" 2>&1 || PROBLEMS+=("#$n: prune: $(<"$WORK/log")")
		if ! nothing_left "$before" >/dev/null; then
			PROBLEMS+=("#$n: prune does not remove: $(left_now "$before")")
			force_clean "$before"
		fi
	fi
}

# sweep CALLS FAULT
sweep() {
	sweep_faults "only=$only" prestart "$1" "$2" : undone_or_coped undone
}

if can_trace; then
	C=sweep
	if hierarchy_of pids >/dev/null; then
		fake_container $C '.linux.resources = {devices: [{allow: false, access: "rwm"}], pids: {limit: 100}}'
	else
		fake_container $C '.linux.resources = {devices: [{allow: false, access: "rwm"}]}'
	fi
	was=$(cat "/proc/$PID/cgroup")
	INPUT=$WORK/$C/created
	before=$(snapshot)
	for only in false true; do
		configure ".sandbox_cgroup_only = $only"
		# What a setup does to the kernel.
		sweep mkdirat error=ENOSPC
		sweep "openat2 write" error=EIO
		[[ $MODE != v2 ]] || sweep bpf error=EIO
		# And to its state directory, which is the same for both policies, and to start the watcher.
		if [[ $only == false ]]; then
			sweep "openat symlinkat renameat fsync flock" error=EIO
			sweep pipe2 error=EMFILE
			sweep clone error=EAGAIN
		fi
	done
	check_nothing_left "after all of them" "$before"
	drop_fake $C "$PID"
else
	skip "a system call that fails" "strace cannot trace here"
fi

# --- bad input ---------------------------------------------------------------

configure .
C=input
fake_container $C
before=$(snapshot)
was=$(cat "/proc/$PID/cgroup")
good=$(jq -c . "$WORK/$C/created")

# refuses NAME STDIN ARGS... - STDIN is printf's
refuses() {
	local name=$1 input=$2
	shift 2
	# shellcheck disable=SC2059 # escapes are wanted
	printf "$input" >"$WORK/stdin"
	capture osc "$@" <"$WORK/stdin"
	check_exit "$name: exit status" 2
	check_one_line "$name"
	check_eq "$name: the process is where it was" "$was" "$(cat "/proc/$PID/cgroup" 2>&1)"
	check "$name: nothing is touched" nothing_left "$before"
	((RC != 0)) || {
		osc poststop <"$WORK/$C/stopped" || :
		cg_enter "/$TAG/$C" "$PID"
		force_clean "$before"
	}
}

# with STATE_FILTER [CONFIG_FILTER] - the good state, edited, and perhaps a config
with() {
	jq -c "$1" <<<"$good" | sed 's/\\/\\\\/g; s/%/%%/g'
	[[ -z ${2-} ]] || jq -c "$2" "$WORK/$C/config.json" | sed 's/\\/\\\\/g; s/%/%%/g'
}

sleep 0 &
dead=$!
wait $dead

refuses "empty stdin" "" prestart
refuses "blanks only" ' \n\t ' prestart
refuses "rubbish" 'what is this?' prestart
refuses "binary rubbish" '\377\376\001\002' prestart
refuses "truncated JSON" "${good:0:${#good}-10}" prestart
refuses "an array" '[1]' prestart
refuses "a third document" "$(with . .) {}" prestart
refuses "no id" "$(with 'del(.id)')" prestart
refuses "empty id" "$(with '.id = ""')" prestart
refuses "id of the wrong type" "$(with '.id = 7')" prestart
refuses "pid of the wrong type" "$(with '.pid = "1"')" prestart
refuses "negative pid" "$(with '.pid = -1')" prestart
refuses "pid out of range" "$(with '.pid = 99999999999')" prestart
refuses "id with a slash" "$(with '.id = "a/b"')" prestart
refuses "id that is .." "$(with '.id = ".."')" prestart
refuses "id with a newline" "$(with '.id = "a\nb"')" prestart
refuses "id with a NUL" "${good/\"$C\"/\"in\\\\u0000put\"}" prestart
refuses "over-long id" "$(with '.id = "x" * 300')" prestart
refuses "pid of a dead process" "$(with ".pid = $dead")" prestart
refuses "no pid at setup" "$(with 'del(.pid)')" prestart
refuses "relative bundle" "$(with '.bundle = "bundle"')" prestart
refuses ".. in cgroupsPath" "$(with . '.linux.cgroupsPath = "/a/../../b"')" prestart
refuses "newline in cgroupsPath" "$(with . '.linux.cgroupsPath = "/a\nb"')" prestart
refuses "NUL in cgroupsPath" "$(with . '.linux.cgroupsPath = "/ab"' | sed 's,"/ab","/a\\\\u0000b",')" prestart
refuses "over-long cgroupsPath component" "$(with . '.linux.cgroupsPath = "/" + "x" * 300')" prestart
refuses "cgroupsPath of the wrong type" "$(with . '.linux.cgroupsPath = 1')" prestart
refuses "device rule of the wrong type" "$(with . '.linux.resources = {devices: {}}')" prestart
refuses "contradicting annotations" \
	"$(with '.annotations = {"io.kubernetes.cri.sandbox-id": "a"}' '.annotations = {"io.kubernetes.cri.sandbox-id": "b"}')" prestart
refuses "annotation of the wrong type" "$(with . '.annotations = {"io.kubernetes.cri.sandbox-id": 1}')" prestart
refuses "sandbox id with a slash" \
	"$(with . '.annotations = {"io.kubernetes.cri.container-type": "container", "io.kubernetes.cri.sandbox-id": "../x"}')" prestart
refuses "deep nesting" "$(with .) $(printf '{"a":%.0s' {1..5000})" prestart
refuses "unknown option" "$(with .)" --no-such-option prestart
refuses "unknown stage or verb" "$(with .)" prestart2
refuses "two stages" "$(with .)" prestart poststop
refuses "value of an option" "$(with .)" --cgroup-mode v3 prestart
refuses "boolean option" "$(with .)" --sandbox-cgroup-only=maybe prestart
refuses "show without an id" "" show
refuses "delete of an id with a slash" "" delete ../x

# misconfigured NAME CONTENT [KEY] - the configuration file is at fault, and the key is named
misconfigured() {
	printf '%s' "$2" >"$CONF"
	refuses "configuration file: $1" "$(with .)" prestart
	[[ -z ${3-} ]] || check_match "configuration file: $1: names the key" "$3" "$ERR"
}

misconfigured "empty" ""
misconfigured "rubbish" "rubbish"
misconfigured "truncated" '{"leftovers":'
misconfigured "unknown key" '{"sandbox_cgroups_only": true}' sandbox_cgroups_only
misconfigured "wrong type" '{"sandbox_cgroup_only": "true"}' sandbox_cgroup_only
misconfigured "unknown word" '{"leftovers": "ignore"}' leftovers
misconfigured "no_vcpu: kill is no option" '{"no_vcpu": "kill"}' no_vcpu
misconfigured "negative timeout" '{"vcpu_timeout_ms": -1}' vcpu_timeout_ms
misconfigured "fraction" '{"vcpu_timeout_ms": 1.5}' vcpu_timeout_ms
misconfigured "key given twice" '{"leftovers": "kill", "leftovers": "move"}' leftovers
misconfigured "prefix with a slash" '{"prefix": "a/b"}' prefix
misconfigured ".. in overhead_parent" '{"overhead_parent": "/a/../b"}' overhead_parent
rm "$CONF"
capture osc prestart <"$WORK/$C/created"
check_exit "configuration file that was named but is not there" 1
check_match "configuration file that was named but is not there: says which" "$CONF: ENOENT" "$ERR"
check "configuration file that was named but is not there: nothing is touched" nothing_left "$before"
configure .

# The counter-check: what is refused above is refused for the reason given.
printf '%s' "$good" >"$WORK/stdin"
capture osc prestart <"$WORK/stdin"
check_exit "the same input without any fault: setup" 0
capture osc poststop <"$WORK/$C/stopped"
check_exit "the same input without any fault: teardown" 0
check_nothing_left "after all of them" "$before"
drop_fake $C "$PID"

finish
