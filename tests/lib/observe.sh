# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# What a user sees of a container, by the runtime's own operations and in its
# cgroups. Needs common.sh and limits.sh.

# Variables come from common.sh, and go to who sources this.
# shellcheck disable=SC2034,SC2153,SC2154

# What `update` asks for.
NEW_QUOTA=30000
NEW_MEMORY=$((256 << 20))

read -r VERSION < <("$RUNTIME" --version)
KIND=runc
[[ $VERSION != crun* ]] || KIND=crun

# reads_threaded - whether this runtime can, of a cgroup below its own
reads_threaded() {
	[[ $KIND == runc && ! $VERSION =~ ^runc\ version\ 1\.[01]\. ]]
}

# status NAME - as the runtime says
status() {
	oci state "$TAG-$1" 2>&1 | jq -r .status 2>&1
}

# cpu_ticks PID - of all its threads
cpu_ticks() {
	local stat
	stat=$(<"/proc/$1/stat")
	# shellcheck disable=SC2086 # words
	set -- ${stat##*) }
	echo $((${12} + ${13}))
}

# used PID TICKS - at least that much CPU time in its life
used() {
	(($(cpu_ticks "$1") >= $2))
}

# open_shm - SHM becomes a file in memory without a name elsewhere: it goes with this script, or with close_shm
SHM=
open_shm() {
	local file
	file=$(mktemp /dev/shm/osc-test-XXXXXX)
	exec {SHM_FD}<>"$file"
	rm "$file"
	SHM=/proc/$$/fd/$SHM_FD
}

close_shm() {
	exec {SHM_FD}>&-
}

# fill_memory CGROUP FILE MIB - from inside of the sandbox, whose memory it is
fill_memory() {
	local procs
	procs=$(cg_file memory "$1" cgroup.procs)
	(echo "$BASHPID" >"$procs" && head -c "$(($3 << 20))" /dev/zero >"$2")
}

# busy_firmware FILE - for a guest that never rests: one instruction, at the reset vector, jump to itself
busy_firmware() {
	truncate -s 65520 "$1"
	printf '\xeb\xfe%14s' '' >>"$1"
}

# rests PID - uses no CPU time for so long that it is not for want of a CPU
rests() {
	local was now
	was=$(cpu_ticks "$1")
	sleep 1
	now=$(cpu_ticks "$1")
	[[ $now == "$was" ]] || {
		echo "process $1 used $((now - was)) ticks"
		return 1
	}
}

# check_rests NAME PID
check_rests() {
	if wait_for 10 rests "$2" >"$WORK/rests"; then
		ok "$1"
	else
		fail "$1" "$(tail -n 1 "$WORK/rests")"
	fi
}

# check_runs NAME PID - it uses CPU time from now on
check_runs() {
	check_wait "$1" 15 used "$2" $(($(cpu_ticks "$2") + 10))
}

# cpu_usage CGROUP - in its own unit
cpu_usage() {
	if [[ $MODE == v2 ]]; then
		awk '$1 == "usage_usec" { print $2 }' "${CG_DIR[unified]}$1/cpu.stat"
	else
		cat "$(cg_file cpuacct "$1" cpuacct.usage)"
	fi
}

cpu_usage_above() {
	(($(cpu_usage "$1") > $2))
}

# memory_usage CGROUP - in bytes
memory_usage() {
	local file=memory.usage_in_bytes
	[[ $MODE != v2 ]] || file=memory.current
	cat "$(cg_file memory "$1" $file)"
}

# check_between NAME LOW HIGH GOT
check_between() {
	if [[ $4 =~ ^[0-9]+$ ]] && (($4 >= $2 && $4 <= $3)); then
		ok "$1"
	else
		fail "$1" "expected: a number from $2 to $3" "got:      $4"
	fi
}

# is_in PID CGROUP - or below it, in each hierarchy which has that cgroup
is_in() {
	local name result=0 seen=0
	cgroups_of "$1" || return 1
	for name in "${HIERARCHIES[@]}"; do
		[[ -d ${CG_DIR[$name]}$2 ]] || continue
		seen=$((seen + 1))
		[[ ${CG[$name]-}/ == "$2"/* ]] || {
			echo "$name: expected $2, got ${CG[$name]-nothing}"
			result=1
		}
	done
	((seen > 0)) && return "$result"
}

# pids_listed NAME - by the runtime's ps
pids_listed() {
	oci ps --format json "$TAG-$1" 2>&1 | jq '. // [] | sort[]' 2>&1
}

# check_limit NAME CGROUP_OF_CPU CGROUP_OF_MEMORY QUOTA MEMORY
check_limit() {
	if [[ $MODE == v2 ]]; then
		check_file "$1" cpu "$2" cpu.max "$4 $LIMIT_PERIOD"
		check_file "$1" memory "$3" memory.max "$5"
	else
		check_file "$1" cpu "$2" cpu.cfs_quota_us "$4"
		check_file "$1" memory "$3" memory.limit_in_bytes "$5"
	fi
}

# quota_is CGROUP US
quota_is() {
	if [[ $MODE == v2 ]]; then
		[[ $(<"$(cg_file cpu "$1" cpu.max)") == "$2 $LIMIT_PERIOD" ]]
	else
		[[ $(<"$(cg_file cpu "$1" cpu.cfs_quota_us)") == "$2" ]]
	fi
}

# A VMM and a process beside it that takes all memory, once it is told to. For a shell of a container.
STARVED='{ until [ -e /go ]; do /busybox sleep 0.1; done; exec /busybox tail /dev/zero; } & exec /fake_vmm "CPU 0/KVM"'

# starve PID - of that VMM, which is the one to be killed for it
starve() {
	local child
	echo 1000 >"/proc/$1/oom_score_adj"
	for child in $(<"/proc/$1/task/$1/children"); do
		echo -500 >"/proc/$child/oom_score_adj"
	done
	touch "/proc/$1/root/go"
}
