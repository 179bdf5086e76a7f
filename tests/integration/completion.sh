#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# What bash and zsh offer is what there is: verbs, the options of each, values that are taken, ids.

# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"
# shellcheck source=../../hook/data/oci-sandbox-cgroup.bash
. "$TESTS/../hook/data/oci-sandbox-cgroup.bash"

# offered_bash WORD... - for the last of them, sorted
# shellcheck disable=SC2317 # called by a name that is made
offered_bash() {
	local COMPREPLY=()
	# shellcheck disable=SC2034 # what is completed reads them
	COMP_WORDS=("$OSC" "$@") COMP_CWORD=$#
	_oci_sandbox_cgroup 2>>"$WORK/said"
	((${#COMPREPLY[@]} == 0)) || printf '%s\n' "${COMPREPLY[@]}" | sort | paste -sd ' '
}

# offered_zsh WORD... - the same, without the completion system: what it is called for is played here
offered_zsh() {
	local joined=()
	while (($# > 0)); do
		# bash has "--layout=ne" in three words.
		if [[ ${2-} == = ]]; then
			joined+=("$1=${3-}")
			shift $(($# < 3 ? $# : 3))
		else
			joined+=("$1")
			shift
		fi
	done
	# shellcheck disable=SC2016 # for zsh
	zsh -f -c '
		compset() { PREFIX=${PREFIX#$~2} }
		compadd() { shift; local w; for w; do [[ $w != $PREFIX* ]] || print -r -- $w; done }
		_files() { print -r -- FILES $* }
		file=$1; shift
		words=("$@") CURRENT=$# PREFIX=${@[-1]}
		complete_it() { eval "$(<$file)" }
		complete_it' zsh "$TESTS/../hook/data/_oci-sandbox-cgroup" "$OSC" "${joined[@]}" 2>>"$WORK/said" | sort | paste -sd ' '
}

# words - of stdin, sorted
words() {
	tr -s ' ,\n' '\n' | grep -v '^$' | sort | paste -sd ' '
}

stages="createRuntime poststart poststop prestart"
verbs=$(osc --help | sed -n '/^  set up /,/^$/p' | sed 's/^  \(set up\|look\|change\|remove\) //; s/\[[^]]*\]//g' |
	tr -s ' ,' '\n' | grep -x '[a-z-]\+')
check_match "there are verbs" "check.*prune" "$(words <<<"$verbs")"

# options - that a help has at the beginning of its lines
options() {
	grep -o '^ \+--[a-z-]\+\(, --[a-z-]\+\)*' | sed 's/^ *//' || :
}

common=$(osc --help | options)

# offers SHELL - what there is, and no more
offers() {
	local shell=$1 verb option value values
	check_eq "$shell: verbs and stages" "$(words <<<"$verbs $stages")" "$("offered_$shell" "")"
	check_eq "$shell: behind an option with its value" "prune" "$("offered_$shell" --state-dir /x pru)"
	check_eq "$shell: behind one with a =" "prune" "$("offered_$shell" --layout = auto pru)"
	check_eq "$shell: options of all" "$(words <<<"$common")" "$("offered_$shell" --)"
	for verb in $verbs; do
		# What register writes into its entries it takes as all verbs do.
		check_eq "$shell: options of $verb" "$( (osc "$verb" --help | options | grep -v '^--layout, '; echo "$common") | words)" "$("offered_$shell" "$verb" --)"
	done

	# Whatever is offered for a value is taken, and nothing that is not.
	for option in layout log-level cgroup-mode:plan stage:plan sort:top interval:top for:overhead guest-memory:overhead; do
		verb=${option#*:}
		[[ $verb != "$option" ]] || verb=plan
		option=--${option%:*}
		values=$("offered_$shell" "$verb" "$option" "")
		check_match "$shell: $option: there are some" " " "$values"
		check_eq "$shell: $option: behind a =" "$values" "$("offered_$shell" "$verb" "$option" =)"
		for value in $values; do
			capture osc "$option" "$value" --help
			check_exit "$shell: $option $value" 0
		done
	done
}

# offers_ids SHELL
offers_ids() {
	local shell=$1 verb
	for verb in show stat overhead update freeze thaw kill add-process add-thread add-device remove-device delete; do
		check_eq "$shell: $verb: ids" compl "$("offered_$shell" "$verb" "")"
		check_eq "$shell: $verb: no other" "" "$("offered_$shell" "$verb" x)"
	done
	check_eq "$shell: overhead: another id" compl "$("offered_$shell" overhead x "")"
	check_eq "$shell: list: none" "" "$("offered_$shell" list "")"
	check_match "$shell: kill: signals" "KILL.*TERM" "$("offered_$shell" kill compl "")"
}

# typed KEYS - what a zsh with its own completion system makes of a line when tab is pressed behind it
typed() {
	# shellcheck disable=SC2016 # for zsh
	HOME=$WORK timeout -k 5 30 zsh -f -c '
		zmodload zsh/zpty
		zpty shell zsh -f -i
		zpty -w shell "PS1=; fpath=($1 \$fpath); path=($2 \$path); autoload -Uz compinit; compinit -D -u; bindkey \"^I\" complete-word"
		zpty -w shell "shown() { print -r -- \"<<\$BUFFER>>\"; BUFFER=; }; zle -N shown; bindkey \"^X\" shown; print rea\"\"dy"
		zpty -r -m shell line "*ready*"
		zpty -w -n shell "$3"$'"'\\t\\x18'"'
		zpty -r -m shell line "*<<*>>*"
		line=${line##*<<}
		print -r -- ${line%%>>*}' zsh "$TESTS/../hook/data" "${OSC%/*}" "$1" 2>>"$WORK/said"
}

shells=(bash)
if command -v zsh >/dev/null; then
	shells+=(zsh)
else
	skip "zsh" "it is not installed"
fi
for shell in "${shells[@]}"; do
	offers "$shell"
done
if [[ " ${shells[*]} " == *" zsh "* ]]; then
	check_eq "zsh: a file" FILES "$(offered_zsh plan "")"
	check_eq "zsh: a directory" "FILES -/" "$(offered_zsh plan --bundle "")"
	check_eq "zsh: a number" "" "$(offered_zsh top --count "")"
	check_eq "zsh: a policy" "false true" "$(offered_zsh --sandbox-cgroup-only = "")"
	check_eq "zsh: as it is installed" "oci-sandbox-cgroup prune " "$(typed "oci-sandbox-cgroup pru")"
	check_eq "zsh: as it is installed, a value" "oci-sandbox-cgroup --layout=nested " "$(typed "oci-sandbox-cgroup --layout=ne")"
fi

fake_container compl
set_layout compl
capture osc prestart <"$WORK/compl/created"
check_exit "a sandbox: setup" 0
# The program is asked as it was called, so without options.
printf '#!/bin/sh\nexec "%s" --state-dir "%s" --config "%s" "$@"\n' "$OSC" "$STATE" "$CONF" >"$WORK/wrapped"
chmod +x "$WORK/wrapped"
real=$OSC OSC=$WORK/wrapped
for shell in "${shells[@]}"; do
	offers_ids "$shell"
done
OSC=$real
end_process "$PID"
capture osc poststop <"$WORK/compl/stopped"
check_exit "a sandbox: poststop" 0
drop_fake compl "$PID"
check_eq "it says nothing by itself" "" "$(<"$WORK/said")"

finish
