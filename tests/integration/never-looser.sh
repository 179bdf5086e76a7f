#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# A container with the hook may do nothing that it may not do without it. The
# limits and device rules of each round are drawn, and a program tries in the
# container what it can get: under the plain runtime, and then with the hook, split,
# with sandbox_cgroup_only, and nested.
#
#   OSC_SEED     what is drawn follows from it; it is printed
#   OSC_ROUNDS   so many for each runtime; default 2, and 1 with OSC_BRIEF
#   OSC_RUNTIME  only that one, else runc and crun

# What is compared, and how. Numbers that the kernel enforces by counting (children, memory in
# MiB, huge pages) must not be more than without the hook: of memory 2 MiB, as the kernel charges in
# batches for each CPU and counts page tables, too. CPU time and rates of writing are
# measured, and what other work of the machine leaves of them differs from run to run: so they are
# held against the limit, and not against each other. One and a half times of it is allowed: in 0.8 s
# of at least eight periods a container may use what is left of the period in which it
# begins and ends, which is at most a quarter more, and of a rate the kernel lets one slice of 100 ms go ahead.
# Whoever has no limit at all gets more than that by far. The CPU time is that of
# threads that are vCPUs: the others' is one of the three exceptions. Another one are devices: those
# which the hook's registration grants are not probed, and `virtualization_devices` is off.

# shellcheck disable=SC2016 # $name in single quotes is jq's
# shellcheck disable=SC2317 # functions are called by name
# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"
# shellcheck source=../lib/limits.sh
. "$TESTS/lib/limits.sh"

KINDS=${OSC_RUNTIME:-runc crun}
ROUNDS=${OSC_ROUNDS:-${OSC_BRIEF:+1}}
ROUNDS=${ROUNDS:-2}
SEED=${OSC_SEED:-$SRANDOM}
# Of no driver, but for those of a VMM that are not there for the asking, loop and null.
PROBED=(c 240 77 c 240 78 b 240 5 b 241 1 b 7 5 c 10 232 c 10 196 c 1 3)
CAPABLE='reduce ("bounding", "effective", "permitted") as $set (.; .process.capabilities[$set] += ["CAP_MKNOD", "CAP_SYS_NICE"])'

# --- what is drawn -----------------------------------------------------------

# draw N - sets DRAWN to one of 0 to N - 1. Not in a subshell, which has random numbers of its own.
draw() {
	DRAWN=$((RANDOM % $1))
}

chance() {
	draw 100
	((DRAWN < $1))
}

# pick WORD... - sets DRAWN to one of them
pick() {
	draw $#
	shift "$DRAWN"
	DRAWN=$1
}

# disk_of FILE - MAJOR:MINOR of the whole disk, whose writes can be throttled
disk_of() {
	local device
	device=$(stat -c '%Hd:%Ld' "$1")
	[[ -e /sys/dev/block/$device ]] || return 1
	[[ ! -e /sys/dev/block/$device/partition ]] || device=$(<"$(readlink -f "/sys/dev/block/$device/..")/dev")
	echo "$device"
}

# draw_rule - adds one to RULES: nothing that denies a part of what another one allows, which v1 cannot express
draw_rule() {
	local type major='' minor='' access
	pick c b
	type=$DRAWN
	if chance 80; then
		major=240
		if chance 60; then
			pick 77 5
			minor=$DRAWN
		fi
	fi
	pick r w m rw rm wm rwm
	access=$DRAWN
	RULES+=", {allow: true, type: \"$type\", access: \"$access\"${major:+, major: $major}${minor:+, minor: $minor}}"
}

# draw_cpu - the quota in percent of a CPU, and CPUs
draw_cpu() {
	local period cpus
	QUOTA=
	if available cpu && chance 75; then
		pick 20000 50000 100000
		period=$DRAWN
		draw 31
		QUOTA=$((10 + DRAWN))
		FILTER+=" | .linux.resources.cpu += {quota: $((period * QUOTA / 100)), period: $period}"
	fi
	if available cpuset && chance 50; then
		cpus=$(cpuset_of "" cpus)
		pick "${cpus%%[^0-9]*}" "${cpus##*[^0-9]}"
		FILTER+=" | .linux.resources.cpu += {cpus: \"$DRAWN\"}"
	fi
}

draw_memory() {
	local limit
	available memory && chance 70 || return 0
	draw 49
	limit=$(((40 + DRAWN) << 20))
	FILTER+=" | .linux.resources.memory = {limit: $limit}"
	if [[ $MODE == v2 || -e $(cg_file memory "$BASE" memory.memsw.limit_in_bytes) ]]; then
		pick 0 $((8 << 20))
		FILTER+=" | .linux.resources.memory.swap = $((limit + DRAWN))"
	fi
}

draw_counts() {
	if available pids && chance 80; then
		draw 40
		FILTER+=" | .linux.resources.pids = {limit: $((20 + DRAWN))}"
		if [[ $MODE == v2 ]] && chance 30; then
			draw 40
			FILTER+=" | .linux.resources.unified = {\"pids.max\": \"$((20 + DRAWN))\"}"
		fi
	fi
	if available hugetlb && [[ $(hierarchy_of hugetlb) != unified || $MODE == v2 ]] && chance 50; then
		pick 0 2097152
		FILTER+=" | .linux.resources.hugepageLimits = [{pageSize: \"2MB\", limit: $DRAWN}]"
	fi
}

draw_rate() {
	local controller=blkio
	RATE=
	[[ $MODE != v2 ]] || controller=io
	[[ -n $DISK ]] && available $controller && chance 60 || return 0
	pick 1 2 4
	RATE=$((DRAWN << 10))
	FILTER+=" | .linux.resources.blockIO.throttleWriteBpsDevice = [{major: ${DISK%:*}, minor: ${DISK#*:}, rate: $((RATE << 10))}]"
}

draw_devices() {
	local count
	RULES='{allow: false, access: "rwm"}'
	if chance 15; then
		RULES='{allow: true, access: "rwm"}'
	else
		draw 4
		for ((count = DRAWN; count > 0; count--)); do draw_rule; done
	fi
	FILTER+=" | .linux.resources.devices = [$RULES]"
	! chance 50 || FILTER+=' | .linux.devices = [{path: "/dev/x", type: "c", major: 240, minor: 77}, {path: "/dev/y", type: "b", major: 240, minor: 5}]'
}

# What the author of a pod would like to have.
draw_annotations() {
	! chance 40 || FILTER+=' | .annotations["io.katacontainers.config.runtime.sandbox_cgroup_only"] = "false"'
	! chance 20 || FILTER+=' | .annotations["oci-sandbox-cgroup.io/overhead-cpu-quota"] = "900000 100000"'
	! chance 20 || FILTER+=' | .annotations["io.katacontainers.config.runtime.enable_vcpus_pinning"] = "true"'
}

# draw_config - sets FILTER, and QUOTA and RATE to what there is to hold CPU time and writes against
draw_config() {
	FILTER=.
	draw_cpu
	draw_memory
	draw_counts
	draw_rate
	draw_devices
	draw_annotations
}

# --- what a container gets ---------------------------------------------------

# make_nodes DIR - those that are probed: with systemd's manager the hook lets a rule about all devices of a type take
# the making of nodes away, as current crun does, and older ones and runc do not
make_nodes() {
	local i
	for ((i = 0; i < ${#PROBED[@]}; i += 3)); do
		mknod -m 0600 "$1/${PROBED[i]}-${PROBED[i + 1]}-${PROBED[i + 2]}" "${PROBED[@]:i:3}"
	done
}

# begins NAME [HOOK_CONFIGURATION] - with the drawn limits
begins() {
	local name=$1
	make_bundle "$name" "$(json_list /ability_probe --go /go --out /out --disk /disk --vcpus "$VCPUS" \
		/device_probe --dir / "${PROBED[@]}")" "$CAPABLE | $FILTER"
	install -m 0755 "$(helper ability_probe)" "$WORK/$name/rootfs/ability_probe"
	install -m 0755 "$(helper device_probe)" "$WORK/$name/rootfs/device_probe"
	make_nodes "$WORK/$name/rootfs"
	if [[ $# -gt 1 ]]; then
		configure ".virtualization_devices = false | $2"
		add_hooks "$name" "prestart poststop"
	fi
	run_container "$name"
}

# ended NAME - sets GOT to what it got
ended() {
	touch "$WORK/$1/rootfs/go"
	has_results() { [[ -e $WORK/$1/rootfs/out ]] || ! is_alive "$PID"; }
	wait_for 60 has_results "$1" || :
	GOT=$(cat "$WORK/$1/rootfs/out" 2>&1) ||
		GOT="nothing, and it $(is_alive "$PID" && echo "is still at work" || echo "has ended")"
	echo "# $1: $(grep -v '^[bc] ' <<<"$GOT" | xargs)"
	check "$1: kill and delete" stop_container "$1"
	rm -rf --one-file-system "${WORK:?}/$1"
}

# is_split ID
is_split() {
	osc show "$1" --json | jq -e '.placement.state == "complete"' >/dev/null
}

# value NAME - from the lines on stdin
value() {
	sed -n "s/^$1 \(.*\)/\1/p"
}

# allowed_bits - "r=allow" and the like of a device's line on stdin. Kernel and runtimes allow an open for reading and
# writing only where one rule names both; we add them up, as two opens get the same.
allowed_bits() {
	local line
	read -r line
	[[ $line != *"r=allow w=allow "* ]] || line+=" rw=allow"
	tr ' ' '\n' <<<"$line" | grep '=allow$' | sort -u || :
}

# looser PLAIN HOOK - each line of HOOK that says more than that of PLAIN may
looser() {
	local line name plain hook most
	while read -r line; do
		name=${line%% *} hook=${line#* } plain=$(value "$name" <<<"$1") most=
		case $name in
		cpu) most=${QUOTA:+$((QUOTA * 3 / 2))} ;;
		write) most=${RATE:+$((RATE * 3 / 2))} ;;
		memory) most=$((plain + 2)) ;;
		hugepages | forks | vcpu-forks) most=$plain ;;
		fifo | vcpu-fifo) [[ $hook == no || $plain == yes ]] || echo "$line, without the hook $plain" ;;
		affinity) [[ -z $(comm -13 <(tr ' ' '\n' <<<"$plain" | sort) <(tr ' ' '\n' <<<"$hook" | sort)) ]] ||
			echo "$line, without the hook $plain" ;;
		c | b)
			name+=" ${hook%% *}" plain=$(value "$name" <<<"$1")
			[[ -z $(comm -13 <(allowed_bits <<<"$plain") <(allowed_bits <<<"$hook")) ]] ||
				echo "$line, without the hook $plain"
			;;
		*) echo "not understood: $line" ;;
		esac
		[[ -z $most ]] || ((hook <= most)) || echo "$name: $hook, which is more than $most; without the hook $plain"
	done <<<"$2"
}

# check_never NAME - GOT, against PLAIN
check_never() {
	local more
	more=$(looser "$PLAIN" "$GOT")
	if [[ -z $more && $(wc -l <<<"$GOT") == "$(wc -l <<<"$PLAIN")" ]]; then
		ok "$1: nothing is looser"
	else
		fail "$1: nothing is looser" "$more" "seed $SEED; config.json: $FILTER" "without the hook: $PLAIN" "with it: $GOT"
	fi
}

# plain NAME - sets PLAIN; fails where the runtime does not take what was drawn
plain() {
	begins "$1" || return 1
	ended "$1"
	PLAIN=$GOT
	[[ $PLAIN == cpu\ * ]]
}

# with_hook NAME CONFIGURATION [SPLIT] [COMMAND...] - the command comes before the probe begins
with_hook() {
	if ! begins "$1" "$2"; then
		fail "$1: the runtime starts it, as without the hook" "$(cat "$WORK/$1/log")" "config.json: $FILTER"
		return 1
	fi
	if [[ -n ${3-} ]]; then
		check_wait "$1: its vCPUs are set apart" 60 is_split "$TAG-$1"
	fi
	"${@:4}"
	ended "$1"
}

# loosen NAME - by hand: no limit of pids, and of v1 a device more
loosen() {
	set_layout "$1" "$TAG-$1"
	echo max >"$(cg_file pids "$SANDBOX" pids.max)"
	! available devices || echo "c 240:77 r" >"$(cg_file devices "$SANDBOX" devices.allow)"
}

# once NAME - one round
once() {
	local tries split
	for ((tries = 0; tries < 10; tries++)); do
		draw_config
		! plain "$1-plain" || break
		echo "# not taken: $FILTER: $(tail -n 1 "$WORK/$1-plain/log" 2>/dev/null)"
	done
	if ((tries == 10)); then
		fail "$1: the runtime takes what is drawn" "seed $SEED"
		return
	fi
	echo "# $1: $FILTER"
	# On v2 there is no split without a quota.
	split=${QUOTA:+yes}
	! with_hook "$1-split" '.layout = "sibling"' "$split" || check_never "$1-split"
	! with_hook "$1-only" '.layout = "sibling" | .sandbox_cgroup_only = true' || check_never "$1-only"
	! with_hook "$1-nested" '.layout = "nested"' "$split" || check_never "$1-nested"
}

VCPUS=$(nproc)
((VCPUS >= 2)) || VCPUS=2
((VCPUS <= 4)) || VCPUS=4
echo "# OSC_SEED=$SEED"
RANDOM=$SEED
DISK=$(disk_of "$WORK") || skip "rates of writing" "$WORK is on no disk of its own"
before=$(snapshot)
for kind in $KINDS; do
	if ! type -P "$kind" >/dev/null; then
		skip "$kind" "it is not installed"
		continue
	fi
	RUNTIME=$(runtime_here "$kind")
	for ((round = 1; round <= ROUNDS; round++)); do
		once "$kind$round"
	done
done

# That the comparison sees it when something is looser.
if available pids && [[ -z ${OSC_BRIEF-} ]]; then
	FILTER='.linux.resources.pids = {limit: 20}' QUOTA='' RATE=''
	plain loosened-plain
	if with_hook loosened '.layout = "sibling"' '' loosen loosened; then
		more=$(looser "$PLAIN" "$GOT")
		check_match "without its limit of pids it is looser" '^forks: [0-9]+, which is more than [0-9]+;' "$more"
		! available devices || check_match "with another device it is looser" \
			$'\nc 240:77 r=allow w=deny rw=deny m=allow, without the hook r=deny ' "$more"
	fi
fi
check_nothing_left "never-looser" "$before"

finish
