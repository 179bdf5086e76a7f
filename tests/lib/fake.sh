# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# Playing the runtime: containers whose process, cgroup and bundle a script makes itself. A part of common.sh,
# which sources it.

# Variables come from common.sh, and PID goes to the scripts; $path in single quotes is jq's.
# shellcheck disable=SC2034,SC2059,SC2153,SC2154

# fake_container NAME [JQ_FILTER] [ID] - a sleeping process in a cgroup of its
# own in $BASE, a bundle with a CPU quota where there can be one, and state documents to feed the hook
# with. Sets PID.
fake_container() {
	local resources='{}'
	! hierarchy_of cpu >/dev/null || resources='{cpu: {quota: 400000, period: 100000}}'
	mkdir -p "$WORK/$1"
	jq -n --arg path "$(cgroups_path "$1")" \
		"{ociVersion: \"1.0.2\", process: {args: [\"sleep\", \"1000\"], cwd: \"/\"}, root: {path: \"rootfs\"},
		linux: {namespaces: [{type: \"pid\"}], cgroupsPath: \$path, resources: $resources}} | ${2-.}" >"$WORK/$1/config.json"
	fake_process "$1" "${3-$1}"
}

# fake_process NAME [ID] - only the process and the state documents, for a
# container that has been there before. Sets PID.
fake_process() {
	local state='{"ociVersion": "1.0.2", "id": "%s", "status": "%s", "pid": %s, "bundle": "%s"}\n' own unit
	own=$(own_cgroup "$1")
	OWN_CGROUPS+=("$own")
	if [[ $MANAGER == systemd ]]; then
		# As the runtimes do, which also join it in every hierarchy that systemd does
		# not manage. systemd-run becomes the process.
		unit=${own##*/}
		systemd-run --quiet --scope --collect --unit="$unit" --slice="${SLICE:-system.slice}" \
			--property=Delegate=yes -- sleep infinity >/dev/null 2>"$WORK/$1/log" &
	else
		sleep infinity >/dev/null 2>&1 &
	fi
	PID=$!
	disown
	started "$PID"
	if [[ $MANAGER == systemd ]]; then
		wait_for 20 runs_sleep "$PID" || {
			echo "$SCRIPT: systemd-run failed: $(<"$WORK/$1/log")" >&2
			return 1
		}
	fi
	# It may have gone with a container before.
	cg_make "$own"
	cg_enter "$own" "$PID"
	# shellcheck disable=SC2059 # that is the format
	{
		printf "$state" "${2-$1}" created "$PID" "$WORK/$1" >"$WORK/$1/created"
		printf "$state" "${2-$1}" running "$PID" "$WORK/$1" >"$WORK/$1/running"
		printf "$state" "${2-$1}" stopped 0 "$WORK/$1" >"$WORK/$1/stopped"
	}
}

runs_sleep() {
	[[ $(cat "/proc/$1/comm" 2>/dev/null) == sleep ]]
}

# start_of PID - when it was started, which no other process of that number has in common with it; nothing if it has ended
start_of() {
	local stat fields
	{ read -r stat <"/proc/$1/stat"; } 2>/dev/null || return 0
	read -ra fields <<<"${stat##*) }"
	echo "${fields[19]}"
}

# started PID... - the trap ends them, unless their number is somebody else's by then
started() {
	local pid start
	for pid; do
		start=$(start_of "$pid")
		[[ -z $start ]] || STARTED+=("$pid $start")
	done
}

# still_started - those of them that have not ended
still_started() {
	local each
	for each in "${STARTED[@]}"; do
		[[ $(start_of "${each% *}") != "${each#* }" ]] || echo "${each% *}"
	done
}

# end_process PID - one of ours, and wait for it
end_process() {
	kill -KILL "$1" 2>/dev/null || :
	wait_for 10 is_dead "$1"
}

# no_job_left - that this shell has started and not waited for
no_job_left() {
	[[ -z $(jobs -rp) ]]
}

# runs_instead NAME COMMAND... - another process in place of that of the fake container, in its cgroup. Sets PID.
runs_instead() {
	local name=$1 state
	shift
	end_process "$PID"
	"$@" >/dev/null 2>&1 </dev/null &
	PID=$!
	disown
	started "$PID"
	cg_enter "$(own_cgroup "$name")" "$PID"
	for state in created running; do
		jq --argjson pid "$PID" '.pid = $pid' "$WORK/$name/$state" >"$WORK/json"
		mv "$WORK/json" "$WORK/$name/$state"
	done
}

# drop_fake NAME PID - its process and the runtime's own cgroup
drop_fake() {
	end_process "$2"
	cg_remove "$(own_cgroup "$1")"
}

# cg_remove CGROUP - as a runtime would, retrying while the kernel lets go
cg_remove() {
	local name
	for name in "${HIERARCHIES[@]}"; do
		wait_for 5 rmdir_gone "${CG_DIR[$name]}$1" || :
	done
}

rmdir_gone() {
	rmdir "$1" 2>/dev/null || [[ ! -d $1 ]]
}
