# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# A dockerd of the script's own, on a containerd of its own and without networks, an image, and the
# installed CDI file, by whose devices containers ask for the hook. For throw-away guests only, as that
# file has the program with its default state directory and configuration. Source it behind ctr.sh, whose
# containerd and paths it has.

# shellcheck disable=SC2034,SC2153,SC2154,SC2317 # the scripts and the other libraries set, use and call these
DEFAULT_STATE=/run/oci-sandbox-cgroup
DEFAULT_CONF=/etc/oci-sandbox-cgroup/config.json
CDI_FILE=/etc/cdi/oci-sandbox-cgroup.io-hook.json
IMAGE=osc-test:1
# Of the daemon that runs.
DOCKERD=

# not_here REASON - ends the script
not_here() {
	skip docker "$1"
	report
}

# dock ARGS... - docker
dock() {
	timeout -k 5 120 docker --host "unix://$WORK/docker.sock" "$@"
}

# end_docker STATUS - the containers while there is a daemon, then everything else
end_docker() {
	local id
	set +e
	for id in $(dock ps --all --quiet 2>/dev/null); do
		dock rm --force "$id" >/dev/null 2>&1
	done
	stop_docker
	# What the daemon has mounted and did not get to take away.
	awk -v dir="$WORK/" 'index($5, dir) == 1 { print $5 }' /proc/self/mountinfo | sort -r | xargs -r umount --lazy
	rm -rf "$DEFAULT_CONF" "$DEFAULT_STATE"
	rmdir "${DEFAULT_CONF%/*}" 2>/dev/null
	(exit "$1")
	cleanup
}

# start_docker - whose containers are in $BASE, made by MANAGER
start_docker() {
	jq -n --arg work "$WORK" --arg manager "$MANAGER" --arg parent "${SLICE:-$BASE}" '{
		"data-root": "\($work)/docker", "exec-root": "\($work)/docker-run", pidfile: "\($work)/docker.pid",
		hosts: ["unix://\($work)/docker.sock"], containerd: "\($work)/containerd.sock",
		"exec-opts": ["native.cgroupdriver=\($manager)"], "cgroup-parent": $parent,
		"storage-driver": "vfs", "live-restore": true, features: {cdi: true},
		bridge: "none", iptables: false, ip6tables: false, "ip-forward": false, "userland-proxy": false}' \
		>"$WORK/docker.json"
	dockerd --config-file "$WORK/docker.json" >>"$WORK/docker.log" 2>&1 </dev/null &
	DOCKERD=$!
	started "$DOCKERD"
	disown
	wait_for 90 dock version >/dev/null 2>&1
}

# stop_docker - what it runs goes on
stop_docker() {
	[[ -n $DOCKERD ]] || return 0
	kill -TERM "$DOCKERD" 2>/dev/null
	wait_for 40 is_dead "$DOCKERD" || kill -KILL "$DOCKERD"
	wait_for 10 is_dead "$DOCKERD"
}

# check_daemon NAME COMMAND... - that starts one, in this shell, which has to know it
check_daemon() {
	local name=$1
	shift
	if "$@"; then
		ok "$name"
	else
		fail "$name" "$(tail -n 8 "$WORK/docker.log" "$WORK/containerd.log")"
	fi
}

# import_image - the file system of a bundle, with fake_vmm in it, as $IMAGE. Sets what makes of that a VMM:
# its command line VMM, and VMM_OPTIONS of `docker run`. /etc is Docker's.
import_image() {
	local rootfs=$WORK/image/rootfs
	make_bundle image '["none"]'
	install -m 0755 "$(helper fake_vmm)" "$rootfs/fake_vmm"
	busy_firmware "$rootfs/loop.bin"
	tar -C "$rootfs" -cf "$WORK/image.tar" .
	capture dock import "$WORK/image.tar" "$IMAGE"
	check_exit "docker import" 0
	VMM_OPTIONS=(--volume=/usr:/usr:ro)
	[[ $ACCELERATOR != kvm ]] || VMM_OPTIONS+=(--device=/dev/kvm)
	mapfile -t VMM < <(qemu_args "$ACCELERATOR" "$VCPUS" | jq -r '.[]')
	VMM+=(-bios /loop.bin)
}

# own_cgroup_of ID - that which the runtime makes for a container of Docker's
own_cgroup_of() {
	if [[ $MANAGER == systemd ]]; then
		echo "$BASE/docker-$1.scope"
	else
		echo "$BASE/$1"
	fi
}

# look FILTER - at what Docker says of the container. `docker inspect` says the same, but takes seconds for it
# where the CPU is emulated.
look() {
	python3 -ISc 'import socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
s.sendall(f"GET /containers/{sys.argv[2]}/json HTTP/1.0\r\n\r\n".encode())
sys.stdout.buffer.write(s.makefile("rb").read().split(b"\r\n\r\n", 1)[1])' "$WORK/docker.sock" "$ID" | jq -r "$1"
}

# run_docker NAME [OPTIONS...] -- COMMAND... - in an image's container; sets ID, PID and C
run_docker() {
	local name=$1 options=()
	shift
	while [[ $1 != -- ]]; do
		options+=("$1")
		shift
	done
	shift
	capture dock run --detach --name "$TAG-$name" --network=none "${options[@]}" "$IMAGE" "$@"
	if [[ $RC != 0 ]]; then
		fail "$name: docker run" "exit status $RC" "$ERR"
		dock rm --force "$TAG-$name" >/dev/null 2>&1 || :
		return 1
	fi
	ok "$name: docker run"
	ID=$OUT
	PID=$(look .State.Pid)
	C=$(own_cgroup_of "$ID") K=$(own_cgroup_of "$ID")/kata_vcpu
}

# begin_docker - or end the script
begin_docker() {
	local program
	[[ -n ${OSC_VM_MODE-} ]] ||
		not_here "it uses the program's default state directory and configuration, so it runs in a test guest only"
	for program in docker dockerd containerd "$RUNTIME"; do
		type -P "$program" >/dev/null || not_here "there is no $program"
	done
	[[ -e $CDI_FILE ]] || not_here "$CDI_FILE is not installed"
	[[ ! -e $DEFAULT_CONF && ! -e $DEFAULT_STATE ]] || not_here "$DEFAULT_CONF or $DEFAULT_STATE is in use"

	setup
	trap 'end_docker $?' EXIT
	# The installed program, so that its processes are known for ours.
	OSC=$(jq -r '[.devices[].containerEdits.hooks[].path] | unique[]' "$CDI_FILE")
	STATE=$DEFAULT_STATE CONF=$DEFAULT_CONF
	mkdir -p "${CONF%/*}"
	configure .
	if ! kvm_works; then
		skip "KVM guest" "QEMU cannot use /dev/kvm on this host"
		ACCELERATOR=tcg,thread=multi
	fi
	check_daemon "containerd starts" start_containerd
}

# docker_works - with MANAGER and without the hook, or nothing of what follows says anything
docker_works() {
	check_daemon "$MANAGER: dockerd starts" start_docker
	[[ -n ${VMM-} ]] || import_image
	capture dock run --rm --name "$TAG-warm-up" --network=none --memory=64m "$IMAGE" /busybox true
	check_exit "$MANAGER: docker run works without the hook" 0
	return "$RC"
}
