# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# What every integration script shares: counting results, finding the host's
# cgroup hierarchies, making bundles, playing an OCI runtime (fake.sh), and proving
# that nothing was left behind.
#
# Source it first; it sets up a work directory and a trap that ends and removes
# whatever the script made. Then call ok/fail/check_*, and `finish` at the end.
#
#   OSC_BIN      the oci-sandbox-cgroup to test (required)
#   OSC_RUNTIME  the OCI runtime, default runc
#   OSC_MANAGER  who manages its cgroups: cgroupfs (default) or systemd
#   OSC_HELPERS  directory with the built test programs (device_probe, fake_runtime, fake_vmm,
#                peak_rss); without it they are compiled here
#   OSC_PROBE    device_probe, if it is elsewhere
#   OSC_SNAPSHOT_IGNORE  extended regular expression: cgroup directories which
#                others make and remove while the tests run
#
# Every cgroup of a script lies under $BASE or has $TAG in its name, and every
# unit has $TAG in its name; every process of ours runs the copy of the binary in
# $WORK: so scripts can run side by side, and whatever is left can be told from
# what others own.

# Variables for the scripts that source this; $name in single quotes is jq's.
# shellcheck disable=SC2034,SC2016
: "${OSC_LIB_ONLY=}" # set: only define functions

set -euo pipefail
export LC_ALL=C PATH=$PATH:/usr/sbin:/sbin

TESTS=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
SCRIPT=${0##*/}
RUNTIME=${OSC_RUNTIME:-runc}
MANAGER=${OSC_MANAGER:-cgroupfs}
# BASE holds the script's cgroups. For systemd it is that of a slice; a dash in
# its name would make it a child of another.
if [[ $MANAGER == systemd ]]; then
	TAG=osctest$$
	SLICE=$TAG.slice
	BASE=/$SLICE
else
	TAG=osc-test-$$
	SLICE=
	BASE=/$TAG
fi
WORK=
FINISHED=
PASSED=0
FAILED=0
SKIPPED=0
# The last output of `capture`.
RC=0
OUT=
ERR=
# Processes which this script started and the trap has to end: "PID START", see started().
STARTED=()
# Names of the threads that run a guest's CPU, in every VMM the scripts use.
VCPU_RE='^(CPU [0-9]+/(KVM|TCG)|vcpu[0-9]+|fc_vcpu [0-9]+)$'

# gojq speaks the same language, and starts ten times as fast; sorts keys always.
jq() {
	gojq "$@"
}

# --- results -----------------------------------------------------------------

ok() {
	PASSED=$((PASSED + 1))
	printf 'ok    %s\n' "$1"
}

# fail NAME [DETAIL...] - each detail may hold several lines
fail() {
	local name=$1
	shift
	FAILED=$((FAILED + 1))
	printf 'FAIL  %s\n' "$name"
	if [[ $# -gt 0 ]]; then
		printf '%s\n' "$@" | sed 's/^/      /'
	fi
}

skip() {
	SKIPPED=$((SKIPPED + 1))
	printf 'skip  %s: %s\n' "$1" "$2"
}

# check_eq NAME EXPECTED GOT
check_eq() {
	if [[ $2 == "$3" ]]; then
		ok "$1"
	else
		fail "$1" "expected: $2" "got:      $3"
	fi
}

# check_match NAME REGEX GOT
check_match() {
	if [[ $3 =~ $2 ]]; then
		ok "$1"
	else
		fail "$1" "expected to match: $2" "got: $3"
	fi
}

# check NAME COMMAND... - the command's output is the detail of a failure
check() {
	local name=$1 output
	shift
	if output=$("$@" 2>&1); then
		ok "$name"
	else
		fail "$name" "expected to succeed: ${*%%$'\n'*}" "$output"
	fi
}

# wait_for SECONDS COMMAND... - polls; the deadline is for what never happens, and longer on slow machines
wait_for() {
	local deadline=$((SECONDS + $1 * ${OSC_PATIENCE:-1})) pause=0.002
	shift
	until "$@"; do
		((SECONDS < deadline)) || return 1
		sleep $pause
		pause=0.05
	done
}

# check_wait NAME SECONDS COMMAND... - like check, within a deadline
check_wait() {
	local name=$1 seconds=$2
	shift 2
	if wait_for "$seconds" "$@" >/dev/null 2>&1; then
		ok "$name"
	else
		check "$name" "$@"
	fi
}

# capture COMMAND... - sets RC, OUT and ERR
capture() {
	RC=0
	"$@" >"$WORK/capture.out" 2>"$WORK/capture.err" || RC=$?
	# Bash drops NUL bytes, loudly; an answer never holds any.
	{ OUT=$(<"$WORK/capture.out") && ERR=$(<"$WORK/capture.err"); } 2>/dev/null
}

# check_exit NAME EXPECTED - of the last `capture`
check_exit() {
	if [[ $RC == "$2" ]]; then
		ok "$1"
	else
		fail "$1" "expected exit status $2, got $RC" "stderr: $ERR" "stdout: ${OUT:0:400}"
	fi
}

# report - prints the totals and exits
report() {
	printf '%d passed, %d failed, %d skipped\n' "$PASSED" "$FAILED" "$SKIPPED"
	exit $((FAILED > 0))
}

# finish - ends the script; the trap cleans up and reports
finish() {
	FINISHED=1
	exit $((FAILED > 0))
}

# --- the host's hierarchies --------------------------------------------------

# HIERARCHIES: names as /proc/PID/cgroup writes them ("cpu,cpuacct",
# "name=systemd"), "unified" for cgroup2. CG_DIR: where each is mounted.
# HIERARCHY_OF: where each controller is.
HIERARCHIES=()
HIERARCHY_DIRS=()
declare -A CG_DIR=() HIERARCHY_OF=()
MODE=

find_hierarchies() {
	local dev root mount rest type options option name controllers=' ' v1=
	controllers=" $(awk 'NR > 1 { print $1 }' /proc/cgroups | xargs) "
	HIERARCHIES=()
	CG_DIR=()
	while read -r _ _ dev root mount rest; do
		read -r type _ options <<<"${rest#*- }"
		[[ $type == cgroup || $type == cgroup2 ]] || continue
		mount=$(printf '%b' "${mount//\\/\\0}")
		# A later mount may hide this one.
		[[ $(stat -c '%Hd:%Ld' "$mount" 2>/dev/null) == "$dev" ]] || continue
		name=unified
		if [[ $type == cgroup ]]; then
			name=
			for option in ${options//,/ }; do
				if [[ $option == name=* || $controllers == *" $option "* ]]; then
					name+=${name:+,}$option
				fi
			done
			[[ $name == name=* ]] || v1=yes
		fi
		if [[ -z ${CG_DIR[$name]-} ]]; then
			HIERARCHIES+=("$name")
			CG_DIR[$name]=$mount
		fi
		[[ $root != / ]] || CG_DIR[$name]=$mount
	done </proc/self/mountinfo
	if [[ -z $v1 ]]; then
		MODE=v2
		HIERARCHIES=(unified)
	elif [[ -n ${CG_DIR[unified]-} ]]; then
		MODE=hybrid
	else
		MODE=v1
	fi
	[[ ${#HIERARCHIES[@]} -gt 0 && -n ${CG_DIR[${HIERARCHIES[0]}]-} ]] || {
		echo "$SCRIPT: no cgroup file system is mounted" >&2
		exit 1
	}
	HIERARCHY_DIRS=()
	HIERARCHY_OF=()
	for name in "${HIERARCHIES[@]}"; do
		HIERARCHY_DIRS+=("${CG_DIR[$name]}")
		controllers=${name//,/ }
		[[ $name != unified ]] || controllers=$(<"${CG_DIR[unified]}/cgroup.controllers")
		for option in $controllers; do
			HIERARCHY_OF[$option]=${HIERARCHY_OF[$option]-$name}
		done
	done
}

# hierarchy_of CONTROLLER - its hierarchy's name; fails if it is nowhere
hierarchy_of() {
	[[ -n ${HIERARCHY_OF[$1]-} ]] && echo "${HIERARCHY_OF[$1]}"
}

# find_cg_file CONTROLLER CGROUP FILE - sets CG_FILE to the path of a controller's file
find_cg_file() {
	CG_FILE=
	[[ -n ${HIERARCHY_OF[$1]-} ]] && CG_FILE=${CG_DIR[${HIERARCHY_OF[$1]}]}$2/$3
}

# cg_file CONTROLLER CGROUP FILE - prints it
cg_file() {
	find_cg_file "$@" && echo "$CG_FILE"
}

# cgroups_of TID - fills CG with the thread's cgroup in each hierarchy
declare -A CG=()
cgroups_of() {
	local line name
	CG=()
	while read -r line; do
		line=${line#*:}
		name=${line%%:*}
		CG[${name:-unified}]=${line#*:}
	done 2>/dev/null <"/proc/$1/cgroup"
	[[ ${#CG[@]} -gt 0 ]]
}

# cg_make CGROUP - in every hierarchy, ready to hold processes
cg_make() {
	local name path part file parts
	mkdir -p "${HIERARCHY_DIRS[@]/%/$1}"
	for name in "${HIERARCHIES[@]}"; do
		[[ ,$name, == *,cpuset,* ]] || continue
		path=${CG_DIR[$name]}
		IFS=/ read -ra parts <<<"${1#/}"
		for part in "${parts[@]}"; do
			for file in cpuset.cpus cpuset.mems; do
				[[ -n $(<"$path/$part/$file") ]] || cat "$path/$file" >"$path/$part/$file"
			done
			path+=/$part
		done
	done
}

# cg_enter CGROUP PID
cg_enter() {
	local name
	for name in "${HIERARCHIES[@]}"; do
		echo "$2" >"${CG_DIR[$name]}$1/cgroup.procs"
	done
}

# cg_procs CGROUP - the processes in it, in any hierarchy, without those below
cg_procs() {
	local name
	for name in "${HIERARCHIES[@]}"; do
		cat "${CG_DIR[$name]}$1/cgroup.procs" 2>/dev/null || :
	done | sort -un
}

cg_is_empty() {
	local left
	left=$(cg_procs "$1")
	[[ -z $left ]] || {
		echo "$1 still holds: $(xargs <<<"$left")"
		return 1
	}
}

# cg_exists CGROUP - names the hierarchies which have it; fails if none has
cg_exists() {
	local name found=
	for name in "${HIERARCHIES[@]}"; do
		[[ ! -d ${CG_DIR[$name]}$1 ]] || found+=" $name"
	done
	[[ -n $found ]] && echo "$1 exists in:$found"
}

# cg_gone CGROUP... - the opposite, for check_wait
cg_gone() {
	local cgroup found=0
	for cgroup in "$@"; do
		[[ -n $cgroup ]] || continue
		! cg_exists "$cgroup" || found=1
	done
	return "$found"
}

# cg_tagged - every cgroup directory of this script, deepest first
cg_tagged() {
	[[ ${#HIERARCHY_DIRS[@]} -eq 0 ]] ||
		find "${HIERARCHY_DIRS[@]}" -depth -type d -path "*$TAG*" 2>/dev/null || :
}

# --- before and after --------------------------------------------------------

# find_foreign - what others make and remove while a test runs is not the test's
# business: systemd's units, test scripts beside this one, and what started us
FOREIGN=
find_foreign() {
	local name parent units='\.(service|scope|slice|mount|socket|swap)(/|$)'
	FOREIGN='/osc-'
	if [[ $MANAGER == systemd && $MODE != v2 ]]; then
		# In hierarchies of which systemd knows nothing, directories with the names
		# of units are ours.
		for name in "${HIERARCHIES[@]}"; do
			! systemd_manages "$name" || FOREIGN+="|^${CG_DIR[$name]}/.*$units"
		done
	else
		FOREIGN+="|$units"
	fi
	cgroups_of self
	for name in "${HIERARCHIES[@]}"; do
		[[ ${CG[$name]-/} != / ]] || continue
		parent=${CG[$name]%/*}
		FOREIGN+="|^${CG_DIR[$name]}${parent:-${CG[$name]}}(/|$)"
	done
	FOREIGN+=${OSC_SNAPSHOT_IGNORE:+|$OSC_SNAPSHOT_IGNORE}
}

# systemd_manages HIERARCHY - and makes and removes a slice's directory there
systemd_manages() {
	[[ ! ,$1, =~ ,(cpuset|freezer|hugetlb|perf_event|net_cls|net_prio|rdma|misc), ]]
}

# units - those of this script with their states, and whatever has failed
units() {
	[[ $MANAGER == systemd ]] || return 0
	systemctl list-units --all --plain --no-legend --no-pager --full | TAG=$TAG awk '
		$3 == "failed" { print "failed unit: " $1 }
		index($1, ENVIRON["TAG"]) && $1 ~ /[.](scope|service)$/ { print "unit: " $1, $2, $3, $4 }'
}

# directories - all cgroups
directories() {
	local slices=()
	if [[ $MANAGER == systemd ]]; then
		# Slices are systemd's business.
		local name
		for name in "${HIERARCHIES[@]}"; do
			! systemd_manages "$name" || slices+=(-o -path "${CG_DIR[$name]}/*.slice")
		done
		slices=(! "(" -false "${slices[@]}" ")")
	fi
	find "${HIERARCHY_DIRS[@]}" -type d "${slices[@]}" 2>/dev/null || :
}

# The runtime's own cgroups of containers that fake_container has made: whether a dead one is there is
# not compared, as poststop removes what a runtime has left.
OWN_CGROUPS=()

own_directories() {
	local own
	for own in "${OWN_CGROUPS[@]}"; do
		printf '%s\n' "${HIERARCHY_DIRS[@]/%/$own}"
	done
}

# snapshot - every cgroup directory, every mount that has to do with cgroups, and
# with systemd every unit of ours
snapshot() {
	{
		units
		directories | grep -vxF -f <(own_directories) | TAG=$TAG FOREIGN=$FOREIGN awk '
			FILENAME != "-" {
				if (/ - cgroup2? / || index($0, ENVIRON["TAG"])) lines[n++] = "mount: " $0
				next
			}
			index($0, ENVIRON["TAG"]) || $0 !~ ENVIRON["FOREIGN"] {
				# The parent of all overhead cgroups belongs to whoever is in it.
				if (!index($0, ENVIRON["TAG"]) && match($0, /\/kata_overhead\//)) {
					shared[substr($0, 1, RSTART + RLENGTH - 2)] = 1
					next
				}
				lines[n++] = $0
			}
			END { for (i = 0; i < n; i++) if (!(lines[i] in shared)) print lines[i] }' - /proc/self/mountinfo
	} | sort
}

# same_as SNAPSHOT - compares with now and prints the differences
same_as() {
	local now difference
	now=$(snapshot)
	[[ $1 != "$now" ]] || return 0
	difference=$(diff <(echo "$1") <(echo "$now") | sed -n 's/^< /was there before: /p; s/^> /is there now:     /p')
	head -n 6 <<<"$difference"
	[[ $(wc -l <<<"$difference") -le 6 ]] || echo "... and $(($(wc -l <<<"$difference") - 6)) more"
	return 1
}

# left_now SNAPSHOT - the first of what is left, for messages
left_now() {
	nothing_left "$1" | head -n 3 | xargs || :
}

# our_processes - processes which run our copy of the binary, hooks and watchers
our_processes() {
	find /proc -mindepth 2 -maxdepth 2 -path '/proc/[0-9]*/exe' -lname "$OSC*" -printf '%h\n' 2>/dev/null |
		sed 's,/proc/,,' || :
}

no_process_left() {
	local left
	left=$(our_processes)
	[[ -z $left ]] || {
		echo "still running: $(xargs <<<"$left")"
		return 1
	}
}

# watchers - those of them that watch
watchers() {
	local pid
	for pid in $(our_processes); do
		[[ $(name_of_ours "$pid") != osc-watch ]] || echo "$pid"
	done
}

no_watcher_left() {
	local left
	left=$(watchers)
	[[ -z $left ]] || {
		echo "still running: $(xargs <<<"$left")"
		return 1
	}
}

no_record_left() {
	local left
	left=$(find "$STATE/sandboxes" "$STATE/containers" "$STATE/paths" "$STATE/parents" -mindepth 1 2>/dev/null || :)
	[[ -z $left ]] || {
		echo "still in the state directory:"
		echo "$left"
		return 1
	}
}

# check_nothing_left NAME SNAPSHOT
check_nothing_left() {
	local failed=$FAILED
	check_wait "$1: no cgroup or mount left or changed" 10 same_as "$2"
	check_wait "$1: no process of ours left" 10 no_process_left
	check_wait "$1: no record left" 10 no_record_left
	((FAILED == failed)) || force_clean "$2"
}

# force_clean SNAPSHOT - after a failure, so that what follows is not blamed for it
force_clean() {
	local pid dir unit
	for pid in $(our_processes); do
		kill -KILL "$pid" 2>/dev/null || :
	done
	for unit in $(units | sed -E 's/^(failed )?unit: ([^ ]*).*/\2/'); do
		[[ $1 == *"unit: $unit"* ]] || end_unit "$unit"
	done
	for dir in $(cg_tagged); do
		if [[ $'\n'$1$'\n' != *$'\n'$dir$'\n'* && $dir != *.slice ]]; then
			while read -r pid; do
				echo "$pid" >"${dir%"$BASE"/*}$BASE/cgroup.procs" 2>/dev/null || :
			done < <(cat "$dir/cgroup.procs" 2>/dev/null)
			wait_for 5 rmdir_gone "$dir" || :
		fi
	done
	rm -rf "$STATE"
}

# end_unit UNIT - whatever is in it
end_unit() {
	systemctl kill --signal=KILL -- "$1" 2>/dev/null || :
	timeout 120 systemctl stop -- "$1" >/dev/null 2>&1 || :
	systemctl reset-failed -- "$1" 2>/dev/null || :
}

# nothing_left SNAPSHOT - the same as one condition, for loops
nothing_left() {
	same_as "$1" && no_process_left && no_record_left
}

# --- where threads belong ----------------------------------------------------

# slice_cgroup SLICE - a-b.slice is /a.slice/a-b.slice, none is system.slice
slice_cgroup() {
	local stem=${1:-system.slice} path='' i
	stem=${stem%.slice}
	for ((i = 1; i <= ${#stem}; i++)); do
		if ((i == ${#stem})) || [[ ${stem:i:1} == - ]]; then
			path+=/${stem:0:i}.slice
		fi
	done
	echo "$path"
}

# unit_escape TEXT - what systemd does not take in a unit's name
unit_escape() {
	local char i out=
	for ((i = 0; i < ${#1}; i++)); do
		char=${1:i:1}
		case $char in
		/) out+=- ;;
		[A-Za-z0-9:_\\-]) out+=$char ;;
		.) if ((i > 0)); then out+=.; else out+='\x2e'; fi ;;
		*) out+=$(printf '\\x%02x' "'$char") ;;
		esac
	done
	echo "$out"
}

# cgroups_path NAME - for config.json
cgroups_path() {
	if [[ $MANAGER == systemd ]]; then
		echo "$SLICE:$TAG:$1"
	else
		echo "$BASE/$1"
	fi
}

# own_cgroup NAME - the cgroup which a runtime makes of that
own_cgroup() {
	if [[ $MANAGER == systemd ]]; then
		echo "$(slice_cgroup "$SLICE")/$TAG-$1.scope"
	else
		echo "$BASE/$1"
	fi
}

# set_layout NAME [SANDBOX_ID] [ONLY] - what the contract says for a
# container with that cgroups_path; a sandbox of one container has its id.
set_layout() {
	local name=$1 id=${2-$1}
	ONLY=${3-false}
	OWN=$(own_cgroup "$name")
	if [[ $MANAGER == systemd ]]; then
		SANDBOX=$(slice_cgroup "$SLICE")/$TAG-kata_$(unit_escape "$name").scope
	else
		SANDBOX=$BASE/kata_$name
	fi
	VCPU=$SANDBOX
	if [[ $ONLY == true ]]; then
		OVERHEAD=
	elif [[ $MODE == v2 ]]; then
		VCPU=$SANDBOX/kata_vcpu
		OVERHEAD=$SANDBOX
	elif [[ $MANAGER == systemd ]]; then
		OVERHEAD=/kata.slice/kata-overhead.slice/kata-overhead-$(unit_escape "$id").scope
	else
		OVERHEAD=${OVERHEAD_PARENT-$BASE/overhead}/$id
	fi
}

# set_pod_layout PARENT SANDBOX_ID [ONLY] - of containers whose cgroups are in that of their pod, as
# the sandbox's is then
set_pod_layout() {
	set_layout "$2" "$2" "${3-false}"
	SANDBOX=$1/kata_$2 VCPU=$1/kata_$2
	if [[ $MODE == v2 && $ONLY == false ]]; then
		VCPU=$SANDBOX/kata_vcpu OVERHEAD=$SANDBOX
	fi
}

# name_of_ours PID - once it does not wait for its stage any more
name_of_ours() {
	local name='' end=$((SECONDS + 5))
	while name=$(cat "/proc/$1/comm" 2>&1) && [[ $name == osc-wait ]] && ((SECONDS < end)); do
		sleep 0.01
	done
	echo "$name"
}

# only_placeholder CGROUP - nobody is in it, or below, but with systemd, or under containerd, one process
# of ours
only_placeholder() {
	local pids
	if [[ $MANAGER != systemd && -z ${CONTAINERD-} ]]; then
		cg_is_empty "$1"
		return
	fi
	# crun makes a cgroup of its own in it.
	pids=$(find "${HIERARCHY_DIRS[@]/%/$1}" -name cgroup.procs -exec cat {} + 2>/dev/null | sort -un || :)
	if [[ $(wc -w <<<"$pids") != 1 ]]; then
		echo "$1: expected one process, got: ${pids//$'\n'/ }"
		return 1
	fi
	if [[ $(readlink "/proc/$pids/exe") != "$OSC"* || $(name_of_ours "$pids") != osc-hold ]]; then
		echo "$1: expected osc-hold, got process $pids: $(tr '\0' ' ' <"/proc/$pids/cmdline")"
		return 1
	fi
}

# stays_outside PID - it is in no cgroup of the container's and of the sandbox's
stays_outside() {
	local name cgroup result=0
	cgroups_of "$1" || return 1
	for name in "${HIERARCHIES[@]}"; do
		for cgroup in "$OWN" "$SANDBOX" ${OVERHEAD:+"$OVERHEAD"}; do
			[[ ${CG[$name]-}/ != "$cgroup"/* ]] || {
				echo "$name: process $1 is in ${CG[$name]}"
				result=1
			}
		done
	done
	return "$result"
}

# expect_cgroup vcpu|rest HIERARCHY - sets EXPECTED
expect_cgroup() {
	EXPECTED=$SANDBOX
	if [[ $MODE == v2 && $1 == vcpu ]]; then
		EXPECTED=$VCPU
	elif [[ $MODE != v2 && $1 == rest && ,$2, =~ ,(cpu|cpuacct), && $ONLY == false ]]; then
		EXPECTED=$OVERHEAD
	fi
}

# placed TID vcpu|rest - prints each hierarchy where the thread is elsewhere
placed() {
	local name EXPECTED result=0
	cgroups_of "$1" || {
		echo "thread $1 is gone"
		return 1
	}
	for name in "${HIERARCHIES[@]}"; do
		expect_cgroup "$2" "$name"
		[[ ${CG[$name]-} == "$EXPECTED" ]] || {
			echo "$name: expected $EXPECTED, got ${CG[$name]-nothing}"
			result=1
		}
	done
	return "$result"
}

# threads PID - "TID NAME" of each
threads() {
	local task name
	for task in "/proc/$1/task"/[0-9]*; do
		if { IFS= read -r name <"$task/comm"; } 2>/dev/null; then
			echo "${task##*/} $name"
		fi
	done
}

# settled PID VCPUS - that many vCPU threads, and every thread where it belongs
settled() {
	local tid name count=0
	while read -r tid name; do
		if [[ $name =~ $VCPU_RE ]]; then
			count=$((count + 1))
			placed "$tid" vcpu >/dev/null || return 1
		else
			placed "$tid" rest >/dev/null || return 1
		fi
	done < <(threads "$1")
	[[ $count == "$2" ]]
}

# together PID - every thread of it is in the sandbox cgroup, in every hierarchy: nothing is split. Threads that
# end meanwhile do not count; those of a runtime do when it becomes the payload.
together() {
	local tid name hierarchy wrong seen=0 result=0
	while read -r tid name; do
		cgroups_of "$tid" || continue
		wrong=
		for hierarchy in "${HIERARCHIES[@]}"; do
			[[ ${CG[$hierarchy]-} == "$SANDBOX" ]] ||
				wrong+="thread '$name' in $hierarchy: expected $SANDBOX, got ${CG[$hierarchy]-nothing}"$'\n'
		done
		if [[ -n $wrong ]] && sleep 0.05 && [[ -d /proc/$1/task/$tid ]]; then
			printf %s "$wrong"
			result=1
		fi
		seen=$((seen + 1))
	done < <(threads "$1")
	((seen > 0)) || echo "process $1 is gone"
	return "$((result || !seen))"
}

# placed_or_ended PID TID ROLE - VMMs have threads that come and go
placed_or_ended() {
	placed "$2" "$3" || [[ ! -d /proc/$1/task/$2 ]]
}

# check_threads NAME PID VCPUS - waits, then one result for each thread
check_threads() {
	local tid name role problems count=0 seen=0
	wait_for 90 settled "$2" "$3" || :
	while read -r tid name; do
		role=rest
		if [[ $name =~ $VCPU_RE ]]; then
			role=vcpu
			count=$((count + 1))
		fi
		# One that was born just now, as KVM's own are when a guest first runs, is where its parent was
		# until the watcher looks again.
		wait_for 20 placed_or_ended "$2" "$tid" "$role" >/dev/null || :
		if ! problems=$(placed "$tid" "$role") && [[ ! -d /proc/$2/task/$tid ]]; then
			continue
		fi
		seen=$((seen + 1))
		if [[ -z $problems ]]; then
			ok "$1: thread '$name' is where a $role thread belongs, in ${#HIERARCHIES[@]} hierarchies"
		else
			fail "$1: thread '$name' ($tid) is where a $role thread belongs" "$problems"
		fi
	done < <(threads "$2")
	((seen > 0)) || fail "$1: process $2 has threads" "it has ended"
	check_eq "$1: number of vCPU threads" "$3" "$count"
}

# watcher_pid SANDBOX_ID - as its record says, "none" without
watcher_pid() {
	jq -er '.watcher.pid // empty | select(. > 0)' "$STATE/sandboxes/$1/record.json" 2>/dev/null || echo none
}

has_watcher() {
	is_alive "$(watcher_pid "$1")"
}

# watches_files SANDBOX_ID - its watcher has read the runtime's limits, as it has an inotify instance for what comes next
watches_files() {
	find "/proc/$(watcher_pid "$1")/fd" -lname '*inotify*' 2>/dev/null | grep -q .
}

is_alive() {
	local stat
	{ read -r stat <"/proc/$1/stat"; } 2>/dev/null && [[ ${stat##*) } != [ZX]* ]]
}

is_dead() {
	! is_alive "$1"
}

# --- running the program -----------------------------------------------------

# osc ARGS... - with this script's state directory and configuration; the time
# limit only keeps a hanging program from hanging the test
osc() {
	timeout -k 5 60 "$OSC" --state-dir "$STATE" --config "$CONF" "$@"
}

# configure JQ_FILTER - writes the configuration file. It names a layout, for hook entries that say
# `--layout=auto`, and believes threads by their names, as most VMMs here are played.
configure() {
	jq -n --arg parent "${OVERHEAD_PARENT-$BASE/overhead}" \
		"{overhead_parent: \$parent, layout: \"sibling\", vcpu_evidence: \"name\"} | $1" >"$CONF"
}

# helper NAME - path of a test program, compiled if nobody did
helper() {
	if [[ -n ${OSC_HELPERS-} && -x $OSC_HELPERS/$1 ]]; then
		echo "$OSC_HELPERS/$1"
		return
	fi
	if [[ ! -x $WORK/$1 ]]; then
		"${CC:-cc}" -std=gnu17 -O1 -static -pthread -o "$WORK/$1" "$TESTS/integration/$1.c" >&2 || return
	fi
	echo "$WORK/$1"
}

# --- bundles and the real runtime --------------------------------------------

CONTAINERS=()

# make_bundle NAME ARGS_JSON [JQ_FILTER] - $WORK/NAME with the host's /usr and
# /etc inside, so that the host's own QEMU runs in it, and a busybox at
# /busybox. Its cgroup is in $BASE, with a CPU quota where there can be one: on v2 nothing is split without.
make_bundle() {
	local bundle=$WORK/$1 dir binds='' quota=.
	! hierarchy_of cpu >/dev/null || quota='.linux.resources.cpu = {quota: 400000, period: 100000}'
	mkdir -p "$bundle/rootfs"
	install -m 0755 "$(type -P busybox)" "$bundle/rootfs/busybox"
	for dir in /usr /etc /bin /sbin /lib /lib32 /lib64 /libx32; do
		if [[ -L $dir ]]; then
			ln -sfn "$(readlink "$dir")" "$bundle/rootfs$dir"
		elif [[ -d $dir ]]; then
			mkdir -p "$bundle/rootfs$dir"
			binds+=",{\"destination\": \"$dir\", \"type\": \"bind\", \"source\": \"$dir\", \"options\": [\"rbind\", \"ro\"]}"
		fi
	done
	rm -f "$bundle/config.json"
	(cd "$bundle" && "$RUNTIME" spec)
	edit_config "$1" '.process.terminal = false | .process.args = $args | del(.process.rlimits)
		| .root = {path: "rootfs", readonly: false}
		| .mounts += $binds | .linux.cgroupsPath = $path
		| '"$quota | ${3:-.}" \
		--argjson args "$2" --argjson binds "[${binds:1}]" --arg path "$(cgroups_path "$1")"
}

# edit_config NAME JQ_FILTER [JQ_ARGS...]
edit_config() {
	local config=$WORK/$1/config.json filter=$2
	shift 2
	jq "$@" "$filter" "$config" >"$config.new"
	mv "$config.new" "$config"
}

# json_list STRING... - without control characters
json_list() {
	local string list=
	for string; do
		string=${string//\\/\\\\}
		list+=,\"${string//\"/\\\"}\"
	done
	echo "[${list:1}]"
}

# add_hooks NAME "STAGE..." [OPTIONS...] - registers our binary for each stage
add_hooks() {
	local name=$1 stages=$2
	shift 2
	edit_config "$name" 'reduce ($stages | split(" "))[] as $stage (.;
		.hooks[$stage] = [{path: $bin, timeout: 60, args: ($args + [$stage])}])' \
		--arg stages "$stages" --arg bin "$OSC" --argjson args \
		"$(json_list oci-sandbox-cgroup --state-dir "$STATE" --config "$CONF" "$@")"
}

# runtime_here KIND - how to call it. crun refuses a hybrid host whose v2 hierarchy has a controller, so there it
# sees none.
runtime_here() {
	if [[ $1 != crun || $MODE != hybrid || -z $(<"${CG_DIR[unified]}/cgroup.controllers") ]]; then
		echo "$1"
		return
	fi
	printf '#!/bin/sh\nexec unshare -m sh -c '"'umount %s && exec crun \"\$@\"'"' crun "$@"\n' "${CG_DIR[unified]}" >"$WORK/crun"
	chmod +x "$WORK/crun"
	echo "$WORK/crun"
}

oci() {
	local options=(--root "$WORK/runtime")
	[[ $MANAGER != systemd ]] || options+=(--systemd-cgroup)
	"$RUNTIME" "${options[@]}" "$@"
}

# run_container NAME - detached; sets PID
run_container() {
	CONTAINERS+=("$TAG-$1")
	if ! oci run -d --bundle "$WORK/$1" --pid-file "$WORK/$1/pid" "$TAG-$1" </dev/null >"$WORK/$1/log" 2>&1; then
		return 1
	fi
	PID=$(<"$WORK/$1/pid")
}

container_stopped() {
	[[ $(oci state "$1") =~ \"status\":\ ?\"stopped\" ]]
}

# stop_container NAME - and fails if poststop did: runtimes only warn of that
stop_container() {
	local log=$WORK/$1/log
	oci kill "$TAG-$1" KILL
	wait_for 20 container_stopped "$TAG-$1"
	if ! oci delete "$TAG-$1" 2>"$log" || grep -qi hook "$log"; then
		cat "$log"
		return 1
	fi
}

# pause_container NAME - of v1's freezer runc waits a few milliseconds only, and where
# CPUs are short the cgroup is not frozen by then
pause_container() {
	local log=$WORK/$1/pause.log deadline=$((SECONDS + 30))
	until oci pause "$TAG-$1" >"$log" 2>&1; do
		if ((SECONDS >= deadline)) || ! grep -q 'unable to freeze' "$log"; then
			cat "$log"
			return 1
		fi
	done
}

# qemu_args ACCELERATOR VCPUS - as JSON
qemu_args() {
	json_list "$(type -P qemu-system-x86_64)" -M pc -accel "$1" -m 64 -smp "$2" -display none \
		-nodefaults -object iothread,id=io0 -name g,debug-threads=on
}

# kvm_works - QEMU starts a guest with it
kvm_works() {
	local rc=0
	[[ -c /dev/kvm ]] || return 1
	timeout 3 qemu-system-x86_64 -M pc -accel kvm -m 64 -display none -nodefaults >/dev/null 2>&1 </dev/null || rc=$?
	[[ $rc == 124 ]]
}

# shellcheck source=../lib/fake.sh
. "$TESTS/lib/fake.sh"

# --- set up and clean up -----------------------------------------------------

cleanup() {
	local status=$? id pid dir
	trap - EXIT
	set +e
	if [[ -z $FINISHED ]]; then
		fail "$SCRIPT ran to its end" "it stopped early, with exit status $status"
	fi
	for id in "${CONTAINERS[@]}"; do
		oci delete --force "$id" >/dev/null 2>&1
	done
	# By pid, and only what we started or what sits in a cgroup of our own.
	for pid in $(still_started) $(our_processes); do
		kill -KILL "$pid" 2>/dev/null
	done
	for dir in $(cg_tagged); do
		while read -r pid; do
			[[ $pid == "$$" ]] || kill -KILL "$pid" 2>/dev/null
		done < <(cat "$dir/cgroup.procs" 2>/dev/null)
	done
	wait_for 60 no_job_left 2>/dev/null
	if [[ $MANAGER == systemd ]]; then
		for dir in $(units | sed -n 's/^unit: \([^ ]*\) .*/\1/p'); do
			end_unit "$dir"
		done
		systemctl stop "$TAG*.slice" 2>/dev/null
	fi
	for dir in $(cg_tagged); do
		wait_for 5 rmdir_gone "$dir"
	done
	# Ours only if empty and if we used it at all: rmdir refuses otherwise.
	if [[ ${OVERHEAD_PARENT-} == /kata_overhead ]]; then
		for dir in "${HIERARCHIES[@]}"; do
			rmdir "${CG_DIR[$dir]}/kata_overhead" 2>/dev/null
		done
	fi
	if [[ -n ${OSC_KEEP-} ]]; then
		echo "kept: $WORK"
	elif [[ -n $WORK ]]; then
		rm -rf --one-file-system "$WORK"
	fi
	report
}

setup() {
	if [[ $EUID -ne 0 ]]; then
		echo "$SCRIPT: cgroups can only be made by root" >&2
		exit 1
	fi
	if [[ ! -x ${OSC_BIN-} ]]; then
		echo "$SCRIPT: set OSC_BIN to the oci-sandbox-cgroup to test" >&2
		exit 1
	fi
	if [[ $MANAGER == systemd && ! -d /run/systemd/system ]]; then
		skip "$SCRIPT" "systemd does not run here"
		report
	fi
	find_hierarchies
	WORK=$(mktemp -d "${TMPDIR:-/tmp}/$TAG.XXXXXX")
	chmod 0755 "$WORK"
	trap cleanup EXIT
	trap 'exit 129' HUP
	trap 'exit 130' INT
	trap 'exit 143' TERM
	# A copy, so that its processes can be told from all others by their exe link.
	OSC=$WORK/oci-sandbox-cgroup
	install -m 0755 "$OSC_BIN" "$OSC"
	install -m 0755 "$OSC_BIN-systemd" "$OSC-systemd"
	STATE=$WORK/state
	CONF=$WORK/conf.json
	configure .
	find_foreign
	# Runtimes leave the parents which they create, so make ours before the first
	# snapshot.
	[[ $MANAGER != systemd ]] || systemctl start "$SLICE"
	cg_make "$BASE"
}

if [[ -z $OSC_LIB_ONLY ]]; then
	setup
fi
