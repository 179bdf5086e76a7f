# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# The cgroup C which has everything until there are vCPUs, its split, and what holds a thread. Needs
# common.sh and limits.sh. C is the runtime's with layout nested, and ours with sibling.
#
#   v2   vCPU threads are in C/kata_vcpu with the quota, everything else in C, whose own quota is
#        lifted ("max 99999")
#   v1   vCPU threads are in C; everything else is in another cgroup: PARENT/kata_NAME, in the cpu
#        hierarchy alone, or with sibling the overhead cgroup, where CPU time is counted, too

# Variables come from common.sh and limits.sh, and go to who sources this.
# shellcheck disable=SC2034,SC2153,SC2154

# That cgroup, where vCPUs and all others are once it is split, and where init is in each hierarchy
# before.
LAYOUT=${OSC_LAYOUT:-nested}
C=
APART=
VMM=
declare -A HOME_OF=()

# use_nested ONLY [JQ_FILTER] - the configuration. A host with /dev/kvm does not believe names.
use_nested() {
	ONLY=$1
	configure ".layout = \"$LAYOUT\" | .vcpu_evidence = \"name\" | .sandbox_cgroup_only = $1 | ${2-.}"
}

# remember_home PID ID - it is where the runtime, or prestart, has put it: sets C, VCPU, OVERHEAD and
# APART, the one that a split makes
remember_home() {
	local name
	cgroups_of "$1" || return
	HOME_OF=()
	for name in "${!CG[@]}"; do
		HOME_OF[$name]=${CG[$name]}
	done
	place_split "${CG[$(hierarchy_of cpu)]}" "$2"
}

# place_split CGROUP ID - where that one is split
place_split() {
	C=$1
	if [[ $MODE == v2 ]]; then
		APART=$C/kata_vcpu VCPU=$APART OVERHEAD=$C
	elif [[ $LAYOUT == sibling ]]; then
		set_layout "${2#"$TAG-"}" "$2"
		APART=$OVERHEAD VCPU=$C
	else
		APART=${C%/*}/kata_${C##*/} VCPU=$C OVERHEAD=$APART
	fi
}

# expect_cgroup vcpu|rest|whole HIERARCHY - where the split puts it, or nothing if there is none
expect_cgroup() {
	EXPECTED=${HOME_OF[$2]-}
	[[ $ONLY == false && $1 != whole ]] || return 0
	[[ $2 == "$(hierarchy_of cpu)" || ($LAYOUT == sibling && ,$2, == *,cpuacct,*) ]] || return 0
	if [[ $1 == vcpu ]]; then EXPECTED=$VCPU; else EXPECTED=$OVERHEAD; fi
}

# --- what holds a thread -----------------------------------------------------

# quota_in CGROUP - its own, in microseconds per 100 ms, or "max"
quota_in() {
	local quota period dir=${CG_DIR[$(hierarchy_of cpu)]}$1
	if [[ $MODE == v2 && -d $dir && ! -e $dir/cpu.max ]]; then
		quota=max # the controller is not enabled there
	elif [[ $MODE == v2 ]]; then
		read -r quota period <"$(cg_file cpu "$1" cpu.max)" || return
	else
		quota=$(<"$(cg_file cpu "$1" cpu.cfs_quota_us)") period=$(<"$(cg_file cpu "$1" cpu.cfs_period_us)") || return
	fi 2>/dev/null
	case $quota in
	max | -1) echo max ;;
	*) echo $((quota * 100000 / period)) ;;
	esac
}

# quota_over TID - the smallest of its cgroup's and those above, below $BASE
quota_over() {
	local cgroup least=max quota
	cgroups_of "$1" || return
	cgroup=${CG[$(hierarchy_of cpu)]}
	while [[ $cgroup == "$BASE"/* ]]; do
		quota=$(quota_in "$cgroup") || return
		if [[ $quota != max ]] && [[ $least == max || $quota -lt $least ]]; then
			least=$quota
		fi
		cgroup=${cgroup%/*}
	done
	echo "$least"
}

# vcpus_of PID - the TIDs
vcpus_of() {
	local tid name
	while read -r tid name; do
		[[ ! $name =~ $VCPU_RE ]] || echo "$tid"
	done < <(threads "$1")
}

# vcpus_held PID QUOTA - every vCPU thread is under that quota, or a smaller one
vcpus_held() {
	local tid quota result=0
	for tid in $(vcpus_of "$1"); do
		quota=$(quota_over "$tid") || continue
		if [[ $quota == max ]] || ((quota > $2)); then
			echo "vCPU thread $tid is under $quota instead of $2"
			result=1
		fi
	done
	return "$result"
}

# set_quota CGROUP US - as a runtime writes it
set_quota() {
	if [[ $MODE == v2 ]]; then
		echo "${2/#-1/max} 100000" >"$(cg_file cpu "$1" cpu.max)"
	else
		echo "$2" >"$(cg_file cpu "$1" cpu.cfs_quota_us)"
	fi
}

# throttled CGROUP - how often
throttled() {
	awk '$1 == "nr_throttled" { print $2 }' "$(cg_file cpu "$1" cpu.stat)"
}

throttled_above() {
	(($(throttled "$1") > $2))
}

# --- the split ---------------------------------------------------------------

# cg_text CONTROLLER CGROUP FILE - "-" for none
cg_text() {
	local CG_FILE
	find_cg_file "$@" && cat "$CG_FILE" 2>/dev/null || echo -
}

# is_split PID VCPUS QUOTA [OVERHEAD_QUOTA] - each thread is where it belongs, and held by what it has to be
is_split() {
	local tid name problem quota vcpus=0 others=max result=0
	while read -r tid name; do
		quota=rest
		if [[ $name =~ $VCPU_RE ]]; then
			quota=vcpu vcpus=$((vcpus + 1))
		fi
		if ! problem=$(placed "$tid" $quota) && [[ -d /proc/$1/task/$tid ]]; then
			echo "thread '$name': $problem"
			result=1
		fi
	done < <(threads "$1")
	[[ $vcpus == "$2" ]] || {
		echo "expected $2 vCPU threads, got $vcpus"
		result=1
	}
	for tid in $(vcpus_of "$1"); do
		quota=$(quota_over "$tid") || continue
		[[ $quota == "$3" ]] || {
			echo "vCPU thread $tid: expected to be under $3, is under $quota"
			result=1
		}
	done
	if [[ $MODE != v2 ]]; then
		others=${4-max}
		[[ $(quota_in "$OVERHEAD") == "$others" ]] || {
			echo "$OVERHEAD: expected quota $others, got $(quota_in "$OVERHEAD")"
			result=1
		}
		return "$result"
	fi
	# Nor is it bound further up, as by the scope in which crun makes a cgroup of its own.
	quota=$(quota_over "$1") || return
	[[ -n ${4-} || $quota == max ]] || {
		echo "process $1: expected to be under no quota, is under $quota"
		result=1
	}
	[[ -z ${4-} ]] || others=$(($3 + $4))
	problem="$(cg_text cpu "$C" cpu.max), $(cg_text cpu "$C" cgroup.subtree_control), $(cg_text cpu "$C" cgroup.type)"
	problem+=", $(cg_text cpu "$VCPU" cgroup.type), weight $(cg_text cpu "$VCPU" cpu.weight)"
	quota="$others 99999, cpu, domain threaded, threaded, weight $(($2 > 100 ? 10000 : 100 * $2))"
	[[ $problem == "$quota" ]] || {
		echo "$C and $VCPU: expected $quota; got $problem"
		result=1
	}
	return "$result"
}

# check_split NAME PID VCPUS QUOTA [OVERHEAD_QUOTA]
check_split() {
	local name=$1
	shift
	check_wait "$name" 30 is_split "$@"
}

# apart_threads - who is set apart, but for the process that keeps a scope of systemd's from ending
apart_threads() {
	local tid
	for tid in $(cat "${CG_DIR[$(hierarchy_of cpu)]}$APART/"{cgroup.threads,tasks} 2>/dev/null || :); do
		[[ $APART == *.scope && $(cat "/proc/$tid/comm" 2>&1) == osc-hold ]] || echo "$tid"
	done
}

# is_whole PID QUOTA [left] - as without the hook: all threads are in C, with its quota, and nothing of the
# split is there, but for a scope, which is made with the sandbox. With "left": what the split has made may be, but nobody
# is in it.
is_whole() {
	local tid name problem result=0
	while read -r tid name; do
		if ! problem=$(placed "$tid" whole) && [[ -d /proc/$1/task/$tid ]]; then
			echo "thread '$name': $problem"
			result=1
		fi
	done < <(threads "$1")
	[[ $(quota_in "$C") == "$2" ]] || {
		echo "$C: expected quota $2, got $(quota_in "$C")"
		result=1
	}
	if [[ -n ${3-} || $APART == *.scope ]]; then
		problem=$(apart_threads)
		[[ -z $problem ]] || {
			echo "$APART still holds: ${problem//$'\n'/ }"
			result=1
		}
		return "$result"
	fi
	cg_gone "$APART" || result=1
	if [[ $MODE == v2 ]]; then
		problem="$(cg_text cpu "$C" cgroup.type), '$(cg_text cpu "$C" cgroup.subtree_control)'"
		[[ $problem == "domain, ''" ]] || {
			echo "$C: expected domain, ''; got $problem"
			result=1
		}
	fi
	return "$result"
}

# placement_says ID REGEX - why its vCPUs are where they are
placement_says() {
	local why
	why=$(osc show "$1" --json | jq -r '.placement.state + ": " + .placement.why')
	[[ $why =~ $2 ]] || {
		echo "expected to match: $2; got $why"
		return 1
	}
}

# --- containers --------------------------------------------------------------

# create_nested NAME - by the runtime, and remembers where init is before it is started. Sets PID.
create_nested() {
	CONTAINERS+=("$TAG-$1")
	rm -f "$WORK/$1/pid"
	oci create --bundle "$WORK/$1" --pid-file "$WORK/$1/pid" "$TAG-$1" </dev/null >"$WORK/$1/log" 2>&1 || return
	PID=$(<"$WORK/$1/pid")
	remember_home "$PID" "$TAG-$1"
}

# child_of PID NAME - its first child of that name
child_of() {
	local child children
	read -ra children <"/proc/$1/task/$1/children" || :
	for child in "${children[@]}"; do
		[[ $(cat "/proc/$child/comm" 2>/dev/null) != "$2" ]] || {
			echo "$child"
			return
		}
	done
	return 1
}

# start_vmm NAME ARGS... - fake_vmm beside the init of a container that fake_container has made. Sets VMM.
start_vmm() {
	local name=$1
	shift
	"$(helper fake_vmm)" "$@" >/dev/null 2>&1 &
	VMM=$!
	disown
	started "$VMM"
	cg_enter "$C" "$VMM"
}

# enable_cpu - in the cgroups of cgroup2 down to those of our containers, as a runtime does
enable_cpu() {
	local file
	[[ $MODE == v2 && $MANAGER != systemd ]] || return 0
	for file in "${CG_DIR[unified]}"{,"$BASE"}/cgroup.subtree_control; do
		grep -qw cpu "$file" || echo +cpu >"$file"
	done
}

# drop_nested NAME PID - as drop_fake, when it is split: runtimes remove from the bottom up
drop_nested() {
	local own
	end_process "$2"
	own=$(own_cgroup "$1")
	[[ $MODE != v2 ]] || wait_for 5 rmdir_gone "${CG_DIR[unified]}$own/kata_vcpu" || :
	cg_remove "$own"
}

# fake_nested NAME QUOTA - a container that nobody but us has made, with init alone
fake_nested() {
	enable_cpu
	fake_container "$1" ".linux.resources = {cpu: {quota: $2, period: 100000}}"
	remember_home "$PID" "$1"
	set_quota "$C" "$2"
}

# used_us CGROUP - the CPU time that the kernel has counted there
used_us() {
	if [[ $MODE == v2 ]]; then
		sed -n 's/^usage_usec //p' "${CG_DIR[unified]}$1/cpu.stat"
	else
		echo $(($(cat "$(cg_file cpuacct "$1" cpuacct.usage)") / 1000))
	fi
}
