#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# podman kube play of a pod with limits, whose annotation asks for the hook, with
# podman's cgroupfs and its systemd manager. Nothing is left afterwards.

# shellcheck disable=SC2016 # $name in single quotes is jq's
# shellcheck disable=SC2034,SC2317 # common.sh and podman.sh use and call these
OSC_LIB_ONLY=yes
OVERHEAD_PARENT=/kata_overhead
# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"
# shellcheck source=../lib/podman.sh
. "$TESTS/lib/podman.sh"

# kube - podman kube play of a pod with limits
kube() {
	local before vmm pod
	P=$MANAGER-kube
	cat >"$WORK/pod.yaml" <<-EOF
		apiVersion: v1
		kind: Pod
		metadata:
		  name: $TAG-kube
		  annotations: {oci-sandbox-cgroup.io/hook: "true"}
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
	pod=$(pod pod inspect --format '{{.Id}}' "$TAG-kube")
	pod_layout "$pod" 0 false
	vmm=$(pid_of "$TAG-kube-vmm")
	check_threads "$P: the VMM" "$vmm" 2
	check "$P: both containers in one sandbox" count_of_containers 2
	check_wait "$P: limits of both" 10 kube_limits_are 50000 $((384 << 20))
	capture pod kube down "$WORK/pod.yaml"
	check_exit "$P: podman kube down" 0
	check "$P: the VMM has ended" is_dead "$vmm"
	check_wait "$P: nothing of the sandbox left" 15 cg_gone "$SANDBOX" "$OVERHEAD"
	check_wait "$P: no unit of the sandbox left" 15 no_unit_left "$SANDBOX_ID"
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

TESTED=
throw_away_guest
begin_podman end_pods
make_rootfs
import_image

for MANAGER in cgroupfs systemd; do
	podman_works --memory=64m --cpu-quota=20000 || continue
	pods_work || continue
	kube
	pod pod rm --force --time 0 "$TAG-kube" >/dev/null 2>&1 || :
	TESTED+=" $MANAGER"
done
check "a pod was run with some manager:$TESTED" test -n "$TESTED"

finish
