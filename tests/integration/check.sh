#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# What check says of a host that lacks something, and how that is to be mended; 1 for what is broken, and
# for that alone.

# shellcheck disable=SC2317 # functions are called by name
# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"

before=$(snapshot)
configure .

# changed COMMAND... - check in mounts of its own, after a command in them
# shellcheck disable=SC2016,SC2317 # expanded in there; called by capture
changed() {
	timeout 60 unshare -m --propagation private sh -c 'eval "$1"; shift; exec "$@"' sh "$*" \
		"$OSC" --state-dir "$STATE" --config "$CONF" check
}


capture osc check
check_match "as it is: the user" "ok +user +root" "$OUT"
check_match "as it is: the configuration" "ok +configuration +$CONF" "$OUT"
check_match "as it is: the state directory" "ok +state directory +$STATE" "$OUT"
check_eq "as it is: 1 if something is broken" "$(grep -c ^BROKEN <<<"$OUT" | sed 's/[1-9].*/1/')" "$RC"
usual=$RC

mkdir -p "$WORK/read-only"
capture changed "mount -t tmpfs -o ro,mode=0700 none '$WORK/read-only'; mkdir -p '$STATE'; mount --bind '$WORK/read-only' '$STATE'"
check_exit "a read-only state directory" 1
check_match "a read-only state directory: it is named, with what to do" \
	"BROKEN +state directory +$STATE cannot be written to: .*Read-only file system.*--state-dir" "$OUT"
kept=$STATE STATE=$WORK/read-only/a/b
capture changed "mount -t tmpfs -o ro,mode=0700 none '$WORK/read-only'"
STATE=$kept
check_exit "one that would be made there" 1
check_match "one that would be made there: it is named" "BROKEN +state directory +$WORK/read-only/a/b cannot" "$OUT"

configure '.overhead_limits.cpu.idle = 5'
capture osc check
check_exit "a configuration with which every setup fails" 1
check_match "a configuration with which every setup fails: it is named" \
	"BROKEN +configuration +every setup fails with $CONF: overhead_limits" "$OUT"
check_match "a configuration with which every setup fails: in JSON" '"verdict": "broken",\s+"text": "every setup fails' \
	"$(osc --json check 2>/dev/null)"
# On v2 it is a part of a sum.
what="a quota that the kernel does not take"
configure '.overhead_limits.cpu.quota = 999'
echo '{"ociVersion": "1.0.2", "linux": {"cgroupsPath": "/c1"}}' >"$WORK/plain.json"
for mode in v1:2 hybrid:2 v2:0; do
	capture osc plan --cgroup-mode "${mode%:*}" "$WORK/plain.json"
	check_exit "$what: plan for ${mode%:*}" "${mode#*:}"
	[[ $mode == v2:0 ]] || check_match "$what: plan for ${mode%:*} names it" "overhead_limits: cpu.quota: .* 999 " "$ERR"
done
capture osc check
if [[ $MODE == v2 ]]; then
	check_exit "$what: check" "$usual"
else
	check_exit "$what: check" 1
	check_match "$what: check names it" "every setup fails with $CONF: overhead_limits: cpu.quota" "$OUT"
fi
configure '.overhead_limits.pids.limit = 5'
capture osc check
check_exit "one of which something has no effect" "$usual"
check_match "one of which something has no effect: it is named" "limited +configuration +overhead_limits: pids" "$OUT"
echo '{"no_such_key": 1}' >"$CONF"
capture osc check
check_exit "one that cannot be read" 2
check_match "one that cannot be read: what is wrong" "no_such_key" "$ERR"
check_match "one that cannot be read: is one thing of those that are said" \
	"BROKEN +configuration +every setup fails, and poststop, too: $CONF: unknown key .no_such_key.*"$'\n'"ok +vCPU split" "$OUT"
check_match "one that cannot be read: in JSON" '"verdict": "broken",\s+"text": "every setup fails, and poststop, too: ' \
	"$(osc --json check 2>/dev/null)"
rm "$CONF"
capture osc check
check_exit "one that is not there" 1
check_match "one that is not there: what is wrong" \
	"BROKEN +configuration +every setup fails, and poststop, too: cannot open the configuration file $CONF: ENOENT" "$OUT"
configure .

# fails NAME JQ_FILTER [EXIT_STATUS] - what is BROKEN is what a setup fails with, and nothing else
fails() {
	configure "$2"
	capture osc check
	said=$(grep -c '^BROKEN  *configuration' <<<"$OUT" || :)
	fake_container tried
	capture osc prestart <"$WORK/tried/created"
	check_eq "$1: check says of it what a setup does" "$((RC != 0))" "$said"
	[[ -z ${3-} ]] || check_eq "$1: a setup" "$3" "$RC"
	capture osc poststop <"$WORK/tried/stopped"
	drop_fake tried "$PID"
}

if hierarchy_of cpu >/dev/null; then
	fails "no limit at all" . 0
	fails "a limit of the overhead that is not known" '.overhead_limits.cpu.idle = 5' 2
	fails "a quota that is too small" '.overhead_limits.cpu = {quota: 10, period: 100000}'
	fails "a period that is too long" '.overhead_limits.cpu = {quota: 100000, period: 100000000}'
	fails "shares that are out of range" '.overhead_limits.cpu.shares = 1'
	fails "a device that is not there" '.extra_devices = ["/dev/none"]' 0
	fails "a rule for devices that is none" '.extra_devices = ["d 1:2 rw"]'
	fails "memory for the VMM" '.memory_overhead_bytes = 1000000' 0
	fails "CPUs that are not there" '.overhead_cpus = "1000-1001"' 0
	fails "nodes that are not there" '.enable_vcpus_pinning = true | .vcpu_numa_nodes = [1000]' 0
	fails "a long name" '.prefix = ("x" * 255)'
	fails "nested" '.layout = "nested" | .overhead_limits.cpu = {quota: 100000, period: 100000}' 0
fi
configure .

# --- cgroups -----------------------------------------------------------------

hierarchy=${CG_DIR[$(hierarchy_of pids || hierarchy_of memory || echo "${HIERARCHIES[0]}")]}
capture changed "mount --bind '$hierarchy' '$hierarchy' && mount -o remount,bind,ro '$hierarchy'"
check_exit "a cgroup mount that is read-only" 1
check_match "a cgroup mount that is read-only: which, and what to do" \
	"BROKEN +hierarchy +[^ ]+ at $hierarchy is mounted read-only: no cgroup can be made in it; mount -o remount,rw $hierarchy" "$OUT"
check_match "a cgroup mount that is read-only: on standard error, too" "hierarchy: .* is mounted read-only" "$ERR"
if [[ $MODE != v2 ]] && name=$(hierarchy_of pids) && [[ $name == pids ]]; then
	check_eq "as it is: the controllers" "" "$(osc check 2>/dev/null | grep '^limited  *controller  *pids' || :)"
	capture changed "umount -l '${CG_DIR[pids]}'"
	check_match "a controller that is missing: which, and what to do" "limited +controller +pids is not available: .*cgroup_disable=pids" "$OUT"
	check_exit "a controller that is missing is nothing broken" "$usual"
else
	skip "a controller that is missing" "it takes a hierarchy of its own for pids"
fi

if [[ -e /dev/kvm ]]; then
	mknod "$WORK/kvm" c 240 77
	capture changed "mount --bind '$WORK/kvm' /dev/kvm"
	check_match "a /dev/kvm without a driver" "limited +hypervisor +/dev/kvm cannot be opened: .*kvm_intel" "$OUT"
	check_exit "a /dev/kvm without a driver is nothing broken" "$usual"
else
	check_match "no /dev/kvm" "limited +hypervisor +neither .*kvm_intel" "$(osc check || :)"
fi

# --- KVM's debugfs -----------------------------------------------------------

DEBUGFS=/sys/kernel/debug
# Another directory of the same file system in its place.
OTHER="for d in $DEBUGFS/*/; do case \$d in */kvm/) ;; *) break ;; esac; done; mount --bind \"\$d\" $DEBUGFS"
if changed "mount -t debugfs none $DEBUGFS; exec mountpoint -q $DEBUGFS" >/dev/null 2>&1; then
	capture changed "mount -t tmpfs none $DEBUGFS"
	check_match "no debugfs: how to have it" "limited +vCPU discovery +thread names and guest time; for KVM's own list mount -t debugfs none $DEBUGFS" "$OUT"
	check_exit "no debugfs is nothing broken" "$usual"
	capture changed "mount -t debugfs none $DEBUGFS; $OTHER"
	check_match "debugfs without KVM: what is missing" "limited +vCPU discovery +thread names and guest time; debugfs is mounted at $DEBUGFS, but KVM has no list there" "$OUT"
	check_exit "debugfs without KVM is nothing broken" "$usual"
	capture changed "mount -t debugfs none $DEBUGFS"
	if [[ $OUT == *"KVM has no list there"* ]]; then
		skip "debugfs with KVM" "its module is not loaded"
	else
		check_match "debugfs with KVM" "ok +vCPU discovery +KVM debugfs, thread names, guest time" "$OUT"
	fi
else
	skip "KVM's debugfs" "debugfs cannot be mounted here"
fi

# --- the kernel's word of processes ------------------------------------------

# events_said COMMAND... - what check says of it in JSON
events_said() {
	"$@" "$OSC" --state-dir "$STATE" --config "$CONF" --json check 2>/dev/null |
		jq -r '.findings[] | select(.name == "process events") | .verdict'
}

check_match "process events: it is said" '^(ok|limited)$' "$(events_said env)"
NOT_TOLD="limited +process events +the kernel .*: vCPUs are found by looking every 1 to 3 ms"
if unshare -n true 2>/dev/null; then
	capture timeout 60 unshare -n "$OSC" --state-dir "$STATE" --config "$CONF" check
	check_match "a network namespace: there are no process events" "$NOT_TOLD" "$OUT"
	check_exit "a network namespace: it is nothing broken" "$usual"
	check_eq "a network namespace: in JSON" limited "$(events_said unshare -n)"
else
	skip "process events in a network namespace" "there can be none here"
fi
if unshare --pid --fork true 2>/dev/null; then
	capture timeout 60 unshare --pid --fork "$OSC" --state-dir "$STATE" --config "$CONF" check
	check_match "a PID namespace: there are no process events" "$NOT_TOLD" "$OUT"
else
	skip "process events in a PID namespace" "there can be none here"
fi

# --- engines, runtimes, and what they read -----------------------------------

# They are looked for where packages put them: here there are other directories in these places.
ENGINES=$WORK/engines
HOOKS=/usr/share/containers/oci/hooks.d

# install_engines PROGRAM... - nothing else is in there
install_engines() {
	local program
	rm -rf "$ENGINES"
	mkdir -p "$ENGINES/bin" "$ENGINES/etc" "$ENGINES/share/containers/oci/hooks.d" "$ENGINES/etc/containers/oci/hooks.d"
	for program; do
		install -m 0755 "$(helper fake_runtime)" "$ENGINES/bin/$program"
	done
}

among_engines() {
	changed "mount --bind '$ENGINES/bin' /usr/local/bin && mount --bind '$ENGINES/etc' /etc && mount --bind '$ENGINES/share' /usr/share"
}

# put_hook DIRECTORY PROGRAM - as engines read it
put_hook() {
	echo "{\"version\": \"1.0.0\", \"hook\": {\"path\": \"$2\"}, \"when\": {\"always\": true}, \"stages\": [\"prestart\", \"poststop\"]}" \
		>"$ENGINES/$1/90-oci-sandbox-cgroup.json"
}

# here PROGRAM - who has it in /usr/bin has that one found first
here() {
	local dir
	for dir in /usr/bin /usr/sbin; do
		[[ ! -x $dir/$1 ]] || { echo "$dir/$1" && return; }
	done
	echo "/usr/local/bin/$1"
}

below=nested
[[ $MODE != v2 ]] || below=sibling
install_engines runc crun youki podman crio containerd dockerd
echo "runc version 1.1.15" >"$ENGINES/bin/runc.version"
put_hook share/containers/oci/hooks.d "$OSC"
capture among_engines
check_exit "engines: nothing is broken" "$usual"
check_match "a runtime with its version, and what auto is" \
	"ok +runtime +runc 1\.1\.15 \(/usr/local/bin/runc\): layout auto is $below under containerd and Docker, nested elsewhere" "$OUT"
check_match "one that is not asked" "ok +runtime +/usr/local/bin/crun: layout auto is $below under" "$OUT"
check_match "youki" "ok +runtime +/usr/local/bin/youki: layout auto is" "$OUT"
for engine in podman crio; do
	check_match "$engine: what it reads" "ok +engine +$(here $engine) reads hooks in $HOOKS, as it does by default" "$OUT"
done
for engine in containerd dockerd; do
	check_match "$engine: what it needs" "ok +engine +$(here $engine) reads no hooks directory: it needs the CDI file, a base spec or" "$OUT"
done
check_match "a hooks file that is read" "ok +registration +$HOOKS/90-oci-sandbox-cgroup.json"$'\n' "$OUT"
echo "runc version 1.3.6" >"$ENGINES/bin/runc.version"
touch "$ENGINES/bin/runc"
rm -rf "$STATE/runtimes"
capture among_engines
check_match "a later version" "runc 1\.3\.6 \(/usr/local/bin/runc\): layout auto is nested under containerd and Docker, nested elsewhere" "$OUT"

mkdir -p "$ENGINES/etc/containers/containers.conf.d" "$ENGINES/etc/crio"
echo 'hooks_dir = ["/etc/containers/oci/hooks.d"]' | tee "$ENGINES/etc/containers/containers.conf.d/a.conf" >"$ENGINES/etc/crio/crio.conf"
capture among_engines
check_match "podman that is told: where it reads" \
	"ok +engine +$(here podman) reads hooks in /etc/containers/oci/hooks.d, as hooks_dir of /etc/containers/containers.conf.d/a.conf says" "$OUT"
check_match "CRI-O that is told: where it reads" \
	"ok +engine +$(here crio) reads hooks in /etc/containers/oci/hooks.d, as hooks_dir of /etc/crio/crio.conf says" "$OUT"
check_match "a hooks file where nobody looks any more" \
	"limited +registration +$HOOKS/90-oci-sandbox-cgroup.json is not in force: hooks_dir of the engine's configuration names other" "$OUT"
check_exit "a hooks file where nobody looks any more is nothing broken" "$usual"
install_engines podman
put_hook etc/containers/oci/hooks.d "$OSC"
capture among_engines
check_match "a hooks file where nobody has looked" \
	"limited +registration +/etc/containers/oci/hooks.d/90-oci-sandbox-cgroup.json is not in force: podman and CRI-O read this directory only if" "$OUT"
check "engines that are not there are not said" test -z "$(grep -E '^ok +engine +/usr/local/bin/(crio|dockerd)' <<<"$OUT")"

# unfit NAME PROGRAM WHAT
unfit() {
	install_engines podman
	put_hook share/containers/oci/hooks.d "$2"
	capture among_engines
	check_match "$1" "limited +registration +$HOOKS/90-oci-sandbox-cgroup.json is not in force: ${2:-it}$3" "$OUT"
	check_exit "$1 is nothing broken" "$usual"
}
unfit "a program that is not there" /nowhere/oci-sandbox-cgroup ", which it names, cannot be run: No such file"
unfit "another program that is not there" /nowhere/a-hook ", which it names, cannot be run: No such file"
install -m 0644 "$OSC" "$WORK/not-executable"
unfit "a program that cannot be executed" "$WORK/not-executable" ", which it names, cannot be run: Permission denied"
unfit "a program that is a directory" "$WORK" ", which it names, is no program"
unfit "a program by a relative path" oci-sandbox-cgroup ", which it names, is no absolute path"
echo "{" >"$ENGINES/share/containers/oci/hooks.d/90-oci-sandbox-cgroup.json"
capture among_engines
check_match "a hooks file that is no JSON" "limited +registration +$HOOKS/90-oci-sandbox-cgroup.json is not in force: it" "$OUT"

# --- who asks ----------------------------------------------------------------

chmod 755 "$WORK"
# as_nobody WORD... - the program
as_nobody() {
	timeout 60 setpriv --reuid=65534 --regid=65534 --clear-groups "$OSC" --state-dir "$STATE" "$@"
}

capture as_nobody check
usual=$RC
check_match "not root: it is said" "limited +user +not root" "$OUT"
check_eq "not root: nothing is called broken that may not be" "" "$(grep '^BROKEN' <<<"$OUT" | grep -v read-only || :)"
check_match "not root: debugfs" "vCPU discovery +.*only root can see" "$OUT"
chmod 0600 "$CONF"
capture as_nobody --config "$CONF" check
check_match "not root: a configuration that only root can read" \
	"limited +configuration +cannot open the configuration file $CONF: EACCES .*; the rest is said as if there were none"$'\n'"[a-z]+ +state directory" "$OUT"
check_exit "not root: a configuration that only root can read is nothing broken" "$usual"
echo '{"no_such_key": 1}' >"$CONF"
chmod 0644 "$CONF"
capture as_nobody --config "$CONF" check
check_match "not root: a configuration with an error" "BROKEN +configuration +every setup fails, and poststop, too: $CONF: unknown key" "$OUT"
check_exit "not root: a configuration with an error" 2

check_nothing_left "check" "$before"
finish
