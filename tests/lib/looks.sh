# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# Looks that fail: a command runs once for each system call by which it looks at something, and each time
# another one of them fails, with one errno after the other. For scripts that have sourced common.sh and
# faults.sh, which says what PROBLEMS, tally and INPUT are.
#
#   OSC_SWEEP    "all": every call with every errno; else as many as there is time for
#   OSC_SEED     which ones these are; printed
#   OSC_SECONDS  how long, for each command; default 5
#   OSC_FAULT    the only run to try, as a failure prints it; without " #...": all of that command

# shellcheck disable=SC2034 # the scripts read and set these
# shellcheck disable=SC2317 # functions are called by name

# What may fail, and how: of each manual page, or what file systems return besides.
declare -A LOOKS=(
	[openat]="ENOMEM EMFILE ENFILE EACCES EIO"
	[openat2]="ENOMEM EMFILE ENFILE EACCES EIO"
	[read]="EIO ENOMEM EINTR EACCES EISDIR"
	[pread64]="EIO ENOMEM EINTR EACCES EISDIR"
	[fstat]="ENOMEM EIO EACCES EOVERFLOW EBADF"
	[newfstatat]="ENOMEM EIO EACCES EOVERFLOW EPERM"
	[statx]="ENOMEM EIO EACCES EPERM EINVAL"
	[getdents64]="EIO ENOMEM EINTR EACCES EINVAL"
	[readlink]="EIO ENOMEM EACCES EPERM ENAMETOOLONG"
	[readlinkat]="EIO ENOMEM EACCES EPERM EBADF"
	[fstatfs]="EIO ENOMEM EINTR EOVERFLOW EBADF"
	[statfs]="EIO ENOMEM EINTR EOVERFLOW EACCES"
	[access]="EIO ENOMEM EACCES ETXTBSY EPERM"
	[faccessat]="EIO ENOMEM EACCES ETXTBSY EPERM"
	[faccessat2]="EIO ENOMEM EACCES ETXTBSY EPERM"
	[pidfd_open]="EMFILE ENFILE ENOMEM ENODEV EINVAL"
)
# Set by a check that finds what must not be touched in ruins: what came after it would be blamed for it.
RUINED=
SEED=${OSC_SEED:-$RANDOM}
TRIED=0
SURVIVED=0

# ours_traced OPTION... -- ARGS... - the program under strace
ours_traced() {
	local options=() program=$OSC
	while [[ $1 != -- ]]; do
		options+=("$1")
		shift
	done
	shift
	# In a build with sanitizers the search for leaks traces, too, and two cannot.
	# A verb becomes the other program at once, whose dynamic linker is not ours.
	[[ $1 == *start || $1 == *stop || $1 == create* ]] || program+=-systemd
	ASAN_OPTIONS=detect_leaks=0 timeout 60 strace "${options[@]}" "$program" --state-dir "$STATE" --config "$CONF" "$@" \
		<"$INPUT" >"$WORK/out" 2>"$WORK/log"
}

# What runs: OPTIONS of strace, "--", and the ARGS of sweep_looks; and what its first call has in it. What
# comes before is the dynamic linker's: main() begins by asking whether stdin, stdout and stderr are open.
RUN=ours_traced
FIRST='poll([{fd=0'

# looks_of TRACE - "CALL N ERRNO" for each of its calls
looks_of() {
	local call n errno
	FIRST=$FIRST awk 'match($0, /^[a-z0-9_]+\(/) {
		call = substr($0, 1, RLENGTH - 1)
		n[call]++
		if (index($0, ENVIRON["FIRST"])) main = 1
		if (main) print call, n[call]
	}' "$1" | while read -r call n; do
		for errno in ${LOOKS[$call]-}; do
			echo "$call $n $errno"
		done
	done
}

# in_order - all of them, or shuffled by the seed
in_order() {
	if [[ ${OSC_SWEEP-} == all ]]; then
		cat
	else
		awk -v seed="$SEED" 'BEGIN { srand(seed) } { printf "%.9f %s\n", rand(), $0 }' | sort -n | cut -d ' ' -f 2-
	fi
}

# one_look CALL N ERRNO CHECK ARGS... - and what it comes to
one_look() {
	local call=$1 n=$2 errno=$3 check=$4 rc=0 known=${#PROBLEMS[@]}
	shift 4
	"$RUN" -o "$WORK/trace" -e trace="$call" -e inject="$call:error=$errno:when=$n" -- "$@" || rc=$?
	[[ $(<"$WORK/trace") != *'(INJECTED)'* ]] || INJECTED=$((INJECTED + 1))
	if ((rc != 0)); then
		tally failed
		[[ $(grep -c '' "$WORK/log") == 1 ]] || PROBLEMS+=("exit status $rc, expected one line: $(<"$WORK/log")")
		((rc == 1 || rc == 2)) || PROBLEMS+=("exit status $rc")
	fi
	"$check" "$rc"
	((${#PROBLEMS[@]} > known)) || return 0
	PROBLEMS+=("... exit status $rc: $(head -n 2 "$WORK/log")"
		"... at $(grep -F '(INJECTED)' "$WORK/trace" | head -n 1)"
		"... to repeat: OSC_FAULT='$NAME #$call $n $errno' tests/integration/$SCRIPT")
	return 1
}

# sweep_looks NAME PREPARE CHECK ARGS... - of `oci-sandbox-cgroup ARGS <$INPUT`, with one result
#   PREPARE   makes ready for a run
#   CHECK RC  looks at what it has left, and ends it; RC is empty for the run without a fault, which tells how
#             it has to be
sweep_looks() {
	local NAME=$1 prepare=$2 check=$3 INJECTED=0 all calls tried=0 good=0 rc=0 deadline call n errno word counts=
	shift 3
	if [[ -n ${OSC_FAULT-} && ${OSC_FAULT% \#*} != "$NAME" ]]; then
		skip "$NAME" "OSC_FAULT names another run"
		return
	fi
	PROBLEMS=() TALLY=() RUINED=
	"$prepare"
	# An architecture need not have all of them.
	printf -v all '?%s,' "${!LOOKS[@]}"
	"$RUN" -o "$WORK/looks" -e trace="$all?poll,?ppoll" -- "$@" || rc=$?
	"$check" ""
	looks_of "$WORK/looks" >"$WORK/cases"
	calls=$(cut -d ' ' -f 1,2 "$WORK/cases" | uniq | wc -l)
	deadline=$((SECONDS + ${OSC_SECONDS-5}))
	while read -r call n errno; do
		if [[ ${OSC_FAULT-} == *" #"* ]]; then
			[[ ${OSC_FAULT##*\#} == "$call $n $errno" ]] || continue
		elif [[ ${OSC_SWEEP-} != all ]] && ((tried >= 3 && SECONDS >= deadline)); then
			break
		fi
		tried=$((tried + 1))
		"$prepare"
		! one_look "$call" "$n" "$errno" "$check" "$@" || good=$((good + 1))
		[[ -z $RUINED ]] || break
	done < <(in_order <"$WORK/cases")
	[[ -z $RUINED ]] || PROBLEMS+=("and nothing else was tried")
	TRIED=$((TRIED + tried)) SURVIVED=$((SURVIVED + good))
	((INJECTED > 0)) || PROBLEMS+=("expected a fault to be injected, but none was, at $calls calls")
	for word in "${!TALLY[@]}"; do
		counts+=", ${TALLY[$word]} $word"
	done
	counts="$NAME: $calls calls x 5 errnos, $tried tried, $INJECTED injected, $good survived$counts"
	if [[ ${#PROBLEMS[@]} -gt 0 ]]; then fail "$counts" "${PROBLEMS[@]}"; else ok "$counts"; fi
}
