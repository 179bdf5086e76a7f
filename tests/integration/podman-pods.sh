#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# podman's pods, with its cgroupfs and its systemd manager: one sandbox for the
# infra container and all others, `podman pod` with a real VMM in it, `podman kube
# play` of a pod with limits, and podman without root, where the hook must not
# break the container. Nothing is left afterwards.

# shellcheck disable=SC2016 # $name in single quotes is jq's
# shellcheck disable=SC2034,SC2317 # common.sh and podman.sh use and call these
OSC_LIB_ONLY=yes
OVERHEAD_PARENT=/kata_overhead
# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"
# shellcheck source=../lib/limits.sh
. "$TESTS/lib/limits.sh"
# shellcheck source=../lib/podman.sh
. "$TESTS/lib/podman.sh"

IMAGE=localhost/osc/test:1
USER_NAME=osctest
POD=

# end_pods STATUS
end_pods() {
	local id
	set +e
	for id in $(pod pod ps --quiet --no-trunc --filter "name=$TAG" 2>/dev/null); do
		pod pod rm --force --time 0 "$id" >/dev/null 2>&1
	done
	pod rmi --force "$IMAGE" >/dev/null 2>&1
	if id "$USER_NAME" >/dev/null 2>&1; then
		as_user podman system reset --force >/dev/null 2>&1
		loginctl disable-linger "$USER_NAME" 2>/dev/null
		loginctl terminate-user "$USER_NAME" 2>/dev/null
		wait_for 10 no_process_of_user
		userdel --remove "$USER_NAME" 2>/dev/null
	fi
	end_podman "$1"
}

no_process_of_user() {
	! pgrep -u "$USER_NAME" >/dev/null
}

# pod_layout ONLY - where podman's paths and the contract put the sandbox of $POD,
# which has the id of the infra container, SANDBOX_ID
pod_layout() {
	ONLY=$1
	SANDBOX_ID=$(pod pod inspect --format '{{.InfraContainerID}}' "$POD")
	SANDBOX=/libpod_parent/$POD/kata_libpod-$SANDBOX_ID
	if [[ $MANAGER == systemd ]]; then
		SANDBOX=/machine.slice/machine-libpod_pod_$POD.slice/libpod-kata_$SANDBOX_ID.scope
	fi
	DOMAIN=$SANDBOX VCPU=$SANDBOX OVERHEAD=
	[[ $ONLY != true ]] || return 0
	if [[ $MODE == v2 ]]; then
		[[ $MANAGER != systemd ]] || DOMAIN=$SANDBOX/threads
		VCPU=$DOMAIN/sandbox OVERHEAD=$DOMAIN/overhead
	elif [[ $MANAGER == systemd ]]; then
		OVERHEAD=/kata.slice/kata-overhead.slice/kata-overhead-$SANDBOX_ID.scope
	else
		OVERHEAD=$OVERHEAD_PARENT/$SANDBOX_ID
	fi
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

# member NAME COMMAND_AND_OPTIONS - one more container of $POD; sets PID
member() {
	local name=$1
	shift
	capture pod run --detach --pod "$POD" --name "$TAG-$name" "$@"
	check_exit "$P: podman run --pod, $name" 0
	[[ $RC == 0 ]] || {
		echo "$ERR"
		return 1
	}
	PID=$(pid_of "$TAG-$name")
}

# pods ONLY - podman pod, with an infra container and two others
pods() {
	local before vmm watcher one two
	P=$MANAGER-pod-$([[ $1 == true ]] && echo only || echo split)
	one=(--cpu-quota=20000 --cpu-period=100000 --cpu-shares=512 --memory=256m)
	two=(--cpu-quota=30000 --cpu-period=100000 --cpu-shares=256 --memory=128m)
	rm -f "$DEFAULT_CONF"
	[[ $1 == false ]] || configure '{sandbox_cgroup_only: true}'
	before=$(snapshot)
	capture pod pod create --name "$TAG-pod" --network=none
	check_exit "$P: podman pod create" 0
	[[ $RC == 0 ]] || {
		echo "$ERR"
		return
	}
	POD=$OUT
	pod_layout "$1"
	member vmm "${one[@]}" "${VMM_OPTIONS[@]}" --rootfs "$ROOTFS" "${VMM[@]}" || return 0
	vmm=$PID
	check_threads "$P: the VMM" "$vmm" "$VCPUS"
	check "$P: the infra container and the VMM's are in one sandbox" count_of_containers 2
	check "$P: the infra container does not count without limits" limits_are 20000 512 $((256 << 20))
	if [[ $1 == false ]]; then
		check_wait "$P: a watcher runs" 5 has_watcher "$SANDBOX_ID"
		watcher=$(watcher_pid "$SANDBOX_ID")
	fi
	member side "${two[@]}" --rootfs "$ROOTFS" /busybox sleep 1000000 || return 0
	check_wait "$P: the other container's process" 5 placed "$PID" rest
	check "$P: limits of both" limits_are 50000 768 $((384 << 20))
	[[ $1 == true ]] || check_eq "$P: the watcher is the same" "$watcher" "$(watcher_pid "$SANDBOX_ID")"
	check "$P: exec into the VMM's container" pod exec "$TAG-vmm" /busybox true

	capture pod stop --time 0 "$TAG-side"
	check_exit "$P: podman stop of the other one" 0
	check_wait "$P: limits of the VMM's container alone" 10 limits_are 20000 512 $((256 << 20))
	capture pod start "$TAG-side"
	check_exit "$P: podman start of it" 0
	check_wait "$P: limits of both again" 10 limits_are 50000 768 $((384 << 20))
	check_threads "$P: the VMM, then" "$vmm" "$VCPUS"
	capture pod pod stop --time 10 "$POD"
	check_exit "$P: podman pod stop" 0
	check "$P: the VMM has ended" is_dead "$vmm"
	check_wait "$P: no sandbox left" 15 cg_gone "$SANDBOX" "$OVERHEAD"
	capture pod pod start "$POD"
	check_exit "$P: podman pod start" 0
	check_threads "$P: the VMM, restarted" "$(pid_of "$TAG-vmm")" "$VCPUS"
	check_wait "$P: limits of both after the restart" 10 limits_are 50000 768 $((384 << 20))
	capture pod pod rm --force --time 0 "$POD"
	check_exit "$P: podman pod rm --force" 0
	check_wait "$P: nothing of the sandbox left" 15 cg_gone "$SANDBOX" "$OVERHEAD"
	check_nothing_left "$P" "$before"
}

# kube - podman kube play of a pod with limits
kube() {
	local before vmm
	P=$MANAGER-kube
	rm -f "$DEFAULT_CONF"
	cat >"$WORK/pod.yaml" <<-EOF
		apiVersion: v1
		kind: Pod
		metadata:
		  name: $TAG-kube
		spec:
		  hostNetwork: true
		  restartPolicy: Never
		  containers:
		  - name: vmm
		    image: $IMAGE
		    imagePullPolicy: Never
		    command: ["/fake_vmm", "CPU 0/KVM", "CPU 1/KVM", "worker"]
		    volumeMounts: [{name: usr, mountPath: /usr, readOnly: true}]
		    resources: {limits: {cpu: 200m, memory: 256Mi}}
		  - name: side
		    image: $IMAGE
		    imagePullPolicy: Never
		    command: ["/busybox", "sleep", "1000000"]
		    resources: {limits: {cpu: 300m, memory: 128Mi}}
		  volumes:
		  - {name: usr, hostPath: {path: /usr, type: Directory}}
	EOF
	before=$(snapshot)
	capture pod kube play "$WORK/pod.yaml"
	check_exit "$P: podman kube play" 0
	[[ $RC == 0 ]] || {
		echo "$ERR"
		return
	}
	POD=$(pod pod inspect --format '{{.Id}}' "$TAG-kube")
	pod_layout false
	vmm=$(pid_of "$TAG-kube-vmm")
	check_threads "$P: the VMM" "$vmm" 2
	check "$P: three containers in one sandbox" count_of_containers 3
	check_wait "$P: limits of both" 10 kube_limits_are 50000 $((384 << 20))
	capture pod kube down "$WORK/pod.yaml"
	check_exit "$P: podman kube down" 0
	check "$P: the VMM has ended" is_dead "$vmm"
	check_wait "$P: nothing of the sandbox left" 15 cg_gone "$SANDBOX" "$OVERHEAD"
	check_nothing_left "$P" "$before"
}

# kube_limits_are QUOTA MEMORY - podman gives no shares for limits
kube_limits_are() {
	local got
	if [[ $MODE == v2 ]]; then
		got="$(cat "$(cg_file cpu "$VCPU" cpu.max)") $(cat "$(cg_file memory "$SANDBOX" memory.max)")"
	else
		got="$(cat "$(cg_file cpu "$VCPU" cpu.cfs_quota_us)") 100000 $(cat "$(cg_file memory "$SANDBOX" memory.limit_in_bytes)")"
	fi
	[[ $got == "$1 100000 $2" ]] || {
		echo "expected quota $1, memory $2; got $got"
		return 1
	}
}

# --- without root ------------------------------------------------------------

# as_user COMMAND... - in a session of the user's own
as_user() {
	local uid
	uid=$(id -u "$USER_NAME")
	(cd / && runuser -u "$USER_NAME" -- env -u INVOCATION_ID HOME="/home/$USER_NAME" XDG_RUNTIME_DIR="/run/user/$uid" \
		DBUS_SESSION_BUS_ADDRESS="unix:path=/run/user/$uid/bus" "$@")
}

user_podman() {
	capture as_user timeout -k 5 180 podman --log-level=error --storage-driver=vfs --cgroup-manager="$MANAGER" \
		--runtime="$(type -P "$RUNTIME")" "$@"
}

rootless() {
	local before cgroup
	P=$MANAGER-rootless
	if ! id "$USER_NAME" >/dev/null 2>&1; then
		useradd --create-home --shell /bin/bash "$USER_NAME"
		grep -q "^$USER_NAME:" /etc/subuid || echo "$USER_NAME:200000:65536" | tee -a /etc/subuid >>/etc/subgid
		loginctl enable-linger "$USER_NAME"
		check_wait "$P: the user has a session" 30 test -S "/run/user/$(id -u "$USER_NAME")/bus"
		chmod 0755 "$WORK" "$HOOKS"
		user_podman import "$WORK/rootfs.tar" "$IMAGE"
		check_exit "$P: podman import" 0
	fi
	user_podman --hooks-dir="$WORK/no-hooks" run --rm --network=none "$IMAGE" /busybox true
	if [[ $RC != 0 ]]; then
		skip "$P" "podman does not run here for users without the hook, either: $(tail -n 1 <<<"$ERR")"
		return
	fi
	before=$(snapshot)
	user_podman --hooks-dir="$HOOKS" run --detach --name "$TAG-user" --network=none --memory=64m "$IMAGE" /busybox sleep 1000000
	check_exit "$P: podman run with the hook" 0
	[[ $RC == 0 ]] || echo "$ERR"
	user_podman inspect --format '{{.State.Pid}}' "$TAG-user"
	PID=$OUT
	check "$P: the container runs" is_alive "$PID"
	cgroup=$(sed -n 's/^0:://p' "/proc/$PID/cgroup")
	check_match "$P: it is in a cgroup of the user's" "/user@[0-9]*\.service/" "$cgroup"
	if [[ $MANAGER == systemd ]]; then
		check_match "$P: its limit is in force" "^$((64 << 20)) \$" \
			"$(cat "${CG_DIR[unified]}${cgroup%/container}/memory.max" "${CG_DIR[unified]}$cgroup/memory.max" 2>/dev/null | sort -n | head -n 1) "
	fi
	check "$P: no record" no_record_left
	in_journal() { journalctl -q -o cat -t oci-sandbox-cgroup | grep -F "this user namespace may not make cgroups"; }
	check_wait "$P: the journal says what is not done" 10 in_journal
	user_podman --hooks-dir="$HOOKS" rm --force --time 0 "$TAG-user"
	check_exit "$P: podman rm --force" 0
	check_wait "$P: the container has ended" 10 is_dead "$PID"
	check_nothing_left "$P" "$before"
}

throw_away_guest
begin_podman end_pods
write_hooks
make_rootfs
install -m 0755 "$(helper fake_vmm)" "$ROOTFS/fake_vmm"
tar -C "$ROOTFS" -cf "$WORK/rootfs.tar" .
chmod 0644 "$WORK/rootfs.tar"
capture pod import "$WORK/rootfs.tar" "$IMAGE"
check_exit "podman import" 0
# What podman makes once and keeps: the image of infra containers, its slices.
pod pod create --name "$TAG-first" --network=none >/dev/null 2>&1 || :
pod pod rm --force "$TAG-first" >/dev/null 2>&1 || :

for MANAGER in cgroupfs systemd; do
	if ! podman_works --memory=64m --cpu-quota=20000; then
		skip "podman's $MANAGER manager" "podman with $RUNTIME does not run here without the hook, either: $(tail -n 1 <<<"$ERR")"
		continue
	fi
	# What the manager makes no difference to takes too long to be done twice.
	pods false
	if [[ $MANAGER == cgroupfs ]]; then pods true; else kube; fi
	rootless
done

finish
