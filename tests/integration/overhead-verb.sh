#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The verb overhead, under the real runtime: what it recommends is within 10 % of what the cgroups' own files say
# of the same time, for CPU and memory, sampled and accumulated; one that ends meanwhile spoils nothing; and what cannot
# be done is said before anybody has waited for it. The page that it draws is looked at in a browser.
#
#   OSC_SHOTS  directory to leave the picture in

# shellcheck disable=SC2016 # $name in single quotes is jq's
# shellcheck disable=SC2317 # functions are called by name
# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"
# shellcheck source=../lib/observe.sh
. "$TESTS/lib/observe.sh"
# shellcheck source=../lib/nested.sh
. "$TESTS/lib/nested.sh"

BUSY='["/fake_vmm", "--burn", "CPU 0/KVM", "worker"]'
MIB=$((1 << 20))

# start NAME ARGS_JSON [JQ_FILTER] - the overhead may use a fifth of a CPU, in periods that are short against a reading
start() {
	make_bundle "$1" "$2" ".linux.resources.cpu += {quota: 2000, period: 10000} | .linux.resources.memory.limit = 268435456 | ${3-.}"
	install -m 0755 "$(helper fake_vmm)" "$WORK/$1/rootfs/fake_vmm"
	add_hooks "$1" "prestart poststop"
	create_nested "$1" && oci start "$TAG-$1"
}

# overhead_us - the overhead's CPU time so far; where no cgroup counts it apart, what is not its vCPU threads'
overhead_us() {
	local tid ns sum=0
	if [[ $MODE == v2 ]]; then
		echo $(($(used_us "$C") - $(used_us "$VCPU")))
	elif [[ -e $(cg_file cpuacct "$OVERHEAD" cpuacct.usage) ]]; then
		used_us "$OVERHEAD"
	else
		for tid in $(vcpus_of "$PID"); do
			read -r ns _ <"/proc/$tid/schedstat"
			sum=$((sum + ns / 1000))
		done
		echo $(($(used_us "$C") - sum))
	fi
}

# age_us PID
age_us() {
	local stat up
	stat=$(<"/proc/$1/stat")
	read -r up _ </proc/uptime
	# shellcheck disable=SC2086 # words
	set -- ${stat##*) }
	echo $((10#${up/./} * 10000 - ${20} * 1000000 / $(getconf CLK_TCK)))
}

# held_bytes - memory of the sandbox without page cache
held_bytes() {
	local file shmem stat
	stat=$(cat "$(cg_file memory "$C" memory.stat)")
	if [[ $MODE == v2 ]]; then
		file=$(sed -n 's/^file //p' <<<"$stat") shmem=$(sed -n 's/^shmem //p' <<<"$stat")
	else
		file=$(sed -n 's/^total_cache //p' <<<"$stat") shmem=$(sed -n 's/^total_shmem //p' <<<"$stat")
	fi
	echo $(($(memory_usage "$C") - file + shmem))
}

# of JQ_PATH - of BUSY_ONE, of the last answer
BUSY_ONE=busy
of() {
	jq -r --arg id "$TAG-$BUSY_ONE" ".sandboxes[] | select(.sandbox_id == \$id) | .$1" <<<"$OUT"
}

# near NUMBER OTHER - within 10 %; units behind the first do not count
near() {
	awk -v got="${1%%[a-zA-Z]*}" -v want="$2" 'BEGIN { exit !(want > 0 && got > want * 0.9 && got < want * 1.1) }' || {
		echo "expected $2, within 10 %, got $1"
		return 1
	}
}

# cpu_agrees - with the kernel's own numbers of that time, which RATE is set to
RATE=
cpu_agrees() {
	local low began ended high
	low=$(overhead_us) began=$(date +%s%6N)
	capture osc overhead --json --for 6s --interval 2s --margin 0 "$TAG-$BUSY_ONE"
	high=$(overhead_us) ended=$(date +%s%6N)
	RATE=$(((high - low) * 1000 / (ended - began)))
	near "$(of cpu_millis.mean)" "$RATE" && near "$(of cpu_millis.p50)" "$RATE" && near "$(of cpu_millis.p95)" "$RATE" &&
		near "$(jq -r .pod_fixed.cpu <<<"$OUT")" "$RATE"
}

sampled() {
	# A machine that is busy with other tests has moments in which nobody gets his share.
	check_wait "sampled: CPU as the cgroup counts it" 90 cpu_agrees
	[[ -z ${OSC_SHOW-} ]] || echo "the cgroup: ${RATE}m, overhead: $(jq -c '.sandboxes[0].cpu_millis, .pod_fixed' <<<"$OUT")"
	check_eq "sampled: JSON" "true 2000 0 null" \
		"$(jq -r '"\(.sampled) \(.interval_ms) \(.margin_percent) \(.guest_memory_bytes)"' <<<"$OUT")"
	check_eq "sampled: members" "cpu_millis,ended,memory_bytes,readings,sandbox_id,sandbox_memory_bytes,source" \
		"$(jq -r '.sandboxes[0] | del(.container, .pod, .namespace) | keys | join(",")' <<<"$OUT")"
	check_eq "sampled: three readings, by the cgroups" "3 cgroup false" "$(of 'readings') $(of source) $(of ended)"
	check_eq "sampled: who needs that CPU" "$TAG-busy" "$(jq -r .pod_fixed.cpu_of <<<"$OUT")"
	check_eq "sampled: nothing is said of the memory" "null null null" \
		"$(of memory_bytes.max) $(jq -r '"\(.pod_fixed.memory) \(.pod_fixed.memory_of)"' <<<"$OUT")"
}

memory() {
	local held
	if ! hierarchy_of memory >/dev/null; then
		skip "memory" "it takes the memory controller"
		return
	fi
	# What is in a tmpfs is held, and page cache is not.
	open_shm
	check "memory: in a tmpfs" fill_memory "$C" "$SHM" 64
	check "memory: in a file" fill_memory "$C" "$WORK/file" 64
	held=$(held_bytes)
	check "memory: what is held" test "$held" -ge $((64 * MIB)) -a "$held" -lt $((96 * MIB))
	capture osc overhead --json --for 200ms --interval 100ms --margin 0 --guest-memory 0 "$TAG-busy"
	check "memory: as the cgroup counts it" near "$(jq -r .pod_fixed.memory <<<"$OUT")" $((held / MIB))
	check_match "memory: two readings, unless one was late" '^[12]$' "$(of readings)"
	capture osc overhead --json --for 100ms --margin 50 --guest-memory 48Mi "$TAG-busy"
	check_eq "memory: a shorter time is one interval" "100 1" "$(jq .interval_ms <<<"$OUT") $(of readings)"
	check_eq "memory: less the guest's" "true" \
		"$(jq '.sandboxes[0] | .sandbox_memory_bytes.max - 50331648 == .memory_bytes.max' <<<"$OUT")"
	check_eq "memory: and half on top, rounded up" true \
		"$(jq '(.sandboxes[0].memory_bytes.max * 1.5 / 1048576 | ceil | tostring) + "Mi" == .pod_fixed.memory' <<<"$OUT")"
	capture osc overhead --for 100ms --guest-memory 1Gi "$TAG-busy"
	check_match "memory: the guest has not touched all of its own" "memory: not known, as no sandbox holds the 1.00 GiB" "$OUT"
}

accumulated() {
	local rate low=0 high peak=memory.max_usage_in_bytes
	[[ $MODE != v2 ]] || peak=memory.peak # since Linux 5.19
	! hierarchy_of memory >/dev/null || low=$(cat "$(cg_file memory "$C" "$peak")" 2>/dev/null || echo 1)
	rate=$(($(overhead_us) * 1000 / $(age_us "$PID")))
	capture osc overhead --json --margin 0 --guest-memory 0 "$TAG-busy"
	check_exit "accumulated" 0
	check_eq "accumulated: JSON" "false null" "$(jq -r '"\(.sampled) \(.interval_ms)"' <<<"$OUT")"
	check "accumulated: CPU since it began" near "$(of cpu_millis.mean)" "$rate"
	check "accumulated: that is recommended" near "$(jq -r .pod_fixed.cpu <<<"$OUT")" "$rate"
	check_eq "accumulated: no percentiles" "null null null" "$(of cpu_millis.p50) $(of cpu_millis.p95) $(of cpu_millis.max)"
	if hierarchy_of memory >/dev/null; then
		high=$(cat "$(cg_file memory "$C" "$peak")" 2>/dev/null || held_bytes)
		check "accumulated: the peak" test "$(of sandbox_memory_bytes.max)" -ge "$low" -a "$(of sandbox_memory_bytes.max)" -le "$high"
	fi
	capture osc overhead
	check_match "accumulated: said to be a mean" "since it began, not sampled.*A mean has no bursts in it" "$OUT"
}

# parsed YAML_PATH - of the last answer, by somebody else's parser
parsed() {
	if python3 -c 'import yaml' 2>/dev/null; then
		python3 -c 'import sys, yaml; print(yaml.safe_load(sys.stdin)["overhead"]["podFixed"][sys.argv[1]])' "$1" <<<"$OUT"
	else
		sed -n "/^overhead:\$/,\$s/^    $1: //p" <<<"$OUT"
	fi
}

yaml() {
	capture osc overhead --for 300ms --interval 100ms --guest-memory 1Mi "$TAG-busy"
	check_exit "YAML" 0
	[[ -z ${OSC_SHOW-} ]] || echo "$OUT"
	check_match "YAML: cpu" '^[1-9][0-9]*m$' "$(parsed cpu)"
	! hierarchy_of memory >/dev/null || check_match "YAML: memory" '^[1-9][0-9]*Mi$' "$(parsed memory)"
	check_match "YAML: the margin is said" "cpu: the p95 of $TAG-busy, [0-9.]+m, and 10 % on top" "$OUT"
	check_eq "YAML: 4 lines of it, the rest are comments" 4 "$(grep -vc '^#' <<<"$OUT")"
	check_eq "YAML: what a name has in it stays in its comment" 1 "$(grep -c '^# b.xc3.xa4d: ' <<<"$OUT")"
	check "YAML: 90 columns" test "$(wc -L <<<"$OUT")" -le 90
}

# well_formed FILE - says somebody else's parser
well_formed() {
	if command -v xmllint >/dev/null; then
		xmllint --noout --nonet "$1"
	else
		python3 -c 'import sys, xml.etree.ElementTree as e; e.parse(sys.argv[1])' "$1"
	fi
}

# drawn CLASS - how many lines of that kind go on from a first reading
drawn() {
	grep -cE "<path class=\"$1\" d=\"M[0-9. ]+(L[0-9. ]+){2,}" "$PAGE"
}

# in_browser OPTION... - prints what a browser without a screen makes of the last argument
in_browser() {
	HOME=$WORK timeout 120 chromium --headless --no-sandbox --disable-gpu --hide-scrollbars --no-first-run --disable-extensions \
		--user-data-dir="$WORK/browser" --virtual-time-budget=2000 "$@" 2>"$WORK/browser.err"
}

# measured WIDTH - the page, laid out by a browser in a window of that width: how many charts, and what is wrong with
# them. Its own policy lets no script run, so the copy that measures has none.
measured() {
	{
		sed '/Content-Security-Policy/d; /^<\/body>$/,$d' "$PAGE"
		cat <<-'EOF'
			<pre id="measured"></pre>
			<script>//<![CDATA[
			const wrong = [], box = e => e.getBoundingClientRect(), svgs = [...document.querySelectorAll("svg")];
			const meet = (a, b) => a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 1 && b.top < a.bottom - 1;
			if (document.documentElement.scrollWidth > innerWidth) wrong.push("the page is wider than the window");
			for (const svg of svgs) {
				const name = svg.getAttribute("aria-label"), all = box(svg), texts = [...svg.querySelectorAll("text")];
				const say = (what, e) => wrong.push(name + ": " + what + " " + e.outerHTML.slice(0, 60));
				if (all.width < innerWidth / 2 || all.height < 50) say("too small", svg);
				for (const e of svg.querySelectorAll("text, path, line")) {
					const at = box(e), drawn = getComputedStyle(e);
					if (at.left < all.left - 1 || at.right > all.right + 1 || at.top < all.top - 1 || at.bottom > all.bottom + 1) say("sticks out", e);
					if (e.tagName !== "text" && (drawn.stroke === "none" || drawn.stroke === getComputedStyle(document.body).backgroundColor)) say("not to be seen", e);
					if (e.tagName === "path" && !(e.getTotalLength() > 0)) say("empty", e);
				}
				texts.forEach((a, i) => texts.slice(i + 1).filter(b => meet(box(a), box(b))).forEach(b => say("lies over another one:", a)));
			}
			document.getElementById("measured").textContent = svgs.length + " charts" + wrong.map(w => "; " + w).join("");
			//]]></script>
			</body>
			</html>
		EOF
	} >"$WORK/measured.html"
	in_browser --window-size="$1,2400" --dump-dom "file://$WORK/measured.html" |
		sed -n 's/.*<pre id="measured">\(.*\)<\/pre>.*/\1/p'
}

# Looked at by a browser: nothing sticks out or lies over something else, in a wide window and a narrow one.
browsed() {
	local width shot=${OSC_SHOTS:-$WORK}/overhead.png charts
	if ! command -v chromium >/dev/null; then
		skip "page: in a browser" "there is no chromium"
		return
	fi
	charts=$(grep -c '^<svg' "$PAGE")
	for width in 1200 500; do
		check_eq "page: in a browser, $width wide" "$charts charts" "$(measured "$width")"
	done
	in_browser --window-size=1200,2400 --screenshot="$shot" "file://$PAGE" >/dev/null
	check_eq "page: a picture of it" "89504e47 1200 2400" \
		"$(od -An -N 4 -t x1 "$shot" | tr -d ' ') $(od -An -j 16 -N 8 -t u4 --endian=big "$shot" | xargs)"
}

page() {
	local inode
	mkdir "$WORK/pages"
	PAGE=$WORK/pages/page.html
	capture osc overhead --for 1s --interval 200ms --guest-memory 48Mi --html "$PAGE" "$TAG-busy"
	check_exit "page" 0
	[[ -z ${OSC_SHOW-} ]] || cp "$PAGE" "${OSC_SHOW%/*}/overhead.html" 2>/dev/null || :
	check "page: well-formed" well_formed "$PAGE"
	check_eq "page: vCPUs and overhead" "1 2" "$(grep -c 'aria-label="CPU of vCPUs and overhead' "$PAGE") $(grep -c 'aria-label="CPU of' "$PAGE")"
	check_eq "page: vCPUs are drawn, and the overhead alone, too" "true" \
		"$( (($(drawn vcpu) >= 2 && $(drawn over) >= 2)) && echo true || echo "$(drawn vcpu), $(drawn over)")"
	check_eq "page: throttling is drawn" 1 "$(grep -c 'aria-label="Throttling' "$PAGE")"
	check_match "page: the recommended line" 'class="rec" x1="64"' "$(<"$PAGE")"
	check_eq "page: it says what the YAML says" "    cpu: $(parsed cpu)" "$(grep '^    cpu: ' "$PAGE")"
	check_eq "page: nothing is fetched" "" "$(grep -oE '(src=|href=|url[(]|@import|<script|<link)[^ ]*' "$PAGE")"
	browsed
	check_eq "page: for everybody to read" 644 "$(stat -c %a "$PAGE")"
	inode=$(stat -c %i "$PAGE")
	exec {reader}<"$PAGE"
	capture osc overhead --json --for 1s --html "$PAGE"
	check_exit "page: again, with JSON" 0
	check_eq "page: JSON is there, too, of every second" "true 1000 1" "$(jq -r '"\(.sampled) \(.interval_ms)"' <<<"$OUT") $(of readings)"
	check "page: another file" test "$inode" != "$(stat -c %i "$PAGE")"
	check_eq "page: who reads the one before has all of it" "</html>" "$(tail -n 1 <&"$reader")"
	exec {reader}<&-
	check_eq "page: nothing beside it" "page.html" "$(ls -A "$WORK/pages")"
}

# Whoever has been read until then counts, and the others go on.
ending() {
	local reader
	"$OSC" --state-dir "$STATE" --config "$CONF" overhead --json --for 5s --interval 200ms >"$WORK/ending" 2>"$WORK/ending.err" &
	reader=$!
	started "$reader"
	sleep 1
	check "ending: kill and delete one" stop_container idle
	RC=0
	wait "$reader" || RC=$?
	OUT=$(<"$WORK/ending") ERR=$(<"$WORK/ending.err")
	check_exit "ending: no failure" 0
	check_match "ending: said" "sandbox $TAG-idle has ended, after [0-9]+ readings" "$ERR"
	check_eq "ending: who" "$TAG-busy false, $TAG-idle true" \
		"$(jq -r '[.sandboxes[] | "\(.sandbox_id) \(.ended)"] | join(", ")' <<<"$OUT")"
	check_eq "ending: it has fewer readings" true "$(jq '.sandboxes[0].readings > .sandboxes[1].readings' <<<"$OUT")"
	check "ending: all readings of the other, but for those that are late" test "$(of readings)" -ge 10 -a "$(of readings)" -le 25
	check_eq "ending: the CPU is that of the busy one" "$TAG-busy" "$(jq -r .pod_fixed.cpu_of <<<"$OUT")"
}

# One that cannot be read is said, and the others are read.
damaged() {
	mkdir "$STATE/sandboxes/broken"
	echo "{" >"$STATE/sandboxes/broken/record.json"
	capture osc overhead --json
	check_exit "a sandbox that cannot be read" 1
	check_match "a sandbox that cannot be read: which" "sandbox broken: record.json" "$ERR"
	check_eq "a sandbox that cannot be read: the others are there" "$TAG-busy" "$(jq -r '.sandboxes[].sandbox_id' <<<"$OUT")"
	rm -r "$STATE/sandboxes/broken"
}

# The other layout, where on v1 it may be the threads that tell the parts apart.
nested() {
	LAYOUT=nested BUSY_ONE=nested
	use_nested false '.overhead_limits.cpu = {quota: 2000, period: 10000}'
	start nested "$BUSY" || {
		fail "nested: the runtime starts the container" "$(cat "$WORK/nested/log")"
		return
	}
	check_split "nested: split" "$PID" 1 20000 20000
	check_wait "nested: CPU as the kernel counts it" 90 cpu_agrees
	[[ -z ${OSC_SHOW-} ]] || echo "the kernel: ${RATE}m, overhead: $(jq -c '.sandboxes[0].cpu_millis, .pod_fixed' <<<"$OUT")"
	check_match "nested: how that is known" "^(cgroup|threads)$" "$(of source)"
	check "nested: kill and delete" stop_container nested
}

# Nobody is a vCPU: nothing is claimed.
none() {
	start none '["/fake_vmm", "worker"]' || return
	capture osc overhead --for 100ms "$TAG-none"
	check_exit "no vCPU" 0
	check_match "no vCPU: said" "cpu: not known, as no vCPU is known" "$OUT"
	check_eq "no vCPU: nothing to apply" 0 "$(grep -vc '^#' <<<"$OUT")"
	check "no vCPU: kill and delete" stop_container none
}

# dead NAME - of containers that have ended there is nothing to read
dead() {
	local name=$TAG-dead
	fake_nested "$name" 20000
	capture osc prestart <"$WORK/$name/created"
	check_exit "dead: prestart" 0
	kill -KILL "$(watcher_pid "$name")"
	end_process "$PID"
	capture osc overhead --for 10m "$name"
	check_exit "dead: at once" 1
	check_match "dead: said" "no container of sandbox \"$name\" runs any more" "$ERR"
	capture osc overhead --json
	check_eq "dead: not among all" 0 "$(jq '.sandboxes | length' <<<"$OUT")"
	capture osc poststop <"$WORK/$name/stopped"
	check_exit "dead: poststop" 0
	drop_nested "$name" "$PID"
}

# refused NAME STATUS MESSAGE ARGS... - at once, however long it was to read
refused() {
	local name=$1 status=$2 message=$3
	shift 3
	capture timeout 60 "$OSC" --state-dir "$STATE" --config "$CONF" overhead "$@"
	check_exit "refused: $name" "$status"
	check_match "refused: $name: why" "$message" "$ERR"
	check_eq "refused: $name: nothing is printed" "" "$OUT"
}

before=$(snapshot)
capture osc overhead --for 10m
check_exit "no sandbox" 0
check_eq "no sandbox: said, and not waited for" "# no sandbox runs" "$OUT"
capture osc overhead --json
check_eq "no sandbox: JSON" "0 null null" "$(jq -r '"\(.sandboxes | length) \(.pod_fixed.cpu) \(.pod_fixed.memory)"' <<<"$OUT")"
refused "none of that id" 1 "there is no sandbox \"gone\"" --for 10m gone
refused "a time that is none" 2 '"1d"; see' --for 1d
refused "an interval of nothing" 2 "--interval says how often to read in the time of --for" --interval 1s
refused "an interval longer than all" 2 "--interval is longer than --for" --for 1s --interval 2s
refused "too many readings" 2 "more than 100000 readings" --for 10m --interval 1ms
refused "a margin that is none" 2 '"x"; see' --margin x
refused "a size that is none" 2 '"2G"; see' --guest-memory 2G
refused "a page without readings" 2 "--html draws what is read in the time of --for" --html "$WORK/page.html"
refused "a page in no directory" 1 "cannot write $WORK/no/page.html: ENOENT" --for 10m --html "$WORK/no/page.html"
refused "a page in place of a directory" 1 "cannot write $WORK: EISDIR" --for 10m --html "$WORK"
refused "a page in what is no directory" 1 "cannot write $OSC/page.html: ENOTDIR" --for 10m --html "$OSC/page.html"
if ! hierarchy_of cpu >/dev/null; then
	skip "overhead" "it takes the cpu controller"
else
	LAYOUT=sibling
	use_nested false '.overhead_limits.cpu = {quota: 2000, period: 10000}'
	if start idle '["/fake_vmm", "CPU 0/KVM", "worker"]' &&
		start busy "$BUSY" '.annotations += {"io.kubernetes.cri.container-name": "b\u00e4d: "}'; then
		check_split "split" "$PID" 1 20000 20000
		check_wait "placement" 20 placement_says "$TAG-busy" "^complete"
		sampled
		accumulated
		memory
		yaml
		page
		refused "one of two is not there" 1 "there is no sandbox \"gone\"" --for 10m "$TAG-busy" gone
		capture osc overhead --json "$TAG-busy" "$TAG-b"
		check_eq "named twice, it is one" 1 "$(jq '.sandboxes | length' <<<"$OUT")"
		ending
		damaged
		check "kill and delete" stop_container busy
	else
		fail "the runtime starts the containers" "$(cat "$WORK"/*/log)"
	fi
	none
	nested
	dead
fi
check_nothing_left "overhead" "$before"
finish
