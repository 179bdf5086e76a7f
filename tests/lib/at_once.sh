# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# Hooks that run at once.

HOOKS=()

# start_hook NAME STAGE INPUT LOG - notes its exit status itself: where many processes come and go bash has one
# job's number for another one's, and no status of either then
start_hook() {
	rm -f "$4.status"
	{
		osc "$2" <"$3" >"$4" 2>&1
		echo "$?" >"$4.status"
	} &
	HOOKS+=("$! $4 $1")
}

# await_hooks - all that were started; prints those that failed
await_hooks() {
	local each pid log name status result=0
	for each in "${HOOKS[@]}"; do
		read -r pid log name <<<"$each"
		wait "$pid" 2>/dev/null || :
		wait_for 60 test -s "$log.status"
		status=$(cat "$log.status" 2>&1)
		if [[ $status != 0 ]]; then
			echo "$name: exit status $status: $(<"$log")"
			result=1
		fi
	done
	HOOKS=()
	return "$result"
}
