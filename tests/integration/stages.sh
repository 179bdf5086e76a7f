#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# How the program is called: the stage from the state's status, every stage
# registered at once, the forms of its input, the environments that runtimes
# give it, and its manners with stdin, stdout and stderr.

# shellcheck disable=SC2016 # $name in single quotes is jq's
# shellcheck disable=SC2317 # functions are called by name
# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"

before=$(snapshot)

# start NAME [JQ_FILTER]
start() {
	C=$1
	fake_container "$C" "${2-.}"
	set_layout "$C"
	WAS=$(cat "/proc/$PID/cgroup")
}

# is_set_up / is_torn_down NAME - what the last call must have done
is_set_up() {
	check_exit "$1: exit status" 0
	check "$1: the process is in the sandbox cgroup" together "$PID"
	check "$1: nobody else is in the runtime's own cgroup" only_placeholder "$OWN"
	check_wait "$1: a watcher runs" 5 has_watcher "$C"
}

is_torn_down() {
	check_exit "$1: exit status" 0
	check_wait "$1: the cgroups are gone" 10 cg_gone "$SANDBOX" "$OVERHEAD"
	check_wait "$1: no watcher is left" 10 no_process_left
}

# back - with another process, as poststop has ended that one; next test
back() {
	check "$C: its process has ended" is_dead "$PID"
	fake_process "$C"
	WAS=$(cat "/proc/$PID/cgroup")
}

# --- the stage from the status -----------------------------------------------

start status
for creation in '.status = "creating"' '.status = "created"' '.status = ""' 'del(.status)' '.status = "" | .ociVersion = ""'; do
	capture osc < <(jq "$creation" "$WORK/$C/created")
	is_set_up "no stage, $creation"
	capture osc <"$WORK/$C/running"
	is_set_up "no stage, then running"
	capture osc <"$WORK/$C/stopped"
	is_torn_down "no stage, then stopped"
	back
done
for teardown in '.status = "" | .pid = 0' 'del(.status, .pid)' '.status = "stopped" | del(.pid)'; do
	capture osc <"$WORK/$C/created"
	is_set_up "no stage, created"
	capture osc < <(jq "$teardown" "$WORK/$C/stopped")
	is_torn_down "no stage, $teardown"
	back
done
capture osc < <(jq '.status = "paused"' "$WORK/$C/created")
check_exit "no stage, unknown status" 2
check_eq "no stage, unknown status: nothing is touched" "$WAS" "$(cat "/proc/$PID/cgroup")"
drop_fake "$C" "$PID"
check_nothing_left "the stage from the status" "$before"

# --- every stage registered --------------------------------------------------

start all-stages
for stage in prestart createRuntime poststart; do
	state=created
	[[ $stage != poststart ]] || state=running
	capture osc $stage <"$WORK/$C/$state"
	is_set_up "after $stage"
	watcher=${watcher-$(watcher_pid "$C")}
	check_eq "after $stage: still the first watcher" "$watcher" "$(watcher_pid "$C")"
done
end_process "$PID"
capture osc poststop <"$WORK/$C/stopped"
is_torn_down "after poststop"
drop_fake "$C" "$PID"
check_nothing_left "every stage registered" "$before"

# What a limit's file says must not keep a later stage from writing the same again.
if file=$(cg_file cpu "/$TAG" cpu.idle) && [[ -e $file ]]; then
	start idle '.linux.resources.cpu = {shares: 512, idle: 1}'
	for stage in prestart createRuntime; do
		capture osc $stage <"$WORK/$C/created"
		is_set_up "idle, $stage"
	done
	check_eq "idle: cpu.idle" 1 "$(cat "$(cg_file cpu "$SANDBOX" cpu.idle)")"
	end_process "$PID"
	capture osc poststop <"$WORK/$C/stopped"
	is_torn_down "idle"
	drop_fake "$C" "$PID"
else
	skip "idle: stages again" "this kernel has no cpu.idle, or no hierarchy the controller cpu"
fi

# With the real runtime: the container runs at all, and is torn down.
set_layout real "$TAG-real"
make_bundle real '["/busybox", "sleep", "1000"]'
add_hooks real "prestart createRuntime poststart poststop"
if run_container real; then
	check "every stage, $RUNTIME: the process is in the sandbox cgroup" together "$PID"
	check "every stage, $RUNTIME: nobody else is in the runtime's own cgroup" only_placeholder "$OWN"
	check "every stage, $RUNTIME: kill and delete" stop_container real
else
	fail "every stage, $RUNTIME: the container starts" "$(cat "$WORK/real/log")"
fi
check_nothing_left "every stage, $RUNTIME" "$before"

# --- forms of the input ------------------------------------------------------

start forms
# The bundle's config.json is not needed when the stream has it.
mv "$WORK/$C/config.json" "$WORK/forms.config"
cat "$WORK/$C/created" "$WORK/forms.config" >"$WORK/both"
capture osc prestart <"$WORK/both"
is_set_up "state, then config"
capture osc poststop < <(cat "$WORK/$C/stopped" "$WORK/forms.config")
is_torn_down "state, then config"
back
jq -n --slurpfile s "$WORK/$C/created" --slurpfile c "$WORK/forms.config" '{state: $s[0], config: $c[0]}' >"$WORK/object"
capture osc prestart <"$WORK/object"
is_set_up "an object with both"
capture osc poststop < <(jq '.state.status = "stopped" | .state.pid = 0' "$WORK/object")
is_torn_down "an object with both"
back
cat "$WORK/$C/created" "$WORK/forms.config" >"$WORK/both"
capture osc prestart < <(jq -c . "$WORK/both" | tr -d '\n')
is_set_up "without a blank in between"
capture osc poststop <"$WORK/$C/stopped"
is_torn_down "without a blank in between"
back
capture osc prestart <"$WORK/$C/created"
check_exit "neither in the stream nor in the bundle" 1
check_match "neither in the stream nor in the bundle: says so" "config.json" "$ERR"
check_eq "neither in the stream nor in the bundle: nothing is touched" "$WAS" "$(cat "/proc/$PID/cgroup")"
mv "$WORK/forms.config" "$WORK/$C/config.json"

# --- what setup refuses ---

# refused NAME EXPECTED_EXIT REGEX FILE - one line, no crash, nothing touched
refused() {
	capture osc prestart <"$4"
	check_exit "refused: $1" "$2"
	check_match "refused: $1: says why" "$3" "$ERR"
	check_eq "refused: $1: in one line" 1 "$(wc -l <<<"$ERR")"
	check_eq "refused: $1: nothing is touched" "$WAS" "$(cat "/proc/$PID/cgroup")"
	check "refused: $1: no record" no_record_left
}
# As the hook of a rootless engine is called: root in its own user namespace.
capture setpriv --reuid 65534 --regid 65534 --clear-groups unshare --user --map-root-user \
	"$OSC" --state-dir "$STATE" --config "$CONF" prestart <"$WORK/$C/created"
if [[ $ERR == *unshare:* ]]; then
	skip "rootless" "no user namespaces for ordinary users: $ERR"
else
	check_exit "rootless: setup does not break the container" 0
	check_match "rootless: says what it does not do" "this user namespace may not make cgroups" "$ERR"
	check_eq "rootless: in one line" 1 "$(wc -l <<<"$ERR")"
	check_eq "rootless: nothing is touched" "$WAS" "$(cat "/proc/$PID/cgroup")"
	check "rootless: no record" no_record_left
	capture setpriv --reuid 65534 --regid 65534 --clear-groups unshare --user --map-root-user \
		"$OSC" --state-dir "$STATE" --config "$CONF" poststop <"$WORK/$C/stopped"
	check_eq "rootless: teardown has nothing to do or to say" "0 " "$RC $ERR"
fi
jq '.linux.resources.pids.limit = 1 | .linux.resources.unified = {"pids.max/x": "1"}' "$WORK/$C/config.json" >"$WORK/config.new"
cat "$WORK/$C/created" "$WORK/config.new" >"$WORK/both"
refused "a limit that is none" 2 "unified" "$WORK/both"
jq '.pid = 1' "$WORK/$C/created" >"$WORK/init"
refused "the host's init" 2 "no container's process" "$WORK/init"
# In another PID namespace, as in createContainer, pids are somebody else's.
in_pid_namespace() {
	unshare --pid --fork "$OSC" --state-dir "$STATE" --config "$CONF" "$@"
}
for stage in prestart poststop; do
	capture in_pid_namespace $stage <"$WORK/$C/created"
	check_exit "refused: another PID namespace, $stage" 2
	check_match "refused: another PID namespace, $stage: says why" "of another PID namespace" "$ERR"
	check_eq "refused: another PID namespace, $stage: nothing is touched" "$WAS" "$(cat "/proc/$PID/cgroup")"
	check "refused: another PID namespace, $stage: no record" no_record_left
done
# A second container that wants another policy: the first one is not harmed.
capture osc prestart <"$WORK/$C/created"
is_set_up "before a conflict"
jq '.annotations = {"io.kubernetes.cri.container-type": "container", "io.kubernetes.cri.sandbox-id": $id,
	"io.katacontainers.config.runtime.sandbox_cgroup_only": "true"}' --arg id "$C" "$WORK/$C/config.json" >"$WORK/config.new"
jq '.id = "second"' "$WORK/$C/created" | cat - "$WORK/config.new" >"$WORK/both"
capture osc prestart <"$WORK/both"
check_exit "refused: another policy" 2
check_match "refused: another policy: says why" "same policy" "$ERR"
check "after a conflict: the first container stays" together "$PID"
check "after a conflict: its watcher, too" has_watcher "$C"
capture osc poststop <"$WORK/$C/stopped"
is_torn_down "after a conflict"
back

# --- environments ------------------------------------------------------------

bare() {
	(cd / && timeout 60 env -i "$OSC" --state-dir "$STATE" --config "$CONF" "$@")
}
no_path() {
	(unset PATH && exec "$OSC" --state-dir "$STATE" --config "$CONF" "$@")
}
limited_fds() {
	(exec 3>&- 4>&- 5>&- && ulimit -n 64 && exec "$OSC" --state-dir "$STATE" --config "$CONF" "$@")
}
no_output() {
	timeout 60 "$OSC" --state-dir "$STATE" --config "$CONF" "$@" >&- 2>&-
}
odd_signals() {
	# Ignored and blocked signals are inherited from the runtime.
	(trap '' TERM CHLD PIPE HUP && exec "$OSC" --state-dir "$STATE" --config "$CONF" "$@")
}
odd_umask() {
	(umask 0777 && exec "$OSC" --state-dir "$STATE" --config "$CONF" "$@")
}
for environment in bare no_path limited_fds no_output odd_signals odd_umask; do
	capture $environment prestart <"$WORK/$C/created"
	is_set_up "environment: $environment"
	capture $environment poststop <"$WORK/$C/stopped"
	is_torn_down "environment: $environment"
	back
done
drop_fake "$C" "$PID"
check_nothing_left "input and environments" "$before"

# --- manners -----------------------------------------------------------------

# The writer must never get SIGPIPE, whatever the input and its fate: far more
# blanks than a pipe holds follow the document.
start manners
# writer_survives NAME EXPECTED_EXIT FILE ARGS...
writer_survives() {
	local name=$1 expected=$2 file=$3 status
	shift 3
	set +e
	{ cat "$file" && head -c 1000000 /dev/zero | tr '\0' ' '; } 2>"$WORK/writer.err" |
		osc "$@" >"$WORK/capture.out" 2>"$WORK/capture.err"
	status=("${PIPESTATUS[@]}")
	set -e
	check_eq "stdin read to its end: $name: the writer's status" 0 "${status[0]}"
	check_eq "stdin read to its end: $name: the exit status" "$expected" "${status[1]}"
}
echo rubbish >"$WORK/rubbish"
writer_survives "setup" 0 "$WORK/$C/created" prestart
writer_survives "update" 0 "$WORK/$C/running" poststart
writer_survives "teardown" 0 "$WORK/$C/stopped" poststop
back
writer_survives "teardown without a record" 0 "$WORK/$C/stopped" poststop
writer_survives "rubbish" 2 "$WORK/rubbish" prestart
writer_survives "unknown option" 2 "$WORK/$C/created" --no-such-option prestart
writer_survives "unknown stage" 2 "$WORK/$C/created" prestart2
writer_survives "configuration file missing" 1 "$WORK/$C/created" --config /nonexistent/file prestart

# The runtime waits until every holder of the hook's output has closed it.
mkfifo "$WORK/output"
cat "$WORK/output" >"$WORK/reader" &
reader=$!
env --ignore-signal=CHLD "$OSC" --state-dir "$STATE" --config "$CONF" prestart <"$WORK/$C/created" >"$WORK/output" 2>&1 || :
check_wait "output: the reader sees the end" 10 is_dead "$reader"
kill "$reader" 2>/dev/null || :
check "output: while the watcher lives on" has_watcher "$C"
check_eq "output: a success says nothing" "" "$(cat "$WORK/reader")"

# Nothing of the caller's may stay open or in use in the watcher.
watcher=$(watcher_pid "$C")
# Field 6 of stat is the session.
session_of() {
	sed 's/.*) //' "/proc/$1/stat" 2>&1 | cut -d' ' -f4
}
check_eq "watcher: a session of its own" "$watcher" "$(session_of "$watcher")"
check_eq "watcher: its working directory" / "$(readlink "/proc/$watcher/cwd" || :)"
check_eq "watcher: holds no file of the caller's" "" \
	"$(readlink "/proc/$watcher/fd"/* | grep -E "^pipe:|$WORK/(output|$C)" || :)"
# One whose end is ignored is gone before it was waited for, and what it is killed by then is a stranger's pid.
check_eq "watcher: waits for its children, as if the caller did" 0 \
	"$((0x$(sed -n 's/^SigIgn:\t//p' "/proc/$watcher/status") >> 16 & 1))"
# A guest out of memory must not take its watcher along; 0 is the default.
if (echo -1 >/proc/self/oom_score_adj) 2>/dev/null; then
	check_match "watcher: kept from the OOM killer" '^-[1-9]' "$(cat "/proc/$watcher/oom_score_adj" 2>&1)"
else
	skip "watcher: kept from the OOM killer" "lowering oom_score_adj needs CAP_SYS_RESOURCE, which is missing here"
fi
end_process "$PID"
capture osc poststop <"$WORK/$C/stopped"
is_torn_down "manners"
drop_fake "$C" "$PID"
check_nothing_left "manners" "$before"

# A journal daemon that does not read, once its queue is full, is not waited for.
deaf_journal() {
	unshare -m bash -c '
		mount --make-rprivate / && mount -t tmpfs none /run && mkdir -p /run/systemd/journal || exit
		python3 -c "import socket, time
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(\"/run/systemd/journal/socket\")
time.sleep(100)" &
		daemon=$!
		until [[ -S /run/systemd/journal/socket ]]; do sleep 0.05; done
		for ((i = 0; i < 20; i++)); do
			timeout -s KILL 20 "$@" <<<"{\"ociVersion\": \"1.0.2\", \"id\": \"x\", \"pid\": 99999999, \"status\": \"creating\", \"bundle\": \"/\"}"
			printf "%s " $?
		done 2>/dev/null
		kill "$daemon"' bash "$OSC" --state-dir "$STATE" --config "$CONF" prestart
}
check_eq "a journal that does not read: no stage waits for it" "$(printf '2 %.0s' {1..20})" "$(deaf_journal)"

# with_journal COMMAND... - run, with a journal daemon that writes what it is sent to $WORK/journal
with_journal() {
	unshare -m bash -c '
		mount --make-rprivate / && mount -t tmpfs none /run && mkdir -p /run/systemd/journal || exit
		python3 -c "import socket
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(\"/run/systemd/journal/socket\")
while True: print(s.recv(65536).decode(), flush=True)" >>"$1" &
		daemon=$!
		until [[ -S /run/systemd/journal/socket ]]; do sleep 0.05; done
		shift
		"$@"
		rc=$?
		python3 -c "import socket
socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b\"END\", \"/run/systemd/journal/socket\")"
		until tail -n 2 "$0" | grep -q END; do sleep 0.05; done
		kill "$daemon"
		exit "$rc"' "$WORK/journal" "$WORK/journal" "$@"
}

# As the manual page has them.
EVENT_SET_UP=23dce8263ce9472d9442b1e1d7f98f4a
EVENT_REMOVED=68d6ca4efbd8446fa53fb0792dd11d38

# heard FIELD - its values, of each message
heard() {
	sed -n "s/^$1=//p" "$WORK/journal"
}

# A success can be seen there, by a code; at stderr there is nothing of it.
for level in warning error; do
	configure ".sandbox_cgroup_only = true | .log_level = \"$level\""
	start "heard-$level"
	for stage in prestart:created poststart:running poststop:stopped; do
		# As soon as there is a journal, and no sooner: 2 s later the watcher would remove what init has left.
		end=
		[[ $stage != poststop* ]] || end="kill -9 $PID; while grep -qs '^State:.[^Z]' /proc/$PID/status; do sleep 0.05; done"
		capture with_journal bash -c "$end"$'\nexec "$@"' _ "$OSC" --state-dir "$STATE" --config "$CONF" "${stage%:*}" <"$WORK/$C/${stage#*:}"
		check_exit "events, level $level: ${stage%:*}" 0
		check_eq "events, level $level: ${stage%:*} says nothing" "" "$ERR"
	done
	drop_fake "$C" "$PID"
	case $level in
	warning)
		check_eq "events, level $level: their codes" "$EVENT_SET_UP $EVENT_REMOVED" "$(heard MESSAGE_ID | xargs)"
		check_eq "events, level $level: what they are about" "$C $C" "$(heard SANDBOX_ID | xargs)"
		check_eq "events, level $level: how urgent they are" "6 6" "$(heard PRIORITY | xargs)"
		check_match "events, level $level: the words" \
			"^sandbox $C: container $C is set up, layout sibling, sandbox_cgroup_only true;sandbox $C is removed$" \
			"$(heard MESSAGE | paste -sd ";")"
		;;
	error) check_eq "events, level $level: none" "" "$(heard MESSAGE)" ;;
	esac
	rm "$WORK/journal"
done
configure .

# --- a poststart that fails ----------------------------------------------------

# no_room - no file can be written; what it prints goes through a pipe
no_room() {
	(trap '' XFSZ && ulimit -f 0 && exec timeout 60 "$OSC" --state-dir "$STATE" --config "$CONF" "$@") 2>&1 | cat >&2
	return "${PIPESTATUS[0]}"
}
for only in false true; do
	configure ".sandbox_cgroup_only = $only"
	start "full-$only"
	set_layout "$C" "$C" $only
	capture osc prestart <"$WORK/$C/created"
	check_exit "poststart without room, only=$only: prestart" 0
	inside=$(snapshot)
	capture no_room poststart <"$WORK/$C/running"
	check_exit "poststart without room, only=$only: fails" 1
	check_match "poststart without room, only=$only: says why" "record.json.*File too large" "$ERR"
	check "poststart without room, only=$only: the process is where it was" together "$PID"
	check "poststart without room, only=$only: every cgroup is there" same_as "$inside"
	capture osc poststart <"$WORK/$C/running"
	check_exit "poststart without room, only=$only: the next one" 0
	end_process "$PID"
	capture osc poststop <"$WORK/$C/stopped"
	is_torn_down "poststart without room, only=$only"
	drop_fake "$C" "$PID"
	check_nothing_left "poststart without room, only=$only" "$before"
done
configure .

finish
