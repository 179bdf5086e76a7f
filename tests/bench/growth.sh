# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# How the cost of a stage grows with what is around it. A part of tests/bench/run, which sources it, and which has
# sourced stages.sh.
#
# The same hook is played to in turn, as stages.c says, where there is little and where there is much of something:
# bytes of config.json, mounts, containers of its pod. Of threads what counts is the watcher's own CPU time.
# (Of sandboxes there are up to 1,000: tests/soak/run --alive.)

# Variables come from common.sh, from tests/bench/run, and from stages.sh; STATE and CONF are for common.sh.
# shellcheck disable=SC2034,SC2153,SC2154

BAR_FLAT=110 BAR_PARSE=200 BAR_THREAD_US=10
MANY_MOUNTS=1000 MANY_CONTAINERS=256 MANY_BYTES=4000000

growth_row() {
	printf '%-58s %10s %10s %8s  %-16s %s\n' "$@"
}

# like_hook NAME PREFIX... - a hook as $PLAY/hook is, in another directory, each stage run by PREFIX
like_hook() {
	local dir=$PLAY/$1 phase
	shift
	mkdir -p "$dir/bundle"
	cp "$PLAY/hook/bundle/config.json" "$dir/bundle/"
	for phase in setup teardown; do
		{ printf '%s\n' "$@" && cat "$PLAY/hook/$phase"; } | sed '/^$/d' >"$dir/$phase"
	done
}

# flat_row WHAT PHASE FEW MANY - of two hooks that were played to
flat_row() {
	local few many
	quartiles "$3" "$2" 3
	few=$Q2
	quartiles "$4" "$2" 3
	many=$Q2
	growth_row "$1" "$few" "$many" "$(hundredths $((many * 100 / few)))" "<= $(hundredths $BAR_FLAT)" \
		"$(verdict $((many * 100 / few)) $BAR_FLAT)"
}

# grow_config - with mounts that no stage looks at, as engines write them
grow_config() {
	local small big yajl
	like_hook big ''
	jq -c --argjson bytes $MANY_BYTES '.mounts = [range($bytes / 140 | floor) | {destination: "/var/lib/data/\(.)",
		type: "bind", source: "/srv/volumes/data/\(.)", options: ["rbind", "rprivate", "nosuid", "nodev", "rw"]}]' \
		"$PLAY/hook/bundle/config.json" >"$PLAY/big/bundle/config.json"
	mkdir -p "$PLAY"/parse{,-big}/bundle
	command_line "$PLAY/parse/setup" "$OSC-floor" parse "$PLAY/hook/bundle/config.json"
	command_line "$PLAY/parse-big/setup" "$OSC-floor" parse "$PLAY/big/bundle/config.json"
	command_line "$PLAY/parse/teardown" "$(type -P true)"
	cp "$PLAY/parse/teardown" "$PLAY/parse-big/teardown"
	play times "$ROUNDS" 0 hook big parse parse-big
	quartiles hook setup 3 && small=$Q2
	quartiles big setup 3 && big=$((Q2 - small))
	quartiles parse setup 3 && small=$Q2
	quartiles parse-big setup 3 && yajl=$((Q2 - small))
	growth_row "setup: $(stat -c %s "$PLAY/big/bundle/config.json") bytes more of config.json, and yajl's parse of them" \
		"$yajl" "$big" "$(hundredths $((big * 100 / yajl)))" "<= $(hundredths $BAR_PARSE)" "$(verdict $((big * 100 / yajl)) $BAR_PARSE)"
}

# has_mounts COUNT - a mount namespace with so many more. Sets HOLDER.
has_mounts() {
	local dir=$WORK/mounts.$1
	mkdir "$dir"
	# shellcheck disable=SC2016 # that shell's own
	unshare --mount --propagation private sh -c 'i=0
		mount -t tmpfs none "$1"
		while [ $i -lt $2 ]; do mkdir "$1/$i" && mount -t tmpfs none "$1/$i" && i=$((i + 1)) || exit; done
		touch "$1.ready" && exec sleep 100000' sh "$dir" "$1" >/dev/null 2>&1 </dev/null &
	HOLDER=$!
	disown
	started "$HOLDER"
	wait_for 60 test -e "$dir.ready"
}

grow_mounts() {
	local count
	for count in 0 $MANY_MOUNTS; do
		has_mounts "$count" || {
			growth_row "mounts" - - - - "not measured: there can be no mount namespace here"
			return
		}
		like_hook "mounts-$count" "$(type -P nsenter)" "--mount=/proc/$HOLDER/ns/mnt" --
	done
	play times "$ROUNDS" 0 mounts-0 "mounts-$MANY_MOUNTS"
	flat_row "setup: $MANY_MOUNTS more mounts" setup mounts-0 "mounts-$MANY_MOUNTS"
	flat_row "teardown: $MANY_MOUNTS more mounts" teardown mounts-0 "mounts-$MANY_MOUNTS"
}

# pod_filter COUNT - makes config.json that of a container of the pod of so many
pod_filter() {
	echo '.annotations = {"io.kubernetes.cri.container-type": "container", "io.kubernetes.cri.sandbox-id": "'"pod$1"'"}'
}

# fill_pod COUNT - that are there when one more comes and goes. Adds to MEMBERS.
fill_pod() {
	local i name STATE=$PLAY/pod-$1/state CONF=$PLAY/hook/conf.json
	for ((i = 0; i < $1; i++)); do
		name=pod$1-$i
		fake_container "$name" "$(pod_filter "$1")"
		capture osc prestart <"$WORK/$name/created"
		[[ $RC == 0 ]] || die "container $name: $ERR"
		MEMBERS[$name]=$PID
	done
}

# empty_pod COUNT
empty_pod() {
	local i name STATE=$PLAY/pod-$1/state CONF=$PLAY/hook/conf.json
	for ((i = 0; i < $1; i++)); do
		name=pod$1-$i
		end_process "${MEMBERS[$name]}"
		capture osc poststop <"$WORK/$name/stopped"
		[[ $RC == 0 ]] || die "container $name: $ERR"
		drop_fake "$name" "${MEMBERS[$name]}"
	done
}

grow_pod() {
	local count
	local -A MEMBERS=()
	for count in 1 $MANY_CONTAINERS; do
		like_hook "pod-$count" ''
		mkdir -p "$PLAY/pod-$count/state"/{sandboxes,paths}
		sed -i "s|^$PLAY/hook/state\$|$PLAY/pod-$count/state|" "$PLAY/pod-$count"/{setup,teardown}
		jq "$(pod_filter "$count")" "$PLAY/hook/bundle/config.json" >"$PLAY/pod-$count/bundle/config.json"
		fill_pod "$count"
	done
	play times "$ROUNDS" 0 pod-1 "pod-$MANY_CONTAINERS"
	flat_row "setup: a pod of 1, of $MANY_CONTAINERS containers" setup pod-1 "pod-$MANY_CONTAINERS"
	flat_row "teardown: a pod of 1, of $MANY_CONTAINERS containers" teardown pod-1 "pod-$MANY_CONTAINERS"
	for count in 1 $MANY_CONTAINERS; do
		empty_pod "$count"
	done
}

# placed_us THREADS - CPU time of the watcher from a VMM's start until a second after its one vCPU is placed. Sets US.
placed_us() {
	local watcher ns
	start_vm 1 "$1" 0
	watcher=$(watcher_pid vm)
	ns=$(cpu_ns "$watcher")
	"$PLACEMENT" wait "$WORK/slots" 1 "$VCPU" 20000 60000 >/dev/null || die "the VM of $1 threads was not placed"
	sleep 1
	US=$((($(cpu_ns "$watcher") - ns) / 1000))
	stop_vm
}

grow_threads() {
	local few each
	placed_us 64
	few=$US
	placed_us "$MANY"
	each=$(((US - few) * 100 / (MANY - 64)))
	growth_row "placement: threads of a VMM, 64 and $MANY; us for each" "$few" "$US" "$(hundredths $each)" \
		"<= $BAR_THREAD_US us" "$(verdict $each $((BAR_THREAD_US * 100)))"
}

growth() {
	growth_row "what grows" "few, us" "many, us" ratio bar result
	grow_threads
	begin_play
	make_hook hook sibling split
	grow_config
	grow_mounts
	grow_pod
	end_play
}
