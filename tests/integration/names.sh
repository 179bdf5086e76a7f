#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# What an engine calls a container: in the record, in lists, and in place of an id.

# shellcheck disable=SC2016 # $name in single quotes is jq's
# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"

CRI='.annotations = {"io.kubernetes.cri.container-name": $c, "io.kubernetes.cri.sandbox-name": "web-0",
	"io.kubernetes.cri.sandbox-namespace": "shop"}'

# named NAME CONTAINER - a sandbox of its own, of the pod web-0
named() {
	set_layout "$1"
	fake_container "$1" "\"$2\" as \$c | $CRI"
	capture osc prestart <"$WORK/$1/created"
	check_exit "$1: setup" 0
}

# end NAME PID
end() {
	drop_fake "$1" "$2"
	capture osc poststop <"$WORK/$1/stopped"
	check_exit "$1: teardown" 0
}

# means WORD ID
means() {
	capture osc --json show "$1"
	check_exit "$1 is $2" 0
	check_eq "$1 is $2: which" "$2" "$(jq -r .record.sandbox_id <<<"$OUT")"
}

before=$(snapshot)
capture osc list
check_eq "none: said" "no sandboxes" "$OUT"
capture osc list --json
check_eq "none: JSON" "[]" "$OUT"

named one app && one=$PID
named two db && two=$PID
capture osc list --json
check_eq "list: names" "one app web-0 shop, two db web-0 shop" \
	"$(jq -r 'sort_by(.sandbox_id) | map("\(.sandbox_id) \(.container) \(.pod) \(.namespace)") | join(", ")' <<<"$OUT")"
capture osc list
check_match "list: a column" "^one +[a-z]+ +[a-zA-Z ]+1  shop/web-0/app +/" "$OUT"
check_eq "the record has them" "app web-0 shop" \
	"$(jq -r '.containers[0] | "\(.name) \(.pod) \(.pod_namespace)"' "$STATE/sandboxes/one/record.json")"
means one one
means app one
means db two
means t two
capture osc show web-0
check_exit "a pod of several: refused" 1
check_eq "a pod of several: which" "1 1" "$(grep -c 'one (shop/web-0/app)' <<<"$ERR") $(grep -c 'two (shop/web-0/db)' <<<"$ERR")"
check_eq "a pod of several: in a line" 1 "$(wc -l <<<"$ERR")"
capture osc delete web-0 --force
check_exit "what is not one is not deleted" 1
check "what is not one is not deleted: both are there" test -d "$STATE/sandboxes/one" -a -d "$STATE/sandboxes/two"
capture osc stat dbb
check_match "nearly: what was meant" 'is "db" meant' "$ERR"
capture osc stat app
check_match "stat: whose" '^one \(shop/web-0/app\): running' "$OUT"

# An id in full is meant before a name: this one's name is the other's id.
named three two && three=$PID
means two two
end three "$three"

# A name that differs from the one that the state has, and one that no terminal is to see.
named four "$(printf 'd\\u00e4\\\\x')" && four=$PID
capture osc list
check_match "a name of any letters: escaped" 'shop/web-0/d\\xc3\\xa4\\x5cx' "$OUT"
jq '.annotations = {"io.kubernetes.cri.container-name": "other"}' "$WORK/four/created" >"$WORK/four/differs"
capture osc prestart <"$WORK/four/differs"
check_exit "another name in the state: not refused" 0
end four "$four"

# A version before writes no names, and reads a record that has them.
edit=$STATE/sandboxes/one/record.json
jq -c '.containers |= map(del(.name, .pod, .pod_namespace))' "$edit" >"$WORK/edited" && cat "$WORK/edited" >"$edit"
means one one
capture osc --json list
check_eq "without names" "null" "$(jq -r '.[] | select(.sandbox_id == "one").pod' <<<"$OUT")"

# podman says a name to conmon alone.
cp "$(command -v bash)" "$WORK/conmon"
"$WORK/conmon" -c 'sleep 1000 & echo $! >"$0"; wait' "$WORK/pid" -n my-vm 2>/dev/null &
conmon=$!
started "$conmon"
check_wait "conmon: it has a child" 20 test -s "$WORK/pid"
child=$(<"$WORK/pid")
started "$child"
set_layout five
fake_container five && five=$PID
cg_enter "$(own_cgroup five)" "$child"
sed -i "s/\"pid\": $five\b/\"pid\": $child/" "$WORK/five/created"
end_process "$five"
capture osc prestart <"$WORK/five/created"
check_exit "conmon: setup" 0
means my-vm five
end five "$child"
wait "$conmon"

end_process "$two"
capture osc delete db
check_exit "delete by name" 0
check "delete by name: it is gone" test ! -e "$STATE/sandboxes/two"
drop_fake two "$two"
end one "$one"
check_nothing_left "names" "$before"
finish
