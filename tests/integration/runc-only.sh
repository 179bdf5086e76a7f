#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# sandbox_cgroup_only = true, from each of its sources: one sandbox cgroup holds
# every thread of a real VMM and has the limits and the wider device list. Also
# which source wins.

# shellcheck disable=SC2016 # $name in single quotes is jq's
# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"
# shellcheck source=../lib/limits.sh
. "$TESTS/lib/limits.sh"

ANNOTATION=io.katacontainers.config.runtime.sandbox_cgroup_only

# scenario NAME CONFIG_FILTER ANNOTATION_VALUE [HOOK_OPTION]
scenario() {
	local name=$1 filter before split
	set_layout "$name" "$TAG-$name"
	split=("$BASE/overhead")
	if [[ $VCPU == "$SANDBOX" ]]; then split+=("$OVERHEAD"); else split+=("$VCPU"); fi
	set_layout "$name" "$TAG-$name" true
	configure "$2"
	filter=$(limits_filter)
	[[ -z $3 ]] || filter+=" | .annotations[\"$ANNOTATION\"] = \"$3\""
	make_bundle "$name" "$(qemu_args tcg,thread=multi 2)" "$filter"
	add_hooks "$name" "prestart poststop" "${@:4}"
	before=$(snapshot)

	if ! run_container "$name"; then
		fail "$name: the runtime starts the container" "$(cat "$WORK/$name/log")"
		return
	fi
	check_threads "$name" "$PID" 2
	check "$name: the runtime's own cgroup holds none of them" only_placeholder "$OWN"
	check_limits "$name" "$SANDBOX" "$SANDBOX"
	check_devices "$name" "$SANDBOX"
	check "$name: no overhead cgroup" cg_gone "${split[@]}"
	check "$name: exec into the container" oci exec "$TAG-$name" /busybox true
	check "$name: kill and delete" stop_container "$name"
	check_nothing_left "$name" "$before"
}

# policy NAME EXPECTED SOURCE CONFIG_FILTER ANNOTATION_VALUE [OPTION...] - what `plan` decides
policy() {
	local name=$1 expected=$2 source=$3
	configure "$4"
	jq -n --arg a "$ANNOTATION" --arg v "$5" '{ociVersion: "1.0.2", id: "p", status: "creating", pid: 1, bundle: "/nonexistent"},
		{ociVersion: "1.0.2", linux: {cgroupsPath: "/pod/p"}, annotations: (if $v == "" then {} else {($a): $v} end)}' >"$WORK/policy.json"
	capture osc --cgroup-mode v1 "${@:6}" plan --json <"$WORK/policy.json"
	check_exit "plan, $name: succeeds" 0
	check_eq "plan, $name: policy and source" "$expected $source" "$(jq -r '"\(.sandbox_cgroup_only) \(.policy_source)"' <<<"$OUT" 2>&1)"
}

# warned yes|no - by the last plan, about the annotation
warned() {
	check_eq "plan, $name: warns about the annotation" "$1" \
		"$(jq -r --arg a "$ANNOTATION" 'if any(.warnings[]; contains($a)) then "yes" else "no" end' <<<"$OUT" 2>&1)"
}

ALLOWED=".allowed_annotations = [\"$ANNOTATION\"]"

check_probe
scenario cmdline . "" --sandbox-cgroup-only
if [[ -n ${OSC_VM_MODE-} ]]; then
	# Where the policy came from makes no difference to what comes of it, so the
	# rest is for one host.
	finish
fi
scenario config '.sandbox_cgroup_only = true' ""
scenario annotation . true
scenario refused . false --sandbox-cgroup-only=true

name=nothing
policy "$name" false default . ""
warned no
policy "command line without a value" true argument . "" --sandbox-cgroup-only
policy "command line over file" false argument '.sandbox_cgroup_only = true' "" --sandbox-cgroup-only=false
policy "file" true config '.sandbox_cgroup_only = true' ""
name="annotation tightens"
policy "$name" true annotation . true --sandbox-cgroup-only=false
warned no
name="annotation may not loosen"
policy "$name" true argument . false --sandbox-cgroup-only
warned yes
policy "$name the file either" true config '.sandbox_cgroup_only = true' false
name="annotation allowed to loosen"
policy "$name" false annotation "$ALLOWED" false --sandbox-cgroup-only
warned no
configure .
capture osc --cgroup-mode v1 plan --json < <(jq '.annotations[]? |= "perhaps"' "$WORK/policy.json")
check_exit "plan, annotation that is no boolean: refused" 2

finish
