#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# What check says of a host that lacks something, and how that is to be mended; 1 for what is broken, and
# for that alone.

# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"

before=$(snapshot)
configure .

# changed COMMAND... - check in mounts of its own, after a command in them
# shellcheck disable=SC2016,SC2317 # expanded in there; called by capture
changed() {
	timeout 60 unshare -m --propagation private sh -c 'eval "$1"; shift; exec "$@"' sh "$*" \
		"$OSC" --state-dir "$STATE" --config "$CONF" check
}


capture osc check
check_match "as it is: the user" "ok +user +root" "$OUT"
check_match "as it is: the configuration" "ok +configuration +$CONF" "$OUT"
check_match "as it is: the state directory" "ok +state directory +$STATE" "$OUT"
check_eq "as it is: 1 if something is broken" "$(grep -c ^BROKEN <<<"$OUT" | sed 's/[1-9].*/1/')" "$RC"
usual=$RC

mkdir -p "$WORK/read-only"
capture changed "mount -t tmpfs -o ro,mode=0700 none '$WORK/read-only'; mkdir -p '$STATE'; mount --bind '$WORK/read-only' '$STATE'"
check_exit "a read-only state directory" 1
check_match "a read-only state directory: it is named, with what to do" \
	"BROKEN +state directory +$STATE cannot be written to: .*Read-only file system.*--state-dir" "$OUT"
kept=$STATE STATE=$WORK/read-only/a/b
capture changed "mount -t tmpfs -o ro,mode=0700 none '$WORK/read-only'"
STATE=$kept
check_exit "one that would be made there" 1
check_match "one that would be made there: it is named" "BROKEN +state directory +$WORK/read-only/a/b cannot" "$OUT"

configure '.overhead_limits.cpu.idle = 5'
capture osc check
check_exit "a configuration with which every setup fails" 1
check_match "a configuration with which every setup fails: it is named" \
	"BROKEN +configuration +every setup fails with $CONF: overhead_limits" "$OUT"
check_match "a configuration with which every setup fails: in JSON" '"verdict": "broken",\s+"text": "every setup fails' \
	"$(osc --json check 2>/dev/null)"
# On v2 it is a part of a sum.
what="a quota that the kernel does not take"
configure '.overhead_limits.cpu.quota = 999'
echo '{"ociVersion": "1.0.2", "linux": {"cgroupsPath": "/c1"}}' >"$WORK/plain.json"
for mode in v1:2 hybrid:2 v2:0; do
	capture osc plan --cgroup-mode "${mode%:*}" "$WORK/plain.json"
	check_exit "$what: plan for ${mode%:*}" "${mode#*:}"
	[[ $mode == v2:0 ]] || check_match "$what: plan for ${mode%:*} names it" "overhead_limits: cpu.quota: .* 999 " "$ERR"
done
capture osc check
if [[ $MODE == v2 ]]; then
	check_exit "$what: check" "$usual"
else
	check_exit "$what: check" 1
	check_match "$what: check names it" "every setup fails with $CONF: overhead_limits: cpu.quota" "$OUT"
fi
configure '.overhead_limits.pids.limit = 5'
capture osc check
check_exit "one of which something has no effect" "$usual"
check_match "one of which something has no effect: it is named" "limited +configuration +overhead_limits: pids" "$OUT"
echo '{"no_such_key": 1}' >"$CONF"
capture osc check
check_exit "one that cannot be read" 2
check_match "one that cannot be read: what is wrong" "no_such_key" "$ERR"
configure .

if [[ -e /dev/kvm ]]; then
	mknod "$WORK/kvm" c 240 77
	capture changed "mount --bind '$WORK/kvm' /dev/kvm"
	check_match "a /dev/kvm without a driver" "limited +hypervisor +/dev/kvm cannot be opened: .*kvm_intel" "$OUT"
	check_exit "a /dev/kvm without a driver is nothing broken" "$usual"
else
	check_match "no /dev/kvm" "limited +hypervisor +neither .*kvm_intel" "$(osc check || :)"
fi

chmod 755 "$WORK"
capture timeout 60 setpriv --reuid=65534 --regid=65534 --clear-groups "$OSC" --state-dir "$STATE" check
check_match "not root: it is said" "limited +user +not root" "$OUT"
check_eq "not root: nothing is called broken that may not be" "" "$(grep '^BROKEN' <<<"$OUT" | grep -v read-only || :)"
check_match "not root: debugfs" "vCPU discovery +.*only root can see" "$OUT"

check_nothing_left "check" "$before"
finish
