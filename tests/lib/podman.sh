# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# What the scripts that have podman start a VMM share: for throw-away guests only,
# as the program runs with its default state directory and configuration file,
# which belong to whoever uses the machine. Needs common.sh.

# shellcheck disable=SC2034,SC2317 # the scripts use and call these
DEFAULT_STATE=/run/oci-sandbox-cgroup
DEFAULT_CONF=/etc/oci-sandbox-cgroup/config.json
# The one in use; common.sh and limits.sh look at it, too.
MANAGER=cgroupfs
# What podman itself takes where it is installed.
RUNTIME=${OSC_RUNTIME:-crun}
HOOKS=
ACCELERATOR=kvm
VCPUS=2
# Of the last container.
ID=

# not_here REASON - ends the script
not_here() {
	skip podman "$1"
	report
}

# pod ARGS... - podman, as one who types it at a shell would have it: with the
# variable, which systemd sets for its services, it leaves conmon where it is
pod() {
	env -u INVOCATION_ID timeout -k 5 120 podman --log-level=error --cgroup-manager="$MANAGER" \
		--runtime="$(type -P "$RUNTIME")" --hooks-dir="$HOOKS" "$@"
}

# pod_ps - the containers of this script
pod_ps() {
	pod ps --all --quiet --no-trunc --filter "name=^$TAG-"
}

# end_podman STATUS - the containers, then what the other scripts clean up, too
end_podman() {
	local id
	set +e
	for id in $(pod_ps 2>/dev/null); do
		pod rm --force --time 0 "$id" >/dev/null 2>&1
	done
	rm -rf "$DEFAULT_CONF" "$DEFAULT_STATE"
	rmdir "${DEFAULT_CONF%/*}" 2>/dev/null
	MANAGER=cgroupfs
	(exit "$1")
	cleanup
}

# make_rootfs - sets ROOTFS, podman's options for it and for a VMM in it
make_rootfs() {
	make_bundle rootfs '["none"]'
	ROOTFS=$WORK/rootfs/rootfs
	mapfile -t VMM_OPTIONS < <(jq -r '.mounts[] | select(.options == ["rbind", "ro"])
		| "--volume=\(.source):\(.destination):ro"' "$WORK/rootfs/config.json")
	[[ $ACCELERATOR != kvm ]] || VMM_OPTIONS+=(--device=/dev/kvm)
	mapfile -t VMM < <(qemu_args "$ACCELERATOR" "$VCPUS" | jq -r '.[]')
}

# layout ONLY - where podman's paths and the contract put
# container ID: OWN is podman's cgroup, DOMAIN one of the sandbox that processes
# can join
layout() {
	local parent=/libpod_parent
	ONLY=$1
	OWN=$parent/libpod-$ID SANDBOX=$parent/kata_libpod-$ID
	if [[ $MANAGER == systemd ]]; then
		parent=/machine.slice
		OWN=$parent/libpod-$ID.scope SANDBOX=$parent/libpod-kata_$ID.scope
	fi
	DOMAIN=$SANDBOX VCPU=$SANDBOX OVERHEAD=
	[[ $ONLY != true ]] || return 0
	if [[ $MODE == v2 ]]; then
		# systemd keeps a scope a plain domain; the threaded tree is below it.
		[[ $MANAGER != systemd ]] || DOMAIN=$SANDBOX/threads
		VCPU=$DOMAIN/sandbox OVERHEAD=$DOMAIN/overhead
	elif [[ $MANAGER == systemd ]]; then
		OVERHEAD=/kata.slice/kata-overhead.slice/kata-overhead-$ID.scope
	else
		OVERHEAD=$OVERHEAD_PARENT/$ID
	fi
}

# own_pids - the processes below podman's own cgroup; crun has a child there
own_pids() {
	local name
	for name in "${HIERARCHIES[@]}"; do
		find "${CG_DIR[$name]}$OWN" -name cgroup.procs -exec cat {} + 2>/dev/null || :
	done | sort -un
}

# own_is_left - nobody is there but a placeholder of ours
own_is_left() {
	local pid result=0
	for pid in $(own_pids); do
		if [[ $(readlink "/proc/$pid/exe") != "$OSC"* ]]; then
			echo "in $OWN: $pid ($(tr '\0' ' ' <"/proc/$pid/cmdline"))"
			result=1
		fi
	done
	return "$result"
}

# no_unit_left - of the container, in systemd; it forgets units a moment later
no_unit_left() {
	local units
	units=$(systemctl list-units --all --plain --no-legend "*$ID*")
	[[ -z $units ]] || {
		echo "$units"
		return 1
	}
}

# gone NAME SNAPSHOT - what is left in the slices is not in the snapshots
gone() {
	check_wait "$1: the VMM has ended" 10 is_dead "$PID"
	check_wait "$1: no cgroup of the container left" 15 cg_gone "$OWN" "$SANDBOX" "$OVERHEAD"
	check_wait "$1: no unit of the container left" 15 no_unit_left
	check_nothing_left "$1" "$2"
}

# run_podman NAME [OPTIONS...] -- COMMAND... - sets ID and PID
run_podman() {
	local name=$1 options=()
	shift
	while [[ $1 != -- ]]; do
		options+=("$1")
		shift
	done
	shift
	capture pod run --detach --name "$TAG-$name" --network=none "${options[@]}" --rootfs "$ROOTFS" "$@"
	if [[ $RC != 0 ]]; then
		fail "$name: podman starts the container" "exit status $RC" "$ERR"
		pod rm --force --time 0 "$TAG-$name" >/dev/null 2>&1 || :
		return 1
	fi
	ok "$name: podman starts the container"
	ID=$OUT
	PID=$(pod inspect --format '{{.State.Pid}}' "$ID")
}

no_container() {
	! pod container exists "$1"
}

# write_hooks - one object for all stages: which one it is comes from the state
write_hooks() {
	HOOKS=$WORK/hooks.d
	mkdir -p "$HOOKS" "$WORK/no-hooks"
	jq -n --arg bin "$OSC" '{version: "1.0.0", hook: {path: $bin, timeout: 60}, when: {always: true},
		stages: ["prestart", "createRuntime", "poststop"]}' >"$HOOKS/oci-sandbox-cgroup.json"
}

# podman_works [OPTIONS...] - without the hook; also makes the parents which podman leaves
podman_works() {
	local HOOKS=$WORK/no-hooks
	mkdir -p "$HOOKS"
	capture pod run --rm --name "$TAG-warm-up" --network=none \
		"$@" --rootfs "$ROOTFS" /busybox true
	[[ $RC == 0 ]] || pod rm --force "$TAG-warm-up" >/dev/null 2>&1 || :
	return "$RC"
}

# throw_away_guest - or end the script
throw_away_guest() {
	if [[ -z ${OSC_VM_MODE-} ]]; then
		not_here "it uses the program's default state directory and configuration, so it runs in a test guest only"
	fi
	type -P podman >/dev/null || not_here "there is no podman"
	[[ ! -e $DEFAULT_CONF && ! -e $DEFAULT_STATE ]] ||
		not_here "$DEFAULT_CONF or $DEFAULT_STATE is in use"
}

# begin_podman CLEANUP - which is called with the exit status
begin_podman() {
	setup
	# shellcheck disable=SC2064 # its name is known now
	trap "$1 \$?" EXIT
	STATE=$DEFAULT_STATE
	CONF=$DEFAULT_CONF
	mkdir -p "${CONF%/*}"
	if ! kvm_works; then
		skip "KVM guest" "QEMU cannot use /dev/kvm on this host"
		ACCELERATOR=tcg,thread=multi
	fi
}
