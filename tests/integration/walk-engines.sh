#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# A stranger's walk, the part that takes a machine of its own: the package is installed with apt, and then the quick
# starts of runc, podman and containerd are run as README.md and oci-sandbox-cgroup-engines(7) show them, with the
# program, state directory and engines that are there. Names and times are other ones, as in walk.sh. For throw-away
# guests only.

# shellcheck disable=SC2016 # what is in single quotes is for a later shell
# shellcheck disable=SC2034,SC2154,SC2317 # for commands, which are run by eval
# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"
# shellcheck source=../lib/walk.sh
. "$TESTS/lib/walk.sh"
# shellcheck source=../lib/containerd.sh
. "$TESTS/lib/containerd.sh"

# DOCUMENT|HEADING|HOW IT BEGINS: what walk.sh leaves to this script, all of it.
HERE_ONLY=("$README|Install|apt install" "$README|podman|" "$README|containerd|" "$PROGRAM|DIAGNOSTICS|journalctl" "$ENGINES|CONTAINERD|"
	"$ENGINES|EXAMPLES|" "$ENGINES|runc|" "$ENGINES|podman|" "$ENGINES|containerd|")

VM=$TAG-vm1
# podman's id of the container; the command sets it.
id=
CONTAINERD_TOML=/etc/containerd/config.toml
# Of systemd's for its services: podman would leave conmon where it is.
unset INVOCATION_ID

end_walk() {
	local status=$1
	set +e
	runc delete --force "$VM" >/dev/null 2>&1
	[[ -z $id ]] || podman rm --force --time 0 "$id" >/dev/null 2>&1
	ctr task kill --signal KILL "$VM" >/dev/null 2>&1
	ctr task delete --force "$VM" >/dev/null 2>&1
	ctr containers delete "$VM" >/dev/null 2>&1
	systemctl stop containerd
	rm -f "$CONTAINERD_TOML" /etc/containerd/vmm-base.json
	dpkg -P oci-sandbox-cgroup >/dev/null 2>&1
	(exit "$status")
	cleanup
}

# --- what is seen of a VM ----------------------------------------------------

SPLIT="CPU 0/[KT][VC][MG] .*vCPU 0 by.*CPU 1/[KT][VC][MG] .*vCPU 1 by.*placement: complete"

# no_cgroup_of NAME - none is left that is called so
no_cgroup_of() {
	local left
	left=$(find /sys/fs/cgroup -type d -name "*$1*")
	echo "$left"
	[[ -z $left ]]
}

no_sandboxes() {
	[[ $(oci-sandbox-cgroup list 2>&1) == "no sandboxes" ]]
}

# check_removed WHAT NAME
check_removed() {
	check_wait "$1: remove: there are no sandboxes" 30 no_sandboxes
	check_wait "$1: remove: no cgroup of it" 30 no_cgroup_of "$2"
}

# see_and_measure HEADING - vm1 or $id, as the page has it
see_and_measure() {
	walk "$ENGINES" "$1" "oci-sandbox-cgroup show"
	becomes "$1: see: both vCPUs are in their place" "$SPLIT"
	walk "$ENGINES" "$1" "oci-sandbox-cgroup stat"
	check_match "$1: measure: vCPUs and overhead apart" "running, vCPUs are apart.*vCPUs .*overhead .*together " "$OUT"
}

# --- the walk ----------------------------------------------------------------

install_package() {
	# `make install` has put the same files there, which are nobody's.
	(cd /payload/root && find . ! -type d -printf '/%P\0') | xargs -0 rm -f --
	WORDS=(-e "s,[.]/deb/,$SOURCE/deb/,")
	walk "$README" Install "apt install"
	check_match "the package is installed" '^installed ' "$(dpkg-query -W -f '${db:Status-Status} ${Version}' oci-sandbox-cgroup 2>&1)"
	OSC=/usr/libexec/oci-sandbox-cgroup STATE=/run/oci-sandbox-cgroup
	check "there are no sandboxes" no_sandboxes
}

own_words() {
	WORDS=(-e "s,/machine/,$BASE/,g" -e "s,\\bvm1\\b,$VM,g" -e 's/--interval 10s/--interval 1s/')
	# In README.md they are for the reader to fill in.
	WORDS+=(-e 's, IMAGE , --network=none --volume /usr:/usr:ro --rootfs "$PWD/rootfs" ,' -e 's, [.][.][.]), ${vmm#* }),')
	if ! kvm_works; then
		# As the page says.
		WORDS+=(-e 's/-accel kvm/-accel tcg,thread=multi/' -e 's, --device /dev/kvm,,')
		mkdir -p /etc/oci-sandbox-cgroup
		echo '{"vcpu_evidence": "name"}' >/etc/oci-sandbox-cgroup/config.json
	fi
}

with_runc() {
	walk "$ENGINES" EXAMPLES 'vmm='
	walk "$ENGINES" EXAMPLES 'vmm='
	walk "$ENGINES" EXAMPLES mkdir
	walk "$ENGINES" runc "runc spec"
	walk "$ENGINES" runc jq
	walk "$ENGINES" runc "oci-sandbox-cgroup register"
	walk "$ENGINES" runc "runc run"
	((RC == 0)) || cat "$HERE/log"
	see_and_measure runc
	walk "$ENGINES" runc "runc delete"
	check_removed runc "$VM"
}

with_podman() {
	local first
	walk "$ENGINES" podman 'id='
	see_and_measure podman
	first=$id
	walk "$ENGINES" podman "podman rm"
	check_removed podman "$first"
	walk "$README" podman 'id='
	walk "$README" podman "oci-sandbox-cgroup show"
	becomes "README, podman: both vCPUs are in their place" "$SPLIT"
	podman rm --force --time 0 "$id" >/dev/null
	check_removed "README, podman" "$id"
	id=
}

task_has_stopped() {
	[[ $(ctr task ls) =~ "$VM "[^$'\n']*STOPPED ]]
}

with_containerd() {
	mkdir -p "${CONTAINERD_TOML%/*}"
	{ echo "version = 2" && patient_containerd; } >"$CONTAINERD_TOML"
	check "containerd runs" systemctl start containerd
	walk "$README" containerd "ctr oci spec"
	walk "$README" containerd "oci-sandbox-cgroup register"
	check_eq "the base spec has the hook" 1 "$(jq '.hooks.prestart | length' /etc/containerd/vmm-base.json)"
	walk "$ENGINES" CONTAINERD "ctr oci spec"
	walk "$ENGINES" CONTAINERD "oci-sandbox-cgroup register"
	check_eq "the base spec has the hook by the manual page, too" 1 "$(jq '.hooks.poststop | length' /etc/containerd/vmm-base.json)"

	walk "$ENGINES" containerd jq
	walk "$ENGINES" containerd "ctr run"
	see_and_measure containerd
	walk "$PROGRAM" DIAGNOSTICS journalctl
	check_match "the journal has it" "$VM" "$OUT"
	walk "$ENGINES" containerd "ctr task kill"
	check_wait "the task stops" 30 task_has_stopped
	walk "$ENGINES" containerd "ctr task delete"
	walk "$ENGINES" containerd "ctr containers delete"
	check_removed containerd "$VM"
}

# account_for - all that is listed above was run
account_for() {
	local row document heading beginning
	for row in "${HERE_ONLY[@]}"; do
		IFS='|' read -r document heading beginning <<<"$row"
		if find_command "$document" "$heading" "$beginning"; then
			fail "$document, $heading: each command is run" "${COMMANDS[FOUND]}"
		fi
	done
}

# -----------------------------------------------------------------------------

if [[ -z ${OSC_VM_MODE-} ]]; then
	skip "the engines' quick starts" "they install into the system: only in a guest"
	finish
fi
trap 'end_walk $?' EXIT
mkdir "$HERE"
read_documents
install_package
own_words
with_runc
with_podman
with_containerd
account_for
capture dpkg -P oci-sandbox-cgroup
check_exit "purge" 0
finish
