#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# What bash offers is what there is: verbs, the options of each, values that are taken, ids.

# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"
# shellcheck source=../../hook/data/oci-sandbox-cgroup.bash
. "$TESTS/../hook/data/oci-sandbox-cgroup.bash"

# offered WORD... - for the last of them, sorted
offered() {
	local COMPREPLY=()
	# shellcheck disable=SC2034 # what is completed reads them
	COMP_WORDS=("$OSC" "$@") COMP_CWORD=$#
	_oci_sandbox_cgroup 2>>"$WORK/said"
	((${#COMPREPLY[@]} == 0)) || printf '%s\n' "${COMPREPLY[@]}" | sort | paste -sd ' '
}

# words - of stdin, sorted
words() {
	tr -s ' ,\n' '\n' | grep -v '^$' | sort | paste -sd ' '
}

stages="createRuntime poststart poststop prestart"
verbs=$(osc --help | sed -n '/^  set up /,/^$/p' | sed 's/^  \(set up\|look\|change\|remove\) //; s/\[[^]]*\]//g' |
	tr -s ' ,' '\n' | grep -x '[a-z-]\+')
check_match "there are verbs" "check.*prune" "$(words <<<"$verbs")"
check_eq "verbs and stages" "$(words <<<"$verbs $stages")" "$(offered "")"
check_eq "behind an option with its value" "prune" "$(offered --state-dir /x pru)"
check_eq "behind one with a =" "prune" "$(offered --layout = auto pru)"

# options - that a help has at the beginning of its lines
options() {
	grep -o '^ \+--[a-z-]\+\(, --[a-z-]\+\)*' | sed 's/^ *//' || :
}

common=$(osc --help | options)
check_eq "options of all" "$(words <<<"$common")" "$(offered --)"
for verb in $verbs; do
	# What register writes into its entries it takes as all verbs do.
	check_eq "options of $verb" "$( (osc "$verb" --help | options | grep -v '^--layout, '; echo "$common") | words)" "$(offered "$verb" --)"
done

# Whatever is offered for a value is taken, and nothing that is not.
for option in layout log-level cgroup-mode:plan stage:plan sort:top interval:top for:overhead guest-memory:overhead; do
	verb=${option#*:}
	[[ $verb != "$option" ]] || verb=plan
	option=--${option%:*}
	values=$(offered "$verb" "$option" "")
	check_match "$option: there are some" " " "$values"
	check_eq "$option: behind a =" "$values" "$(offered "$verb" "$option" =)"
	for value in $values; do
		capture osc "$option" "$value" --help
		check_exit "$option $value" 0
	done
done

fake_container compl
set_layout compl
capture osc prestart <"$WORK/compl/created"
check_exit "a sandbox: setup" 0
# The program is asked as it was called, so without options.
printf '#!/bin/sh\nexec "%s" --state-dir "%s" --config "%s" "$@"\n' "$OSC" "$STATE" "$CONF" >"$WORK/wrapped"
chmod +x "$WORK/wrapped"
real=$OSC OSC=$WORK/wrapped
for verb in show stat overhead update freeze thaw kill add-process add-thread delete; do
	check_eq "$verb: ids" compl "$(offered "$verb" "")"
	check_eq "$verb: no other" "" "$(offered "$verb" x)"
done
check_eq "overhead: another id" compl "$(offered overhead x "")"
check_eq "list: none" "" "$(offered list "")"
check_match "kill: signals" "KILL.*TERM" "$(offered kill compl "")"
OSC=$real
end_process "$PID"
capture osc poststop <"$WORK/compl/stopped"
check_exit "a sandbox: poststop" 0
drop_fake compl "$PID"
check_eq "it says nothing by itself" "" "$(<"$WORK/said")"

finish
