#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Which layout auto is, below real processes that are called as engines and runtimes
# are: the decision for cgroup v2 by `plan`, which looks as a stage does, and the
# stages on the host as it is.

# shellcheck disable=SC2016 # $name in single quotes is jq's
# shellcheck disable=SC2317 # functions are called by name
# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"

BIN=$WORK/bin
mkdir "$BIN"
for name in containerd-shim-runc-v2 conmon runc crun wrapper; do
	install -m 0755 "$(helper fake_runtime)" "$BIN/$name"
done
SHIM=$BIN/containerd-shim-runc-v2

# version TEXT - what runc says from now on, as another program
version() {
	echo "$1" >"$BIN/runc.version"
	rm -f "$BIN/runc.asked"
	touch "$BIN/runc"
}

# below PROGRAM... - osc as the child of the last one
below() {
	local chain=()
	while [[ $1 == "$BIN"/* ]]; do
		chain+=("$1")
		shift
	done
	timeout -k 5 60 "${chain[@]}" "$OSC" --state-dir "$STATE" --config "$CONF" "$@"
}

# decides NAME LAYOUT REASON RUNTIME PROGRAM... - the answer for v2, in both forms
decides() {
	local name=$1 layout=$2 reason=$3 runtime=$4
	shift 4
	capture below "$@" plan --cgroup-mode v2 --json <"$WORK/$C/created"
	check_exit "$name: plan" 0
	check_eq "$name: the layout" "$layout" "$(jq -r .layout <<<"$OUT")"
	check_match "$name: the reason" "$reason" "$(jq -r .layout_reason <<<"$OUT")"
	check_eq "$name: runtime and version" "$runtime" "$(jq -r '"\(.runtime) \(.runtime_version)"' <<<"$OUT")"
	check_eq "$name: warnings" "${WARNINGS-}" "$(jq -r '.warnings[] | select(startswith("a restart"))' <<<"$OUT")"
	capture below "$@" plan --cgroup-mode v2 --explain --json <"$WORK/$C/created"
	check_match "$name: explained" "^$layout;.*$reason" \
		"$(jq -r '.explain[] | select(.decision == "layout") | "\(.value);\(.reason)"' <<<"$OUT")"
	capture below "$@" plan --cgroup-mode v2 <"$WORK/$C/created"
	check_match "$name: in the text" ", $layout"$'\n'"layout reason .*$reason" "$OUT"
}

C=auto
fake_container "$C"
set_layout "$C" "$C" true
configure '.sandbox_cgroup_only = true | del(.layout)'

# --- plan for v2 -------------------------------------------------------------

AUTO=--layout=auto
version "runc version 1.3.6"
decides "containerd, runc 1.3.6" nested "auto: under containerd or Docker, with runc 1\.3\.6 \($BIN/runc\)" \
	"$BIN/runc 1.3.6" "$SHIM" "$BIN/runc" $AUTO
decides "an engine further up" nested "runc 1\.3\.6" "$BIN/runc 1.3.6" "$SHIM" "$BIN/wrapper" "$BIN/runc" $AUTO
decides "containerd, a wrapper" sibling "auto: under containerd or Docker, with $BIN/wrapper, which is not known to be runc 1\.2 or later" \
	"$BIN/wrapper null" "$SHIM" "$BIN/runc" "$BIN/wrapper" $AUTO
decides "containerd, crun" sibling "$BIN/crun, which is not known to be runc" "$BIN/crun null" "$SHIM" "$BIN/crun" $AUTO
check "crun is not run" test ! -e "$BIN/crun.asked"
decides "podman, crun" nested "auto: neither containerd nor Docker is the engine" "$BIN/crun null" "$BIN/conmon" "$BIN/crun" $AUTO
decides "a person's shell" nested "auto: neither containerd nor Docker is the engine" "null null" $AUTO
check_match "a person's shell: the runtime" $'\n''runtime  *not known here'$'\n' "$OUT"

version "runc version 1.1.5+ds1"
decides "containerd, runc 1.1.5" sibling "runc 1\.1\.5\+ds1 \($BIN/runc\), which is not known to be runc 1\.2" \
	"$BIN/runc 1.1.5+ds1" "$SHIM" "$BIN/runc" $AUTO
decides "podman, runc 1.1.5" nested "neither containerd nor Docker" "$BIN/runc 1.1.5+ds1" "$BIN/conmon" "$BIN/runc" $AUTO
check_eq "runc is asked with nothing from us" "0 /dev/null /dev/null" "$(sort -u "$BIN/runc.asked")"
version "no version at all"
decides "containerd, runc without a version" sibling "with $BIN/runc, which is not known" "$BIN/runc null" "$SHIM" "$BIN/runc" $AUTO
version "hang"
SECONDS=0
decides "containerd, runc that hangs" sibling "with $BIN/runc, which is not known" "$BIN/runc null" "$SHIM" "$BIN/runc" $AUTO
check "a runc that hangs: is waited for for a while" test $SECONDS -lt 30

# The configuration has the first word before auto, and the last one after nobody.
version "runc version 1.1.5+ds1"
configure '.sandbox_cgroup_only = true | .layout = "sibling"'
decides "auto, and sibling in the configuration" sibling "the configuration names it" "null null" "$BIN/conmon" "$BIN/runc" $AUTO
check "a layout that is named: runc is not asked" test ! -e "$BIN/runc.asked"
decides "nested, and sibling in the configuration" nested "--layout names it" "$BIN/crun null" "$BIN/conmon" "$BIN/crun" --layout=nested
configure '.sandbox_cgroup_only = true | .layout = "nested"'
loses="a restart of containerd loses this container, as layout nested needs a runtime that is known to be runc 1.2 or later, and this one is"
WARNINGS="$loses runc 1.1.5+ds1 ($BIN/runc)"
decides "nested in the configuration, containerd, runc 1.1.5" nested "the configuration names it" "$BIN/runc 1.1.5+ds1" "$SHIM" "$BIN/runc" $AUTO
WARNINGS="$loses $BIN/crun"
decides "nested in the configuration, containerd, crun" nested "the configuration names it" "$BIN/crun null" "$SHIM" "$BIN/crun"
WARNINGS=
decides "nested in the configuration, podman" nested "the configuration names it" "$BIN/crun null" "$BIN/conmon" "$BIN/crun"
configure '.sandbox_cgroup_only = true | .layout = "auto"'
decides "auto in the configuration" sibling "1\.1\.5" "$BIN/runc 1.1.5+ds1" "$SHIM" "$BIN/runc"
decides "auto in the configuration, sibling on the command line" sibling "--layout names it" "null null" "$SHIM" "$BIN/runc" --layout=sibling
configure '.sandbox_cgroup_only = true | del(.layout)'
decides "nobody names one" sibling "nobody names a layout" "null null" "$SHIM" "$BIN/runc"
check "plan remembers nothing" test ! -e "$STATE"

# --- stages ------------------------------------------------------------------

before=$(snapshot)
version "runc version 1.3.6"
capture below "$SHIM" "$BIN/runc" $AUTO prestart <"$WORK/$C/created"
check_exit "prestart" 0
check_eq "prestart: the layout" nested "$(jq -r .layout "$STATE/sandboxes/$C/record.json")"
asked=0
[[ ! -e $BIN/runc.asked ]] || asked=$(wc -l <"$BIN/runc.asked")
if [[ $MODE == v2 ]]; then
	check_eq "prestart: runc is asked" 1 "$asked"
	check_eq "prestart: the answer is remembered" 1.3.6 "$(sed -n 2p "$STATE"/runtimes/*)"
else
	check_eq "prestart: on $MODE runc is not asked" 0 "$asked"
	check "prestart: on $MODE nothing is remembered" test ! -e "$STATE/runtimes"
fi
# Another runtime, by which auto would be another: but this is the same container.
version "runc version 1.1.5"
capture below "$SHIM" "$BIN/crun" $AUTO poststart <"$WORK/$C/running"
check_exit "poststart by another runtime" 0
check_eq "poststart by another runtime: the layout" nested "$(jq -r .layout "$STATE/sandboxes/$C/record.json")"
capture osc $AUTO plan --json <"$WORK/$C/running"
check_eq "plan: the layout that is there" "nested auto: the sandbox was made with it" "$(jq -r '"\(.layout) \(.layout_reason)"' <<<"$OUT")"
capture osc --layout=sibling poststart <"$WORK/$C/running"
check_exit "poststart with another layout" 1
check_match "poststart with another layout: what it says" "was made with layout nested" "$ERR"
end_process "$PID"
capture below "$BIN/conmon" $AUTO poststop <"$WORK/$C/stopped"
check_exit "poststop by nobody's runtime" 0
check_nothing_left "poststop by nobody's runtime" "$before"
drop_fake "$C" "$PID"

if [[ $MODE == v2 ]]; then
	fake_container again
	capture below "$SHIM" "$BIN/crun" --layout=nested prestart <"$WORK/again/created"
	check_match "nested by word: the log warns" "^oci-sandbox-cgroup: warning: $loses $BIN/crun" "$ERR"
	capture osc check
	check_match "nested by word: check names it" "limited  sandbox +again: $loses $BIN/crun" "$OUT"
	end_process "$PID"
	capture osc poststop <"$WORK/again/stopped"
	drop_fake again "$PID"
fi

# --- what setup would fail on, and what it leaves out ---

# read_only HIERARCHY - check, where that one cannot be written to
read_only() {
	timeout 60 unshare -m sh -c 'mount -o remount,bind,ro "$1" && shift && exec "$@"' sh "${CG_DIR[$1]}" \
		"$OSC" --state-dir "$STATE" --config "$CONF" check
}

hierarchy=${HIERARCHIES[0]}
capture read_only "$hierarchy"
check_exit "a read-only mount: check fails" 1
check_match "a read-only mount: check names it" \
	"BROKEN   hierarchy +$hierarchy at ${CG_DIR[$hierarchy]} is mounted read-only" "$OUT"
capture osc check
check_eq "check: nothing is read-only" "" "$(grep read-only <<<"$OUT" || :)"
if unshare -Ur true 2>/dev/null; then
	fake_container userns
	capture timeout 60 unshare -Ur "$OSC" --config "$CONF" --layout=sibling plan <"$WORK/userns/created"
	check_match "a user namespace: plan says that device rules are left out" "device rules are left out: the kernel takes none" "$OUT$ERR"
	capture osc --layout=sibling plan <"$WORK/userns/created"
	check_eq "no user namespace: nothing is left out" "" "$(grep "left out" <<<"$OUT$ERR" || :)"
	drop_fake userns "$PID"
else
	skip "a user namespace" "there are none here"
fi

# --- prune -------------------------------------------------------------------

mkdir -p "$STATE/runtimes"
touch "$STATE"/runtimes/{1..17}
capture osc prune --dry-run
check_eq "prune --dry-run: forgets nothing" 17 "$(find "$STATE/runtimes" -type f -name '[0-9]' -o -name '1[0-7]' | wc -l)"
capture osc prune
check_exit "prune" 0
check_eq "prune: forgets runtimes when they are many" 0 "$(find "$STATE/runtimes" -type f | wc -l)"

finish
