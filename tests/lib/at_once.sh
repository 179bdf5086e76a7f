# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# Hooks that run at once.

HOOKS=()

# start_hook NAME STAGE INPUT LOG - notes its exit status itself: where so many processes come and go that their
# numbers are given again, bash takes the end of one job for that of another, and may wait for it for ever
start_hook() {
	rm -f "$4.status"
	{
		osc "$2" <"$3" >"$4" 2>&1
		echo "$?" >"$4.status"
	} &
	disown
	HOOKS+=("$4 $1")
}

# await_hooks - all that were started; prints those that failed
await_hooks() {
	local each log name status result=0
	for each in "${HOOKS[@]}"; do
		read -r log name <<<"$each"
		wait_for 120 test -s "$log.status" || :
		status=$(cat "$log.status" 2>&1)
		if [[ $status != 0 ]]; then
			echo "$name: exit status $status: $(<"$log")"
			result=1
		fi
	done
	HOOKS=()
	return "$result"
}
