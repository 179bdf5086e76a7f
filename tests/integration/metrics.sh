#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The verb metrics: what it says is what the cgroups' own files say, Prometheus' own tool takes it, and so it
# does the alert rules; files for node_exporter are replaced as a whole.

# shellcheck disable=SC2016 # $name in single quotes is jq's
# shellcheck disable=SC2317 # functions are called by name
# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"
# shellcheck source=../lib/observe.sh
. "$TESTS/lib/observe.sh"
# shellcheck source=../lib/nested.sh
. "$TESTS/lib/nested.sh"

DATA=$TESTS/../hook/data
BUSY='["/fake_vmm", "--burn", "CPU 0/KVM", "CPU 1/KVM", "worker"]'
NAMES='.annotations += {"io.kubernetes.cri.container-name": "c\"\\", "io.kubernetes.cri.sandbox-name": "p",
	"io.kubernetes.cri.sandbox-namespace": "n"}'

# value METRIC [LABELS] - of the last answer; nothing where it is not there
value() {
	local labels="sandbox=\"$TAG-busy\",container=\"c\\\"\\\\\",pod=\"p\",namespace=\"n\"${2:+,$2}"
	grep -F "sandbox_cgroup_$1{$labels} " <<<"$OUT" | sed 's/.*} //'
}

# microseconds SECONDS
microseconds() {
	local digits=${1/./}
	echo $((10#${digits:-0}))
}

# between NAME LOW VALUE HIGH
between() {
	check "$1: between two readings of the kernel's own" test "$2" -le "$3" -a "$3" -le "$4"
}

# periods CGROUP WORD_V1_AND_V2
periods() {
	sed -n "s/^$2 //p" "$(cg_file cpu "$1" cpu.stat)"
}

# throttled_us - of the vCPUs; the kernel counts it when they may run again
throttled_us() {
	local ns
	ns=$(periods "$VCPU" throttled_time)
	if [[ -n $ns ]]; then echo $((ns / 1000)); else periods "$VCPU" throttled_usec; fi
}

has_waited() {
	[[ $(throttled_us) -gt 0 ]]
}

# prometheus NAME WHAT FILE
prometheus() {
	if ! command -v promtool >/dev/null; then
		skip "$1" "promtool is missing: tests/run takes it from the package prometheus"
	else
		capture promtool check "$2" ${4:+"$4"} <"$3"
		check_eq "$1" 0 "$RC" || echo "$OUT$ERR"
	fi
}

start() {
	make_bundle busy "$BUSY" ".linux.resources.cpu += {quota: 20000, period: 100000} | .linux.resources.memory.limit = 268435456 | $NAMES"
	install -m 0755 "$(helper fake_vmm)" "$WORK/busy/rootfs/fake_vmm"
	add_hooks busy "prestart poststop"
	create_nested busy && oci start "$TAG-busy"
}

counted() {
	local low low_all low_periods low_throttled high high_all high_periods high_throttled
	check_split "split" "$PID" 2 20000
	check_wait "placement" 20 placement_says "$TAG-busy" "^complete"
	check_wait "the vCPUs are throttled" 30 has_waited
	low=$(used_us "$VCPU") low_all=$(used_us "$C") low_periods=$(periods "$VCPU" nr_periods) low_throttled=$(throttled_us)
	capture osc metrics
	check_exit "metrics" 0
	check_eq "metrics: nothing on stderr" "" "$ERR"
	high=$(used_us "$VCPU") high_all=$(used_us "$C") high_periods=$(periods "$VCPU" nr_periods) high_throttled=$(throttled_us)
	[[ -z ${OSC_SHOW-} ]] || echo "$OUT"
	echo "$OUT" >"$WORK/metrics"
	between "CPU time of both" "$low_all" \
		$(($(microseconds "$(value cpu_seconds_total 'part="vcpu"')") + $(microseconds "$(value cpu_seconds_total 'part="overhead"')"))) "$high_all"
	if [[ $MODE == v2 ]]; then
		between "the vCPUs' CPU time" "$low" "$(microseconds "$(value cpu_seconds_total 'part="vcpu"')")" "$high"
	fi
	check_eq "no part that is not known" "" "$(value cpu_seconds_total 'part="unsplit"')"
	between "periods" "$low_periods" "$(value cpu_periods_total 'part="vcpu"')" "$high_periods"
	check "throttled periods" test "$(value cpu_throttled_periods_total 'part="vcpu"')" -gt 0
	between "throttled time" "$low_throttled" "$(microseconds "$(value cpu_throttled_seconds_total 'part="vcpu"')")" "$high_throttled"
	check_eq "CPU limit" 0.200000 "$(value cpu_limit_cores 'part="vcpu"')"
	check_eq "CPU limit: nobody else's" " " "$(value cpu_limit_cores 'part="overhead"') $(value cpu_limit_cores 'part="unsplit"')"
	check_eq "vCPUs, placed and apart" "2 1 1 0" \
		"$(value vcpus) $(value placement_complete) $(value split) $(value watcher_missing)"
	if hierarchy_of memory >/dev/null; then
		check_eq "memory limit" 268435456 "$(value memory_limit_bytes)"
		check "memory" test "$(value memory_bytes)" -gt 0
	fi
	! hierarchy_of pids >/dev/null || check "tasks" test "$(value tasks)" -ge 4
	check_eq "sandboxes" "1 0 0" "$(sed -n 's/^sandbox_cgroup_sandboxes{state="running"} //p; s/^sandbox_cgroup_sandboxes{state="dead"} //p; s/^sandbox_cgroup_scrape_errors //p' <<<"$OUT" | xargs)"
	prometheus "promtool check metrics" metrics "$WORK/metrics"
}

# No stage, nor who holds a sandbox's lock, is waited for.
unlocked() {
	exec {lock}>>"$STATE/sandboxes/$TAG-busy/lock"
	flock "$lock"
	capture timeout 8 "$OSC" --state-dir "$STATE" metrics
	check_exit "with the lock held by somebody else" 0
	check "with the lock held by somebody else: all of it" test -n "$(value vcpus)"
	exec {lock}>&-
}

watcher_lost() {
	local watcher
	watcher=$(watcher_pid "$TAG-busy")
	kill -KILL "$watcher"
	check_wait "the watcher has gone" 20 is_dead "$watcher"
	capture osc metrics
	check_eq "a watcher that was killed" 1 "$(value watcher_missing)"
	capture osc update "$TAG-busy"
	check_exit "another watcher" 0
	capture osc metrics
	check_eq "another watcher: it is there" 0 "$(value watcher_missing)"
}

damaged() {
	mkdir "$STATE/sandboxes/broken"
	echo "{" >"$STATE/sandboxes/broken/record.json"
	capture osc metrics
	check_exit "a sandbox that cannot be read: no failure" 0
	check_match "a sandbox that cannot be read: which" "sandbox broken: record.json" "$ERR"
	check_match "a sandbox that cannot be read: counted" "^sandbox_cgroup_scrape_errors 1$" "$(tail -n 1 <<<"$OUT")"
	check "a sandbox that cannot be read: the others are there" test -n "$(value vcpus)"
	rm -r "$STATE/sandboxes/broken"
}

file() {
	local inode
	mkdir "$WORK/textfile"
	capture osc metrics --output "$WORK/textfile/o.prom"
	check_exit "--output" 0
	check_eq "--output: nothing on stdout" "" "$OUT"
	check_eq "--output: for everybody to read" 644 "$(stat -c %a "$WORK/textfile/o.prom")"
	inode=$(stat -c %i "$WORK/textfile/o.prom")
	exec {reader}<"$WORK/textfile/o.prom"
	capture osc metrics --output "$WORK/textfile/o.prom"
	check "--output: another file" test "$inode" != "$(stat -c %i "$WORK/textfile/o.prom")"
	check_eq "--output: who reads the one before has all of it" "sandbox_cgroup_scrape_errors 0" "$(tail -n 1 <&"$reader")"
	exec {reader}<&-
	check_eq "--output: nothing beside it" "o.prom" "$(ls -A "$WORK/textfile")"
	capture osc metrics --output "$WORK/no/o.prom"
	check_exit "--output in no directory" 1
	check_match "--output in no directory: which" "cannot write $WORK/no/o.prom: ENOENT" "$ERR"
	capture osc metrics --json
	check_exit "--json: refused" 2
}

data() {
	prometheus "promtool check rules" rules /dev/null "$DATA/oci-sandbox-cgroup.rules.yml"
	check "rules: there are some" grep -q sandbox_cgroup_ "$DATA/oci-sandbox-cgroup.rules.yml"
	check_eq "rules: every metric is one of ours" "" \
		"$(comm -23 <(grep -o 'sandbox_cgroup_[a-z_]*' "$DATA/oci-sandbox-cgroup.rules.yml" | sort -u) \
			<(sed -n 's/^# TYPE \([a-z_]*\) .*/\1/p' "$WORK/metrics" | sort -u))"
	if ! command -v systemd-analyze >/dev/null; then
		skip "units" "systemd-analyze is missing"
		return
	fi
	mkdir "$WORK/units"
	sed "s,@program@,$OSC,g" "$DATA/oci-sandbox-cgroup-metrics.service.in" >"$WORK/units/oci-sandbox-cgroup-metrics.service"
	cp "$DATA/oci-sandbox-cgroup-metrics.timer" "$WORK/units"
	capture systemd-analyze verify --man=no --recursive-errors=no "$WORK"/units/*
	check_eq "units: systemd-analyze verify" "" "$(grep oci-sandbox-cgroup- <<<"$OUT$ERR")"
}

before=$(snapshot)
capture osc metrics
check_exit "no sandbox: metrics" 0
check_eq "no sandbox: none is there" 0 "$(sed -n 's/^sandbox_cgroup_sandboxes{state="running"} //p' <<<"$OUT")"
if ! hierarchy_of cpu >/dev/null; then
	skip "metrics" "it takes the cpu controller"
else
	LAYOUT=nested
	use_nested false
	if start; then
		counted
		unlocked
		watcher_lost
		damaged
		file
		data
		check "kill and delete" stop_container busy
	else
		fail "the runtime starts the container" "$(cat "$WORK/busy/log")"
	fi
fi
check_nothing_left "metrics" "$before"
finish
