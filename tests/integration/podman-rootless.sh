#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# podman without root, with its cgroupfs and its systemd manager: with layout sibling the hook can do
# nothing, says so, and does not break the container. With layout nested it splits the container's own
# cgroup, where that is one and has the cpu controller.

# shellcheck disable=SC2016 # $name in single quotes is jq's
# shellcheck disable=SC2034,SC2317 # common.sh and podman.sh use and call these
OSC_LIB_ONLY=yes
OVERHEAD_PARENT=/kata_overhead
# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"
# shellcheck source=../lib/podman.sh
. "$TESTS/lib/podman.sh"
# shellcheck source=../lib/observe.sh
. "$TESTS/lib/observe.sh"

USER_NAME=osctest

# end_rootless STATUS
end_rootless() {
	set +e
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

# make_user - with a session of its own, and the image
make_user() {
	useradd --create-home --shell /bin/bash "$USER_NAME"
	grep -q "^$USER_NAME:" /etc/subuid || echo "$USER_NAME:200000:65536" | tee -a /etc/subuid >>/etc/subgid
	loginctl enable-linger "$USER_NAME"
	check_wait "the user has a session" 120 test -S "/run/user/$(id -u "$USER_NAME")/bus"
	chmod 0755 "$WORK"
	user_podman import "$WORK/rootfs.tar" "$IMAGE"
	check_exit "podman import" 0
}

# excuses - how often the journal has what the hook says
excuses() {
	journalctl -q -o cat -t oci-sandbox-cgroup | grep -cF "this user namespace may not make cgroups" || :
}

more_excuses_than() {
	(($(excuses) > $1))
}

# configure_user FILTER - for everybody to read
configure_user() {
	configure "$1"
	chmod 0755 "${DEFAULT_CONF%/*}"
	chmod 0644 "$DEFAULT_CONF"
}

# memory_limits CGROUP - of it and its parent
memory_limits() {
	cat "${CG_DIR[unified]}${1%/container}/memory.max" "${CG_DIR[unified]}$1/memory.max" 2>/dev/null
}

rootless() {
	local before cgroup said
	configure_user .
	user_podman run --rm --network=none "$IMAGE" /busybox true
	check_exit "$MANAGER: podman without the hook" 0
	[[ $RC == 0 ]] || return 0
	said=$(excuses)
	before=$(snapshot)
	user_podman run --detach --name "$TAG-user" --network=none --memory=64m "${HOOK_OPTIONS[@]}" "$IMAGE" /busybox sleep 1000000
	check_exit "$MANAGER: podman run with the hook" 0
	user_podman inspect --format '{{.State.Pid}}' "$TAG-user"
	PID=$OUT
	check "$MANAGER: the container runs" is_alive "$PID"
	check_wait "$MANAGER: the journal says what is not done" 10 more_excuses_than "$said"
	cgroup=$(sed -n 's/^0:://p' "/proc/$PID/cgroup")
	check_match "$MANAGER: it is in a cgroup of the user's" "/user@[0-9]*\.service/" "$cgroup"
	if [[ $MANAGER == systemd ]]; then
		check_match "$MANAGER: its limit is in force" $'(^|\n)'"$((64 << 20))"$'(\n|$)' "$(memory_limits "$cgroup")"
	fi
	check "$MANAGER: no record" no_record_left
	user_podman rm --force --time 0 "$TAG-user"
	check_exit "$MANAGER: podman rm --force" 0
	check_wait "$MANAGER: the container has ended" 10 is_dead "$PID"
	check_nothing_left "$MANAGER" "$before"
}

# shown - what `show` tells the user of the container
shown() {
	as_user "$OSC" --state-dir "$USER_STATE" show --json "$ID"
}

# is_split - vCPUs in the child with the quota, and the rest is without, also in crun's scope
is_split() {
	[[ $(cat "$HOME_CGROUP/kata_vcpu/cpu.max" "$HOME_CGROUP/cpu.max" 2>&1 | xargs) == "50000 100000 max 99999" ]] &&
		[[ $HOME_CGROUP != */container || $(<"${HOME_CGROUP%/*}/cpu.max") == "max "* ]] &&
		[[ $(wc -l <"$HOME_CGROUP/kata_vcpu/cgroup.threads") == "$VCPUS" ]]
}

# says_why PATTERN
says_why() {
	shown | jq -e --arg why "$1" '.placement.why | test($why)' >/dev/null
}

# nested NAME EVIDENCE COMMAND... - the container's own cgroup is the user's, so it can be split
nested() {
	local before said name=$MANAGER-$1
	said=$(excuses)
	USER_STATE=/run/user/$(id -u "$USER_NAME")/oci-sandbox-cgroup
	configure_user ".layout = \"nested\" | .vcpu_evidence = \"$2\""
	shift 2
	before=$(snapshot)
	user_podman run --detach --name "$TAG-user" --network=none --cpu-quota=50000 --cpu-period=100000 "${HOOK_OPTIONS[@]}" \
		"${VMM_OPTIONS[@]}" "$IMAGE" "$@"
	# Without a cgroup manager a user's podman cannot have a quota, with or without the hook.
	if [[ $RC != 0 && $MANAGER == cgroupfs ]]; then
		skip "$name" "podman cannot set a quota there: ${ERR%%$'\n'*}"
		return
	fi
	check_exit "$name: podman run with the hook" 0
	[[ $RC == 0 ]] || return 0
	user_podman inspect --format '{{.Id}} {{.State.Pid}}' "$TAG-user"
	read -r ID PID <<<"$OUT"
	HOME_CGROUP=${CG_DIR[unified]}$(sed -n 's/^0:://p' "/proc/$PID/cgroup")
	if [[ $HOME_CGROUP != *"$ID"* ]]; then
		# podman 4.3 takes the quota for said there, and crun 1.8 makes no cgroup.
		check_wait "$name: it is in no cgroup of its own, and the journal says that nothing is done" 10 more_excuses_than "$said"
	elif [[ -e $HOME_CGROUP/cpu.max ]]; then
		check_wait "$name: the vCPUs are apart" 20 is_split
		check "$name: exec into the container" user_podman exec "$TAG-user" /busybox true
		user_podman pause "$TAG-user"
		check_exit "$name: podman pause" 0
		check_eq "$name: the VMM is frozen" 1 "$(sed -n 's/^frozen //p' "$HOME_CGROUP/cgroup.events")"
		user_podman unpause "$TAG-user"
	else
		check_wait "$name: it says that there is no cpu controller" 20 says_why "no cpu controller"
	fi
	user_podman rm --force --time 0 "$TAG-user"
	check_exit "$name: podman rm --force" 0
	check_wait "$name: the container has ended" 10 is_dead "$PID"
	if [[ $HOME_CGROUP == *"$ID"* ]]; then
		check_wait "$name: nothing is left in the user's state directory" 10 user_state_is_empty
	else
		check "$name: there is no state directory of the user's" test ! -e "$USER_STATE"
	fi
	check_nothing_left "$name" "$before"
}

user_state_is_empty() {
	[[ -z $(find "$USER_STATE/sandboxes" "$USER_STATE/containers" -mindepth 1 2>&1) ]]
}

throw_away_guest
begin_podman end_rootless
# Many hosts let everybody have it; who may is not what is tested here.
[[ $ACCELERATOR != kvm ]] || chmod 0666 /dev/kvm
make_rootfs
install -m 0755 "$(helper fake_vmm)" "$ROOTFS/fake_vmm"
busy_firmware "$ROOTFS/loop.bin"
tar -C "$ROOTFS" -cf "$WORK/rootfs.tar" .
chmod 0644 "$WORK/rootfs.tar"
make_user

for MANAGER in cgroupfs systemd; do
	rootless
	nested nested name /fake_vmm --burn "CPU 0/TCG" "CPU 1/TCG" io
	nested guest "$([[ $ACCELERATOR == kvm ]] && echo auto || echo name)" "${VMM[@]}" -bios /loop.bin
done

finish
