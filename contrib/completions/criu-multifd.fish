# SPDX-License-Identifier: GPL-2.0-only
#
# Completion of criu-multifd for fish. Verbs and flags are asked of the program itself, so that
# nothing here grows old: `criu-multifd --help=verbs` lists the verbs, `criu-multifd VERB --help`
# the flags and the words they take.

# Lines "FLAG ARGUMENT" of a verb.
function __criu_multifd_flags
	$argv[1] $argv[2] --help 2>/dev/null </dev/null |
		sed -nE -e 'h; s/^ +(-[a-zA-Z]), --[a-z][a-z-]*( ([^ ]+))?( .*)?$/\1 \3/p' \
			-e 'g; s/^ +(-[a-zA-Z], )?(--[a-z][a-z-]*)( ([^ ]+))?( .*)?$/\2 \4/p'
end

# Folders of sessions, below --dir of this command line or the usual folder.
function __criu_multifd_sessions
	set -l dir /run/criu-multifd
	set -l words $argv
	for i in (seq (count $words))
		if test "$words[$i]" = --dir; and set -q words[(math $i + 1)]
			set dir $words[(math $i + 1)]
		else if string match -q -- '--dir=*' $words[$i]
			set dir (string replace -- --dir= '' $words[$i])
		end
	end
	set dir (string replace -r '^~' $HOME $dir)
	for session in $dir/*/
		basename $session
	end
end

# What may stand for an argument as the help calls it, before what is typed of it.
function __criu_multifd_value
	set -l words $argv[3..-1]
	switch $argv[1]
		case DIR
			__fish_complete_directories $argv[2] ''
		case PATH FILE 'NAME|PATH'
			__fish_complete_path $argv[2]
		case '*|*'
			string split '|' $argv[1] | string match -rv '[A-Z]'
		case PID 'PID,PID...' 'PID[,PID...]'
			string match -r '^[0-9]+$' (basename -a /proc/[0-9]*)
		case SESSION
			__criu_multifd_sessions $words
	end
end

function __criu_multifd
	set -l words (commandline -opc)
	set -l cur (commandline -ct)
	set -l program (string replace -r '^~' $HOME $words[1])
	set -l verb $words[2]
	if test (count $words) = 1; or test "$verb" = help
		$program --help=verbs 2>/dev/null
		test "$verb" = help; or printf '%s\n' help --help --version
		return
	end
	# Behind "--" is CRIU's command line.
	contains -- -- $words; and return
	for line in (__criu_multifd_flags $program $verb)
		set -l flag (string split -m 1 ' ' -- $line)
		test -n "$flag[2]"; or continue
		if test "$flag[1]" = "$words[-1]"
			__criu_multifd_value $flag[2] "$cur" $words
			return
		end
		if string match -q -- "$flag[1]=*" $cur
			set -l typed (string replace -- "$flag[1]=" '' $cur)
			printf -- "$flag[1]=%s\n" (__criu_multifd_value $flag[2] "$typed" $words)
			return
		end
	end
	if string match -q -- '-*' $cur
		__criu_multifd_flags $program $verb | string replace -r ' .*' ''
		return
	end
	switch $verb
		case set
			echo max-bandwidth
		case keys
			printf '%s\n' init add psk show
			__fish_complete_directories $cur ''
		case cpr
			printf '%s\n' list offer drop exec
		case show
			__fish_complete_suffix .img
	end
	switch $verb
		case set cpr wait restore status abort resolve
			__criu_multifd_sessions $words
	end
end

complete -c criu-multifd -f -a '(__criu_multifd)'
