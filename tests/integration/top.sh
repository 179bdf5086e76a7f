#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The verb top: its shares are what the cgroups' own files say of the same time; rows into a pipe; and on a terminal keys,
# sorting, threads, another size, and an end that leaves all as it was.

# shellcheck disable=SC2016 # $name in single quotes is jq's
# shellcheck disable=SC2317 # functions are called by name
# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"
# shellcheck source=../lib/observe.sh
. "$TESTS/lib/observe.sh"
# shellcheck source=../lib/nested.sh
. "$TESTS/lib/nested.sh"

TERMINAL=$TESTS/lib/terminal
BUSY='["/fake_vmm", "--burn", "CPU 0/KVM", "CPU 1/KVM", "worker"]'

# start NAME ARGS_JSON POD
start() {
	make_bundle "$1" "$2" ".linux.resources.cpu += {quota: 5000, period: 100000} |
		.annotations += {\"io.kubernetes.cri.sandbox-name\": \"$3\", \"io.kubernetes.cri.sandbox-namespace\": \"d\\u00e4\"}"
	install -m 0755 "$(helper fake_vmm)" "$WORK/$1/rootfs/fake_vmm"
	add_hooks "$1" "prestart poststop"
	create_nested "$1" && oci start "$TAG-$1"
}

# of NAME MEMBER - of the last answer
of() {
	jq -r --arg id "$TAG-$1" ".[] | select(.sandbox_id == \$id) | .$2" <<<"$OUT"
}

seen_throttled() {
	capture osc top --json --count 1 --interval 500ms
	[[ $(of busy throttled_percent) != 0.00 ]]
}

# All that is used while top looks is at least what it sees, and the reading is of one time.
shares() {
	local low high began ended sum
	low=$(used_us "$C") began=$(date +%s%6N)
	capture osc top --json --count 1 --interval 700ms
	high=$(used_us "$C") ended=$(date +%s%6N)
	check_exit "JSON" 0
	check_eq "JSON: placement" "complete" "$(of busy placement)"
	sum=$(jq -r --arg id "$TAG-busy" '.[] | select(.sandbox_id == $id) | (.vcpu_percent + .overhead_percent) * 7000 | floor' <<<"$OUT")
	check "shares: some were used" test "$sum" -gt 0
	check "shares: no more than the kernel counted around that, in $((ended - began)) us" test "$sum" -le $((high - low + 2000))
	# Each of the three is rounded to hundredths.
	check_eq "shares: the overhead's of the vCPUs'" "true" \
		"$(jq --arg id "$TAG-busy" '.[] | select(.sandbox_id == $id) | .overhead_of_vcpu_percent as $share |
			.overhead_percent * 100 - $share * .vcpu_percent | fabs < 1.1 + $share / 100' <<<"$OUT")"
	check_wait "shares: throttled" 20 seen_throttled
	! hierarchy_of pids >/dev/null || check_eq "tasks" "$(cat "$(cg_file pids "$C" pids.current)")" "$(of busy tasks)"
}

batch() {
	capture osc top --batch --count 2 --interval 100ms --sort n
	check_exit "batch" 0
	[[ -z ${OSC_SHOW-} ]] || echo "$OUT"
	check_eq "batch: two tables of two rows" 6 "$(wc -l <<<"$OUT")"
	check "batch: 80 columns" test "$(wc -L <<<"$OUT")" -le 80
	check_eq "batch: nothing but text" "" "$(LC_ALL=C tr -d '[:print:]\n' <<<"$OUT")"
	check_eq "batch: by name" 'd\xc3\xa4/busy d\xc3\xa4/idle' "$(head -n 3 <<<"$OUT" | sed 1d | awk '{print $1}' | xargs -d '\n')"
	capture bash -c '"$@" | head -n 1' _ "$OSC" --state-dir "$STATE" --config "$CONF" top --interval 50ms
	check_exit "a reader that has enough ends it" 0
	check_eq "a reader that has enough: no complaint" "" "$ERR"
	capture osc top --sort x
	check_exit "--sort by nothing: refused" 2
}

# at NAME COLUMNS LINES STEP... - on a terminal; its steps say what fails
at() {
	local name=$1
	shift
	capture env TERM=vt100 "$TERMINAL" "$@" -- "$OSC" --state-dir "$STATE" --config "$CONF" top --interval 200ms
	check_exit "$name" 0
	[[ $RC == 0 ]] || echo "$OUT"
}

screen() {
	local row='d.xc3.xa4/'
	at "terminal: rows, and the end" 80 24 "wait=^>${row}busy +[0-9.]+ +[0-9.]+ .* complete$" "wait=^ ${row}idle .* complete$" "wait=OVERH%\\*" show "send=q" end
	check_eq "terminal: as it was" "0 as it was False True" "$(tail -n 1 <<<"$OUT")"
	[[ -z ${OSC_SHOW-} ]] || echo "$OUT"
	check_match "terminal: what there is" "^2 sandboxes, 0 dead, 0 unreadable" "$OUT"
	at "terminal: sorted by name, and by CPU again" 80 24 "wait=OVERH%\\*" "send=n" "wait=SANDBOX\\*" \
		"wait=busy.*\\n.*idle" "send=v" "wait=vCPU%\\*" "send=q" end
	at "terminal: the mark stays with its sandbox" 80 24 "wait=OVERH%\\*" "send=n" "wait=SANDBOX\\*" "send=\\x1b[B" "wait=^>${row}idle" "send=k" \
		"wait=^>${row}busy" "send=j" "wait=^>${row}idle" "send=q" end
	at "terminal: threads, and back" 80 24 "wait=^>${row}busy" "send=\\r" "wait=^Threads of $TAG-busy: [0-9]+$" "wait=[1-9][0-9.]+ +CPU 0/KVM +vCPU$" \
		"wait=worker +overhead$" "send=\\x1b[D" "wait=^>${row}busy" "send=q" end
	at "terminal: another size" 80 24 "wait=complete" "size=40,4" "gone=PLACEMENT" "wait=^>d.xc3.xa4[.]{3} " "size=120,10" "wait=PLACEMENT" "send=q" end
	at "terminal: a pause" 80 24 "wait=complete" signal=SIGTSTP "gone=SANDBOX" stopped signal=SIGCONT "wait=SANDBOX" "send=q" end
	check_eq "terminal: a pause: as it was" "0 as it was False True" "$(tail -n 1 <<<"$OUT")"
	at "terminal: a signal" 80 24 "wait=complete" signal=SIGTERM end
	check_eq "terminal: a signal: as it was" "0 as it was False True" "$(tail -n 1 <<<"$OUT")"
	capture env TERM=vt100 NO_COLOR=1 script -qec "$OSC --state-dir $STATE --config $CONF top --count 1 --interval 100ms" /dev/null
	check_exit "NO_COLOR: it ends by itself" 0
	check_eq "NO_COLOR: no letters but plain ones" 0 "$(grep -c $'\033\\[1m' <<<"$OUT")"
	capture env TERM=vt100 script -qec "$OSC --state-dir $STATE --config $CONF top --count 1 --interval 100ms" /dev/null
	check "without it: a head in bold" grep -q $'\033\\[1m' <<<"$OUT"
}

before=$(snapshot)
capture osc top --batch --count 1 --interval 1ms
check_exit "no sandbox" 0
check_eq "no sandbox: a head" 1 "$(wc -l <<<"$OUT")"
if ! hierarchy_of cpu >/dev/null; then
	skip "top" "it takes the cpu controller"
else
	LAYOUT=nested
	use_nested false
	if start idle '["/fake_vmm", "CPU 0/KVM", "worker"]' idle && start busy "$BUSY" busy; then
		check_wait "placement of one" 20 placement_says "$TAG-idle" "^complete"
		check_split "split" "$PID" 2 5000
		check_wait "placement" 20 placement_says "$TAG-busy" "^complete"
		check_wait "the vCPUs are throttled" 30 throttled_above "$VCPU" 0
		shares
		batch
		screen
		check "kill and delete" stop_container busy
		check "kill and delete the other" stop_container idle
	else
		fail "the runtime starts the containers" "$(cat "$WORK"/*/log)"
	fi
fi
check_nothing_left "top" "$before"
finish
