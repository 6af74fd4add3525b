#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
# The manual pages, which the program writes from its tables, and what `make install` puts where.

bats_require_minimum_version 1.5.0
load helpers

# page WORDS: what the program says to them is a manual page without a warning; its text.
page()
{
	"$MFD" "$@" >"$SCRATCH/page"
	groff -man -Tutf8 -ww "$SCRATCH/page" 2>"$SCRATCH/warnings" >/dev/null
	[ ! -s "$SCRATCH/warnings" ] || fail "$(cat "$SCRATCH/warnings")"
	groff -man -Tascii -P-cbou "$SCRATCH/page" >"$SCRATCH/text"
}

@test "every verb has a manual page that groff takes without a warning" {
	local verb
	for verb in '' $("$MFD" --help=verbs); do
		# shellcheck disable=SC2086  # no verb: the overview
		"$MFD" $verb --help=man >"$SCRATCH/page"
		grep -q '^\.SH NAME' "$SCRATCH/page"
		groff -man -Tutf8 -ww "$SCRATCH/page" 2>"$SCRATCH/warnings" >"$SCRATCH/text"
		[ ! -s "$SCRATCH/warnings" ] || fail "$verb: $(cat "$SCRATCH/warnings")"
	done
}

@test "the file of rights has a manual page, with each key that the parser knows" {
	local key
	page --help=peers
	for key in sessions mode restore restore-options addresses user-namespace cpr-offers \
		max-sessions max-in-doubt max-memory max-channels max-bandwidth; do
		grep -Eq "^ +$key " "$SCRATCH/text" || fail "no key '$key'"
	done
	# Its example is one that serve takes.
	sed -n '/^EXAMPLE/,/^WHICH/{/^       /p}' "$SCRATCH/text" >"$SCRATCH/peers"
	chmod 600 "$SCRATCH/peers"
	printf 'nonsense\n' >>"$SCRATCH/peers"
	run -1 timeout 10 "$MFD" serve --dir "$SCRATCH/s" --peers "$SCRATCH/peers"
	[[ $output == *"/peers:$(wc -l <"$SCRATCH/peers"): unknown word 'nonsense'"* ]]
}

@test "the page of services has each finding of check, and is sound" {
	page --help=services
	local id
	for id in unmovable tcp-established ghost-limit reserved pipe-outside; do
		grep -Eq "^ +$id( |\$)" "$SCRATCH/text" || fail "no finding '$id'"
	done
	grep -q PrivateIPC "$SCRATCH/text"
}

@test "every verb has examples, with flags that it knows" {
	local verb flag
	for verb in $("$MFD" --help=verbs); do
		"$MFD" "$verb" --help=man | groff -man -Tascii -P-cbou |
			sed -n '/^EXAMPLES/,/^SEE ALSO/p' >"$SCRATCH/examples"
		grep -q "criu-multifd $verb" "$SCRATCH/examples" || fail "$verb: no example"
		"$MFD" "$verb" --help >"$SCRATCH/help"
		# What follows "--" is CRIU's.
		for flag in $(sed 's/ -- .*//' "$SCRATCH/examples" | grep -oE -e ' --[a-z-]+'); do
			grep -Eq -e "^ +(-., )?$flag( |\$)" "$SCRATCH/help" ||
				fail "$verb: example with $flag"
		done
	done
}

@test "criu-multifd.conf(5) has every option, and an example that is taken" {
	local name
	page --help=conf
	for name in $(sed -n 's/^#\{0,1\}\([a-z][a-z-]*\) =.*/\1/p' \
		"$MFD_TOP/contrib/criu-multifd.conf"); do
		grep -Eq "^ +$name( |\$)" "$SCRATCH/text" || fail "no option '$name'"
	done
	sed -n '/^EXAMPLES/,/^SEE ALSO/{/ = /p}' "$SCRATCH/text" >"$SCRATCH/conf"
	[ "$(wc -l <"$SCRATCH/conf")" -ge 4 ]
	echo 'nonsense = 1' >>"$SCRATCH/conf"
	CRIU_MULTIFD_CONFIG=$SCRATCH/conf run -64 "$MFD" migrate -t 1
	[[ $output == *"conf:$(wc -l <"$SCRATCH/conf"): "*nonsense* ]]
}

@test "the overview names every option, and no option is without a line of help" {
	local name
	"$MFD" --help=man | groff -man -Tascii -P-cbou >"$SCRATCH/text"
	for name in target session channels zerocopy checksum packet-size mode confirm page-dump \
		connect-timeout stall-timeout log-level; do
		grep -Eq "^ +$name( |\$)" "$SCRATCH/text" || fail "no option '$name' in the manual"
		grep -Eq -A1 "^ +$name( |\$)" "$SCRATCH/text"
	done
}

@test "every flag of a verb's short help is in its manual page" {
	local verb flag
	for verb in $("$MFD" --help=verbs); do
		"$MFD" "$verb" --help=man | groff -man -Tascii -P-cbou >"$SCRATCH/text"
		for flag in $("$MFD" "$verb" --help | grep -oE '^ +(-., )?--[a-z-]+' |
			grep -oE -e '--[a-z-]+'); do
			grep -q -e "$flag" "$SCRATCH/text" ||
				fail "$verb: $flag is not in the manual"
		done
	done
}

@test "make install and uninstall with DESTDIR and PREFIX" {
	local root=$SCRATCH/root
	make -s -C "$MFD_TOP" install DESTDIR="$root" PREFIX=/opt/x
	[ -x "$root/opt/x/sbin/criu-multifd" ]
	[ "$(ls "$root/opt/x/lib/criu-multifd/plugins")" = multifd_plugin.so ]
	[ -s "$root/opt/x/share/man/man8/criu-multifd-serve.8" ]
	[ -s "$root/opt/x/share/man/man5/criu-multifd-peers.5" ]
	[ -s "$root/opt/x/share/man/man7/criu-multifd-services.7" ]
	make -s -C "$MFD_TOP" check-installed DESTDIR="$root" PREFIX=/opt/x
	[ "$(PKG_CONFIG_PATH=$root/opt/x/lib/pkgconfig pkg-config --variable=plugindir \
		criu-multifd)" = /opt/x/lib/criu-multifd/plugins ]
	"$root/opt/x/sbin/criu-multifd-move-container" --help | grep -q -e --server
	rm "$root/opt/x/share/doc/criu-multifd/COPYING"
	run ! make -s -C "$MFD_TOP" check-installed DESTDIR="$root" PREFIX=/opt/x
	[[ $output == *'COPYING'* ]]
	make -s -C "$MFD_TOP" uninstall DESTDIR="$root" PREFIX=/opt/x
	[ -z "$(find "$root" -type f)" ]
}
