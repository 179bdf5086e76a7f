#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# What a payload may do with devices, measured inside a container of each real
# runtime, without the hook and with it: by config.json it gets the same.

# shellcheck disable=SC2016 # $name in single quotes is jq's
# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"

# 240 is a major without a driver.
PROBED=(c 240 77 b 240 5 b 7 5 c 1 3)
NODES='.linux.devices = [{path: "/dev/x", type: "c", major: 240, minor: 77}, {path: "/dev/y", type: "b", major: 240, minor: 5}]'
MKNOD='reduce ("bounding", "effective", "permitted") as $set (.; .process.capabilities[$set] += ["CAP_MKNOD"])'

# probe NAME JQ_FILTER yes|no - sets GOT to what the payload may do, one line per device
probe() {
	make_bundle "$1" "$(json_list /device_probe --dir / "${PROBED[@]}")" "$MKNOD | $2"
	install -m 0755 "$PROBE" "$WORK/$1/rootfs/device_probe"
	[[ $3 == no ]] || add_hooks "$1" "prestart poststop" "${OPTIONS[@]}"
	GOT=$(oci run --bundle "$WORK/$1" "$TAG-$1" </dev/null 2>&1) || GOT="exit status $?: $GOT"
}

# probed C_240_77 B_240_5 - each "r=... w=... rw=..."; what GOT is to be
probed() {
	printf 'c 240:77 %s m=allow\nb 240:5 %s m=allow\nb 7:5 %s m=allow\nc 1:3 %s m=allow' "$1" "$2" "${LOOP-$NONE}" "$ALL"
}
NONE="r=deny w=deny rw=deny" ALL="r=allow w=allow rw=allow" READ="r=allow w=deny rw=deny"

# same NAME JQ_FILTER C_240_77 B_240_5 [HOOK_OPTION...] - without the hook, where c 240:77 is PLAIN if that is
# set, and with it
same() {
	local name=$1-$KIND
	OPTIONS=("${@:5}")
	probe "$name-plain" "$2" no
	check_eq "$1, $KIND: without the hook" "$(probed "${PLAIN-$3}" "$4")" "$GOT"
	probe "$name-hook" "$2" yes
	check_eq "$1, $KIND: with the hook" "$(probed "$3" "$4")" "$GOT"
}

# Another hook, such as that of a GPU's vendor, changes the list of the cgroup that its process is in.
other_hook() {
	cat >"$WORK/other" <<-EOT
		#!/bin/sh
		pid=\$(sed -n 's/.*"pid":[ ]*\([0-9]*\).*/\1/p')
		cgroup=\$(sed -n 's/^[0-9]*:devices://p' "/proc/\$pid/cgroup")
		cd "${CG_DIR[devices]}\$cgroup" && echo "c 240:77 rw" >devices.allow && echo "b 240:5 w" >devices.deny
	EOT
	chmod +x "$WORK/other"
}

# beside_other NAME "HOOK..." - with these hooks, "ours" and "other", of prestart, and ours of poststart
beside_other() {
	local hook list='[]'
	make_bundle "$1" "$(json_list /device_probe --dir / "${PROBED[@]}")" "$MKNOD | $RULES += [{allow: true, type: \"b\", major: 240, minor: 5, access: \"rw\"}]"
	install -m 0755 "$PROBE" "$WORK/$1/rootfs/device_probe"
	[[ $2 == other ]] || add_hooks "$1" "prestart poststart poststop"
	for hook in $2; do
		if [[ $hook == ours ]]; then list+=' + .hooks.prestart'; else list+=" + [{path: \"$WORK/other\"}]"; fi
	done
	# crun 1.8 may miss the end of a hook with a timeout if the container ends meanwhile, and waits for all of it.
	edit_config "$1" ".hooks.prestart = ($list) | del(.hooks[][].timeout)"
	GOT=$(oci run --bundle "$WORK/$1" "$TAG-$1" </dev/null 2>&1) || GOT="exit status $?: $GOT"
	check_eq "hooks $2, $KIND" "$(probed "$ALL" "$READ")" "$GOT"
}

PROBE=${OSC_PROBE:-$(helper device_probe)}
RULES=.linux.resources.devices
before=$(snapshot)
for KIND in runc crun; do
	if ! type -P "$KIND" >/dev/null; then
		skip "$KIND" "it is not installed"
		continue
	fi
	RUNTIME=$(runtime_here "$KIND")
	same nodes "$NODES" "$NONE" "$NONE"
	same "node-and-rule" "$NODES | $RULES += [{allow: true, type: \"c\", major: 240, minor: 77, access: \"r\"}]" "$READ" "$NONE"
	# runc refuses a rule without access, and v1 takes none of crun's but one for all devices, which takes away what
	# was allowed before. On v2 crun 1.8 leaves that allowed.
	if [[ $KIND == crun ]]; then
		[[ $MODE != v2 ]] || PLAIN=$ALL
		same denial "$RULES = [{allow: true, type: \"c\", major: 240, minor: 77, access: \"rw\"}, {allow: false, type: \"a\"}]" "$NONE" "$NONE"
		unset PLAIN
	fi
	if [[ $KIND == crun && $MODE == v2 ]]; then
		same no-access "$RULES += [{allow: true, type: \"c\", major: 240, minor: 77, access: \"\"}]" "$NONE" "$NONE"
	fi
	# Whoever may write annotations gets nothing by them; only an administrator grants loop devices.
	same annotation ".annotations[\"io.katacontainers.config.runtime.sandbox_cgroup_only\"] = \"true\"" "$NONE" "$NONE"
	same argument . "$NONE" "$NONE" --sandbox-cgroup-only
	configure '.extra_devices = ["b 7:* rwm", "c 240:77 r"]'
	OPTIONS=()
	probe "extra-$KIND" . yes
	check_eq "extra_devices, $KIND" "$(LOOP=$ALL probed "$READ" "$NONE")" "$GOT"
	configure .
	# Of v2 nobody can read what another hook has allowed: `plan` warns.
	if [[ ${CG_DIR[devices]-} ]]; then
		other_hook
		beside_other "alone-$KIND" other
		beside_other "behind-$KIND" "other ours"
		beside_other "before-$KIND" "ours other"
	else
		make_bundle "warned-$KIND" '["true"]' '.hooks.prestart = [{path: "/bin/true"}]'
		capture osc plan --bundle "$WORK/warned-$KIND"
		check_match "another hook, $KIND: plan warns" "there are other hooks" "$OUT$ERR"
	fi
done
check_nothing_left "devices" "$before"

finish
