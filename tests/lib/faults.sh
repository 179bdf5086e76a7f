# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# Faults at system calls: a stage runs once for each call that it makes, and each time the fault is at
# another one. For scripts that have sourced common.sh.
#
#   OSC_FAULT  the only run to try, as a failure prints it

# shellcheck disable=SC2034 # the scripts read and set these
# What the checks find wrong in the runs of one call, and what they count there.
PROBLEMS=()
declare -A TALLY=()
# The file with what the stage reads.
INPUT=

# What makes a record reach a disk: nothing where that is a tmpfs, which no reboot survives.
FSYNC=fsync
[[ ! $(stat -f -c %T "${WORK:-/}") =~ ^(tmpfs|ramfs)$ ]] || FSYNC=

can_trace() {
	strace -o /dev/null -e trace=none true 2>/dev/null
}

# tally WORD - counts a run as one of these
tally() {
	TALLY[$1]=$((${TALLY[$1]-0} + 1))
}

# run_with_fault N STAGE CALL FAULT - at the N-th call; 0: nowhere
run_with_fault() {
	local inject=()
	(($1 == 0)) || inject=(-e inject="$3:$4:when=$1")
	# In a shell of its own, which takes the news of a kill quietly. In a build with sanitizers the
	# search for leaks traces, too, and two cannot.
	(
		ASAN_OPTIONS=detect_leaks=0 timeout 60 strace -o "$WORK/trace" -e trace="$3" "${inject[@]}" \
			"$OSC" --state-dir "$STATE" --config "$CONF" "$2" <"$INPUT" >"$WORK/log" 2>&1
		exit $?
	) 2>/dev/null
}

# sweep_call NAME STAGE CALL FAULT PREPARE CHECK [WORD...] - the sweep of one call
sweep_call() {
	local stage=$2 call=$3 fault=$4 prepare=$5 check=$6 name="$1: $2, $4 at any $3"
	local calls=0 injected=0 n rc known word counts=
	shift 6
	if [[ -n ${OSC_FAULT-} && ${OSC_FAULT% \#*} != "$name" ]]; then
		skip "$name" "OSC_FAULT names another run"
		return
	fi
	PROBLEMS=()
	for ((n = 0; n <= calls; n++)); do
		[[ -z ${OSC_FAULT-} ]] || ((n == 0 || n == ${OSC_FAULT##*\#})) || continue
		known=${#PROBLEMS[@]} rc=0
		"$prepare" "$n"
		run_with_fault "$n" "$stage" "$call" "$fault" || rc=$?
		if ((n == 0)); then
			((rc == 0)) || PROBLEMS+=("without a fault: exit status $rc: $(<"$WORK/log")")
			calls=$(grep -c "^$call(" "$WORK/trace" || :)
		else
			injected=$((injected + $(grep -cE '\(INJECTED\)$|^\+\+\+ killed by SIGKILL ' "$WORK/trace" || :)))
		fi
		"$check" "$n" "$rc"
		((n > 0)) || TALLY=()
		((${#PROBLEMS[@]} == known)) || PROBLEMS+=("to repeat: OSC_FAULT='$name #$n' tests/integration/$SCRIPT")
	done
	((injected > 0)) || PROBLEMS+=("expected a fault to be injected, but none was, at $calls calls")
	for word; do
		[[ -n ${TALLY[$word]-} || -n ${OSC_FAULT-} ]] || PROBLEMS+=("expected some runs to be $word, but none of $injected was")
	done
	for word in "${!TALLY[@]}"; do
		counts+=", ${TALLY[$word]} $word"
	done
	if [[ ${#PROBLEMS[@]} -gt 0 ]]; then
		fail "$name: $calls calls x 1 fault, $injected injected$counts" "${PROBLEMS[@]}"
	else
		ok "$name: $calls calls x 1 fault, $injected injected$counts"
	fi
}

# sweep_faults NAME STAGE CALLS FAULT PREPARE CHECK [WORD...] - with one result for each of CALLS
#   CALLS      words, and FAULT one, as strace's inject= takes them: "mkdirat write", error=EIO, signal=KILL
#   PREPARE N  makes ready for a run, and sets INPUT if that is another file each time
#   CHECK N RC looks at what the run has left, adds to PROBLEMS what is wrong with it, and may `tally` it
#   WORD...    of which CHECK must have counted some
# Run 0 has no fault and tells how many calls there are; run N has it at the N-th of them.
sweep_faults() {
	local each
	for each in $3; do
		sweep_call "$1" "$2" "$each" "${@:4}"
	done
}
