#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# add-device and remove-device: what a payload may do with a device before and after, under a real runtime; that it
# stays so whatever happens to the sandbox; and what is refused, with everything as it was.

# shellcheck disable=SC2016 # $name in single quotes is jq's
# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"
# shellcheck source=../lib/faults.sh
. "$TESTS/lib/faults.sh"
# shellcheck source=../lib/limits.sh
. "$TESTS/lib/limits.sh"
# shellcheck source=../lib/observe.sh
. "$TESTS/lib/observe.sh"
# shellcheck source=../lib/pods.sh
. "$TESTS/lib/pods.sh"

# 240 and 241 are majors without a driver.
PROBE=${OSC_PROBE:-$(helper device_probe)}
NODE=$WORK/node
NONE="r=deny w=deny rw=deny" ALL="r=allow w=allow rw=allow" READ="r=allow w=deny rw=deny"
RULES=.linux.resources.devices
MKNOD='reduce ("bounding", "effective", "permitted") as $set (.; .process.capabilities[$set] += ["CAP_MKNOD"])'

# What removal by path leaves: v1 and systemd cannot take mknod of one device from those of all.
LEFT=m M=allow
if [[ $MODE == v2 && $MANAGER != systemd ]]; then
	LEFT='' M=deny
fi

# verb NAME WORDS... - succeeds, with JSON
verb() {
	local name=$1
	shift
	capture osc --json "$@"
	check_exit "$name" 0
}

# says NAME JQ VALUE - of the last answer
says() {
	check_eq "$1" "$3" "$(jq -rc "$2" <<<"$OUT")"
}

# --- under a real runtime: init is asked to try, as `exec` is in the runtime's own cgroup ---

# begin NAME JQ_FILTER
begin() {
	NAME=$1
	make_bundle "$NAME" "$(json_list /busybox sh -c 'while read -r devices </ask; do /device_probe --dir / $devices >/answer 2>&1; echo done >/told; done')" "$MKNOD | $2"
	install -m 0755 "$PROBE" "$WORK/$NAME/rootfs/device_probe"
	# It cannot make this one any more when that is denied, too.
	mknod "$WORK/$NAME/rootfs/c-240-77" c 240 77
	mkfifo "$WORK/$NAME/rootfs/ask" "$WORK/$NAME/rootfs/told"
	add_hooks "$NAME" "prestart poststop"
	run_container "$NAME" || {
		fail "$NAME: it runs" "$(cat "$WORK/$NAME/log")"
		return 1
	}
	ID=$TAG-$NAME
}

# may NAME DEVICE LINE - what the payload may do with it
may() {
	local name=$1 device=$2 want=$3 told
	if ! timeout -k 5 20 bash -c 'echo "$1" >"$2"' _ "$device" "$WORK/$NAME/rootfs/ask" ||
		! told=$(timeout -k 5 20 cat "$WORK/$NAME/rootfs/told") || [[ $told != 'done' ]]; then
		fail "$name" "the container does not answer"
		return
	fi
	check_eq "$name" "${device% *}:${device##* } $want" "$(<"$WORK/$NAME/rootfs/answer")"
}

# updates LIMIT - the runtime's own cgroup gets another one, which the watcher carries over
updates() {
	local file record=$STATE/sandboxes/$ID/record.json said
	file=$(cg_file pids "$SANDBOX" pids.max) || return 0
	said=$(jq -c .devices "$record")
	capture oci update --pids-limit "$1" "$ID"
	check_exit "$NAME: the runtime's update to $1" 0
	check_wait "$NAME: is carried over" 20 grep -qx "$1" "$file"
	check_match "$NAME: there is something to keep" allow "$said"
	check_eq "$NAME: the watcher's record keeps the rules" "$said" "$(jq -c .devices "$record")"
}

by_path() {
	local link=$WORK/link
	# So the watcher awaits no vCPUs, and looks for other limits at once.
	configure "$BASIC | .sandbox_cgroup_only = true"
	begin path . || return
	set_layout "$NAME" "$ID" true
	check_wait "$NAME: the watcher has seen the limits that there are" 10 watches_files "$ID"
	ln -s node "$link"
	may "$NAME: as it is" "c 240 77" "$NONE m=allow"
	verb "$NAME: add-device" add-device "$ID" "$NODE"
	says "$NAME: add-device, what it says" '[.sandbox_id, .cgroup, .runtimes_own, .device, .allowed, .changed, .left, .wider_rule]' \
		"[\"$ID\",\"$SANDBOX\",false,\"c 240:77 rwm\",true,true,\"\",null]"
	may "$NAME: it can be opened" "c 240 77" "$ALL m=allow"
	may "$NAME: and no other" "c 240 78" "$NONE m=allow"
	verb "$NAME: add-device again, by a link" add-device "$ID" "$link" rw
	says "$NAME: add-device again: nothing changes" '[.device, .changed]' '["c 240:77 rw",false]'
	capture osc add-device "$ID" "$NODE"
	check_match "$NAME: for people" "^$ID: c 240:77 rwm was already allowed, in " "$OUT"
	updates 77
	may "$NAME: update leaves it" "c 240 77" "$ALL m=allow"
	verb "$NAME: remove-device of a part" remove-device "$ID" "$NODE" w
	says "$NAME: remove-device of a part, what it says" '[.device, .allowed, .changed]' '["c 240:77 w",false,true]'
	may "$NAME: it can be read" "c 240 77" "$READ m=allow"
	verb "$NAME: remove-device" remove-device "$ID" "$NODE"
	says "$NAME: remove-device, what is left" '[.changed, .left, .wider_rule]' \
		"[true,\"$LEFT\",$([[ -z $LEFT ]] && echo null || echo '"c *:* m"')]"
	may "$NAME: it cannot be opened" "c 240 77" "$NONE m=$M"
	verb "$NAME: remove-device again" remove-device "$ID" "$NODE"
	says "$NAME: remove-device again: nothing changes" .changed false
	capture osc remove-device "$ID" "$NODE"
	check_match "$NAME: for people" "^$ID: c 240:77 rwm? was already denied.*, in " "$OUT"
	verb "$NAME: of what config.json has" remove-device "$ID" "c 1:5 rw"
	may "$NAME: it cannot be opened either" "c 1 5" "$NONE m=allow"
	updates 78
	may "$NAME: nor after an update" "c 1 5" "$NONE m=allow"
	verb "$NAME: and back" add-device "$ID" /dev/zero
	says "$NAME: what it says" '[.device, .changed]' '["c 1:5 rwm",true]'
	may "$NAME: it can be opened" "c 1 5" "$ALL m=allow"
	check "$NAME: it ends" stop_container "$NAME"
	check_nothing_left "$NAME" "$before"
	configure "$BASIC"
}

by_rule() {
	begin rule "$RULES += [{allow: true, type: \"c\", major: 241, access: \"rwm\"}]" || return
	verb "$NAME: all of a major" add-device "$ID" "b 240:* r"
	says "$NAME: what it says" '[.device, .changed]' '["b 240:* r",true]'
	may "$NAME: they can be read" "b 240 5" "$READ m=allow"
	verb "$NAME: what a wider rule allows" add-device "$ID" "c 241:5 rw"
	says "$NAME: is said" '[.changed, .wider_rule]' '[false,"c 241:* rwm"]'
	capture osc add-device "$ID" "c 241:6 rw"
	check_match "$NAME: for people" "was already allowed by \"c 241:\* rwm\", in" "$OUT"
	capture osc remove-device "$ID" "c 241:7 rw"
	if [[ -z $LEFT ]]; then
		check_exit "$NAME: a part of a wider rule" 0
		may "$NAME: it cannot be opened" "c 241 7" "$NONE m=allow"
	else
		check_exit "$NAME: a part of a wider rule" 2
		check_match "$NAME: why" "\"c 241:7 rw\" is a part of the wider rule \"c 241:\* rwm\"" "$ERR"
		may "$NAME: it can be opened" "c 241 7" "$ALL m=allow"
	fi
	may "$NAME: so can another" "c 241 8" "$ALL m=allow"
	check "$NAME: it ends" stop_container "$NAME"
	check_nothing_left "$NAME" "$before"
}

# --- pods, and what has to be as it was: from outside, by a process that goes into the sandbox cgroup ---

# tried DEVICE - of TYPE MAJOR MINOR
tried() {
	local dir=${CG_DIR[$(hierarchy_of devices || echo unified)]}
	# shellcheck disable=SC2086 # they are three words
	"$PROBE" --dir "$WORK" --cgroup-procs "$dir$SANDBOX/cgroup.procs" $1 2>&1 | sed 's/^[^ ]* [^ ]* //; s/ m=.*//'
}

pods() {
	local own='.linux.resources.devices = [{allow: true, type: "c", major: 241, minor: 1, access: "rw"}]'
	new_pod pod true
	joins c1 "$own"
	verb "$POD: add-device" add-device "$POD" "$NODE"
	verb "$POD: remove-device" remove-device "$POD" "c 241:1 w"
	check_eq "$POD: added" "$ALL" "$(tried "c 240 77")"
	check_eq "$POD: removed" "$READ" "$(tried "c 241 1")"
	check_eq "$POD: the record has both" '[[true,"c",240,77,"rwm"],[false,"c",241,1,"w"]]' \
		"$(jq -c '[.devices[] | [.allow, .type, .major, .minor, .access]]' "$RECORD")"
	capture osc createRuntime <"$WORK/$POD/c1/created"
	check_exit "$POD: the next stage of c1" 0
	check_eq "$POD: added, after a stage" "$ALL" "$(tried "c 240 77")"
	joins c2 "$own"
	check_eq "$POD: added, with another container" "$ALL" "$(tried "c 240 77")"
	check_eq "$POD: removed, although that has it" "$READ" "$(tried "c 241 1")"
	leaves c1
	check_eq "$POD: added, without the first" "$ALL" "$(tried "c 240 77")"
	check_eq "$POD: removed, without the first" "$READ" "$(tried "c 241 1")"
	verb "$POD: what is allowed already is kept, too" add-device "$POD" "c 241:1 r"
	says "$POD: it changes nothing" .changed false
	joins c3
	leaves c2
	check_eq "$POD: without who had it" "$READ" "$(tried "c 241 1")"
	leaves c3
	pod_gone c1 c2 c3
	# Nothing is kept for the next one of that id.
	new_pod pod true
	joins c1
	check_eq "$POD: another of that id" "$NONE" "$(tried "c 240 77")"
	leaves c1
	pod_gone c1
}

# behind FILE RULE - v1: the list in force is no more what the record says, as when a verb is killed in between
behind() {
	echo "$2" >"$(cg_file devices "$SANDBOX" "devices.$1")"
}

# stage NAME - the next one of c1
stage() {
	capture osc createRuntime <"$WORK/$POD/c1/created"
	check_exit "$POD: $1: the next stage" 0
}

# What was recorded holds, in force or not; what others have changed in the list comes before it.
recorded() {
	new_pod recorded true
	joins c1 '.linux.resources.devices = [{allow: true, type: "c", major: 241, minor: 1, access: "rw"}]'
	verb "$POD: remove-device" remove-device "$POD" "c 241:1 w"
	behind allow "c 241:1 w"
	check_eq "$POD: a removal is not in force" "$ALL" "$(tried "c 241 1")"
	stage "a removal"
	check_eq "$POD: a removal is in force" "$READ" "$(tried "c 241 1")"
	behind allow "c 241:1 w"
	verb "$POD: the same verb again" remove-device "$POD" "c 241:1 w"
	says "$POD: has something to do" .changed true
	check_eq "$POD: and does it" "$READ" "$(tried "c 241 1")"
	behind allow "c 241:* w"
	behind allow "c 242:7 r"
	stage "a wider rule of somebody else's"
	check_eq "$POD: lets nobody write" "$READ" "$(tried "c 241 1")"
	check_eq "$POD: nor to others" "$NONE" "$(tried "c 241 2")"
	check_eq "$POD: what has nothing to do with it is kept" "$READ" "$(tried "c 242 7")"
	verb "$POD: add-device" add-device "$POD" "c 240:* r"
	verb "$POD: remove-device of others" remove-device "$POD" "b 240:* rw"
	verb "$POD: add-device of one of those" add-device "$POD" "b 240:77 rw"
	behind deny "c 240:* r"
	behind deny "b 240:77 w"
	check_eq "$POD: an addition is not in force" "$NONE" "$(tried "c 240 77")"
	stage "an addition"
	check_eq "$POD: an addition is in force" "$READ" "$(tried "c 240 77")"
	check_eq "$POD: within a wider removal, too" "$ALL" "$(tried "b 240 77")"
	behind deny "c 240:* r"
	verb "$POD: the same verb again" add-device "$POD" "c 240:* r"
	says "$POD: has something to do" .changed true
	check_eq "$POD: and does it" "$READ" "$(tried "c 240 77")"
	leaves c1
	pod_gone c1
}

# A list of v1 cannot deny a part of what another container brings along.
wider() {
	new_pod wider true
	joins c1 '.linux.resources.devices = [{allow: true, type: "c", major: 241, minor: 1, access: "rw"}]'
	verb "$POD: remove-device" remove-device "$POD" "c 241:1 w"
	member c2 '.linux.resources.devices = [{allow: true, type: "c", major: 241, access: "rw"}]'
	look
	is_refused c2 2 'or take back what was said of this sandbox, by add-device "c 241:1 w"'
	check_eq "$POD: in one line" 1 "$(wc -l <<<"$ERR")"
	verb "$POD: that is taken back" add-device "$POD" "c 241:1 w"
	capture osc prestart <"$WORK/$POD/c2/created"
	check_exit "$POD: c2 joins then" 0
	check_eq "$POD: with what it has" "$ALL" "$(tried "c 241 5")"
	leaves c2
	leaves c1
	pod_gone c1 c2
}

# as_before NAME EXIT REGEX WORDS...
as_before() {
	local name=$1 exit=$2 why=$3 record
	shift 3
	record=$(jq -c .devices "$RECORD")
	capture osc "$@"
	check_exit "$POD: $name" "$exit"
	check_match "$POD: $name: why" "$why" "$ERR"
	check_eq "$POD: $name: the record" "$record" "$(jq -c .devices "$RECORD")"
	check_eq "$POD: $name: the list" "$NONE" "$(tried "c 240 77")"
}

# not_undone - the parent does not allow it, and the record cannot be written a second time
WROTE=$NONE
not_undone() {
	if ! can_trace; then
		skip "$POD: an undo that fails" "strace cannot trace here"
		return
	fi
	capture env ASAN_OPTIONS=detect_leaks=0 strace -o "$WORK/trace" -e inject=renameat,renameat2:error=EIO:when=2 \
		"$OSC-systemd" --state-dir "$STATE" --config "$CONF" add-device "$POD" "$NODE" r
	check_exit "$POD: an undo that fails" 1
	check_match "$POD: an undo that fails: what becomes of it" \
		"EPERM.*it may be recorded, and then comes into force .*unless remove-device takes it back$" "$ERR"
	check_eq "$POD: an undo that fails: the record" '[[true,"c",240,77,"r"]]' \
		"$(jq -c '[.devices[] | [.allow, .type, .major, .minor, .access]]' "$RECORD")"
	WROTE=$READ
}

refusals() {
	new_pod refused true
	joins c1
	as_before "no such path" 1 "cannot look at the device $WORK/none: ENOENT" add-device "$POD" "$WORK/none"
	as_before "a file" 2 "$CONF is no device" add-device "$POD" "$CONF"
	as_before "no rule" 2 '"c 240:77" is neither' add-device "$POD" "c 240:77"
	as_before "no access" 2 'access "x" is not made of r, w, m' add-device "$POD" "$NODE" x
	as_before "access twice" 2 'names its access already' add-device "$POD" "c 240:77 r" w
	as_before "no sandbox" 1 'there is no sandbox.*list' add-device gone "$NODE"
	if [[ $MODE != v2 && $MANAGER != systemd ]]; then
		# What the parent denies no child can allow.
		echo "c 240:77 rwm" >"$(cg_file devices "/$TAG/$POD" devices.deny)"
		as_before "a parent that does not allow it" 1 "EPERM.*keeps the device list that it had" add-device "$POD" "$NODE"
		not_undone
		echo "c 240:77 rwm" >"$(cg_file devices "/$TAG/$POD" devices.allow)"
		stage "a parent that does"
		check_eq "$POD: what is recorded comes into force" "$WROTE" "$(tried "c 240 77")"
		verb "$POD: and as soon as it does" add-device "$POD" "$NODE"
		check_eq "$POD: it can be opened" "$ALL" "$(tried "c 240 77")"
	fi
	leaves c1
	pod_gone c1
}

nested() {
	local id=$TAG-nested own
	configure '.layout = "nested"'
	begin nested . || return
	own=$(own_cgroup nested)
	capture osc add-device "$id" "$NODE"
	check_exit "nested: add-device" 2
	check_match "nested: why" "has layout nested: its device rules are those that its runtime has made" "$ERR"
	capture osc remove-device "$id" /dev/null
	check_exit "nested: remove-device" 2
	may "nested: nothing is added" "c 240 77" "$NONE m=allow"
	may "nested: nor removed" "c 1 3" "$ALL m=allow"
	check "nested: it ends" stop_container nested
	check_wait "nested: its cgroup is gone" 20 cg_gone "$own"
	check_nothing_left "nested" "$before"
}

mknod "$NODE" c 240 77
before=$(snapshot)
if [[ $MODE != v2 ]] && ! hierarchy_of devices >/dev/null; then
	skip "device-verbs" "there is no devices hierarchy"
else
	by_path
	by_rule
	if [[ $MANAGER == systemd ]]; then
		skip "pods" "what is not in a scope of a runtime's is for cgroupfs"
	else
		pods
		if [[ $MODE != v2 ]]; then
			recorded
			wider
		fi
		refusals
	fi
	nested
fi
check_nothing_left "device-verbs" "$before"
finish
