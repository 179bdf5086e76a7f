#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# What a hook and a watcher cost in memory, and that libsystemd is not loaded
# where only cgroup files are written.

# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"

PEAK=$(helper peak_rss)
# A setup is at 2,052: files are mapped by 64 KiB at a time, and their layout alone moves that.
HOOK_MAX_KIB=2112
WATCHER_MAX_KIB=200

# measured STAGE STATE - runs the hook; sets RC, ERR, KIB and MAPS
measured() {
	capture "$PEAK" "$WORK/report" "$OSC" --state-dir "$STATE" --config "$CONF" "$1" <"$WORK/footprint/$2"
	KIB=$(sed -n 's/^vmhwm_kib=//p' "$WORK/report")
	MAPS=$(sed -n 's/^map=//p' "$WORK/report")
}

# at_most NAME LIMIT KIB
at_most() {
	if [[ $3 =~ ^[0-9]+$ ]] && (($3 > 0 && $3 <= $2)); then
		ok "$1: $3 KiB, at most $2"
	else
		fail "$1" "expected at most $2 KiB" "got: ${3:-nothing}"
	fi
}

# The counter-check: the measuring itself sees a library and a size.
capture "$PEAK" "$WORK/report" "$(type -P bash)" -c 'exit 3'
check_exit "measuring passes the exit status through" 3
check_match "measuring sees libraries" 'map=/[^ ]*/libc\.so\.6' "$(<"$WORK/report")"

if [[ $(nm -D "$OSC" 2>/dev/null || :) == *__asan_init* ]]; then
	skip "memory of the program" "this build has AddressSanitizer in it"
	finish
fi

before=$(snapshot)
for only in false true; do
	configure ".sandbox_cgroup_only = $only"
	fake_container footprint
	measured prestart created
	check_exit "setup, only=$only" 0
	at_most "setup, only=$only: peak memory" $HOOK_MAX_KIB "$KIB"
	check_eq "setup, only=$only: libsystemd is not loaded" "" "$(grep -i systemd <<<"$MAPS" || :)"
	if [[ $only == false ]]; then
		check_wait "there is a watcher" 5 has_watcher footprint
		# Pages of files are shared by all watchers of a host.
		at_most "watcher: private memory" $WATCHER_MAX_KIB \
			"$(awk '/^Anonymous:/ { print $2 }' "/proc/$(watcher_pid footprint)/smaps_rollup")"
	fi
	end_process "$PID"
	measured poststop stopped
	check_exit "teardown, only=$only" 0
	at_most "teardown, only=$only: peak memory" $HOOK_MAX_KIB "$KIB"
	check_eq "teardown, only=$only: libsystemd is not loaded" "" "$(grep -i systemd <<<"$MAPS" || :)"
	drop_fake footprint "$PID"
	check_nothing_left "only=$only" "$before"
done

finish
