// SPDX-License-Identifier: GPL-2.0-only
/*
 * The grammar of the file of rights.
 *
 *	file	= { line }
 *	line	= [ "peer" PEER ] { KEY WORD { WORD } } [ "#" comment ]
 *
 * A line begins with `peer` or a key; a word that is the name of a key begins that key, so several
 * stand on one line.  A file with a mistake is refused as a whole: what is left out of it might be
 * the line that forbids.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "closest.h"
#include "rights_keys.h"
#include "text.h"

struct parser {
	struct mfd_rights *rights;
	struct mfd_right *right; /* the block; NULL: before the first */
	const char *path;
	unsigned line;
	const struct mfd_rights_key *key; /* that words belong to; NULL: the line has none yet */
	size_t words;			  /* of it, on this line */
	struct mfd_error *err;
};

static int complain(struct parser *p, int code, const char *what)
{
	return mfd_error_set(p->err, code, "%s:%u: %s", p->path, p->line, what);
}

static const struct mfd_rights_key *find_key(const char *word)
{
	for (size_t i = 0; i < mfd_rights_keys_n; i++)
		if (!strcmp(mfd_rights_keys[i].name, word))
			return &mfd_rights_keys[i];
	return NULL;
}

/* The key before is complete. */
static int end_key(struct parser *p)
{
	char text[160];

	if (!p->key || p->words)
		return 0;
	snprintf(text, sizeof(text), "%s: expected %s", p->key->name, p->key->arg);
	return complain(p, -EINVAL, text);
}

static int begin_key(struct parser *p, const struct mfd_rights_key *key)
{
	unsigned bit = 1U << (key - mfd_rights_keys);
	char text[160];
	int ret = end_key(p);

	if (ret)
		return ret;
	if (!p->right)
		return complain(p, -EINVAL, "a line 'peer NAME' must come first");
	if (!key->list && p->right->said & bit) {
		snprintf(text, sizeof(text), "%s is there twice for peer %.80s", key->name,
			 p->right->peer);
		return complain(p, -EINVAL, text);
	}
	p->right->said |= bit;
	p->key = key;
	p->words = 0;
	return 0;
}

static int unknown_key(struct parser *p, const char *word)
{
	const char *close = mfd_closest(word, &mfd_rights_keys[0].name, mfd_rights_keys_n,
					sizeof(*mfd_rights_keys));
	char text[200];

	snprintf(text, sizeof(text), "unknown word '%.64s'%s%s%s", word,
		 close ? "; is '" : ": a line begins with 'peer' or a key", close ? close : "",
		 close ? "' meant?" : "");
	return complain(p, -EINVAL, text);
}

static int take_word(struct parser *p, const char *word)
{
	struct mfd_error why = { 0 };
	char text[400];

	if (!p->key->list && p->words)
		snprintf(text, sizeof(text), "%s takes one word, '%.64s' is another", p->key->name,
			 word);
	else if (p->key->take(p->right, word, &why))
		snprintf(text, sizeof(text), "%s %s", p->key->name, mfd_error_text(&why));
	else
		return p->words++, 0;
	return complain(p, why.code == -ENOMEM ? -ENOMEM : -EINVAL, text);
}

static int begin_block(struct parser *p, const char *word)
{
	struct mfd_error why = { 0 };
	char text[400];

	if (!word)
		return complain(p, -EINVAL,
				"peer: expected x509:NAME, spki:HEX, psk:NAME or insecure");
	p->right = mfd_rights_add(p->rights);
	if (!p->right)
		return complain(p, -ENOMEM, "no memory");
	p->right->line = p->line;
	if (!mfd_rights_peer(p->right, word, &why))
		return 0;
	snprintf(text, sizeof(text), "peer %s", mfd_error_text(&why));
	return complain(p, why.code, text);
}

/* The next word of the line, which is cut up; NULL: there is none, or a comment begins. */
static char *next_word(char **at)
{
	char *word = strtok_r(NULL, " ", at);

	return word && *word != '#' ? word : NULL;
}

static int read_words(struct parser *p, char *word, char **at)
{
	int ret = 0;

	for (; word && !ret; word = ret ? NULL : next_word(at)) {
		const struct mfd_rights_key *key = find_key(word);

		if (key)
			ret = begin_key(p, key);
		else if (p->key)
			ret = take_word(p, word);
		else
			ret = unknown_key(p, word);
	}
	return ret ? ret : end_key(p);
}

static int read_line(struct parser *p, char *line)
{
	char *at, *word = strtok_r(line, " ", &at);
	int ret = 0;

	p->key = NULL;
	p->words = 0;
	if (!word || *word == '#')
		return 0;
	if (!strcmp(word, "peer")) {
		ret = begin_block(p, next_word(&at));
		word = ret ? NULL : next_word(&at);
	}
	return ret ? ret : read_words(p, word, &at);
}

static void make_blank(char *line)
{
	for (; (line = strpbrk(line, "\t\r")); line++)
		*line = ' ';
}

static int read_lines(struct parser *p, char *text)
{
	int ret = 0;

	while (*text && !ret) {
		size_t len = strcspn(text, "\n");
		char *next = text + len + (text[len] == '\n');

		text[len] = 0;
		make_blank(text);
		p->line++;
		ret = mfd_image_text_is_clean(text) ?
			      read_line(p, text) :
			      complain(p, -EINVAL, "not UTF-8, or with control characters");
		text = next;
	}
	return ret;
}

int mfd_rights_parse(struct mfd_rights **out, const char *text, size_t len, const char *path,
		     struct mfd_error *err)
{
	struct parser p = { .rights = mfd_rights_new(path), .path = path, .err = err };
	char *copy = strdup(text);
	int ret;

	if (!copy || !p.rights)
		ret = mfd_error_sys(err, -ENOMEM, "%s", path);
	else if (strlen(text) != len)
		ret = mfd_error_set(err, -EINVAL, "%s: not a text file", path);
	else
		ret = read_lines(&p, copy);
	free(copy);
	if (ret) {
		mfd_rights_put(p.rights);
		return ret;
	}
	*out = p.rights;
	return 0;
}
