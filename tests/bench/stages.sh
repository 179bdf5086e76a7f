# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# What a setup and a teardown cost. A part of tests/bench/run, which sources it.
#
# For each layout and policy the runtime is played to the hook, to a floor program
# (floor.c: the kernel operations that this layout cannot avoid, linked like the
# hook) and to peers, in turn and in random order, as stages.c says. What counts
# is the ratio to the floor of the same run: CPU time of both stages when warm,
# wall time after a pause, which the kernel makes every first move of a process
# wait for.
#
# Then each of them once more under strace, to count its system calls, and to name
# those that the hook makes more often than the floor, with the functions that make
# them where strace can tell.

# Variables come from common.sh and from tests/bench/run.
# shellcheck disable=SC2153,SC2154

BAR_FLOOR=125 BAR_COLD=105 BAR_PEER=400 BAR_RSS_KIB=1280

stage_row() {
	printf '%-24s %-12s %19s %19s %8s %8s %6s %6s  %-14s %s\n' "$@"
}

# command_line FILE ARGS... - as stages.c reads it
command_line() {
	local file=$1
	shift
	printf '%s\n' "$@" >"$file"
}

# make_hook NAME LAYOUT POLICY - what stages.c needs to play to it, in $PLAY/NAME
make_hook() {
	local dir=$PLAY/$1 phase stage only=true hierarchies=() name
	mkdir -p "$dir/bundle" "$dir/state/sandboxes" "$dir/state/paths"
	cp "$WORK/vm/config.json" "$dir/bundle/config.json"
	[[ $3 == only ]] || only=false
	configure ".layout = \"$2\" | .sandbox_cgroup_only = $only"
	cp "$CONF" "$dir/conf.json"
	for name in "${HIERARCHIES[@]}"; do
		hierarchies+=("$name=${CG_DIR[$name]}")
	done
	for phase in setup teardown; do
		stage=prestart
		[[ $phase == setup ]] || stage=poststop
		case $1 in
		hook) command_line "$dir/$phase" "$OSC" --state-dir "$dir/state" --config "$dir/conf.json" "$stage" ;;
		floor) command_line "$dir/$phase" "$OSC-floor" "$phase" "$2" "$3" "$dir/conf.json" "$dir/state" \
			"$BASE/floor" "${hierarchies[@]}" ;;
		go) command_line "$dir/$phase" "$PLAY/peer.go" "$phase" "$2" "$dir/state" "$BASE/go" ;;
		*) command_line "$dir/$phase" "$(type -P bash)" "$TESTS/bench/peer" "$1" "$phase" "$2" "$dir/state" \
			"$BASE/$1" "${hierarchies[@]}" ;;
		esac
	done
}

# quartiles HOOK PHASE COLUMN - sets Q1, Q2 and Q3 of $PLAY/times; the phase "both" is the sum of a round's two stages
quartiles() {
	local values sum
	mapfile -t values < <(awk -v hook="$PLAY/$1" -v phase="$2" -v column="$3" '
		$1 != hook { next }
		phase == $2 { print $column }
		phase == "both" { if ($2 == "setup") setup = $column; else print setup + $column }' "$PLAY/times" | sort -n)
	sum=${#values[@]}
	((sum > 0)) || die "nothing was measured of $1"
	Q1=${values[(sum * 25 + 99) / 100 - 1]} Q2=${values[(sum * 50 + 99) / 100 - 1]} Q3=${values[(sum * 75 + 99) / 100 - 1]}
}

# hundredths N
hundredths() {
	printf '%d.%02d' $(($1 / 100)) $(($1 % 100))
}

# play TIMES ROUNDS IDLE_MS HOOK... - fills $PLAY/TIMES
play() {
	local times=$PLAY/$1 rounds=$2 idle=$3
	shift 3
	"$OSC-stages" "$rounds" "$idle" "/$TAG/vm" "$PLAY/dirs" "${@/#/$PLAY/}" >"$times" 2>"$PLAY/error" ||
		die "$(<"$PLAY/error")" "$(tail -n 3 "$PLAY"/*/log 2>/dev/null)"
}

# with_each_stage HOOK PREFIX... - one more life, each stage run as PREFIX PHASE.out COMMAND
with_each_stage() {
	local hook=$1 phase
	shift
	for phase in setup teardown; do
		cp "$PLAY/$hook/$phase" "$PLAY/$hook/$phase.plain"
		{ printf '%s\n' "$@" "$PLAY/$hook/$phase.out" && cat "$PLAY/$hook/$phase.plain"; } >"$PLAY/$hook/$phase"
	done
	play once 1 0 "$hook"
	for phase in setup teardown; do
		mv "$PLAY/$hook/$phase.plain" "$PLAY/$hook/$phase"
	done
}

# count_calls HOOK - sets CALLS, and of both stages writes "COUNT NAME" to $PLAY/HOOK/calls, and, if strace can tell, "NAME
# FUNCTION" of each call to $PLAY/HOOK/callers
count_calls() {
	local phase counts=() stacks=()
	CALLS=-
	type -P strace >/dev/null || return 0
	! strace -k -o /dev/null true 2>/dev/null || stacks=(-k)
	with_each_stage "$1" "$(type -P strace)" -qq "${stacks[@]}" -o
	for phase in setup teardown; do
		# What is the same, with a directory's descriptor and without.
		sed -i -E 's/^(mkdir|readlink)\(/\1at(/; s/^rmdir\(/unlinkat(/' "$PLAY/$1/$phase.out"
		sed -nE 's/^([a-z][a-z0-9_]*)\(.*/\1/p' "$PLAY/$1/$phase.out" >"$PLAY/$1/$phase.calls"
		counts+=("$(wc -l <"$PLAY/$1/$phase.calls")")
	done
	sort "$PLAY/$1"/{setup,teardown}.calls | uniq -c >"$PLAY/$1/calls"
	[[ -z ${stacks[*]} ]] || callers "$PLAY/$1"/{setup,teardown}.out >"$PLAY/$1/callers"
	CALLS=${counts[0]}+${counts[1]}
}

# callers OUTPUT... - of strace -k. The function is the innermost of the program's own that can be told; those of base/,
# which everything uses, only where there is no other; "libc" where there is none at all.
callers() {
	local part
	for part in base cgroup hook oci noscopes; do
		nm --defined-only "$OSC_BENCH/../../lib$part.a" 2>/dev/null | sed -nE "s/^[^ ]+ [tT] ([^.]+).*/$part \1/p"
	done | awk '
		FNR == NR { ours[$2] = $1; next }
		function tell() { if (call != "") print call, name }
		/^[a-z][a-z0-9_]*\(/ { tell(); call = $0; sub(/\(.*/, "", call); name = "libc"; found = 0 }
		/^ > / && !found {
			sub(/.*\(/, "")
			sub(/[.+].*/, "")
			found = $0 == "main" || ($0 in ours && ours[$0] != "base")
			if (found || ($0 in ours && name == "libc")) name = $0
		}
		END { tell() }' - "$@"
}

# above_floor - a line for each system call that the hook makes more often than the floor, with all who make it
above_floor() {
	local more call
	awk 'FNR == NR { floor[$2] = $1; next } $1 > floor[$2] { print $1 - floor[$2], $2 }' "$PLAY/floor/calls" \
		"$PLAY/hook/calls" | sort -rn |
		while read -r more call; do
			printf '    %3d above the floor: %s:' "$more" "$call"
			awk -v call="$call" '$1 == call { print $2 }' "$PLAY/hook/callers" 2>/dev/null | sort | uniq -c | sort -rn |
				awk '{ printf "%s %s %d", (NR > 1 ? "," : ""), $2, $1 }'
			echo
		done
}

# peak_kib HOOK - sets KIB, the larger of both stages
peak_kib() {
	with_each_stage "$1" "$(helper peak_rss)"
	KIB=$(sed -n 's/^vmhwm_kib=//p' "$PLAY/$1"/{setup,teardown}.out | sort -n | tail -n 1)
}

# warm_row HOOK - of what was played
warm_row() {
	local setup teardown wall bar='' result='' ratio=''
	quartiles "$1" setup 3 && setup="$Q2 ($Q1..$Q3)"
	quartiles "$1" teardown 3 && teardown="$Q2 ($Q1..$Q3)"
	quartiles "$1" both 4 && wall=$(thousandths "$Q2")
	quartiles "$1" both 3
	[[ $1 != floor ]] || FLOOR=$Q2
	[[ $1 != hook ]] || HOOK=$Q2
	ratio=$((Q2 * 100 / FLOOR))
	if [[ $1 == hook ]]; then
		bar="<= $(hundredths $BAR_FLOOR) floors" result=$(verdict "$ratio" $BAR_FLOOR)
	elif [[ $1 == go ]]; then
		bar=">= $(hundredths $BAR_PEER) hooks" result=$(verdict $BAR_PEER $((Q2 * 100 / HOOK)))
	fi
	count_calls "$1"
	peak_kib "$1"
	stage_row "$2" "$1" "$setup" "$teardown" "$wall" "$CALLS" "$KIB" "$(hundredths $ratio)" "$bar" "$result"
	[[ $1 != hook ]] || PEAK=$((KIB > PEAK ? KIB : PEAK))
}

# cold_row WHAT - after a pause it is the wall time that a container waits
cold_row() {
	local floor
	play times "$COLD" "$IDLE_MS" floor hook
	quartiles floor both 4
	floor=$Q2
	quartiles hook both 4
	stage_row "$1" "hook, cold" "" "" "$(thousandths "$Q2")" "" "" "$(hundredths $((Q2 * 100 / floor)))" \
		"<= $(hundredths $BAR_COLD) floors" "$(verdict $((Q2 * 100 / floor)) $BAR_COLD)"
}

# build_go - the program of peer.go, if there is what it needs
build_go() {
	[[ $MODE != v2 ]] && type -P go >/dev/null &&
		HOME=$WORK GO111MODULE=off GOPATH=${GOPATH:-/usr/share/gocode} GOCACHE=$WORK/go-cache \
			go build -o "$PLAY/peer.go" "$TESTS/bench/peer.go" 2>"$PLAY/error"
}

# find_peers - those that are there; says which are not
find_peers() {
	PEERS=()
	if type -P jq >/dev/null; then PEERS+=(shell); else echo "shell with jq: not there"; fi
	if type -P jq cgcreate cgset cgclassify cgdelete >/dev/null && [[ $MODE != v2 ]]; then
		PEERS+=(tools)
	else
		echo "cgroup-tools: not there, or of no use here"
	fi
	if build_go; then PEERS+=(go); else echo "Go hook on containerd/cgroups: not there"; fi
}

# begin_play - PLAY is there, with what stages.c needs of all hooks
begin_play() {
	mkdir "$PLAY"
	# By these names they are ended if anything fails.
	install -m 0755 "$OSC_BENCH/floor" "$OSC-floor"
	install -m 0755 "$OSC_BENCH/stages" "$OSC-stages"
	fake_container vm
	end_process "$PID"
	printf '%s\n' "${HIERARCHY_DIRS[@]}" >"$PLAY/dirs"
}

end_play() {
	cg_remove "/$TAG/vm"
	rm -rf "$PLAY"
}

stages() {
	local layout policy hook PEAK=0
	begin_play
	find_peers
	echo
	stage_row "setup and teardown" of "setup CPU us" "teardown CPU us" "wall ms" calls KiB floors bar result
	for layout in nested sibling; do
		for policy in only split; do
			for hook in floor hook "${PEERS[@]}"; do
				make_hook "$hook" "$layout" "$policy"
			done
			play times "$ROUNDS" 0 floor hook "${PEERS[@]}"
			for hook in floor hook "${PEERS[@]}"; do
				warm_row "$hook" "$layout, $policy"
			done
			[[ ! -s $PLAY/hook/calls ]] || above_floor
			((COLD == 0)) || cold_row "$layout, $policy"
			rm -rf "${PLAY:?}"/{floor,hook,shell,tools,go}
		done
	done
	stage_row "peak memory" hook "" "" "" "" "$PEAK" "" "<= $BAR_RSS_KIB KiB" "$(verdict $PEAK $BAR_RSS_KIB)"
	end_play
}
