# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# Completion for bash: verbs, what options each takes, values of options, ids of sandboxes.

# _oci_sandbox_cgroup_offer WORDS CUR
_oci_sandbox_cgroup_offer() {
	mapfile -t COMPREPLY < <(compgen -W "$1" -- "$2")
}

_oci_sandbox_cgroup() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev='' verb='' at=0 i word
	local common="--config --state-dir --sandbox-cgroup-only --layout --log-level --json --help --version"
	local stages="prestart createRuntime poststart poststop"
	local verbs="check plan register list show stat top overhead metrics update freeze thaw kill add-process add-thread add-device remove-device delete prune"
	local -A own=(
		[plan]="--bundle --cgroup-mode --stage --explain"
		[register]="--path --remove"
		[stat]="--interval"
		[top]="--interval --count --sort --batch"
		[overhead]="--for --interval --margin --guest-memory --html"
		[metrics]="--output"
		[update]="--cpus --mems --resources"
		[delete]="--force"
		[prune]="--dry-run"
	)
	((COMP_CWORD == 0)) || prev=${COMP_WORDS[COMP_CWORD - 1]}
	# "--layout=ne" comes as three words.
	if [[ $cur == = ]]; then
		cur=''
	elif [[ $prev == = ]]; then
		prev=${COMP_WORDS[COMP_CWORD - 2]}
	fi
	COMPREPLY=()
	case $prev in
	--config | --output | --html | --path | --resources)
		compopt -o default 2>/dev/null || :
		return
		;;
	--state-dir | --bundle)
		compopt -o dirnames 2>/dev/null || :
		return
		;;
	--layout) _oci_sandbox_cgroup_offer "sibling nested auto" "$cur" && return ;;
	--log-level) _oci_sandbox_cgroup_offer "error warning info debug" "$cur" && return ;;
	--cgroup-mode) _oci_sandbox_cgroup_offer "v1 hybrid v2" "$cur" && return ;;
	--stage) _oci_sandbox_cgroup_offer "$stages" "$cur" && return ;;
	--sort) _oci_sandbox_cgroup_offer "c v o t m p n" "$cur" && return ;;
	--interval) _oci_sandbox_cgroup_offer "500ms 1s 10s 1m" "$cur" && return ;;
	--for) _oci_sandbox_cgroup_offer "10s 60s 5m 1h" "$cur" && return ;;
	--guest-memory) _oci_sandbox_cgroup_offer "512Mi 1Gi 2Gi 4Gi" "$cur" && return ;;
	--count | --margin | --cpus | --mems) return ;;
	esac
	# The verb is the first word that is none of an option; what it is about comes behind it.
	for ((i = 1; i < COMP_CWORD; i++)); do
		word=${COMP_WORDS[i]}
		case $word in
		--config | --state-dir | --layout | --log-level | --bundle | --cgroup-mode | --stage | --path | --output | --interval | --count | --sort | --for | --margin | --guest-memory | --html | --cpus | --mems | --resources)
			[[ ${COMP_WORDS[i + 1]-} != = ]] || i=$((i + 1))
			i=$((i + 1))
			;;
		-* | =) ;;
		*)
			if [[ -z $verb ]]; then verb=$word; else at=$((at + 1)); fi
			;;
		esac
	done
	if [[ $cur == -* ]]; then
		_oci_sandbox_cgroup_offer "$common ${verb:+${own[$verb]-}}" "$cur"
		return
	fi
	case $verb:$at in
	:*) _oci_sandbox_cgroup_offer "$verbs $stages" "$cur" ;;
	plan:0 | register:0 | add-device:1 | remove-device:1) compopt -o default 2>/dev/null || : ;;
	overhead:* | show:0 | stat:0 | update:0 | freeze:0 | thaw:0 | kill:0 | add-process:0 | add-thread:0 | add-device:0 | remove-device:0 | delete:0)
		_oci_sandbox_cgroup_offer "$("${COMP_WORDS[0]}" list --json 2>/dev/null | sed -n 's/.*"sandbox_id": "\([^"\\]*\)".*/\1/p')" "$cur"
		;;
	kill:1) _oci_sandbox_cgroup_offer "KILL TERM INT HUP QUIT USR1 USR2 STOP CONT" "$cur" ;;
	esac
}

complete -F _oci_sandbox_cgroup oci-sandbox-cgroup
