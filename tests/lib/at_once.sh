# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# Hooks that run at once.

HOOKS=()

# start_hook NAME STAGE INPUT LOG - a shell of its own notes its exit status: where so many processes come and go that
# their numbers are given again, bash may take the end of one for that of another, and wait for ever
start_hook() {
	rm -f "$4.status"
	# shellcheck disable=SC2016 # for that shell
	sh -c '"$@"; echo "$?" >"$0"' "$4.status" timeout -k 5 60 "$OSC" --state-dir "$STATE" --config "$CONF" "$2" <"$3" >"$4" 2>&1 &
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
