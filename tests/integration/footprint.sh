#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# What a hook and a watcher cost in memory, that libsystemd is not loaded where only
# cgroup files are written, and that no config.json makes a hook expensive.

# shellcheck disable=SC2317 # functions are called by name
# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"

PEAK=$(helper peak_rss)
# A setup is at 1,208; with shared libraries more. Of a file that is cached the kernel maps all that is near to what
# is used, so each page of the program counts: it has no verbs for that reason.
HOOK_MAX_KIB=1280 WATCHER_MAX_KIB=176 SETTLED_MAX_KIB=128
[[ $(ldd "$OSC" 2>&1 || :) == *"statically linked"* ]] || HOOK_MAX_KIB=2176 WATCHER_MAX_KIB=200 SETTLED_MAX_KIB=176

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

# What is a process's own: pages of files are shared by all watchers of a host.
private_of() {
	awk '/^Anonymous:/ { print $2 }' "/proc/$1/smaps_rollup" 2>/dev/null
}

is_small() {
	local kib
	kib=$(private_of "$1")
	[[ $kib =~ ^[0-9]+$ ]] && ((kib <= SETTLED_MAX_KIB))
}

before=$(snapshot)
for only in false true; do
	configure ".sandbox_cgroup_only = $only"
	fake_container footprint
	measured prestart created
	check_exit "setup, only=$only" 0
	at_most "setup, only=$only: peak memory" $HOOK_MAX_KIB "$KIB"
	check_eq "setup, only=$only: libsystemd is not loaded" "" "$(grep -i systemd <<<"$MAPS" || :)"
	check_wait "there is a watcher" 5 has_watcher footprint
	at_most "watcher: private memory" $WATCHER_MAX_KIB "$(private_of "$(watcher_pid footprint)")"
	if [[ $only == true ]]; then
		check_wait "settled watcher: private memory is at most $SETTLED_MAX_KIB KiB" 20 is_small "$(watcher_pid footprint)"
	fi
	end_process "$PID"
	measured poststop stopped
	check_exit "teardown, only=$only" 0
	at_most "teardown, only=$only: peak memory" $HOOK_MAX_KIB "$KIB"
	check_eq "teardown, only=$only: libsystemd is not loaded" "" "$(grep -i systemd <<<"$MAPS" || :)"
	drop_fake footprint "$PID"
	check_nothing_left "only=$only" "$before"
done

# --- whatever is in config.json ----------------------------------------------

# flood BEFORE TEXT BEHIND - config.json of nearly 16 MiB, with TEXT in it again and again; # is another number
# each time
flood() {
	jq -cn '{ociVersion: "1.0.2", id: "flood", pid: 1, status: "created", bundle: "/"}'
	awk -v before="$1" -v text="$2" -v behind="$3" 'BEGIN {
		printf "{\"ociVersion\": \"1.0.2\", %s", before
		pieces = split(text, piece, "#")
		for (size = i = 0; size < 15500000; i++) {
			part = piece[1]
			for (j = 2; j <= pieces; j++) part = part i piece[j]
			size += length(part) + 1
			printf "%s%s", i ? "," : "", part
		}
		print behind "}"
	}'
}

# bounded NAME STATUS BEFORE TEXT BEHIND - within 64 MiB, and far from the CPU time that a square of the input takes
bounded() {
	flood "$3" "$4" "$5" >"$WORK/flood.json"
	capture prlimit --cpu=2 "$PEAK" "$WORK/report" "$OSC" --state-dir "$STATE" --config "$CONF" plan \
		<"$WORK/flood.json"
	check_exit "$1: plan" "$2"
	[[ $2 == 0 ]] || check_match "$1: says why" 'expected at most [0-9]+ elements|more than [0-9]+ (bytes|page sizes)' "$ERR"
	at_most "$1: peak memory" 65536 "$(sed -n 's/^vmhwm_kib=//p' "$WORK/report")"
}

bounded "device nodes" 0 '"linux": {"devices": [' '{}' ']}'
bounded "device rules" 2 '"linux": {"resources": {"devices": [' '{"allow": true}' ']}}'
bounded "files" 2 '"linux": {"resources": {"unified": {' '"memory.x#": "1"' '}}}'
bounded "page sizes" 2 '"linux": {"resources": {"hugepageLimits": [' '{"pageSize": "#KB", "limit": 1}' ']}}'
# As many as a list may have: their texts are compared.
bounded "long page sizes" 2 '"linux": {"resources": {"hugepageLimits": [' \
	"{\"pageSize\": \"$(printf '%01000d' 1)#KB\", \"limit\": 1}" ']}}'
bounded "throttles" 2 '"linux": {"resources": {"blockIO": {"throttleReadBpsDevice": [' \
	'{"major": 8, "minor": #, "rate": 1}' ']}}}'
bounded "CPUs" 0 '"linux": {"resources": {"cpu": {"cpus": "' '0-8191' '"}}}'
bounded "annotations" 0 '"annotations": {' '"a#": "1"' '}'
bounded "a long path" 2 '"linux": {"cgroupsPath": "/x' '/x' '"}'
bounded "arguments" 0 '"process": {"args": [' '""' ']}'

# The verb that changes config.json keeps where each member is.
flood '"hooks": {}' ', "a#": 1' '' | sed '1d; s/,,/,/g' >"$WORK/flood.json"
capture prlimit --cpu=5 "$PEAK" "$WORK/report" "$OSC" register "$WORK/flood.json"
check_exit "members: register" 2
check_match "members: says why" 'expected at most 16384 elements' "$ERR"
at_most "members: peak memory" 65536 "$(sed -n 's/^vmhwm_kib=//p' "$WORK/report")"

finish
