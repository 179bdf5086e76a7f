#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The Debian package where sandboxes run: installed, upgraded, removed, purged, installed again. In a guest it is the
# system's own dpkg that does it; on a host, where nothing is to be installed, dpkg has a directory for its root, and
# the scripts of the package keep to that.
#
#   OSC_DEB         the package; default: what `make deb` has left beside OSC_BIN, or what a guest has got
#   OSC_DEB_BEFORE  the one that is upgraded; default: the same with a lower version

# shellcheck disable=SC2317 # functions are called by name
# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"

VMM=$(helper fake_vmm)

# --- helpers -----------------------------------------------------------------

# find_package - sets DEB
find_package() {
	local file
	for file in ${OSC_DEB:+"$OSC_DEB"} "$(dirname "$OSC_BIN")"/deb/oci-sandbox-cgroup_*.deb "$TESTS"/../deb/oci-sandbox-cgroup_*.deb; do
		if [[ -f $file ]]; then
			DEB=$(readlink -f "$file")
			return
		fi
	done
	return 1
}

# older FILE - the package as a version before
older() {
	dpkg-deb --raw-extract "$DEB" "$WORK/older"
	sed -i 's/^Version: .*/&~before/' "$WORK/older/DEBIAN/control"
	dpkg-deb --root-owner-group --build "$WORK/older" "$1" >/dev/null
}

# package COMMAND... - dpkg's
if [[ -n ${OSC_VM_MODE-} ]]; then
	ROOT=
	package() {
		dpkg "$@"
	}
	# `make install` has put the same files there, which are nobody's.
	(cd /payload/root && find . ! -type d -printf '/%P\0') | xargs -0 rm -f --
else
	ROOT=$WORK/root
	mkdir -p "$ROOT"/var/lib/dpkg/{info,updates}
	: >"$ROOT/var/lib/dpkg/status"
	# There is no libc6 of its own.
	package() {
		dpkg --root="$ROOT" --log=/dev/null --force-script-chrootless --force-depends "$@"
	}
fi
# From here on the installed program, so that its watchers are known for ours; and its own directories.
OSC=$ROOT/usr/libexec/oci-sandbox-cgroup
STATE=$ROOT/run/oci-sandbox-cgroup
SETTINGS=$ROOT/etc/oci-sandbox-cgroup
CONF=$SETTINGS/config.json

# status - of the package, as dpkg has it, and its version
status() {
	dpkg-query ${ROOT:+--admindir="$ROOT/var/lib/dpkg"} -W -f '${db:Status-Status} ${Version}\n' oci-sandbox-cgroup 2>/dev/null || echo none
}

# start NAME - a sandbox with one vCPU, and another one once $WORK/NAME/late is there
declare -A PIDS=()
start() {
	C=$1
	fake_container "$C" . "$TAG-$C"
	end_process "$PID"
	set_layout "$C" "$TAG-$C"
	"$VMM" --late "CPU 1/KVM" "$WORK/$C/late" "CPU 0/KVM" worker >/dev/null 2>&1 &
	PID=$!
	disown
	STARTED+=("$PID")
	PIDS[$C]=$PID
	cg_enter "$OWN" "$PID"
	capture osc prestart < <(jq --argjson pid "$PID" '.pid = $pid' "$WORK/$C/created")
	check_exit "$C: setup" 0
	check_threads "$C" "$PID" 1
}

# goes_on NAME VCPUS WHEN - its watcher places what is new
goes_on() {
	set_layout "$1" "$TAG-$1"
	check "$1, $3: the VMM lives" is_alive "${PIDS[$1]}"
	check "$1, $3: its watcher lives" has_watcher "$TAG-$1"
	check_threads "$1, $3" "${PIDS[$1]}" "$2"
}

# ended NAME - nobody calls poststop
ended() {
	set_layout "$1" "$TAG-$1"
	end_process "${PIDS[$1]}"
	check_wait "$1: the watcher removes its cgroups" 10 cg_gone "$SANDBOX" "$OVERHEAD"
	check_wait "$1: and its record" 10 test ! -e "$STATE/sandboxes/$TAG-$1"
	cg_remove "$OWN"
}

# files_left - of the package, or of the program
files_left() {
	find "$ROOT"/{etc,usr,lib,run} "$ROOT"/var/lib/systemd -name '*oci-sandbox-cgroup*' ! -path '/usr/src/*' 2>/dev/null || :
}

# --- install -----------------------------------------------------------------

if ! find_package; then
	fail "there is a package" "make deb makes it"
	finish
fi
version=$(dpkg-deb -f "$DEB" Version)
before_deb=${OSC_DEB_BEFORE-$WORK/before.deb}
[[ -n ${OSC_DEB_BEFORE-} ]] || older "$before_deb"
before=$(snapshot)

check "install" package -i "$before_deb"
check_eq "installed" "installed $(dpkg-deb -f "$before_deb" Version)" "$(status)"
check_eq "the program is in PATH" "$OSC" "$(readlink -f "$ROOT/usr/sbin/oci-sandbox-cgroup")"
check_match "it runs, with what the other one has" 'no sandboxes' "$("$ROOT/usr/sbin/oci-sandbox-cgroup" --state-dir "$STATE" list 2>&1)"
check_eq "what podman calls is there" "$OSC" "$ROOT$(jq -r .hook.path "$ROOT/usr/share/containers/oci/hooks.d/90-oci-sandbox-cgroup.json")"
check_eq "what CDI calls is there" "$OSC" "$(jq -r '[.devices[].containerEdits.hooks[].path] | unique | join(" ")' "$ROOT/etc/cdi/oci-sandbox-cgroup.io-hook.json" | sed "s|^|$ROOT|")"
check_eq "the state directory is there, for root alone" "700 root" "$(stat -c '%a %U' "$STATE" 2>&1)"
check "there is no configuration yet" test ! -e "$SETTINGS"
if [[ -z $ROOT ]]; then
	check_eq "metrics are not enabled" disabled "$(systemctl is-enabled oci-sandbox-cgroup-metrics.timer 2>&1)"
	check_eq "metrics are not active" inactive "$(systemctl is-active oci-sandbox-cgroup-metrics.timer 2>&1)"
	check "metrics can be enabled" systemctl enable --now oci-sandbox-cgroup-metrics.timer
fi

# --- upgrade -----------------------------------------------------------------

mkdir "$SETTINGS"
configure '.hotplug_interval_ms = 100'
start old
watcher=$(watcher_pid "$TAG-old")
record=$(<"$STATE/sandboxes/$TAG-old/record.json")
check "upgrade" package -i "$DEB"
check_eq "upgraded" "installed $version" "$(status)"
check_eq "old: the record is as it was" "$record" "$(<"$STATE/sandboxes/$TAG-old/record.json")"
check_eq "old: the watcher is that of before" "$watcher" "$(watcher_pid "$TAG-old")"
check_match "old: which runs a program that has no name any more" ' \(deleted\)$' "$(readlink "/proc/$watcher/exe")"
touch "$WORK/old/late"
goes_on old 2 "upgraded"
capture osc show "$TAG-old"
check_exit "old: the new program shows it" 0
check_match "old: and how many are placed" 'placement: complete' "$OUT"
if [[ -z $ROOT ]]; then
	check_eq "metrics are still enabled" enabled "$(systemctl is-enabled oci-sandbox-cgroup-metrics.timer 2>&1)"
	check_eq "metrics are still active" active "$(systemctl is-active oci-sandbox-cgroup-metrics.timer 2>&1)"
fi

# --- remove ------------------------------------------------------------------

start new
start dead
kill -KILL "$(watcher_pid "$TAG-dead")"
end_process "${PIDS[dead]}"
capture package -r oci-sandbox-cgroup
check_exit "remove" 0
check_match "remove: names what goes on" "$TAG-new.*$TAG-old" "${ERR//$'\n'/ }"
check "remove: what was dead is removed, and not named" test ! -e "$STATE/sandboxes/$TAG-dead" -a "${ERR/$TAG-dead/}" = "$ERR"
check "remove: its cgroups, too" cg_gone "$SANDBOX" "$OVERHEAD"
cg_remove "$(own_cgroup dead)"
check_match "removed" '^config-files' "$(status)"
check_eq "removed: what is left" "$CONF
$ROOT/etc/cdi/oci-sandbox-cgroup.io-hook.json" "$(find "$SETTINGS" "$ROOT/etc/cdi" "$ROOT"/usr/{libexec,sbin,lib/tmpfiles.d,share/containers,share/man} \
	"$ROOT"/{lib,usr/lib}/systemd/system -type f \( -path '*oci-sandbox-cgroup*' -o -path "$CONF" \) 2>/dev/null | LC_ALL=C sort -r)"
goes_on old 2 "removed"
touch "$WORK/new/late"
goes_on new 2 "removed"
ended new
if [[ -z $ROOT ]]; then
	check_eq "removed: metrics are not active" inactive "$(systemctl is-active oci-sandbox-cgroup-metrics.timer 2>&1)"
fi

# --- purge -------------------------------------------------------------------

record=$(<"$STATE/sandboxes/$TAG-old/record.json")
capture package -P oci-sandbox-cgroup
check_exit "purge, with a sandbox" 0
check_match "purge, with a sandbox: says what stays" "$SETTINGS and $STATE stay" "$ERR"
check_eq "purge, with a sandbox: its record stays" "$record" "$(<"$STATE/sandboxes/$TAG-old/record.json")"
check "purge, with a sandbox: the configuration stays" test -s "$CONF"
goes_on old 2 "purged"

check "install again" package -i "$DEB"
capture osc list
check_match "installed again: the sandbox is known" "$TAG-old +running" "$OUT"
end_process "${PIDS[old]}"
capture osc poststop <"$WORK/old/stopped"
check_exit "installed again: poststop" 0
drop_fake old "${PIDS[old]}"
check_nothing_left "installed again" "$before"

echo "theirs" >"$SETTINGS/theirs"
check "purge" package -P oci-sandbox-cgroup
check_eq "purge: what others have put there stays" "$SETTINGS/theirs" "$(find "$SETTINGS" -type f)"
rm -r "$SETTINGS"
check_eq "purged: nothing is left" "" "$(files_left)"
check_eq "purged: dpkg knows nothing of it" none "$(status)"

check "install, configured" package -i "$DEB"
mkdir "$SETTINGS"
configure .
check "purge, configured" package -P oci-sandbox-cgroup
check_eq "purged, configured: nothing is left" "" "$(files_left)"

finish
