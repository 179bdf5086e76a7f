# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# A containerd of the script's own with its CRI plugin, as the kubelet drives it, and a pod
# whose containers have the hooks by `base_runtime_spec`. Source it behind common.sh and
# observe.sh, with OSC_LIB_ONLY set: paths are absolute ones first, then those of systemd.
# The script has `layout ONLY`, which says where the sandbox of $POD is.

# shellcheck disable=SC2016 # $name in single quotes is jq's
# shellcheck disable=SC2034,SC2153,SC2154,SC2317 # the scripts and common.sh set, use and call these
# shellcheck source=containerd.sh
. "$TESTS/lib/containerd.sh"

ACCELERATOR=kvm
VCPUS=2
IMAGE=localhost/osc/test:1
# A dash in a slice's name would make it a child.
TAG=osctest$$
BASE=/$TAG
MANAGER=cgroupfs
# Of the pod: its CRI configuration, its id; and of each container, its id.
POD_CONFIG='' POD=''
# Whose PID namespace containers have, in the CRI's numbers: the pod's is 0, one of their own 1, the host's 2.
PID_NAMESPACE=1
declare -A ID=()

# not_here REASON - ends the script
not_here() {
	skip cri "$1"
	report
}

# cri METHOD JSON - sets OUT, ERR, RC
cri() {
	local word
	RC=1 OUT='' ERR="$1: the client has ended"
	echo "$1 $(jq -c . <<<"$2")" >&"$REQUESTS" || return 0
	read -r -t 90 -u "${CLIENT[0]}" word ERR || return 0
	if [[ $word == ok ]]; then
		RC=0 OUT=$ERR ERR=
	fi
}

# must METHOD JSON - cri with a result of its own
must() {
	cri "$1" "$2"
	[[ $RC == 0 ]] || {
		fail "$P: $1" "$ERR"
		return 1
	}
	ok "$P: $1"
}

end_cri() {
	set +e
	drop_pod
	if [[ -n ${CLIENT_PID-} ]]; then
		exec {REQUESTS}>&-
		wait "$CLIENT_PID"
	fi
	(exit "$1")
	cleanup
}

# --- containerd --------------------------------------------------------------

# make_image - an OCI image of the file system that our bundles have
make_image() {
	local dir=$WORK/image layer config manifest
	make_bundle rootfs '["none"]'
	busy_firmware "$WORK/rootfs/rootfs/loop.bin"
	install -m 0755 "$(helper fake_vmm)" "$WORK/rootfs/rootfs/fake_vmm"
	mkdir -p "$dir/blobs/sha256"
	tar -C "$WORK/rootfs/rootfs" -cf "$dir/layer" .
	layer=$(add_blob layer)
	jq -cn --arg layer "sha256:$layer" '{architecture: "amd64", os: "linux",
		config: {Entrypoint: ["/busybox", "sleep", "1000000"]},
		rootfs: {type: "layers", diff_ids: [$layer]}}' >"$dir/config"
	config=$(add_blob config)
	jq -cn --argjson layer "$(descriptor "$layer" application/vnd.oci.image.layer.v1.tar)" \
		--argjson config "$(descriptor "$config" application/vnd.oci.image.config.v1+json)" \
		'{schemaVersion: 2, mediaType: "application/vnd.oci.image.manifest.v1+json", config: $config, layers: [$layer]}' \
		>"$dir/manifest"
	manifest=$(add_blob manifest)
	jq -cn --argjson manifest "$(descriptor "$manifest" application/vnd.oci.image.manifest.v1+json)" --arg name "$IMAGE" \
		'{schemaVersion: 2, manifests: [$manifest + {annotations: {"io.containerd.image.name": $name}}]}' >"$dir/index.json"
	echo '{"imageLayoutVersion": "1.0.0"}' >"$dir/oci-layout"
	tar -C "$dir" -cf "$WORK/image.tar" blobs index.json oci-layout
}

# add_blob FILE - prints its digest
add_blob() {
	local digest
	digest=$(sha256sum <"$WORK/image/$1" | cut -d ' ' -f 1)
	mv "$WORK/image/$1" "$WORK/image/blobs/sha256/$digest"
	echo "$digest"
}

# descriptor DIGEST MEDIA_TYPE
descriptor() {
	echo "{\"mediaType\": \"$2\", \"digest\": \"sha256:$1\", \"size\": $(stat -c %s "$WORK/image/blobs/sha256/$1")}"
}

ctr_() {
	timeout -k 5 60 ctr --address "$WORK/containerd.sock" --namespace k8s.io "$@"
}

# knows_cdi - 1.7 is the first that does
knows_cdi() {
	[[ $(containerd --version) =~ \ v?([0-9]+)\.([0-9]+)\. ]] &&
		((BASH_REMATCH[1] > 1 || (BASH_REMATCH[1] == 1 && BASH_REMATCH[2] >= 7)))
}

# handler NAME MANAGER [LINE] - of pods, for the configuration file
handler() {
	cat <<-EOF
		[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.$1]
		  runtime_type = "io.containerd.runc.v2"
		  ${3-}
		  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.$1.options]
		    BinaryName = "$(type -P "$RUNTIME")"
		    Root = "$WORK/runtime"
		    SystemdCgroup = $([[ $2 == systemd ]] && echo true || echo false)
	EOF
}

# start_containerd - with one handler for each manager and policy, one without hooks, and the client
start_containerd() {
	local manager only cdi=
	for only in false true; do
		ctr_ oci spec >"$WORK/base-$only.json"
		osc --sandbox-cgroup-only=$only register "$WORK/base-$only.json" >/dev/null
	done
	if knows_cdi; then
		mkdir "$WORK/cdi"
		cdi_file "$OSC" | jq --arg state "$STATE" --arg conf "$CONF" '.devices[].containerEdits.hooks[].args |=
			.[:1] + ["--state-dir", $state, "--config", $conf] + .[1:]' >"$WORK/cdi/hook.json"
		cdi="enable_cdi = true
		  cdi_spec_dirs = [\"$WORK/cdi\"]"
	fi
	cat >"$WORK/containerd.toml" <<-EOF
		version = 2
		root = "$WORK/containerd"
		state = "$WORK/containerd-state"
		$(patient_containerd)
		[grpc]
		  address = "$WORK/containerd.sock"
		[plugins."io.containerd.grpc.v1.cri"]
		  sandbox_image = "$IMAGE"
		  restrict_oom_score_adj = true
		  $cdi
		  [plugins."io.containerd.grpc.v1.cri".cni]
		    conf_dir = "$WORK/cni"
		  [plugins."io.containerd.grpc.v1.cri".containerd]
		    default_runtime_name = "cgroupfs-false"
	EOF
	for manager in cgroupfs systemd; do
		for only in false true; do
			handler "$manager-$only" "$manager" "base_runtime_spec = \"$WORK/base-$only.json\""
		done
	done >>"$WORK/containerd.toml"
	for manager in cgroupfs systemd; do
		handler "plain-$manager" "$manager"
	done >>"$WORK/containerd.toml"
	containerd --config "$WORK/containerd.toml" >"$WORK/containerd.log" 2>&1 </dev/null &
	started "$!"
	disown
	coproc CLIENT { exec "$TESTS/lib/cri" "$WORK/containerd.sock" 2>&1; }
	# shellcheck disable=SC2154 # coproc sets it
	REQUESTS=${CLIENT[1]}
	started "$CLIENT_PID"
	cri Version '{}'
	[[ $RC == 0 ]] && ctr_ images import "$WORK/image.tar" >/dev/null
}

# --- a pod -------------------------------------------------------------------

# run_pod ONLY [HANDLER] - sets POD
run_pod() {
	local parent=$BASE/pod
	[[ $MANAGER != systemd ]] || parent=$SLICE
	POD_CONFIG=$(jq -cn --arg parent "$parent" --arg uid "$P-$$" --argjson pid "$PID_NAMESPACE" '{
		metadata: {name: $uid, uid: $uid, namespace: "default"},
		linux: {cgroup_parent: $parent, security_context: {namespace_options: {network: 2, pid: $pid, ipc: 2}}}}')
	must RunPodSandbox "{\"config\": $POD_CONFIG, \"runtime_handler\": \"${2-$MANAGER-$1}\"}" || return
	POD=$(jq -r .pod_sandbox_id <<<"$OUT")
	layout "$1"
}

# run_container_of_pod NAME ATTEMPT RESOURCES COMMAND_JSON [CDI_DEVICE] - sets ID[NAME] and PID
run_container_of_pod() {
	local mounts devices='[]' config
	mounts=$(jq -c '[.mounts[] | select(.options == ["rbind", "ro"] and .destination != "/etc")
		| {container_path: .destination, host_path: .source, readonly: true}]' "$WORK/rootfs/config.json")
	[[ $ACCELERATOR != kvm ]] || devices='[{"container_path": "/dev/kvm", "host_path": "/dev/kvm", "permissions": "rwm"}]'
	config=$(jq -cn --arg name "$1" --argjson attempt "$2" --argjson resources "$3" --argjson command "$4" --arg image "$IMAGE" \
		--argjson mounts "$mounts" --argjson devices "$devices" --arg cdi "${5-}" --argjson pid "$PID_NAMESPACE" \
		'{metadata: {name: $name, attempt: $attempt}, image: {image: $image}, command: $command, mounts: $mounts,
		devices: $devices, CDI_devices: [$cdi | select(. != "") | {name: .}],
		linux: {resources: $resources, security_context: {namespace_options: {network: 2, pid: $pid, ipc: 2}}}}')
	must CreateContainer "{\"pod_sandbox_id\": \"$POD\", \"config\": $config, \"sandbox_config\": $POD_CONFIG}" || return
	ID[$1]=$(jq -r .container_id <<<"$OUT")
	must StartContainer "{\"container_id\": \"${ID[$1]}\"}" || return
	must ContainerStatus "{\"container_id\": \"${ID[$1]}\", \"verbose\": true}" || return
	PID=$(jq -r '.info.info | fromjson | .pid' <<<"$OUT")
}

# end_container NAME - as the kubelet does
end_container() {
	must StopContainer "{\"container_id\": \"${ID[$1]}\"}" || :
	must RemoveContainer "{\"container_id\": \"${ID[$1]}\"}" || :
	unset "ID[$1]"
}

# end_pod - as the kubelet does
end_pod() {
	must StopPodSandbox "{\"pod_sandbox_id\": \"$POD\"}" || :
	must RemovePodSandbox "{\"pod_sandbox_id\": \"$POD\"}" || :
	POD=
}

# drop_pod - what a scenario that stopped early has left
drop_pod() {
	local id
	for id in "${ID[@]}"; do
		cri StopContainer "{\"container_id\": \"$id\"}"
		cri RemoveContainer "{\"container_id\": \"$id\"}"
	done
	ID=()
	[[ -z $POD ]] || cri StopPodSandbox "{\"pod_sandbox_id\": \"$POD\"}"
	[[ -z $POD ]] || cri RemovePodSandbox "{\"pod_sandbox_id\": \"$POD\"}"
	POD=
}

# begin_cri - or end the script
begin_cri() {
	local program
	for program in ctr containerd "$RUNTIME"; do
		type -P "$program" >/dev/null || not_here "there is no $program"
	done
	/usr/bin/python3 -c 'import grpc, google.protobuf' 2>/dev/null || not_here "python3-grpcio is missing"

	setup
	trap 'end_cri $?' EXIT
	make_image
	if ! start_containerd; then
		fail "containerd starts" "$(tail -n 20 "$WORK/containerd.log")"
		finish
	fi
	if ! kvm_works; then
		skip "KVM guest" "QEMU cannot use /dev/kvm on this host"
		ACCELERATOR=tcg,thread=multi
	fi
	mkdir -p "$WORK/cni"
	cg_make "$BASE/pod"
}

# use_systemd - from here on; where it runs
use_systemd() {
	if [[ ! -d /run/systemd/system ]]; then
		skip "paths of systemd" "systemd does not run here"
		return 1
	fi
	cg_remove "$BASE/pod"
	MANAGER=systemd
	SLICE=$TAG.slice
	# On v1 systemd removes empty cgroups of others where it first needs a hierarchy.
	cg_remove "$BASE"
	BASE=/$SLICE
	find_foreign
	# Runtimes leave the slices which they make, so make ours before.
	systemctl start "$SLICE"
	cg_make "$BASE"
}
