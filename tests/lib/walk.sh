# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# The commands that README.md, the pages in hook/docs and the manual pages show, taken from there and run as they stand, but
# for some words. Needs common.sh.

# shellcheck disable=SC2034,SC2317 # the scripts use and call these

# --- what is shown -----------------------------------------------------------

SOURCE=$(cd "$TESTS/.." && pwd)
README=README.md
PROGRAM=oci-sandbox-cgroup.8
CONFIGURATION=oci-sandbox-cgroup.json.5
ENGINES=oci-sandbox-cgroup-engines.7
KUBERNETES=kubernetes.md

# For each command: where it is shown, what it is, and what became of it.
DOCUMENTS=() HEADINGS=() COMMANDS=() FATE=()

# read_documents - or the script's end
read_documents() {
	local document heading command
	if ! "$TESTS/lib/commands" "$SOURCE/README.md" "$SOURCE"/hook/docs/*.md "$SOURCE"/hook/man/* >"$WORK/commands" 2>"$WORK/unclear"; then
		fail "the documents can be read" "$(<"$WORK/unclear")"
		finish
	fi
	while IFS= read -r -d '' document && IFS= read -r -d '' heading && IFS= read -r -d '' command; do
		DOCUMENTS+=("$document") HEADINGS+=("$heading") COMMANDS+=("$command") FATE+=("")
	done <"$WORK/commands"
}

# find_command DOCUMENT HEADING BEGINNING - sets FOUND to the first of these of which nothing has become yet
FOUND=
find_command() {
	local i
	for i in "${!COMMANDS[@]}"; do
		if [[ ${DOCUMENTS[i]} == "$1" && ${HEADINGS[i]} == "$2" && ${COMMANDS[i]} == "$3"* && -z ${FATE[i]} ]]; then
			FOUND=$i
			return
		fi
	done
	return 1
}

# one_line COMMAND
one_line() {
	local text=${1//$'\n'/ }
	[[ ${#text} -le 70 ]] || text=${text:0:67}...
	echo "$text"
}

# --- running one -------------------------------------------------------------

# Where commands are run, and what is another word here: arguments of sed.
HERE=$WORK/here
WORDS=()

# walk DOCUMENT HEADING BEGINNING [MORE...] - sets OUT, ERR and RC; MORE are further words
walk() {
	local name="$1, $2: $3" command
	RC=1 OUT='' ERR=''
	find_command "$1" "$2" "$3" || {
		fail "$name" "it is not shown any more"
		return 0
	}
	FATE[FOUND]=run
	command=$(sed "${WORDS[@]}" -e '' <<<"${COMMANDS[FOUND]}")
	shift 3
	printf '      %s\n' "${command//$'\n'/$'\n'      }"
	RC=0
	cd "$HERE" || return
	# In this shell, as what it sets is for the next ones.
	eval "$command $*" >"$WORK/walk.out" 2>"$WORK/walk.err" </dev/null || RC=$?
	cd "$SOURCE" || return
	OUT=$(<"$WORK/walk.out") ERR=$(<"$WORK/walk.err")
	check_exit "$name" 0
}

# again - the last one once more, for what takes a while to become so
again() {
	FATE[FOUND]=
	walk "${DOCUMENTS[FOUND]}" "${HEADINGS[FOUND]}" "${COMMANDS[FOUND]}" >/dev/null
}

# says REGEX
says() {
	[[ $OUT =~ $1 ]]
}

# becomes NAME REGEX - what the last one says, within a while
becomes() {
	local end=$((SECONDS + 60 * ${OSC_PATIENCE:-1})) passed=$PASSED failed=$FAILED
	until says "$2" || ((SECONDS >= end)); do
		sleep 0.2
		again
	done
	PASSED=$passed FAILED=$failed
	check_match "$1" "$2" "$OUT"
}

# shown DOCUMENT HEADING COMMAND - what the page says that it prints: what follows the command in its fence
shown() {
	local page=$SOURCE/$1
	[[ -e $page ]] || page=$SOURCE/hook/docs/$1
	awk -v heading="$2" -v command="# $3" '
		/^#/ && !inside { title = $0; sub(/^#+ /, "", title) }
		/^```/ { inside = !inside; wanted = 0 }
		inside && wanted && /^[#$] / { wanted = 0 }
		inside && wanted
		inside && title == heading && index($0, command) == 1 { wanted = 1 }' "$page"
}

# fence DOCUMENT HEADING LANGUAGE - what is in the first fence of that kind
fence() {
	local page=$SOURCE/$1
	[[ -e $page ]] || page=$SOURCE/hook/docs/$1
	awk -v heading="$2" -v mark="\`\`\`$3" '
		/^#/ && !inside { title = $0; sub(/^#+ /, "", title) }
		/^```/ { wanted = !done && !inside && title == heading && $0 == mark; done = done || wanted; inside = !inside; next }
		inside && wanted' "$page"
}
