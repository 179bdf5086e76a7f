# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# The same container played without the hook and with it, under an engine: what was seen of each
# operation, and how it differs. And what layout nested makes on v2: C is the runtime's cgroup,
# where init is, K is C/kata_vcpu. Needs common.sh.

# shellcheck disable=SC2034,SC2153,SC2154,SC2317 # the scripts set, use and call these
# Who it is played for: bare is without the hook. What was seen, by HOOK and operation.
HOOK=
declare -A SEEN=()
KEYS=()
# What is known to differ: DOCUMENTED[HOOK:KEY] is a regular expression of all that is seen, and
# REASON[HOOK:KEY] says why. It is skipped, as nobody wants it so.
declare -A DOCUMENTED=() REASON=()
C=
K=

# see KEY VALUE - has no pid or id in it
see() {
	if [[ $HOOK == bare ]]; then
		KEYS+=("$1")
	fi
	SEEN[$HOOK:$1]=$2
}

# see_when KEY SECONDS EXPECTED COMMAND... - what the command prints, once that is what is expected
see_when() {
	local key=$1 seconds=$2 expected=$3
	shift 3
	prints() { [[ $("$@" 2>&1) == "$expected" ]]; }
	wait_for "$seconds" prints "$@" || :
	see "$key" "$("$@" 2>&1 || :)"
}

# see_engine KEY COMMAND... - its exit status, and what it has to complain of
see_engine() {
	local key=$1
	shift
	capture "$@"
	see "$key" "$RC $(head -n 3 <<<"$ERR" | xargs -0)"
}

# check_same NAME - one result for each operation, between HOOK and without
check_same() {
	local key bare hook
	for key in "${KEYS[@]}"; do
		bare=${SEEN[bare:$key]} hook=${SEEN[$HOOK:$key]-not seen}
		if [[ $bare == "$hook" ]]; then
			ok "$1, $HOOK, $key: as without the hook: $(head -n 1 <<<"$bare" | cut -c -100)"
		elif [[ -n ${DOCUMENTED[$HOOK:$key]-} && $hook =~ ^(${DOCUMENTED[$HOOK:$key]})$ ]]; then
			skip "$1, $HOOK, $key: as without the hook" "${REASON[$HOOK:$key]}: without: $bare; with: $hook"
		else
			fail "$1, $HOOK, $key: as without the hook" "$(diff <(echo "without: $bare") <(echo "with: $hook") || :)"
		fi
	done
}

# about LOW GOT HIGH - in words, whether an engine's number is that of C
about() {
	if (($1 <= $2 && $2 <= $3)); then echo "as in C"; else echo "$2, in C $1 to $3"; fi
}

# document HOOK KEY REGEX REASON
document() {
	DOCUMENTED[$1:$2]=$3
	REASON[$1:$2]=$4
}

# forget - what was seen, before the next comparison
forget() {
	SEEN=() KEYS=() DOCUMENTED=() REASON=()
}

# --- cgroups -----------------------------------------------------------------

# remember_c PID - where the runtime has put init
remember_c() {
	cgroups_of "$1" || return
	C=${CG[unified]} K=${CG[unified]}/kata_vcpu
}

# c_file FILE - C's
c_file() {
	cat "${CG_DIR[unified]}$C/$1"
}

# vcpus_of PID - the TIDs
vcpus_of() {
	local tid name
	while read -r tid name; do
		[[ ! $name =~ $VCPU_RE ]] || echo "$tid"
	done < <(threads "$1")
}

# quota_over TID - the smallest of what binds it, in microseconds per 100 ms, or "max"
quota_over() {
	local cgroup least=max quota period
	cgroups_of "$1" || return
	cgroup=${CG[unified]}
	while [[ -e ${CG_DIR[unified]}$cgroup/cpu.max ]]; do
		read -r quota period <"${CG_DIR[unified]}$cgroup/cpu.max"
		if [[ $quota != max ]]; then
			quota=$((quota * 100000 / period))
			[[ $least != max ]] && ((least <= quota)) || least=$quota
		fi
		[[ -n $cgroup ]] || break
		cgroup=${cgroup%/*}
	done
	echo "$least"
}

# vcpu_quota PID - that of its vCPU threads
vcpu_quota() {
	local tid
	for tid in $(vcpus_of "$1"); do
		quota_over "$tid"
	done | sort -u | xargs
}

# is_split PID VCPUS QUOTA - the vCPU threads are in K, which has the quota, and C's is lifted
is_split() {
	local tid problem got='' want=''
	for tid in $(vcpus_of "$1"); do
		cgroups_of "$tid" && got+="${CG[unified]} "
	done
	for ((tid = 0; tid < $2; tid++)); do want+="$K "; done
	got+="$(cat "${CG_DIR[unified]}$K/cpu.max" 2>&1), $(c_file cpu.max), $(cat "${CG_DIR[unified]}$K/cpu.weight" 2>&1)"
	want+="$3 100000, max 99999, $((100 * $2))"
	[[ $got == "$want" ]] || {
		echo "expected $want; got $got"
		return 1
	}
}

# check_split NAME PID VCPUS QUOTA
check_split() {
	local name=$1
	shift
	# Until then the VMM is under its quota, where CPUs are slow anyway.
	check_wait "$name" 120 is_split "$@"
}

# check_watcher NAME PID - it lives outside of C
check_watcher() {
	check "$1: the watcher is outside of the runtime's cgroup" outside "$2"
}

# outside PID
outside() {
	cgroups_of "$1" || return
	[[ ${CG[unified]}/ != "${C%/container}"/* ]] || {
		echo "it is in ${CG[unified]}"
		return 1
	}
}
