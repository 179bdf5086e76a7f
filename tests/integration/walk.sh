#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# A stranger's walk: every command that README.md, the pages in hook/docs and the manual pages show is taken from there
# and run as it stands, in a directory of its own; but that names and cgroups are the script's, times are shorter, and
# the program has its own state directory. What cannot be run here stands in ELSEWHERE, with the reason. A command that
# is neither run nor listed is a failure, and so is one that is run or listed and not shown any more.
#
#   OSC_WALK=all  builds and installs, too, which takes longer than all the rest: tests/run --vm --all does

# shellcheck disable=SC2016 # what is in single quotes is somebody else's, or jq's
# shellcheck disable=SC2034,SC2317 # for commands, which are run by eval
# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"
# shellcheck source=../lib/limits.sh
. "$TESTS/lib/limits.sh"
# shellcheck source=../lib/observe.sh
. "$TESTS/lib/observe.sh"
# shellcheck source=../lib/walk.sh
. "$TESTS/lib/walk.sh"

SIZING='How to size PodOverhead in five steps'

# DOCUMENT|HEADING|HOW IT BEGINS|WHY, or where else: the scripts are those of this directory. Without a beginning it is all of them under that
# heading that are not run.
ELSEWHERE=(
	"$README|The two commands|tests/demo|tests/run has it as a suite of its own"
	"$README|The two commands|tests/run|it is what runs this script"
	"$README|Install|make deb|package.sh runs it"
	"$README|Install|apt install|it installs into the system: walk-engines.sh does so in a guest"
	"$README|Install|make check|tests/run runs all that it does"
	"$README|podman||it takes podman and an installed hook: walk-engines.sh runs it in a guest"
	"$README|containerd|ctr oci spec|it takes containerd: walk-engines.sh runs it in a guest"
	"$PROGRAM|DIAGNOSTICS|journalctl|it takes journald: walk-engines.sh runs it in a guest"
	"$ENGINES|CONTAINERD|ctr oci spec|it takes containerd: walk-engines.sh runs it in a guest"
	"$ENGINES|podman||it takes podman and an installed hook: walk-engines.sh runs it in a guest"
	"$ENGINES|containerd||it takes containerd: walk-engines.sh runs it in a guest"
	"$KUBERNETES|Setting it up|make deb|package.sh runs it"
	"$KUBERNETES|Setting it up|podman|it takes podman, and a network with images"
	"$KUBERNETES|Setting it up|kubectl|it takes a cluster; kubernetes.sh plays what it starts on a node"
	"$KUBERNETES|$SIZING|kubectl|it takes a cluster"
)

# account_for - what was not run has to be listed, and what is listed to be shown
account_for() {
	local row document heading beginning reason script listed i
	for row in "${ELSEWHERE[@]}"; do
		IFS='|' read -r document heading beginning reason <<<"$row"
		listed=()
		while find_command "$document" "$heading" "$beginning"; do
			FATE[FOUND]=listed
			listed+=("$(one_line "${COMMANDS[FOUND]}")")
		done
		if [[ ${#listed[@]} -eq 0 ]]; then
			fail "$document, $heading: what is listed is shown" "there is no command \"$beginning...\" that is not run"
			continue
		fi
		printf '      %s\n' "${listed[@]}"
		skip "$document, $heading, ${#listed[@]} of \"${beginning:-...}\"" "$reason"
		while read -r script; do
			[[ -x $TESTS/integration/$script ]] || fail "$document, $heading: who runs it is there" "there is no $script"
		done < <(grep -oE '[a-z-]+[.]sh' <<<"$reason")
	done
	for i in "${!COMMANDS[@]}"; do
		[[ -n ${FATE[i]} ]] || fail "${DOCUMENTS[i]}, ${HEADINGS[i]}: each command is run, or listed" "${COMMANDS[i]}"
	done
	check "there are commands to run" test "$(grep -c run <<<"$(printf '%s\n' "${FATE[@]}")")" -gt 25
}

# What the program is started with.
OPTIONS=()

oci-sandbox-cgroup() {
	timeout -k 5 60 "$OSC" "${OPTIONS[@]}" "$@"
}

runc() {
	command runc --root "$WORK/runtime" "$@"
}

# The source's own, and as fast as it goes, into a directory.
make() {
	command make -j"$(nproc)" DESTDIR="$WORK/installed" "$@"
}

# own_words - VM is the name that pages give to a container
VM=$TAG-vm1
own_words() {
	OPTIONS=(--state-dir "$STATE" --config "$CONF")
	WORDS=(-e "s,/machine/,$BASE/,g" -e "s,\\bvm1\\b,$VM,g" -e "s,/etc/containerd/,$HERE/etc/,g"
		-e "s,/usr/share/oci-sandbox-cgroup/,$SOURCE/hook/data/,g" -e 's/--for 60s/--for 2s/' -e 's/--interval \(5\|10\)s/--interval 1s/'
		-e 's/2Gi/64Mi/')
}

# first_words - of each line: what it is about
first_words() {
	sed -nE 's,^ *([A-Za-z/]+).*,\1,p' | sort -u
}

# without_numbers - nor what depends on them
without_numbers() {
	sed -E 's/[0-9]+([.][0-9]+)?/N/g; s/N (B|KiB|MiB|GiB)/N iB/g; s/ +/ /g'
}

# fresh - an empty directory, the program as somebody has it who has configured nothing
fresh() {
	rm -rf "$HERE"
	mkdir "$HERE"
	own_words
	jq -n --arg parent "$BASE/overhead" "{overhead_parent: \$parent} | ${1-.}" >"$CONF"
}

# --- the source: build and install -------------------------------------------

STEPS=("autoreconf" "./configure" "make" "make install")

build() {
	local step
	fresh
	tar -C "$SOURCE" --exclude=./.git --exclude='./build*' --exclude=./deb -cf - . | tar -C "$HERE" -xf -
	for step in "${STEPS[@]}"; do
		walk "$README" Install "$step"
		((RC == 0)) || {
			tail -n 20 "$WORK/walk.out"
			return 0
		}
	done
	check_eq "what is installed runs" "$("$OSC" --version)" "$("$WORK/installed/usr/sbin/oci-sandbox-cgroup" --version)"
	check "it has its pages" test -e "$WORK/installed/usr/share/man/man7/$ENGINES"
}

# leave_build REASON
leave_build() {
	local step
	for step in "${STEPS[@]}"; do
		if find_command "$README" Install "$step"; then
			FATE[FOUND]=listed
		else
			fail "$README, Install: $step" "it is not shown any more"
		fi
	done
	skip "$README, Install: ${STEPS[*]}" "$1"
}

pages() {
	fresh
	cp -r "$SOURCE/hook" "$HERE"
	if [[ -z $(type -P man) ]]; then
		ELSEWHERE+=("$README|Pages|man |man is not installed")
		return
	fi
	walk "$README" Pages man
	check_match "a page from the source" 'WHICH LAYOUT' "$OUT"
}

# verbs - the same ones stand everywhere
verbs() {
	local help readme page
	help=$("$OSC" --help | sed -nE 's/^  (set up|look|change|remove) +//p; s/^            (add-.*)/\1/p' | tr ',' '\n' |
		sed -E 's/^ *([a-z-]+).*/\1/' | grep . | sort)
	readme=$(sed -n '/^## Commands/,/^All but/{/^| `/p}' "$SOURCE/README.md" | cut -d '|' -f 2 | grep -oE '`[a-z-]+' | tr -d '`' | sort)
	page=$(sed -n '/^[.]Sh VERBS/,/^[.]Sh OPTIONS/s/^[.]It Cm \([a-z-]*\).*/\1/p' "$SOURCE/hook/man/$PROGRAM" | sort)
	check_eq "README.md has the verbs of --help" "$help" "$readme"
	check_eq "$PROGRAM has the verbs of --help" "$help" "$page"
	page=$(sed -n '/^[.]Sh SYNOPSIS/,/^[.]Sh DESCRIPTION/s/^[.]Cm \(.*\)/\1/p' "$SOURCE/hook/man/$PROGRAM" | tr '|' '\n' | sed 's/ //g' | sort)
	check_eq "its synopsis has the verbs, too" "$help" "$page"
	# Of each verb, and of all.
	help=$({ "$OSC" --help && for verb in $help; do "$OSC" "$verb" --help; done; } | grep -oE '^  --[a-z-]+|, --[a-z-]+$|--version' |
		tr -d ' ,' | sort -u)
	page=$(sed -n '/^[.]Sh OPTIONS/,/^[.]Sh STANDARD/s/^[.]It //p' "$SOURCE/hook/man/$PROGRAM" | grep -oE 'Fl Fl [a-z-]+' | sed 's/Fl Fl /--/' | sort -u)
	check_eq "its options are those of --help" "$help" "$page"
}

# --- a bundle ----------------------------------------------------------------

bundle() {
	fresh
	mkdir -p "$HERE/etc" "$HERE/bundle"
	(cd "$HERE" && runc spec)
	cp "$HERE/config.json" "$HERE/etc/vmm-base.json"
	cp "$HERE/config.json" "$HERE/bundle"
	# What the page shows has no options of ours.
	OPTIONS=()
	walk "$README" config.json "oci-sandbox-cgroup register config.json"
	check_eq "what is in there is what the page shows" \
		"$(fence "$README" config.json json | jq -c .hooks)" \
		"$(jq -c .hooks "$HERE/config.json" | sed "s,$OSC\",/usr/libexec/oci-sandbox-cgroup\",g")"
	walk "$README" containerd "oci-sandbox-cgroup register"
	check_eq "the base spec has it" 1 "$(jq '.hooks.prestart | length' "$HERE/etc/vmm-base.json")"
	cp "$HERE/bundle/config.json" "$HERE/etc/vmm-base.json"
	walk "$ENGINES" CONTAINERD "oci-sandbox-cgroup register"
	check_eq "the base spec has it by the manual page, too" 1 "$(jq '.hooks.prestart | length' "$HERE/etc/vmm-base.json")"
	cp "$HERE/bundle/config.json" "$HERE/was"
	walk "$PROGRAM" EXAMPLES "oci-sandbox-cgroup register bundle"
	check_eq "the bundle has it" 1 "$(jq '.hooks.poststop | length' "$HERE/bundle/config.json")"
	walk "$PROGRAM" EXAMPLES "oci-sandbox-cgroup register --remove"
	check "the bundle is as it was" cmp "$HERE/was" "$HERE/bundle/config.json"
}

plans() {
	local example
	fresh
	# Nothing is touched, so names can be those of the page.
	WORDS=()
	OPTIONS=(--state-dir "$STATE" --config "$HERE/none.json")
	echo '{}' >"$HERE/none.json"
	(cd "$HERE" && runc spec)
	jq '.linux.cgroupsPath = "/machine/vm1" | .linux.resources.cpu = {quota: 200000, period: 100000} | .linux.resources.pids.limit = 512' \
		"$HERE/config.json" >"$HERE/new" && mv "$HERE/new" "$HERE/config.json"
	walk "$PROGRAM" EXAMPLES echo
	check_match "a plan" "/machine/kata_vm1/kata_vcpu" "$OUT"
	FATE[FOUND]=
	walk "$PROGRAM" EXAMPLES echo --json
	example=$(sed -n '/^And what that is/,/^[.]Ed/p' "$SOURCE/hook/man/$PROGRAM" | sed -n '/^{/,/^}/p' | sed 's/\[ \.\.\. \]/"..."/')
	check_eq "and in JSON, as the page has it" "$(jq . <<<"$example")" "$(jq '.devices = "..."' <<<"$OUT")"

	# A configuration that is tried before it counts.
	sed -n '/^[.]Sh EXAMPLES/,/^[.]Ed/p' "$SOURCE/hook/man/$CONFIGURATION" | sed -n '/^{/,/^}/p' >"$HERE/new.json"
	echo '{"ociVersion": "1.0.2", "id": "vm1", "status": "creating", "bundle": "'"$HERE"'"}' >"$HERE/state.json"
	walk "$CONFIGURATION" EXAMPLES "oci-sandbox-cgroup --config new.json plan"
	check_match "a configuration is tried" "kata_vm1" "$OUT"
	walk operations.md Configuration "oci-sandbox-cgroup --config new.json plan"
	check_match "a configuration is tried with a bundle's config.json" "kata_vm1" "$OUT"
}

# --- quick starts ------------------------------------------------------------

# quick_start - with KVM, or as the page says that it goes without
quick_start() {
	local section=runc
	if kvm_works; then
		fresh
	else
		fresh '.vcpu_evidence = "name"'
		WORDS+=(-e 's/-accel kvm/-accel tcg,thread=multi/')
	fi
	walk "$ENGINES" EXAMPLES 'vmm='
	walk "$ENGINES" EXAMPLES 'vmm='
	walk "$ENGINES" EXAMPLES mkdir
	walk "$ENGINES" "$section" "runc spec"
	walk "$ENGINES" "$section" jq
	walk "$ENGINES" "$section" "oci-sandbox-cgroup register"
	CONTAINERS+=("$VM")
	walk "$ENGINES" "$section" "runc run"
	((RC == 0)) || cat "$HERE/log"
	walk "$ENGINES" "$section" "oci-sandbox-cgroup show"
	becomes "see: both vCPUs are in their place" "CPU 0/[KT][VC][MG] .*vCPU 0 by.*CPU 1/[KT][VC][MG] .*vCPU 1 by.*placement: complete"
	walk "$ENGINES" "$section" "oci-sandbox-cgroup stat"
	check_match "measure: vCPUs and overhead apart" "$VM [(]-[)]: running, vCPUs are apart.*vCPUs .*overhead .*together " "$OUT"
	walk "$ENGINES" "$section" "runc delete"
	check_nothing_left "remove" "$before"
	# What follows for containerd begins with the same config.json.
	walk "$ENGINES" containerd jq
	check_eq "containerd: the root file system" "$HERE/rootfs" "$(jq -r .root.path "$HERE/new")"
}

# --- what pages show of a sandbox --------------------------------------------

# start_busy - a program with two vCPUs that never rest, and other work, in place of a VMM; half a CPU for the one, a
# tenth for the other. Sets PID.
start_busy() {
	local limits='.linux.resources.cpu = {quota: 50000, period: 100000}'
	! hierarchy_of memory >/dev/null || limits+=' | .linux.resources.memory.limit = 268435456'
	! hierarchy_of pids >/dev/null || limits+=' | .linux.resources.pids.limit = 64'
	configure 'del(.layout) | .overhead_limits.cpu = {quota: 10000, period: 100000}'
	make_bundle vm1 '["/fake_vmm", "--burn", "CPU 0/KVM", "CPU 1/KVM", "worker"]' "$limits"
	install -m 0755 "$(helper fake_vmm)" "$WORK/vm1/rootfs/fake_vmm"
	add_hooks vm1 "prestart poststop" --layout=auto
	run_container vm1
}

looks() {
	fresh
	hierarchy_of cpu >/dev/null || {
		ELSEWHERE+=("$README|Commands||it takes the cpu controller" "$KUBERNETES|$SIZING||it takes the cpu controller")
		return
	}
	if ! start_busy; then
		fail "start the program in place of a VMM" "$(<"$WORK/vm1/log")"
		return
	fi
	walk "$README" Commands "oci-sandbox-cgroup show"
	becomes "show: both vCPUs are in their place" "CPU 0/KVM +sandbox +vCPU 0 by name.*CPU 1/KVM +sandbox +vCPU 1 by name.*worker +overhead.*placement: complete"
	walk "$README" Commands "oci-sandbox-cgroup stat"
	check_eq "stat: lines about what those on the page are about, and pressure, which not every kernel has" \
		"$(shown "$README" Commands "oci-sandbox-cgroup stat" | first_words)" \
		"$(first_words <<<"${OUT//$VM/vm1}" | grep -vx pressure)"
	walk "$README" Commands "oci-sandbox-cgroup top"
	check_eq "top: columns as the page has them" "$(shown "$README" Commands "oci-sandbox-cgroup top" | head -n 1 | xargs)" \
		"$(head -n 1 <<<"$OUT" | xargs)"
	check_match "top: a row" " [0-9.]+ +[0-9.]+ +[0-9.]+ .* complete" "$OUT"
	sizes
	[[ -z $SHM ]] || close_shm
	check "remove" stop_container vm1
	check_nothing_left "looks" "$before"
}

sizes() {
	walk "$KUBERNETES" "$SIZING" "oci-sandbox-cgroup list"
	check_match "which sandboxes there are" "^$VM +running +vCPU split +1 " "$OUT"
	walk "$KUBERNETES" "$SIZING" "oci-sandbox-cgroup show"
	check_match "whether vCPUs are apart" "placement: complete" "$OUT"
	if hierarchy_of memory >/dev/null; then
		open_shm
		check "the guest touches its memory" fill_memory "$(own_cgroup vm1)" "$SHM" 64
	fi
	walk "$KUBERNETES" "$SIZING" "oci-sandbox-cgroup overhead"
	walk "$KUBERNETES" "$SIZING" "cat overhead.yaml"
	if hierarchy_of memory >/dev/null; then
		check_eq "overhead: what it prints is what the page shows, but for numbers" \
			"$(fence "$KUBERNETES" "$SIZING" yaml | without_numbers)" "$(without_numbers <<<"${OUT//$VM/vm1}")"
	fi
	cp "$HERE/overhead.yaml" "$HERE/measured"
	walk "$KUBERNETES" "$SIZING" sed
	walk "$KUBERNETES" "$SIZING" grep
	check_eq "the RuntimeClass has what was measured, and nothing else" \
		"$(grep -v '^#' "$HERE/measured")" "$(sed -n '/^overhead:/,$p' "$HERE/new.yaml")"
	if python3 -c 'import yaml, tomllib' 2>/dev/null; then
		check "the RuntimeClass is one" "$TESTS/lib/kubernetes" "$HERE/new.yaml" "$SOURCE"/hook/data/kubernetes/{install.yaml,containerd.toml}
	else
		skip "the RuntimeClass is one" "python3 has no module yaml or tomllib"
	fi
	walk "$KUBERNETES" "$SIZING" "oci-sandbox-cgroup stat"
	check_match "whether it is enough" "overhead .*memory " "$OUT"
}

# --- what a crash leaves -----------------------------------------------------

prunes() {
	fresh
	configure .
	fake_container crashed . "$VM"
	capture osc prestart <"$WORK/crashed/created"
	check_exit "a crash: prestart" 0
	kill -KILL "$(watcher_pid "$VM")"
	end_process "$PID"
	walk "$PROGRAM" EXAMPLES "oci-sandbox-cgroup prune --dry-run"
	check_match "what a crash has left" "would remove .*$VM" "$OUT"
	walk "$PROGRAM" EXAMPLES "oci-sandbox-cgroup prune"
	check_match "and its removal" "removed .*$VM" "$OUT"
	drop_fake crashed "$PID"
	check_nothing_left "a crash" "$before"
}

# -----------------------------------------------------------------------------

before=$(snapshot)
read_documents
verbs
pages
bundle
plans
quick_start
looks
prunes
if [[ ${OSC_WALK-} != all ]]; then
	leave_build "it builds all once more, and so is run by night: OSC_WALK=all"
elif [[ -z $(type -P autoreconf) ]]; then
	leave_build "autoreconf is not installed"
else
	build
fi
account_for
finish
