# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# What the scripts that have podman start a VMM share: for throw-away guests only.
# They use what `make install` has put where podman looks for it: the file of the
# hooks directory and that of CDI, and the program whose path is in there, with its
# default state directory and configuration file. Needs common.sh.

# shellcheck disable=SC2034,SC2317 # the scripts use and call these
DEFAULT_STATE=/run/oci-sandbox-cgroup
DEFAULT_CONF=/etc/oci-sandbox-cgroup/config.json
# The one in use; common.sh and limits.sh look at it, too. OSC_PODMAN_MANAGER, where
# a script knows it: only that one.
MANAGER=cgroupfs
# What podman itself takes where it is installed.
RUNTIME=${OSC_RUNTIME:-crun}
HOOKS_D_FILE=/usr/share/containers/oci/hooks.d/90-oci-sandbox-cgroup.json
# For all containers, as oci-sandbox-cgroup-engines(7) has it: what is in /etc hides what is in /usr, once
# podman is told to look there.
ALWAYS_FILE=/etc/containers/oci/hooks.d/${HOOKS_D_FILE##*/}
ALWAYS_CONF=/etc/containers/containers.conf.d/90-oci-sandbox-cgroup.conf
# By which a container asks for the hook.
HOOK_OPTIONS=(--annotation=oci-sandbox-cgroup.io/hook=true)
ACCELERATOR=kvm
VCPUS=2
# Of the last container.
ID=
# What pods are made of that need one.
IMAGE=localhost/osc/test:1

# not_here REASON - ends the script
not_here() {
	skip podman "$1"
	report
}

# pod ARGS... - podman, as one who types it at a shell would have it: with the
# variable, which systemd sets for its services, it leaves conmon where it is
pod() {
	env -u INVOCATION_ID timeout -k 5 120 podman --log-level=error --cgroup-manager="$MANAGER" \
		--runtime="$(type -P "$RUNTIME")" "$@"
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
	for_those_that_ask
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

# On v2 nothing is split without a quota.
QUOTA=(--cpu-quota=400000 --cpu-period=100000)

# layout ONLY - where podman's paths and the contract put
# container ID: OWN is podman's cgroup
layout() {
	local parent=/libpod_parent
	ONLY=$1
	OWN=$parent/libpod-$ID SANDBOX=$parent/kata_libpod-$ID
	if [[ $MANAGER == systemd ]]; then
		parent=/machine.slice
		OWN=$parent/libpod-$ID.scope SANDBOX=$parent/libpod-kata_$ID.scope
	fi
	layout_inside "$ID"
}

# layout_inside SANDBOX_ID - the rest of it, from MANAGER, ONLY and SANDBOX
layout_inside() {
	VCPU=$SANDBOX OVERHEAD=
	[[ $ONLY != true ]] || return 0
	if [[ $MODE == v2 ]]; then
		VCPU=$SANDBOX/kata_vcpu OVERHEAD=$SANDBOX
	elif [[ $MANAGER == systemd ]]; then
		OVERHEAD=/kata.slice/kata-overhead.slice/kata-overhead-$1.scope
	else
		OVERHEAD=$OVERHEAD_PARENT/$1
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

# no_unit_left ID - of the container, in systemd; it forgets units a moment later
no_unit_left() {
	local units
	units=$(systemctl list-units --all --plain --no-legend "*$1*")
	[[ -z $units ]] || {
		echo "$units"
		return 1
	}
}

# gone NAME SNAPSHOT - what is left in the slices is not in the snapshots
gone() {
	check_wait "$1: the VMM has ended" 10 is_dead "$PID"
	check_wait "$1: no cgroup of the container left" 15 cg_gone "$OWN" "$SANDBOX" "$OVERHEAD"
	check_wait "$1: no unit of the container left" 15 no_unit_left "$ID"
	check_nothing_left "$1" "$2"
}

# run_podman NAME [OPTIONS...] -- COMMAND... - with the hook; sets ID and PID
run_podman() {
	local name=$1 options=()
	shift
	while [[ $1 != -- ]]; do
		options+=("$1")
		shift
	done
	shift
	capture pod run --detach --name "$TAG-$name" --network=none "${HOOK_OPTIONS[@]}" "${options[@]}" --rootfs "$ROOTFS" "$@"
	if [[ $RC != 0 ]]; then
		fail "$name: podman starts the container" "exit status $RC" "$ERR"
		pod rm --force --time 0 "$TAG-$name" >/dev/null 2>&1 || :
		return 1
	fi
	ok "$name: podman starts the container"
	ID=$OUT
	PID=$(pod inspect --format '{{.State.Pid}}' "$ID")
}

# without_hook NAME - a container that does not ask for it: that files are installed changes nothing
without_hook() {
	local before HOOK_OPTIONS=()
	before=$(snapshot)
	run_podman "$1" -- /busybox sleep 1000 || return 0
	check_eq "$1: no sandbox" "no sandboxes" "$("$OSC" list)"
	capture pod rm --force --time 0 "$ID"
	check_exit "$1: podman rm --force" 0
	check_nothing_left "$1" "$before"
}

no_container() {
	! pod container exists "$1"
}

# podman_works [OPTIONS...] - with $MANAGER and without the hook, or nothing of what follows
# says anything; also makes the parents which podman leaves
podman_works() {
	capture pod run --rm --name "$TAG-warm-up" --network=none "$@" --rootfs "$ROOTFS" /busybox true
	check_exit "podman's $MANAGER manager works without the hook" 0
	[[ $RC == 0 ]] || pod rm --force "$TAG-warm-up" >/dev/null 2>&1 || :
	return "$RC"
}

# throw_away_guest - or end the script
throw_away_guest() {
	if [[ -z ${OSC_VM_MODE-} ]]; then
		not_here "it uses the program's default state directory and configuration, so it runs in a test guest only"
	fi
	type -P podman >/dev/null || not_here "there is no podman"
	[[ -e $HOOKS_D_FILE ]] || not_here "$HOOKS_D_FILE is not installed"
	[[ ! -e $ALWAYS_FILE && ! -e $ALWAYS_CONF ]] || not_here "$ALWAYS_FILE or $ALWAYS_CONF is somebody's"
	[[ ! -e $DEFAULT_CONF && ! -e $DEFAULT_STATE ]] ||
		not_here "$DEFAULT_CONF or $DEFAULT_STATE is in use"
}

# begin_podman CLEANUP - which is called with the exit status
begin_podman() {
	setup
	# shellcheck disable=SC2064 # its name is known now
	trap "$1 \$?" EXIT
	# The installed program, so that its processes are known for ours.
	OSC=$(jq -r .hook.path "$HOOKS_D_FILE")
	STATE=$DEFAULT_STATE
	CONF=$DEFAULT_CONF
	mkdir -p "${CONF%/*}"
	configure .
	if ! kvm_works; then
		skip "KVM guest" "QEMU cannot use /dev/kvm on this host"
		ACCELERATOR=tcg,thread=multi
	fi
}

# for_all, for_those_that_ask - who gets the hook
for_all() {
	mkdir -p "${ALWAYS_FILE%/*}" "${ALWAYS_CONF%/*}"
	jq '.when = {always: true}' "$HOOKS_D_FILE" >"$ALWAYS_FILE"
	printf '[engine]\nhooks_dir = ["%s", "%s"]\n' "${HOOKS_D_FILE%/*}" "${ALWAYS_FILE%/*}" >"$ALWAYS_CONF"
}
for_those_that_ask() {
	rm -f "$ALWAYS_FILE" "$ALWAYS_CONF"
}

# --- pods --------------------------------------------------------------------

# pods_work - with $MANAGER and without the hook; also makes what podman keeps: the
# image of infra containers, its slices
pods_work() {
	capture pod pod create --name "$TAG-first" --network=none
	[[ $RC != 0 ]] || capture pod run --rm --pod "$TAG-first" --rootfs "$ROOTFS" /busybox true
	if [[ $RC != 0 ]]; then
		skip "pods with podman's $MANAGER manager" "$(podman --version) cannot run one here without the hook, either: $(head -n 2 <<<"$ERR" | tail -n 1)"
	fi
	pod pod rm --force --time 0 "$TAG-first" >/dev/null 2>&1 || :
	return "$RC"
}

# end_pods STATUS
end_pods() {
	local id
	set +e
	for id in $(pod pod ps --quiet --no-trunc --filter "name=$TAG" 2>/dev/null); do
		pod pod rm --force --time 0 "$id" >/dev/null 2>&1
	done
	pod rmi --force "$IMAGE" >/dev/null 2>&1
	end_podman "$1"
}

# pod_layout POD INFRA ONLY - where podman's paths and the contract put the sandbox of a pod,
# which has the id of the infra container, SANDBOX_ID; INFRA is 1 if that one has the hook:
# nothing marks it as one of a pod, so its sandbox cgroup is named like its own
pod_layout() {
	ONLY=$3
	SANDBOX_ID=$(pod pod inspect --format '{{.InfraContainerID}}' "$1")
	SANDBOX=/libpod_parent/$1/kata_$SANDBOX_ID
	(($2 == 0)) || SANDBOX=/libpod_parent/$1/kata_libpod-$SANDBOX_ID
	if [[ $MANAGER == systemd ]]; then
		SANDBOX=/machine.slice/machine-libpod_pod_$1.slice/libpod-kata_$SANDBOX_ID.scope
	fi
	layout_inside "$SANDBOX_ID"
}

# pid_of CONTAINER
pid_of() {
	pod inspect --format '{{.State.Pid}}' "$1"
}

# count_of_containers N - in the record
count_of_containers() {
	local got
	got=$(jq '.containers | length' "$STATE/sandboxes/$SANDBOX_ID/record.json" 2>&1)
	[[ $got == "$1" ]] || {
		echo "expected $1 containers in the record, got $got"
		return 1
	}
}

# import_image - the file system of make_rootfs as $IMAGE, with fake_vmm in it
import_image() {
	install -m 0755 "$(helper fake_vmm)" "$ROOTFS/fake_vmm"
	tar -C "$ROOTFS" -cf "$WORK/rootfs.tar" .
	capture pod import "$WORK/rootfs.tar" "$IMAGE"
	check_exit "podman import" 0
}
