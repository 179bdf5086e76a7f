#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# How engines come to call the hook: the verb `register` on files of every form and
# with a real runtime, and the files for hooks directories and CDI as `make install`
# leaves them.

# shellcheck disable=SC2016 # $name in single quotes is jq's
# shellcheck disable=SC2317 # functions are called by name
# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"
# shellcheck source=../lib/registration.sh
. "$TESTS/lib/registration.sh"
# shellcheck source=../lib/faults.sh
. "$TESTS/lib/faults.sh"

FILES=$WORK/files
FILE=$FILES/config.json
mkdir "$FILES"

# identity PATH - what changes when a file is written or replaced, even with the same
identity() {
	stat -c '%i %a %u:%g %y %z' "$1"
}

# same_bytes A B
same_bytes() {
	cmp "$1" "$2"
}

# nothing_else - no temporary file was left
nothing_else() {
	local found
	found=$(find "$FILES" -name '.*.oci-sandbox-cgroup')
	[[ -z $found ]] || {
		echo "$found"
		return 1
	}
}

# our_args STAGE [OPTION...] - what an entry's args must be
our_args() {
	local stage=$1
	shift
	json_list oci-sandbox-cgroup "$@" "$stage"
}

# --- a real runtime ----------------------------------------------------------

# only_hooks_differ A B - as documents
only_hooks_differ() {
	diff <(jq 'del(.hooks)' "$1") <(jq 'del(.hooks)' "$2")
}

# only_lines_added A B - each line of A is in B, but for a comma
only_lines_added() {
	local lines
	lines=$(diff <(sed 's/,$//' "$1") <(sed 's/,$//' "$2") | grep '^<' || :)
	[[ -z $lines ]] || {
		echo "$lines"
		return 1
	}
}

# scenario NAME ONLY [OPTION...] - a bundle that nothing but the verb has made ready
scenario() {
	local name=$1 only=$2 bundle=$WORK/$1 before
	shift 2
	set_layout "$name" "$TAG-$name" "$only"
	make_bundle "$name" "$(qemu_args tcg,thread=multi 2)"
	# As runc writes it, with tabs.
	jq --tab . "$bundle/config.json" >"$bundle/config.new"
	mv "$bundle/config.new" "$bundle/config.json"
	cp "$bundle/config.json" "$bundle/was.json"
	before=$(snapshot)

	# What is registered is auto, and the configuration names the layout.
	configure '.layout = "sibling"'
	capture osc "$@" register "$bundle/config.json"
	check_exit "$name: register" 0
	check_eq "$name: what it says" "$bundle/config.json: prestart added, poststop added" "$OUT"
	check "$name: nothing else is another" only_hooks_differ "$bundle/was.json" "$bundle/config.json"
	check "$name: nor in another form" only_lines_added "$bundle/was.json" "$bundle/config.json"
	check_eq "$name: the entries" \
		"$(for stage in prestart poststop; do
			jq -cn --arg stage $stage --arg path "$OSC" --argjson args "$(our_args $stage --layout=auto "$@" --config="$CONF" --state-dir="$STATE")" \
				'{($stage): [{path: $path, args: $args, timeout: 30}]}'
		done | jq -cs add)" "$(jq -c .hooks "$bundle/config.json")"

	if ! type -P "$RUNTIME" >/dev/null; then
		skip "$name: the registered bundle runs" "there is no $RUNTIME"
	elif ! run_container "$name"; then
		fail "$name: the runtime starts the container" "$(cat "$WORK/$name/log")"
	else
		check_threads "$name" "$PID" 2
		check "$name: the runtime's own cgroup holds none of them" only_placeholder "$OWN"
		check "$name: kill and delete" stop_container "$name"
		check_nothing_left "$name" "$before"
	fi

	capture osc register --remove "$bundle/config.json"
	check_exit "$name: register --remove" 0
	check "$name: the file is as it was" same_bytes "$bundle/was.json" "$bundle/config.json"
	configure .
}

scenario split false
scenario only true --sandbox-cgroup-only=true

# --- files of every form -----------------------------------------------------

# round NAME TEXT [ACTIONS] - put in, again, taken out
round() {
	local name=$1 was
	printf '%b' "$2" >"$FILE"
	cp "$FILE" "$FILES/was"
	capture osc register "$FILE"
	check_exit "$name: register" 0
	check_eq "$name: what it says" "$FILE: ${3-prestart added, poststop added}" "$OUT"
	check_eq "$name: one entry of ours in each" "1 1" \
		"$(jq -r --arg p "$OSC" '[.hooks | (.prestart, .poststop) | map(select(.path == $p)) | length] | join(" ")' "$FILE" 2>&1)"
	cp "$FILE" "$FILES/is"
	was=$(identity "$FILE")
	capture osc register "$FILE"
	check_exit "$name: again" 0
	check_eq "$name: again, what it says" "$FILE: prestart kept, poststop kept" "$OUT"
	check_eq "$name: again, the file is not touched" "$was" "$(identity "$FILE")"
	check "$name: again, the same bytes" same_bytes "$FILES/is" "$FILE"
	capture osc register --remove "$FILE"
	check_exit "$name: --remove" 0
	check_eq "$name: --remove, what it says" "$FILE: prestart removed, poststop removed" "$OUT"
	check "$name: --remove, as it was" same_bytes "$FILES/was" "$FILE"
}

round "an empty object" '{}'
round "no newline at the end" '{"ociVersion":"1.0.2"}'
round "numbers" '{"a":1e3,"b":18446744073709551615,"c":-0.0,"d":1E+400,"e":0.10}\n'
round "escapes" '{"a":"\\u00e9\\/\\u0041 \\\\\\"}]","b":"é","hoo\\u006bs":{}}'
round "odd blanks" ' \r\n{ "z" :1\t,\n\n\n   "a":[ 1 , 2 ]   ,"hooks"\n:\t{ } }\n\n'
round "the same key twice elsewhere" '{"a":1,"a":2,"linux":{"a":{},"a":[]}}'
round "empty lists" '{"hooks":{"poststop":[],"prestart":[ \n ]}}'
round "hooks of others" '{\n  "hooks": {\n    "prestart": [\n      {"path": "/a", "timeout": 5},\n      {"path": "/b"}\n    ],\n    "poststop": [{"path":"/c"}],\n    "startContainer": [ ]\n  },\n  "root": {}\n}\n'
check_eq "hooks of others: ours is last in prestart and first in poststop" '["/a","/b","US","US","/c"]' \
	"$(osc register "$FILE" >/dev/null && jq -c --arg p "$OSC" '[.hooks | (.prestart, .poststop)[].path | sub($p; "US")]' "$FILE" 2>&1)"

# Entries that were ours once.
jq -n '{hooks: {prestart: [{path: "/a"}, {path: "/old/oci-sandbox-cgroup", timeout: 99}, {path: "/older/oci-sandbox-cgroup"}]}}' >"$FILE"
capture osc register "$FILE"
check_eq "an old entry: what it says" "$FILE: prestart replaced, poststop added" "$OUT"
check_eq "an old entry: replaced in its place, once, with its timeout" "[[\"/a\",null],[\"$OSC\",99]]" \
	"$(jq -c '[.hooks.prestart[] | [.path, .timeout]]' "$FILE")"
capture osc --sandbox-cgroup-only register "$FILE"
check_eq "another policy: what it says" "$FILE: prestart replaced, poststop replaced" "$OUT"
check_eq "another policy: the arguments" "$(our_args prestart --layout=auto --sandbox-cgroup-only=true --config="$CONF" --state-dir="$STATE")" \
	"$(jq -c '.hooks.prestart[1].args' "$FILE")"

# Without a layout, as it was written once, and with another one.
jq -n --arg p "$OSC" '{hooks: {prestart: [{path: "/a"}, {path: $p, args: ["oci-sandbox-cgroup", "prestart"], timeout: 7}],
	poststop: [{path: $p, args: ["oci-sandbox-cgroup", "--layout=nested", "poststop"], timeout: 8}]}}' >"$FILE"
capture "$OSC" register "$FILE"
check_eq "an entry without a layout: what it says" "$FILE: prestart replaced, poststop replaced" "$OUT"
check_eq "an entry without a layout: replaced in its place, with its timeout" \
	'[["/a",null,null],["US",["oci-sandbox-cgroup","--layout=auto","prestart"],7],["US",["oci-sandbox-cgroup","--layout=auto","poststop"],8]]' \
	"$(jq -c --arg p "$OSC" '[.hooks | (.prestart, .poststop)[] | [(.path | sub($p; "US")), .args, .timeout]]' "$FILE")"
for layout in nested sibling; do
	capture "$OSC" --layout=$layout register "$FILE"
	check_eq "--layout=$layout: what it says" "$FILE: prestart replaced, poststop replaced" "$OUT"
	check_eq "--layout=$layout: the arguments" "$(our_args poststop --layout=$layout)" "$(jq -c '.hooks.poststop[0].args' "$FILE")"
	capture "$OSC" --layout=$layout register "$FILE"
	check_eq "--layout=$layout, again" "$FILE: prestart kept, poststop kept" "$OUT"
done
capture "$OSC" register --layout=auto "$FILE"
check_eq "--layout=auto: is the default" "$(our_args prestart --layout=auto)" "$(jq -c '.hooks.prestart[1].args' "$FILE")"
capture "$OSC" register "$FILE"
check_eq "--layout=auto: is the default, again" "$FILE: prestart kept, poststop kept" "$OUT"

# Many at once, with different arguments: each finds what the one before has left.
jq -n '{hooks: {prestart: [{path: "/a"}]}}' >"$FILE"
pids=()
for i in {1..20}; do
	only=$((i % 2))
	"$OSC" --sandbox-cgroup-only=$only register "$FILE" >"$WORK/log.$i" 2>&1 &
	pids+=($!)
done
failed=0
for pid in "${pids[@]}"; do
	wait "$pid" || failed=$((failed + 1))
done
check_eq "20 at once: none fails" 0 "$failed"
check_eq "20 at once: one entry of ours in each" '["/a","US","US"]' \
	"$(jq -c --arg p "$OSC" '[.hooks | (.prestart, .poststop)[].path | sub($p; "US")]' "$FILE" 2>&1)"
check "20 at once: no other file is left" nothing_else

# Paths.
ln -s "$OSC" "$WORK/link"
echo '{}' >"$FILE"
capture "$WORK/link" register "$FILE"
check_eq "started by a link: the program's own path, and no other option" "$OSC [\"oci-sandbox-cgroup\",\"--layout=auto\",\"prestart\"]" \
	"$(jq -r '.hooks.prestart[0] | "\(.path) \(.args | tojson)"' "$FILE")"
capture "$OSC" register --path /opt/hook --log-level=debug "$FILE"
check_eq "--path: replaces it" '/opt/hook ["oci-sandbox-cgroup","--layout=auto","--log-level=debug","prestart"]' \
	"$(jq -r '.hooks.prestart[0] | "\(.path) \(.args | tojson)"' "$FILE")"
capture "$OSC" register --remove "$FILE"
check_eq "--path: found again by --remove" '{}' "$(jq -c . "$FILE")"

# JSON.
capture osc register --json "$FILE"
check_eq "--json" "$(jq -cn --arg f "$FILE" --arg p "$OSC" '{changed: true, file: $f, program: $p,
	stages: {prestart: "added", createRuntime: "absent", poststart: "absent", poststop: "added"}}')" "$(jq -c . <<<"$OUT" 2>&1)"
capture osc register --json "$FILE"
check_eq "--json, again" "false kept kept" "$(jq -r '"\(.changed) \(.stages.prestart) \(.stages.poststop)"' <<<"$OUT" 2>&1)"
capture osc register --json --remove "$FILE"
check_eq "--json --remove" "true null removed" "$(jq -r '"\(.changed) \(.program) \(.stages.prestart)"' <<<"$OUT" 2>&1)"

# The hook's configuration is not this verb's business.
echo '{' >"$WORK/broken.json"
capture "$OSC" --config "$WORK/broken.json" register "$FILE"
check_exit "a broken configuration file: registers" 0
capture "$OSC" --config "$WORK/broken.json" register --remove "$FILE"
check_exit "a broken configuration file: removes" 0

# --- what is refused ---------------------------------------------------------

# refuse NAME STATUS REGEX [ARGS...] - FILE stays as it is
refuse() {
	local name=$1 was
	was=$(identity "$FILE")
	capture osc register "${@:4}" "$FILE"
	check_exit "$name: refused" "$2"
	check_match "$name: what it says" "$3" "$ERR"
	check_eq "$name: in one line" 1 "$(wc -l <<<"$ERR")"
	check_eq "$name: the file is not touched" "$was" "$(identity "$FILE")"
	check "$name: no other file is left" nothing_else
}

for text in '' '[]' '{' '{"a":1,}' '{} {}' 'x' '\xff\xfe{}' '{"a":"\xff"}'; do
	printf '%b' "$text" >"$FILE"
	refuse "'$text'" 2 "^oci-sandbox-cgroup: $FILE: .*nothing was changed"
	refuse "'$text', --remove" 2 "^oci-sandbox-cgroup: $FILE: .*nothing was changed" --remove
done
echo '{"hooks": []}' >"$FILE"
refuse "hooks that are a list" 2 "$FILE: hooks: expected an object, found a list"
echo '{"hooks": {"prestart": {}}}' >"$FILE"
refuse "prestart that is an object" 2 "$FILE: hooks.prestart: expected a list, found an object"
echo '{"hooks": {"poststop": [[]]}}' >"$FILE"
refuse "an entry that is a list" 2 "$FILE: hooks.poststop.0.: expected an object, found a list"
echo '{"hooks": {}, "hooks": {}}' >"$FILE"
refuse "hooks given twice" 2 "$FILE: hooks: given twice"
echo '{"hooks": {"preStart": []}}' >"$FILE"
refuse "prestart in another case" 2 "$FILE: hooks.preStart: runtimes written in Go read this as \"prestart\".*nothing was changed"
refuse "prestart in another case, --remove" 2 "$FILE: hooks.preStart: .*nothing was changed" --remove
printf '%070d{}' 0 | tr 0 '[' >"$FILE"
refuse "nested too deep" 2 "$FILE"
echo '{}' >"$FILE"
truncate -s 17M "$FILE"
refuse "too long" 2 "$FILE: too long"
# One byte less than a stage reads, and the entries make it too long.
{ echo '{'; head -c $(((16 << 20) - 4)) /dev/zero | tr '\0' ' '; echo '}'; } >"$FILE"
refuse "too long with the hook in it" 2 "$FILE: too long with the hook in it.*nothing was changed"
echo '{}' >"$FILE"
refuse "a layout that is none" 2 '^oci-sandbox-cgroup: --layout is none of sibling, nested, auto: "child"' --layout=child
refuse "a relative --config" 2 'absolute path' --config conf.json
refuse "--path with a slash at the end" 2 'names a directory' --path /opt/hook/
refuse "--config that is no text" 2 'UTF-8' --config $'/\xff'
capture osc register "$FILES"
check_exit "a directory: refused" 2
check_match "a directory: what to do" 'is a directory.*config\.json' "$ERR"
mkfifo "$FILES/fifo"
capture osc register "$FILES/fifo"
check_exit "a FIFO: refused" 2
capture osc register "$FILES/missing"
check_exit "a missing file" 1
check_match "a missing file: its name and the errno" "$FILES/missing.*ENOENT" "$ERR"

# --- links, modes, owners, failures ------------------------------------------

mkdir "$FILES/real"
echo '{}' >"$FILES/real/data.json"
chown 12345:54321 "$FILES/real/data.json"
chmod 0640 "$FILES/real/data.json"
ln -s real/data.json "$FILES/link"
capture osc register "$FILES/link"
check_exit "a symbolic link" 0
check_eq "a symbolic link: stays one" real/data.json "$(readlink "$FILES/link")"
check_eq "a symbolic link: the file it names is the one" 1 "$(jq '.hooks.prestart | length' "$FILES/real/data.json")"
check_eq "a symbolic link: the file keeps mode and owner" "640 12345:54321" "$(stat -c '%a %u:%g' "$FILES/real/data.json")"
check "a symbolic link: no other file is left" nothing_else
ln -s nowhere "$FILES/dangling"
capture osc register "$FILES/dangling"
check_exit "a link to nothing" 1
check_match "a link to nothing: its name and the errno" "$FILES/dangling.*ENOENT" "$ERR"

# as_nobody ARGS... - the verb needs no privilege but that of the file
as_nobody() {
	setpriv --reuid=65534 --regid=65534 --clear-groups "$OSC" register "$@"
}

mkdir "$FILES/others"
echo '{}' >"$FILES/others/config.json"
was=$(identity "$FILES/others/config.json")
capture as_nobody "$FILES/others/config.json"
check_exit "a directory that is not ours" 1
check_match "a directory that is not ours: file and errno" "$FILES/others/config.json.*EACCES" "$ERR"
check_eq "a directory that is not ours: the file is not touched" "$was" "$(identity "$FILES/others/config.json")"
chown 65534 "$FILES/others"
capture as_nobody "$FILES/others/config.json"
check_exit "a file that is not ours" 1
check_match "a file that is not ours: file and errno" "$FILES/others/config.json.*EPERM" "$ERR"
check_eq "a file that is not ours: it is not touched" "$was" "$(identity "$FILES/others/config.json")"
check "a file that is not ours: no other file is left" nothing_else
chown 65534:65534 "$FILES/others/config.json"
capture as_nobody "$FILES/others/config.json"
check_exit "an ordinary user's own file" 0

if can_trace; then
	# Any /proc/self/exe is strace's business.
	for failure in write:ENOSPC ${FSYNC:+fsync:EIO} fchmod:EROFS renameat:EIO; do
		echo '{}' >"$FILE"
		was=$(identity "$FILE")
		capture timeout 60 strace -o /dev/null -e trace="${failure%:*}" -e inject="${failure%:*}:error=${failure#*:}:when=1" \
			"$OSC" register "$FILE"
		check_exit "$failure" 1
		check_match "$failure: file and errno" "$FILE.*${failure#*:}" "$ERR"
		check_eq "$failure: the file is not touched" "$was" "$(identity "$FILE")"
		check "$failure: no other file is left" nothing_else
	done
	# The second fsync is that of the directory, when all else is done.
	if [[ -n $FSYNC ]]; then
		echo '{}' >"$FILE"
		capture timeout 60 strace -o /dev/null -e trace=fsync -e inject=fsync:error=EIO:when=2 "$OSC" register "$FILE"
		check_exit "the directory's fsync" 1
		check_match "the directory's fsync: what it says" "$FILE was replaced, but a crash may undo it: EIO" "$ERR"
		check_eq "the directory's fsync: the file is the new one" 1 "$(jq '.hooks.prestart | length' "$FILE")"
		check "the directory's fsync: no other file is left" nothing_else
	fi
	# Killed with the temporary file there: the next one uses the name again.
	# In a shell of its own, which says nothing about it.
	echo '{}' >"$FILE"
	was=$(identity "$FILE")
	RC=$(
		exec 2>/dev/null
		set +e
		timeout 60 strace -o /dev/null -e trace=renameat -e inject=renameat:signal=KILL "$OSC" register "$FILE" >/dev/null
		echo $?
	)
	check_eq "killed before the rename" 137 "$RC"
	check_eq "killed before the rename: the file is not touched" "$was" "$(identity "$FILE")"
	capture osc register "$FILE"
	check_exit "killed before the rename: works the next time" 0
	check "killed before the rename: and leaves nothing" nothing_else
else
	skip "a system call that fails" "strace cannot trace here"
fi

# --- what make install leaves ------------------------------------------------

# run_entry NAME STAGE STATE ARGS_JSON - as an engine would, but for our directories
run_entry() {
	local args
	mapfile -t args < <(jq -r '.[1:][]' <<<"$4")
	capture timeout -k 5 60 "$OSC" --state-dir "$STATE" --config "$CONF" "${args[@]}" <"$WORK/$C/$3"
	check_exit "$1, $2: the program runs" 0
}

# life NAME ONLY PRESTART_ARGS POSTSTOP_ARGS
life() {
	local name=$1
	fake_container "$C"
	set_layout "$C" "$C" "$2"
	run_entry "$name" prestart created "$3"
	check "$name, prestart: the process is in its place" together "$PID"
	end_process "$PID"
	run_entry "$name" poststop stopped "$4"
	check_wait "$name, poststop: the cgroups are gone" 10 cg_gone "$SANDBOX" "$OVERHEAD"
	drop_fake "$C" "$PID"
}

installed() {
	local root=$WORK/root hooks cdi path before device only
	if ! make -C "$1" install DESTDIR="$root" >"$WORK/install.log" 2>&1; then
		fail "make install" "$(tail -n 20 "$WORK/install.log")"
		return
	fi
	path=$(find "$root" -name oci-sandbox-cgroup -type f -perm /111)
	hooks=$(find "$root" -path '*/containers/oci/hooks.d/*.json')
	cdi=$(find "$root" -path '*/cdi/*.json')
	check_match "hooks directory: one file, whose name gives it a place" '^[^ ]*/90-oci-sandbox-cgroup\.json$' "$(xargs <<<"$hooks")"
	check_eq "hooks directory: what is in it" "$(hooks_d_file "${path#"$root"}" | jq .)" "$(jq . "$hooks" 2>&1)"
	check_eq "CDI: what is in it" "$(cdi_file "${path#"$root"}" | jq .)" "$(jq . "$cdi" 2>&1)"
	check_match "CDI: vendor and class as the specification has them" '^[A-Za-z][A-Za-z0-9_.-]*[A-Za-z0-9]/[A-Za-z][A-Za-z0-9_-]*[A-Za-z0-9]$' "$(jq -r .kind "$cdi")"

	# From here on the installed program, so that its watcher is known for ours.
	local OSC=$path C=installed
	# To which auto yields: where the process goes is known of this layout.
	configure '.layout = "sibling"'
	before=$(snapshot)
	check_eq "hooks directory: its program is the installed one" "$path" "$root$(jq -r .hook.path "$hooks")"
	# No stage: it comes from the state.
	life "hooks directory" false "$(jq -c .hook.args "$hooks")" "$(jq -c .hook.args "$hooks")"
	for device in default only sibling; do
		only=false
		[[ $device != only ]] || only=true
		check_eq "CDI, $device: its program is the installed one" "$path" \
			"$(jq -r --arg d $device '.devices[] | select(.name == $d).containerEdits.hooks | map(.path) | unique[]' "$cdi" | sed "s,^,$root,")"
		life "CDI, $device" "$only" "$(jq -c --arg d $device '.devices[] | select(.name == $d).containerEdits.hooks[] | select(.hookName == "prestart").args' "$cdi")" \
			"$(jq -c --arg d $device '.devices[] | select(.name == $d).containerEdits.hooks[] | select(.hookName == "poststop").args' "$cdi")"
	done
	check_eq "CDI: its devices" "default only nested sibling" "$(jq -r '[.devices[].name] | join(" ")' "$cdi")"
	configure .
	check_nothing_left "the installed program" "$before"
}

# configured SOURCE - with another name and directory than the default ones
configured() {
	local dir=$WORK/configured part
	mkdir "$dir"
	for part in --libexecdir='/opt/a&b' --libexecdir='/opt/a|b' --prefix='/opt/a\b' --exec-prefix='/opt/"a"' --program-suffix='"'; do
		capture in_directory "$dir" "$1/configure" "$part"
		check_exit "configure $part: refused" 1
		check_match "configure $part: what it says" 'error: the path of the program may have no ampersand' "$ERR"
	done
	capture in_directory "$dir" "$1/configure" --program-suffix='&'
	check_exit "configure with a name that sed cannot make: refused" 1
	check_match "configure with a name that sed cannot make: what it says" 'error: the options that change the name' "$ERR"
	if ! in_directory "$dir" "$1/configure" -q --libexecdir='/opt/a, b/$(PACKAGE)' --program-prefix=x- --program-suffix=-1 >"$WORK/configure.log" 2>&1 ||
		! make -C "$dir" hook/data/90-oci-sandbox-cgroup.json hook/data/oci-sandbox-cgroup.io-hook.json >>"$WORK/configure.log" 2>&1; then
		fail "configure with another name" "$(tail -n 20 "$WORK/configure.log")"
		return
	fi
	part='/opt/a, b/oci-sandbox-cgroup/x-oci-sandbox-cgroup-1'
	check_eq "another name and directory: hooks directory" "$(hooks_d_file "$part" | jq .)" "$(jq . "$dir/hook/data/90-oci-sandbox-cgroup.json" 2>&1)"
	check_eq "another name and directory: CDI" "$(cdi_file "$part" | jq .)" "$(jq . "$dir/hook/data/oci-sandbox-cgroup.io-hook.json" 2>&1)"
}

# in_directory DIR COMMAND...
in_directory() {
	(cd "$1" && "${@:2}")
}

build=$(dirname "$OSC_BIN")
if [[ -f $build/Makefile ]]; then
	installed "$build"
	source=$(sed -n 's/^abs_top_srcdir = //p' "$build/Makefile")
	if [[ -f $source/config.status ]]; then
		skip "another name and directory" "the source is configured, so it cannot be in a second place"
	else
		configured "$source"
	fi
else
	skip "what make install leaves" "$build is no build directory"
fi

finish
