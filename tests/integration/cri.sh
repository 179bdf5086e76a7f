#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# containerd's CRI plugin, as the kubelet drives it: a pod whose containers have
# the hooks by `base_runtime_spec`, one of them a real VMM. The pause container
# gets no hooks from there. Limits of all containers together at each point, and
# nothing left afterwards. In a containerd of this script's own; first with
# absolute cgroup paths, then with systemd. And once the hooks by a CDI device,
# where containerd knows those.

# shellcheck disable=SC2016 # $name in single quotes is jq's
# shellcheck disable=SC2034,SC2317 # common.sh uses and calls these
OSC_LIB_ONLY=yes
# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"
# shellcheck source=../lib/limits.sh
. "$TESTS/lib/limits.sh"
# shellcheck source=../lib/observe.sh
. "$TESTS/lib/observe.sh"
# shellcheck source=../lib/registration.sh
. "$TESTS/lib/registration.sh"

ACCELERATOR=kvm
VCPUS=2
IMAGE=localhost/osc/test:1
# A dash in a slice's name would make it a child.
TAG=osctest$$
BASE=/$TAG
MANAGER=cgroupfs
# Of the pod: its CRI configuration, its id; and of each container, its id.
POD_CONFIG='' POD=''
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
	handler plain cgroupfs >>"$WORK/containerd.toml"
	containerd --config "$WORK/containerd.toml" >"$WORK/containerd.log" 2>&1 </dev/null &
	STARTED+=("$!")
	disown
	coproc CLIENT { exec "$TESTS/lib/cri" "$WORK/containerd.sock" 2>&1; }
	# shellcheck disable=SC2154 # coproc sets it
	REQUESTS=${CLIENT[1]}
	STARTED+=("$CLIENT_PID")
	cri Version '{}'
	[[ $RC == 0 ]] && ctr_ images import "$WORK/image.tar" >/dev/null
}

# --- a pod -------------------------------------------------------------------

# layout ONLY - where the contract puts the sandbox of $POD
layout() {
	local parent=$BASE/pod name=kata_$POD
	ONLY=$1
	if [[ $MANAGER == systemd ]]; then
		parent=$(slice_cgroup "$SLICE")
		name=cri-containerd-kata_$POD.scope
	fi
	SANDBOX=$parent/$name DOMAIN=$parent/$name VCPU=$parent/$name OVERHEAD=
	[[ $1 == false ]] || return 0
	if [[ $MODE == v2 ]]; then
		[[ $MANAGER != systemd ]] || DOMAIN=$SANDBOX/threads
		VCPU=$DOMAIN/sandbox OVERHEAD=$DOMAIN/overhead
	elif [[ $MANAGER == systemd ]]; then
		OVERHEAD=/kata.slice/kata-overhead.slice/kata-overhead-$POD.scope
	else
		OVERHEAD=${OVERHEAD_PARENT-$BASE/overhead}/$POD
	fi
}

# run_pod ONLY [HANDLER] - sets POD
run_pod() {
	local parent=$BASE/pod
	[[ $MANAGER != systemd ]] || parent=$SLICE
	POD_CONFIG=$(jq -cn --arg parent "$parent" --arg uid "$P-$$" '{metadata: {name: $uid, uid: $uid, namespace: "default"},
		linux: {cgroup_parent: $parent, security_context: {namespace_options: {network: 2, pid: 1, ipc: 2}}}}')
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
		--argjson mounts "$mounts" --argjson devices "$devices" --arg cdi "${5-}" \
		'{metadata: {name: $name, attempt: $attempt}, image: {image: $image}, command: $command, mounts: $mounts,
		devices: $devices, CDI_devices: [$cdi | select(. != "") | {name: .}], linux: {resources: $resources, security_context: {namespace_options: {network: 2, pid: 1, ipc: 2}}}}')
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

# containers - that the record names
containers() {
	jq -c '[.containers[].id] | sort' "$STATE/sandboxes/$POD/record.json" 2>&1
}

# ids NAME... - as the record would name them
ids() {
	local name
	for name; do echo "${ID[$name]}"; done | jq -Rnc '[inputs] | sort'
}

# scenario ONLY
scenario() {
	local before watcher one two vmm
	P=$MANAGER-$([[ $1 == true ]] && echo only || echo split)
	one='{"cpu_quota": 20000, "cpu_period": 100000, "cpu_shares": 512, "memory_limit_in_bytes": 268435456}'
	two='{"cpu_quota": 30000, "cpu_period": 100000, "cpu_shares": 256, "memory_limit_in_bytes": 134217728}'
	before=$(snapshot)
	run_pod "$1" || return 0
	check "$P: the pause container has no sandbox" no_record_left
	check "$P: and no cgroup of ours" cg_gone "$SANDBOX"

	run_container_of_pod vmm 0 "$one" "$(qemu_args "$ACCELERATOR" "$VCPUS")" || return 0
	vmm=$PID
	check_threads "$P: the VMM" "$vmm" "$VCPUS"
	check "$P: limits of the VMM's container" limits_are 20000 512 268435456
	check_eq "$P: the record" "$(ids vmm)" "$(containers)"
	if [[ $1 == false ]]; then
		check_wait "$P: a watcher runs" 5 has_watcher "$POD"
		watcher=$(watcher_pid "$POD")
		if [[ $MODE == v2 ]]; then
			check_file "$P: the overhead is not limited" cpu "$OVERHEAD" cpu.max "max 100000"
		else
			check_file "$P: the overhead is not limited" cpu "$OVERHEAD" cpu.cfs_quota_us -1
		fi
	fi

	run_container_of_pod side 0 "$two" '["/busybox", "sleep", "1000000"]' || return 0
	check_wait "$P: the other container's process" 5 placed "$PID" rest
	check "$P: limits of both" limits_are 50000 768 402653184
	check_eq "$P: the record names both" "$(ids vmm side)" "$(containers)"
	if [[ $MANAGER == systemd ]]; then
		# Then systemd writes what it has been told.
		check "$P: systemd reloads" systemctl daemon-reload
		check "$P: limits of both, after that" limits_are 50000 768 402653184
	fi
	[[ $1 == true ]] || check_eq "$P: the watcher is the same" "$watcher" "$(watcher_pid "$POD")"

	kubelet_sees "$([[ $1 == true ]] && echo vmm || echo none)"
	must ExecSync "{\"container_id\": \"${ID[vmm]}\", \"cmd\": [\"/busybox\", \"echo\", \"inside\"]}" &&
		check_eq "$P: exec prints" inside "$(jq -r '.stdout | @base64d' <<<"$OUT" | head -n 1)"
	must UpdateContainerResources "{\"container_id\": \"${ID[vmm]}\", \"linux\": {\"cpu_quota\": 40000, \"cpu_period\": 100000}}" || :
	if [[ $1 == false ]]; then
		check_wait "$P: the watcher carries the new quota over" 30 limits_are 70000 768 402653184
	else
		check "$P: without a watcher the sandbox keeps the old quota" limits_are 50000 768 402653184
	fi

	end_container side
	check "$P: limits of the VMM's container again" limits_are "$([[ $1 == true ]] && echo 20000 || echo 40000)" 512 268435456
	check_eq "$P: the record names it alone" "$(ids vmm)" "$(containers)"
	run_container_of_pod side 1 "$two" '["/busybox", "sleep", "1000000"]' || return 0
	check "$P: limits with the other one restarted" limits_are "$([[ $1 == true ]] && echo 50000 || echo 70000)" 768 402653184
	check_threads "$P: the VMM, then" "$vmm" "$VCPUS"

	# The VMM goes first, the other one last.
	end_container vmm
	check "$P: the VMM has ended" is_dead "$vmm"
	check "$P: limits of the other one" limits_are 30000 256 134217728
	end_container side
	check_wait "$P: no sandbox left" 10 cg_gone "$SANDBOX" "$OVERHEAD"
	check "$P: no record left" no_record_left
	end_pod
	check_nothing_left "$P" "$before"
}

# kubelet_sees MEMORY - what the kubelet is told of the VMM's container: containerd looks at the
# cgroup where its init is. "vmm": the VMM's memory. "none": the threads of the overhead on v2, which
# have CPU time of their own, but no memory. The pod's cgroup has all of it.
kubelet_sees() {
	must ContainerStats "{\"container_id\": \"${ID[vmm]}\"}" || return 0
	check_between "$P: kubelet's view: CPU time of the container" 1 $((1 << 60)) \
		"$(jq '.stats.cpu.usage_core_nano_seconds.value // 0 | tonumber' <<<"$OUT")"
	if [[ $1 == vmm ]]; then
		check_between "$P: kubelet's view: memory of the container" $((8 << 20)) $((512 << 20)) \
			"$(jq '.stats.memory.working_set_bytes.value // 0 | tonumber' <<<"$OUT")"
	elif [[ $MODE == v2 ]]; then
		check_eq "$P: kubelet's view: memory of the container" 0 \
			"$(jq '.stats.memory.working_set_bytes.value // 0 | tonumber' <<<"$OUT")"
	fi
	if [[ $MODE == v2 ]]; then
		check_between "$P: kubelet's view: memory of the pod" $((8 << 20)) $((1 << 30)) \
			"$(memory_usage "$BASE$([[ $MANAGER == systemd ]] || echo /pod)")"
	fi
}

# nested - each container of the pod is a sandbox of its own, inside of its own cgroup
nested() {
	local before vmm
	P=nested
	before=$(snapshot)
	configure '.layout = "nested"'
	run_pod true || return 0
	run_container_of_pod vmm 0 '{"memory_limit_in_bytes": 268435456}' "$(qemu_args "$ACCELERATOR" "$VCPUS")" || return 0
	vmm=$PID
	SANDBOX=$BASE/pod/${ID[vmm]}/kata_${ID[vmm]}
	VCPU=$SANDBOX
	check_threads "$P: the VMM" "$vmm" "$VCPUS"
	kubelet_sees vmm
	run_container_of_pod side 0 '{}' '["/busybox", "sleep", "1000000"]' || return 0
	check_eq "$P: sandboxes" "$(ids vmm side)" "$(osc list --json | jq -c '[.[].sandbox_id] | sort')"
	end_container vmm
	check "$P: the VMM has ended" is_dead "$vmm"
	end_container side
	check "$P: no record left" no_record_left
	end_pod
	configure '.layout = "sibling"'
	check_nothing_left "$P" "$before"
}

# by_cdi - one container has the hooks by a device, and another none
by_cdi() {
	local before vmm
	P=cdi
	before=$(snapshot)
	run_pod true plain || return 0
	run_container_of_pod side 0 '{}' '["/busybox", "sleep", "1000000"]' || return 0
	check "$P: no sandbox without the device" no_record_left
	run_container_of_pod vmm 0 '{"cpu_quota": 20000, "cpu_period": 100000, "cpu_shares": 512, "memory_limit_in_bytes": 268435456}' \
		"$(qemu_args "$ACCELERATOR" "$VCPUS")" "$CDI_KIND=only" || return 0
	vmm=$PID
	check_threads "$P: the VMM" "$vmm" "$VCPUS"
	check "$P: its limits" limits_are 20000 512 268435456
	check_eq "$P: the record" "$(ids vmm)" "$(containers)"
	end_container vmm
	check_wait "$P: no sandbox left" 10 cg_gone "$SANDBOX"
	end_container side
	end_pod
	check_nothing_left "$P" "$before"
}

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
configure '.layout = "sibling"'
cg_make "$BASE/pod"
for one in "scenario false" "scenario true" nested; do
	$one
	drop_pod
done
configure '.layout = "sibling"'
if knows_cdi; then
	by_cdi
	drop_pod
else
	skip "cdi" "$(containerd --version | cut -d ' ' -f 1,3) knows no CDI; 1.7 does"
fi
if [[ -d /run/systemd/system ]]; then
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
	scenario false
	drop_pod
else
	skip "paths of systemd" "systemd does not run here"
fi

finish
