/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * commit: encoding and strict decoding of commits and of a volume's header,
 * sailvol-format(5), COMMITS.  Pure; used by manifest, meta and tools.
 */
#include "lib/commit.h"

#include <errno.h>
#include <string.h>

#include "lib/node.h"

static const uint8_t header_magic[4] = { 'S', 'V', 'v', 'h' };

void
commit_encode(struct wbuf *w, const struct commit *c)
{
	if (w->error == 0 && entry_node_problem(&c->root) != NULL)
		w->error = EINVAL;
	node_begin(w, NODE_COMMIT, 0);
	wbuf_bytes(w, c->volume, sizeof(c->volume));
	wbuf_u64(w, c->number);
	wbuf_u8(w, c->has_parent != 0);
	if (c->has_parent)
		wbuf_hash(w, &c->parent);
	entry_encode(w, &c->root);
	wbuf_time(w, c->time);
	wbuf_str16(w, c->author, c->author_len);
	wbuf_str16(w, c->message, c->message_len);
	wbuf_u64(w, c->puts);
	wbuf_u64(w, c->deletes);
	wbuf_u64(w, c->overwritten);
	wbuf_str16(w, c->tail, c->tail_len);
}

static void
decode_parent(struct rbuf *r, struct commit *c)
{
	switch (rbuf_u8(r)) {
	case 0:
		if (c->number != 0)
			rbuf_fail(r, "commit without a parent has a number");
		break;
	case 1:
		c->has_parent = 1;
		rbuf_hash(r, &c->parent);
		if (c->number == 0)
			rbuf_fail(r, "first commit has a parent");
		if (hash_is_zero(&c->parent))
			rbuf_fail(r, "parent without a hash");
		break;
	default:
		rbuf_fail(r, "bad mark of a parent");
	}
}

static void
decode_tail(struct rbuf *r, struct commit *c)
{
	struct rbuf t;
	const char *why;

	c->tail = rbuf_str16(r, ENTRY_TAIL_MAX, &c->tail_len);
	if (r->error != NULL)
		return;
	rbuf_init(&t, c->tail, c->tail_len);
	if ((why = tail_problem(&t)) != NULL)
		rbuf_fail(r, why);
}

const char *
commit_decode(const uint8_t *data, size_t len, struct commit *c)
{
	struct rbuf r;
	const uint8_t *p;
	const char *why;
	uint8_t kind;

	memset(c, 0, sizeof(*c));
	if ((why = node_header(data, len, &kind)) != NULL)
		return (why);
	if (kind != NODE_COMMIT)
		return ("not a commit");
	rbuf_init(&r, data, len);
	(void)rbuf_bytes(&r, NODE_HEADER_LEN);
	if ((p = rbuf_bytes(&r, sizeof(c->volume))) != NULL)
		memcpy(c->volume, p, sizeof(c->volume));
	c->number = rbuf_u64(&r);
	decode_parent(&r, c);
	if (entry_decode(&r, &c->root) == -1)
		return (r.error);
	if (c->root.type != ENTRY_DIR)
		return ("root of a commit is not a directory");
	if ((why = entry_node_problem(&c->root)) != NULL)
		return (why);
	c->time = rbuf_time(&r);
	c->author = rbuf_str16(&r, COMMIT_AUTHOR_MAX, &c->author_len);
	c->message = rbuf_str16(&r, COMMIT_MESSAGE_MAX, &c->message_len);
	c->puts = rbuf_u64(&r);
	c->deletes = rbuf_u64(&r);
	c->overwritten = rbuf_u64(&r);
	decode_tail(&r, c);
	return (rbuf_end(&r) == 0 ? NULL : r.error);
}

void
volume_header_encode(struct wbuf *w, const struct volume_header *h)
{
	wbuf_bytes(w, header_magic, sizeof(header_magic));
	wbuf_u16(w, h->version);
	wbuf_u64(w, h->may_ignore);
	wbuf_u64(w, h->must_know);
}

const char *
volume_header_decode(struct rbuf *r, struct volume_header *h)
{
	const uint8_t *p;

	if ((p = rbuf_bytes(r, sizeof(header_magic))) != NULL &&
	    memcmp(p, header_magic, sizeof(header_magic)) != 0)
		rbuf_fail(r, "bad magic of a volume's header");
	h->version = rbuf_u16(r);
	h->may_ignore = rbuf_u64(r);
	h->must_know = rbuf_u64(r);
	if (h->version != VOLUME_VERSION)
		rbuf_fail(r, "unknown version of a volume");
	if (h->must_know & ~VOLUME_FEATURES_KNOWN)
		rbuf_fail(r, "volume has features that a reader must know");
	if (r->error != NULL)
		memset(h, 0, sizeof(*h));
	return (r->error);
}
