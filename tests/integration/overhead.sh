#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Layout nested: what the threads of a VMM that are no vCPUs may use: a CPU quota of
# one container, by annotation, and the CPUs of overhead_cpus.

# shellcheck disable=SC2016 # $name in single quotes is jq's
# shellcheck disable=SC2317 # functions are called by name
# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"

VMM=$(helper fake_vmm)
NESTED='.layout = "nested" | .vcpu_evidence = "name" | .hotplug_interval_ms = 200'
KEY=oci-sandbox-cgroup.io/overhead-cpu-quota
LISTED=".allowed_annotations = [\"$KEY\"]"
TWO='["/fake_vmm", "CPU 0/KVM", "CPU 1/KVM", "worker"]'

# bundle NAME ARGS_JSON CONFIG_FILTER JQ_FILTER
bundle() {
	C=$1
	set_layout "$C" "$TAG-$C"
	OVERHEAD=$BASE/kata_$C
	configure "$NESTED | $3"
	make_bundle "$C" "$2" "$4"
	install -m 0755 "$VMM" "$WORK/$C/rootfs/fake_vmm"
	add_hooks "$C" "prestart poststop"
}

# start NAME ARGS_JSON CONFIG_FILTER JQ_FILTER - under the real runtime
start() {
	bundle "$@"
	before=$(snapshot)
	if ! run_container "$C"; then
		fail "$C: the runtime starts the container" "$(cat "$WORK/$C/log")"
		return 1
	fi
}

stop() {
	check "$C: kill and delete" stop_container "$C"
	check_nothing_left "$C" "$before"
}

# planned - what plan says of the bundle
planned() {
	jq -c --arg id "$TAG-$C" --arg bundle "$WORK/$C" \
		'{state: {ociVersion: "1.0.2", id: $id, status: "creating", pid: 1, bundle: $bundle}, config: .}' \
		"$WORK/$C/config.json" | osc plan --json --stage prestart
}

# overhead_has QUOTA PERIOD - in its own cgroup; on v2 the runtime's has the sum with the vCPUs' 30 ms
overhead_has() {
	local got want="$1 $2"
	if [[ $MODE == v2 ]]; then
		want="$((30000 + ($1 * 100000 / $2))) 99999"
		[[ $1 != max ]] || want="max 99999"
		got=$(cat "${CG_DIR[unified]}$OWN/cpu.max" 2>&1) || :
	else
		got="$(cat "$(cg_file cpu "$OVERHEAD" cpu.cfs_quota_us)" "$(cg_file cpu "$OVERHEAD" cpu.cfs_period_us)" 2>&1)" || :
		got=${got//$'\n'/ }
		want=${want/max/-1}
	fi
	[[ $got == "$want" ]] || {
		echo "expected $want, got $got"
		return 1
	}
}

# --- a quota by annotation ---------------------------------------------------

QUOTA='.linux.resources.cpu = {quota: 30000, period: 100000}'
LIMITS='.overhead_limits.cpu = {quota: 40000, period: 100000}'

# own VALUE - config.json with the annotation
own() {
	echo "$QUOTA | .annotations[\"$KEY\"] = \"$1\""
}

if ! hierarchy_of cpu >/dev/null; then
	skip "quota" "it takes the cpu controller"
else
	if start annotated "$TWO" "$LIMITS | $LISTED" "$(own "20000 50000")"; then
		check_wait "$C: the overhead has the annotation's quota" 10 overhead_has 20000 50000
		check_eq "$C: it is recorded" "20000 50000" "$(osc show "$TAG-$C" --json | jq -r .record.overhead_quota)"
		check_eq "$C: without a warning" 0 "$(planned | jq "[.warnings[] | select(contains(\"$KEY\"))] | length")"
		# A watcher that is started later has the record alone.
		end_process "$(watcher_pid "$TAG-$C")"
		[[ $MODE == v2 ]] || echo -1 >"$(cg_file cpu "$OVERHEAD" cpu.cfs_quota_us)"
		edit_config "$C" 'del(.annotations)'
		capture osc poststart < <(jq -n --arg id "$TAG-$C" --arg b "$WORK/$C" --argjson pid "$PID" \
			'{ociVersion: "1.0.2", id: $id, status: "running", pid: $pid, bundle: $b}')
		check_exit "$C: another stage" 0
		check_wait "$C: it starts another watcher" 5 has_watcher "$TAG-$C"
		check_wait "$C: which knows the quota" 10 overhead_has 20000 50000
		stop
	fi
	if start unlisted "$TWO" "$LIMITS" "$(own 20000)"; then
		check_wait "$C: the overhead has the administrator's quota" 10 overhead_has 40000 100000
		check_eq "$C: and nothing is recorded" null "$(osc show "$TAG-$C" --json | jq -c .record.overhead_quota)"
		check_match "$C: plan warns" "$KEY is refused" "$(planned | jq -r '.warnings[]')"
		stop
	fi
	bundle wrong "$TWO" "$LISTED" "$(own max)"
	before=$(snapshot)
	capture run_container "$C"
	check_exit "$C: what is no quota fails the container" 1
	capture planned
	check_exit "$C: plan calls it bad input" 2
	check_match "$C: and names the annotation" "annotation $KEY: \"max\"" "$ERR"
	oci delete --force "$TAG-$C" >/dev/null 2>&1 || :
	check_nothing_left "$C" "$before"
fi

# --- overhead_cpus -----------------------------------------------------------

# allowed NAME LIST - the CPUs of every thread of that name
allowed() {
	local tid tids got
	tids=$(threads "$PID" | sed -n "s,^\\([0-9]*\\) $1\$,\\1,p")
	for tid in ${tids:-0}; do
		got=$(sed -n 's/^Cpus_allowed_list:\t//p' "/proc/$tid/status" 2>&1)
		[[ $got == "$2" ]] || {
			echo "thread '$1' ($tid): expected $2, got $got"
			return 1
		}
	done
}

# stays SECONDS NAME LIST
stays() {
	local end=$((SECONDS + $1))
	while allowed "$2" "$3" && ((SECONDS < end)); do
		sleep 0.1
	done
	allowed "$2" "$3"
}

# shows TEXT
shows() {
	[[ $(osc show "$TAG-$C") == *"$1"* ]]
}

BOTH='.linux.resources.cpu = {quota: 30000, period: 100000, cpus: "0-1"}'
ZERO='.overhead_cpus = "0"'

if (($(nproc) < 2)) || ! hierarchy_of cpuset >/dev/null || ! hierarchy_of cpu >/dev/null; then
	skip "overhead_cpus" "it takes two CPUs, and the cpu and cpuset controllers"
else
	if start cpus '["/fake_vmm", "--late", "CPU 2/KVM", "/vcpu", "--late", "late", "/late", "CPU 0/KVM", "CPU 1/KVM", "worker"]' \
		"$ZERO" "$BOTH"; then
		check_wait "$C: a thread that is no vCPU is on CPU 0" 10 allowed worker 0
		check_wait "$C: so is the main thread" 5 allowed fake_vmm 0
		check "$C: vCPU 0 is not" allowed "CPU 0/KVM" 0-1
		check "$C: vCPU 1 is not" allowed "CPU 1/KVM" 0-1
		touch "$WORK/$C/rootfs/vcpu" "$WORK/$C/rootfs/late"
		check_wait "$C: a vCPU that comes later is let out of it" 10 allowed "CPU 2/KVM" 0-1
		check_wait "$C: another thread is not" 10 allowed late 0
		check "$C: runtime's update of the cpuset" oci update --cpuset-cpus 1 "$TAG-$C"
		check_wait "$C: all has what there is" 10 allowed worker 1
		check "$C: and nothing else" stays 1 worker 1
		check "$C: back again" oci update --cpuset-cpus 0-1 "$TAG-$C"
		check_wait "$C: a thread that is no vCPU is on CPU 0 again" 10 allowed worker 0
		check_wait "$C: vCPU 0 has the cpuset again" 5 allowed "CPU 0/KVM" 0-1
		check_wait "$C: so has the one that came later" 5 allowed "CPU 2/KVM" 0-1
		stop
	fi
	if start pinned '["/fake_vmm", "CPU 0/KVM", "worker"]' "$ZERO | .enable_vcpus_pinning = true" "$BOTH"; then
		check_wait "$C: the vCPU is pinned to what is left" 10 allowed "CPU 0/KVM" 1
		check_wait "$C: the others are on CPU 0" 10 allowed worker 0
		stop
	fi
	if start mismatch "$TWO" "$ZERO | .enable_vcpus_pinning = true" "$BOTH"; then
		check_wait "$C: the others are on CPU 0" 10 allowed worker 0
		check "$C: vCPU 0 is not pinned" allowed "CPU 0/KVM" 0-1
		check "$C: vCPU 1 is not pinned" allowed "CPU 1/KVM" 0-1
		stop
	fi
	# Threads are all looked at every fourth time, but another cpuset is seen each time.
	if start cpuset "$TWO" "$ZERO | .hotplug_interval_ms = 2000" "$BOTH | .linux.resources.cpu.cpus = \"1\""; then
		check_wait "$C: all has what there is" 10 allowed worker 1
		sleep 5
		check "$C: runtime's update of the cpuset" oci update --cpuset-cpus 0-1 "$TAG-$C"
		check_wait "$C: a thread that is no vCPU is on CPU 0" 5 allowed worker 0
		check "$C: vCPU 0 has the cpuset" allowed "CPU 0/KVM" 0-1
		stop
	fi
	if start only "$TWO" "$ZERO | .sandbox_cgroup_only = true" "$BOTH"; then
		check_wait "$C: with sandbox_cgroup_only, too" 10 allowed worker 0
		check "$C: and the vCPUs are not" allowed "CPU 0/KVM" 0-1
		check_wait "$C: show has a placement" 10 shows "placement: complete"
		stop
	fi
	if start none '["/fake_vmm", "worker"]' "$ZERO" "$BOTH"; then
		check_wait "$C: there is a thread" 5 allowed worker 0-1
		check "$C: without a vCPU nothing is touched" stays 3 worker 0-1
		stop
	fi
	if start untouched "$TWO" . "$BOTH"; then
		check_wait "$C: there is a split" 10 overhead_has max 100000
		check "$C: nothing is touched unless it is asked for" stays 3 worker 0-1
		stop
	fi
fi

finish
