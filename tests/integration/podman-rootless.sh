#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# podman without root, with its cgroupfs and its systemd manager: the hook can do
# nothing, says so, and does not break the container.

# shellcheck disable=SC2016 # $name in single quotes is jq's
# shellcheck disable=SC2034,SC2317 # common.sh and podman.sh use and call these
OSC_LIB_ONLY=yes
OVERHEAD_PARENT=/kata_overhead
# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"
# shellcheck source=../lib/podman.sh
. "$TESTS/lib/podman.sh"

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
	check_wait "the user has a session" 30 test -S "/run/user/$(id -u "$USER_NAME")/bus"
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

# memory_limits CGROUP - of it and its parent
memory_limits() {
	cat "${CG_DIR[unified]}${1%/container}/memory.max" "${CG_DIR[unified]}$1/memory.max" 2>/dev/null
}

rootless() {
	local before cgroup said
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

throw_away_guest
begin_podman end_rootless
make_rootfs
tar -C "$ROOTFS" -cf "$WORK/rootfs.tar" .
chmod 0644 "$WORK/rootfs.tar"
make_user

for MANAGER in cgroupfs systemd; do
	rootless
done

finish
