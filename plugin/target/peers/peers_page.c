// SPDX-License-Identifier: GPL-2.0-only
/*
 * The manual page of the file of rights, from the table that the parser reads; and which party can
 * do what to a restore server.
 */
#include "command.h"
#include "manual.h"
#include "rights_keys.h"

static const struct mfd_manual_entry peers[] = {
	{ "x509:", "NAME",
	  "A certificate of the server's CA that has this DNS name or, if it has no DNS name, this "
	  "common name. A pattern: '*', '?' and '[...]' as in a shell." },
	{ "psk:", "NAME", "The pre-shared key of this name; likewise a pattern." },
	{ "spki:", "HEX",
	  "A certificate with this public key: its SHA-256 in hexadecimal. The server logs it of a peer "
	  "whose certificate has no name." },
	{ "insecure", NULL,
	  "A peer without TLS, which proves nothing. Each address counts for itself." },
};

static const struct mfd_manual_entry parties[] = {
	{ "Root of this host", NULL,
	  "can do everything. The folders of sessions, keys and this file are root's, and serve does "
	  "not start if other users can change them." },
	{ "Other users of this host", NULL,
	  "can do nothing: they cannot read a session, connect to the server's sockets or to the "
	  "keeper's, nor put anything in their way. What is restored here runs as the users that it "
	  "ran as on its source, by their numbers." },
	{ "A peer with a block here", NULL,
	  "can do what the block says. A peer whose sessions are restored here decides what runs: "
	  "without 'user-namespace required' it can run code here as root. It can go on with, commit, "
	  "abort and resume the sessions that it has opened itself, and no other." },
	{ "A peer without a block, while there is this file", NULL,
	  "can finish what it has begun, and is refused at its HELLO." },
	{ "A peer, while there is no such file", NULL,
	  "can do what the flags of serve permit to any: with TLS each one that has a certificate of "
	  "the CA or a pre-shared key, without TLS each one that can connect." },
	{ "One that is not of the CA, and has no key", NULL,
	  "gets no further than its handshake, for which there is a limit of time and number." },
	{ "One that reads the wire", NULL,
	  "learns with TLS how much is sent and when; without it everything. With TLS it cannot join, "
	  "resume, commit or abort a session. Without TLS it can." },
};

static const char description[] =
	"Says what each source may do on this restore server. It is read when serve starts, which "
	"fails if it is wrong, and again at SIGHUP: then what is wrong is in the log, and what was in "
	"force stays. It must be root's, with mode 0600, and no link.\n"
	"\n"
	"A block begins with 'peer' and a name, and goes on to the next; each line in it has one key "
	"or several, each with its words. A word that begins with '#' begins a comment. The first "
	"block that fits a peer is the peer's. What it does not name is denied; a peer that no block "
	"fits may open no session.\n"
	"\n"
	"What a peer asks for is checked at its HELLO, before anything of it is frozen; what its "
	"images need (descriptors that were offered, a user namespace) when they have come, while it "
	"can still go on. A refusal is one line for the peer, and one in the server's log with its "
	"identity and address. A session that is open goes on under the rights that it was opened "
	"with, since its processes may depend on it: criu-multifd abort, or resolve, ends it.";

static const char limits[] =
	"Of places for sessions (serve --max-sessions) and of descriptors a peer whose block has no "
	"limit, or any peer while there is no file, may hold three times what it leaves free: alone "
	"three quarters, two peers three sevenths each. Limits are for one peer, also where the "
	"pattern of a block fits many.";

static const char example[] = "peer x509:db1.example.org\n"
			      "    sessions db-*\n"
			      "    mode safe postcopy\n"
			      "    restore yes\n"
			      "    restore-options tcp-established file-locks\n"
			      "    addresses 192.0.2.0/24@eth0\n"
			      "    max-sessions 8  max-in-doubt 4  max-memory 64G\n"
			      "\n"
			      "peer psk:backup\n"
			      "    sessions backup  # mode safe, restored by a person\n"
			      "    max-bandwidth 1Gbit\n";

void mfd_peers_page(FILE *out)
{
	struct mfd_manual_entry keys[32];
	const struct mfd_manual_section sections[] = {
		{ .title = "SYNOPSIS", .text = MFD_RIGHTS_FILE },
		{ .title = "DESCRIPTION", .text = description },
		{ .title = "PEERS", .entries = peers, .n = sizeof(peers) / sizeof(*peers) },
		{ .title = "KEYS", .entries = keys, .n = mfd_rights_keys_n },
		{ .title = "LIMITS", .text = limits },
		{ .title = "EXAMPLE", .example = example },
		{ .title = "WHICH PARTY CAN DO WHAT",
		  .entries = parties,
		  .n = sizeof(parties) / sizeof(*parties) },
	};

	for (size_t i = 0; i < mfd_rights_keys_n; i++)
		keys[i] = (struct mfd_manual_entry){ mfd_rights_keys[i].name,
						     mfd_rights_keys[i].arg,
						     mfd_rights_keys[i].help };
	mfd_manual_page("criu-multifd-peers", 5, "what each source may do on a restore server",
			sections, sizeof(sections) / sizeof(*sections), out);
}
