# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Completion of criu-multifd for bash. Verbs and flags are asked of the program itself, so that
# nothing here grows old: `criu-multifd --help=verbs` lists the verbs, `criu-multifd VERB --help`
# the flags and the words they take.

# Lines "FLAG ARGUMENT" of a verb.
_criu_multifd_flags()
{
	"$1" "$2" --help 2>/dev/null </dev/null |
		sed -nE -e 'h; s/^ +(-[a-zA-Z]), --[a-z][a-z-]*( ([^ ]+))?( .*)?$/\1 \3/p' \
			-e 'g; s/^ +(-[a-zA-Z], )?(--[a-z][a-z-]*)( ([^ ]+))?( .*)?$/\2 \4/p'
}

# The folder of the sessions: --dir of this command line, or the usual one.
_criu_multifd_dir()
{
	local i

	for ((i = 1; i < ${#COMP_WORDS[@]}; i++)); do
		case ${COMP_WORDS[i]} in
		--dir) [ "${COMP_WORDS[i + 1]:-}" != = ] || i=$((i + 1)) &&
			echo "${COMP_WORDS[i + 1]:-}" && return ;;
		--dir=*) echo "${COMP_WORDS[i]#--dir=}" && return ;;
		esac
	done
	echo /run/criu-multifd
}

_criu_multifd_sessions()
{
	local dir

	dir=$(_criu_multifd_dir)
	find "${dir/#\~/$HOME}" -mindepth 1 -maxdepth 1 -type d ! -name '.*' -printf '%f\n' \
		2>/dev/null
}

# What may stand for an argument as the help calls it: a list of words, files, folders, processes.
_criu_multifd_value()
{
	case $1 in
	DIR) mapfile -t COMPREPLY < <(compgen -d -- "$2") ;;
	PATH | FILE | 'NAME|PATH') mapfile -t COMPREPLY < <(compgen -f -- "$2") ;;
	*'|'*) mapfile -t COMPREPLY < <(compgen -W "$(tr '|' '\n' <<<"$1" | grep -v '[A-Z]')" -- \
		"$2") ;;
	PID | 'PID[,PID...]') mapfile -t COMPREPLY < <(compgen -W "$(cd /proc && echo [1-9]*)" \
		-- "$2") ;;
	SESSION) mapfile -t COMPREPLY < <(compgen -W "$(_criu_multifd_sessions)" -- "$2") ;;
	esac
}

# What a verb takes that is no flag.
_criu_multifd_argument()
{
	case $1 in
	set) mapfile -t COMPREPLY < <(compgen -W "max-bandwidth $(_criu_multifd_sessions)" -- \
		"$2") ;;
	wait | restore | status | abort | resolve) _criu_multifd_value SESSION "$2" ;;
	show) mapfile -t COMPREPLY < <(compgen -f -X '!*.img' -- "$2"; compgen -d -- "$2") ;;
	keys) mapfile -t COMPREPLY < <(compgen -W 'init add psk show' -- "$2"
		compgen -d -- "$2") ;;
	cpr) mapfile -t COMPREPLY < <(compgen -W "list offer drop exec $(_criu_multifd_sessions)" \
		-- "$2") ;;
	esac
}

_criu_multifd()
{
	local program=${COMP_WORDS[0]} verb=${COMP_WORDS[1]:-}
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}
	local flags flag arg wanted='' i verbs

	program=${program/#\~/$HOME}
	COMPREPLY=()
	if [ "$COMP_CWORD" = 1 ]; then
		verbs=$("$program" --help=verbs 2>/dev/null)
		mapfile -t COMPREPLY < <(compgen -W "$verbs help --help --version" -- "$cur")
		return
	fi
	if [ "$verb" = help ]; then
		[ "$COMP_CWORD" = 2 ] || return
		verbs=$("$program" --help=verbs 2>/dev/null)
		mapfile -t COMPREPLY < <(compgen -W "$verbs" -- "$cur")
		return
	fi
	# Behind "--" is CRIU's command line.
	for ((i = 2; i < COMP_CWORD; i++)); do
		[ "${COMP_WORDS[i]}" != -- ] || return
	done
	flags=$(_criu_multifd_flags "$program" "$verb")
	# "--flag = value" are three words where '=' breaks words.
	if [ "$cur" = = ]; then
		cur=''
	elif [ "$prev" = = ]; then
		prev=${COMP_WORDS[COMP_CWORD - 2]}
	fi
	while read -r flag arg; do
		if [ "$flag" = "$prev" ] && [ -n "$arg" ]; then wanted=$arg; fi
	done <<<"$flags"
	if [ -n "$wanted" ]; then
		_criu_multifd_value "$wanted" "$cur"
	elif [[ $cur == -* ]]; then
		mapfile -t COMPREPLY < <(compgen -W "$(cut -d ' ' -f 1 <<<"$flags")" -- "$cur")
	else
		_criu_multifd_argument "$verb" "$cur"
	fi
}

complete -o filenames -o bashdefault -F _criu_multifd criu-multifd
