/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * query: questions to manifest: names of a directory, an object, the chunks of
 * a file.  Equal questions join; all are put again when manifest died.  In
 * fuse.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/memfd.h"
#include "sailvold/content.h"
#include "sailvold/frontend.h"
#include "sailvold/journal.h"

#define ITEMS_MAX (64 * 1024 * 1024)

enum query_kind { QUERY_NAMES, QUERY_OBJECT, QUERY_DETACHED, QUERY_CHUNKS };

struct query {
	TAILQ_ENTRY(query) link;
	struct waitq q;
	uint32_t id;
	enum query_kind kind;
	struct vn *vn;   /* pinned: directory, or file whose chunks */
	uint64_t ovl;    /* OBJECT */
	uint32_t slot;   /* DETACHED */
	uint64_t offset; /* that it was put with */
	uint8_t first[SAIL_NAME_MAX];
	size_t first_len;
};

static TAILQ_HEAD(query_list, query) queries = TAILQ_HEAD_INITIALIZER(queries);
static uint32_t next_id = 1;

static struct query *
query_new(enum query_kind kind, struct vn *vn)
{
	struct query *q;

	if ((q = calloc(1, sizeof(*q))) == NULL)
		return NULL;
	waitq_init(&q->q);
	q->kind = kind;
	q->id = next_id++;
	q->vn = vn;
	if (vn != NULL)
		vn_pin(vn);
	TAILQ_INSERT_TAIL(&queries, q, link);
	return q;
}

static void
query_end(struct query *q, int error)
{
	TAILQ_REMOVE(&queries, q, link);
	waitq_wake(&q->q, error);
	if (q->vn != NULL)
		vn_unpin(q->vn);
	free(q);
}

static struct query *
query_find(uint32_t id, enum query_kind a, enum query_kind b)
{
	struct query *q;

	TAILQ_FOREACH (q, &queries, link)
		if (q->id == id)
			return q->kind == a || q->kind == b ? q : NULL;
	return NULL;
}

uint64_t
query_safe(void)
{
	uint64_t safe = frontend_applied();
	struct query *q;

	TAILQ_FOREACH (q, &queries, link)
		if (q->offset < safe)
			safe = q->offset;
	return safe;
}

/* ---- asking ------------------------------------------------------------------ */

static int
send_names(struct chan *c, struct query *q)
{
	uint8_t path[SAIL_PATH_MAX];
	struct load l;

	memset(&l, 0, sizeof(l));
	l.offset = q->offset;
	l.ovl = q->vn->ovl;
	l.origin_path = path;
	if (vn_origin(q->vn, &l.origin_commit, path, &l.origin_path_len) == 0)
		l.has_origin = 1;
	else
		l.origin_path_len = 0;
	l.first = q->first;
	l.first_len = q->first_len;
	return load_send(c, q->id, &l);
}

static int
send_detached(struct chan *c, struct query *q)
{
	const uint8_t *both;
	const char *base;
	struct load l;
	size_t len, n;

	memset(&l, 0, sizeof(l));
	both = inode_name(q->slot, &len);
	if (inode_slot(q->slot)->kind != INODE_DETACHED || len <= HASH_LEN) {
		errno = ESTALE;
		return -1;
	}
	memcpy(l.origin_commit.b, both, HASH_LEN);
	l.has_origin = 1;
	l.offset = q->offset;
	l.origin_path = both + HASH_LEN;
	l.origin_path_len = path_parent(both + HASH_LEN, len - HASH_LEN);
	base = path_base((const char *)both + HASH_LEN, len - HASH_LEN, &n);
	l.first = (const uint8_t *)base;
	l.first_len = n;
	l.flags = LOAD_ONE;
	return load_send(c, q->id, &l);
}

static int
send_numbers(struct chan *c, struct query *q)
{
	struct ibuf *b;

	if ((b = ibuf_dynamic(16, PROC_MAX_BODY)) == NULL)
		return -1;
	if (ibuf_add_n64(b, q->offset) == -1 || ibuf_add_n64(b, q->ovl) == -1) {
		ibuf_free(b);
		return -1;
	}
	return chan_send_ibuf(c, IMSG_FUSE_MANIFEST_OBJECT, q->id, -1, b);
}

static int
send_chunks(struct chan *c, struct query *q)
{
	uint8_t path[SAIL_PATH_MAX];
	struct hash commit;
	struct ibuf *b;
	size_t len;

	if (vn_origin(q->vn, &commit, path, &len) == -1)
		return -1;
	if ((b = ibuf_dynamic(64, PROC_MAX_BODY)) == NULL)
		return -1;
	if (ibuf_add_n64(b, q->offset) == -1 ||
	    ibuf_add_n64(b, q->vn->ovl) == -1 ||
	    ibuf_add(b, commit.b, HASH_LEN) == -1 ||
	    ibuf_add_n16(b, len) == -1 ||
	    (len > 0 && ibuf_add(b, path, len) == -1)) {
		ibuf_free(b);
		return -1;
	}
	return chan_send_ibuf(c, IMSG_FUSE_MANIFEST_CHUNKS, q->id, -1, b);
}

static void
query_send(struct query *q)
{
	struct chan *c = frontend_manifest();
	int rc = -1;

	q->offset = journal_end();
	if (c == NULL)
		return; /* when it comes */
	switch (q->kind) {
	case QUERY_NAMES:
		rc = send_names(c, q);
		break;
	case QUERY_OBJECT:
		rc = send_numbers(c, q);
		break;
	case QUERY_DETACHED:
		rc = send_detached(c, q);
		break;
	case QUERY_CHUNKS:
		rc = send_chunks(c, q);
		break;
	}
	/* A channel that just broke: put again to the next one.  Without memory
	   who asked would wait for ever: the next fuse is asked again. */
	if (rc == -1 && errno == ENOMEM)
		fatal("question to manifest");
	if (rc == -1 && errno != EPIPE)
		log_warn("question to manifest");
}

void
query_resend(void)
{
	struct query *q;

	TAILQ_FOREACH (q, &queries, link)
		query_send(q);
}

void
query_forget_all(void)
{
	struct query *q, *next;

	for (q = TAILQ_FIRST(&queries); q != NULL; q = next) {
		next = TAILQ_NEXT(q, link);
		if (q->kind != QUERY_CHUNKS)
			query_end(q, 0);
	}
}

int
query_load(struct vn *dir, const void *first, size_t len)
{
	struct query *q;

	if (now.error != 0)
		return now.error;
	TAILQ_FOREACH (q, &queries, link)
		if (q->kind == QUERY_NAMES && q->vn == dir &&
		    q->first_len == len &&
		    (len == 0 || memcmp(q->first, first, len) == 0))
			return wait_on(&q->q);
	if ((q = query_new(QUERY_NAMES, dir)) == NULL)
		return ENOMEM;
	if (len > 0)
		memcpy(q->first, first, len);
	q->first_len = len;
	query_send(q);
	return wait_on(&q->q);
}

int
query_object(uint64_t ovl)
{
	struct query *q;

	if (now.error != 0)
		return now.error;
	TAILQ_FOREACH (q, &queries, link)
		if (q->kind == QUERY_OBJECT && q->ovl == ovl)
			return wait_on(&q->q);
	if ((q = query_new(QUERY_OBJECT, NULL)) == NULL)
		return ENOMEM;
	q->ovl = ovl;
	query_send(q);
	return wait_on(&q->q);
}

int
query_asks(uint64_t ovl)
{
	struct query *q;

	TAILQ_FOREACH (q, &queries, link)
		if (q->kind == QUERY_OBJECT && q->ovl == ovl)
			return 1;
	return 0;
}

int
query_detached(uint32_t slot)
{
	struct query *q;

	if (now.error != 0)
		return now.error;
	TAILQ_FOREACH (q, &queries, link)
		if (q->kind == QUERY_DETACHED && q->slot == slot)
			return wait_on(&q->q);
	if ((q = query_new(QUERY_DETACHED, NULL)) == NULL)
		return ENOMEM;
	q->slot = slot;
	query_send(q);
	return wait_on(&q->q);
}

uint32_t
query_chunks(struct vn *vn)
{
	struct query *q;

	if ((q = query_new(QUERY_CHUNKS, vn)) == NULL)
		return 0;
	query_send(q);
	return q->id;
}

int
query_name(struct vn *dir, const char *name, size_t len, struct vn **vn)
{
	if (view_lookup(dir, name, len, vn) != -1)
		return 0;
	return query_load(dir, name, len);
}

/* ---- answers ------------------------------------------------------------------- */

/* -1: no answer to that question, which is asked again of the next manifest;
   the names before the wrong one are as good as it is, and are told anew. */
static int
take_names(struct query *q, const void *upto, size_t upto_len, int end,
    const uint8_t *items, size_t len)
{
	const char *why;
	struct rbuf r;

	rbuf_init(&r, items, len);
	if (view_fill(q->vn, q->first, q->first_len, upto, upto_len, end, &r,
		&why) == -1) {
		if (errno == EBADMSG) {
			log_warnx("names: %s", why);
			return -1;
		}
		query_end(q, errno);
		return 0;
	}
	query_end(q, 0);
	return 0;
}

static void
take_detached(struct query *q, const uint8_t *items, size_t len)
{
	struct item it;
	struct rbuf r;
	struct vn *vn;
	uint32_t slot = q->slot;

	rbuf_init(&r, items, len);
	if (item_decode(&r, &it) != 1 || it.ovl != 0 || !it.has_origin ||
	    inode_slot(slot)->kind != INODE_DETACHED) {
		query_end(q, ESTALE);
		return;
	}
	if (inode_vn(slot) == NULL) {
		if ((vn = vn_from_item(&it)) == NULL ||
		    vn_set_origin(vn, &it.origin_commit, it.origin_path,
			it.origin_path_len) == -1) {
			vn_free(vn);
			query_end(q, ENOMEM);
			return;
		}
		vn->flags |= VN_GONE;
		vn->links = 0;
		vn->slot = slot;
		inode_set_vn(slot, vn);
	}
	query_end(q, 0);
}

/* Takes fd, which is none of what was to come (-1), or could not be looked at. */
static int
not_mapped(struct query *q, int fd, int error)
{
	close(fd);
	if (error == EBADMSG || error == EFBIG)
		return -1;
	query_end(q, error);
	return 0;
}

int
query_rules_load(struct chan *c, uint32_t id, struct imsg *imsg,
    struct ibuf *body)
{
	uint8_t upto[SAIL_NAME_MAX], end;
	struct memfd_view view = { .data = NULL };
	struct query *q;
	const uint8_t *items;
	uint32_t error;
	uint16_t upto_len;
	size_t len;
	int fd, rc = 0;

	(void)c;
	if (ibuf_get_n32(body, &error) == -1 || ibuf_get_n8(body, &end) == -1 ||
	    ibuf_get_n16(body, &upto_len) == -1 || upto_len > sizeof(upto) ||
	    (upto_len > 0 && ibuf_get(body, upto, upto_len) == -1))
		return -1;
	if ((q = query_find(id, QUERY_NAMES, QUERY_DETACHED)) == NULL)
		return 0; /* asked of one that died */
	if (error != 0) {
		query_end(q, (int)error);
		return 0;
	}
	items = ibuf_data(body);
	len = ibuf_size(body);
	if ((fd = imsg_get_fd(imsg)) != -1) {
		if (len != 0 || memfd_map(fd, ITEMS_MAX, &view) == -1)
			return not_mapped(q, fd, len != 0 ? EBADMSG : errno);
		close(fd);
		items = view.data;
		len = view.len;
	}
	if (q->kind == QUERY_NAMES)
		rc = take_names(q, upto, upto_len, end, items, len);
	else
		take_detached(q, items, len);
	if (fd != -1)
		memfd_unmap(&view);
	return rc;
}

int
query_rules_object(struct chan *c, uint32_t id, struct imsg *imsg,
    struct ibuf *body)
{
	struct memfd_view view = { .data = NULL };
	uint32_t error, names;
	struct query *q;
	struct item it;
	struct rbuf r;
	int fd, rc = 0;

	(void)c;
	if (ibuf_get_n32(body, &error) == -1 ||
	    ibuf_get_n32(body, &names) == -1)
		return -1;
	if ((q = query_find(id, QUERY_OBJECT, QUERY_OBJECT)) == NULL)
		return 0;
	if (error != 0) {
		query_end(q, error == ENOENT ? ESTALE : (int)error);
		return switch_go_on();
	}
	rbuf_init(&r, ibuf_data(body), ibuf_size(body));
	if ((fd = imsg_get_fd(imsg)) != -1) {
		if (memfd_map(fd, ITEMS_MAX, &view) == -1)
			return not_mapped(q, fd, errno);
		close(fd);
		rbuf_init(&r, view.data, view.len);
	}
	if (item_decode(&r, &it) != 1 || it.ovl != q->ovl)
		rc = -1;
	else {
		it.links = names;
		if (view_object(it.ovl) == NULL && vn_from_item(&it) == NULL)
			query_end(q, ENOMEM);
		else
			query_end(q, 0);
	}
	if (fd != -1)
		memfd_unmap(&view);
	return rc == -1 ? -1 : switch_go_on();
}

int
query_rules_chunks(struct chan *c, uint32_t id, struct imsg *imsg,
    struct ibuf *body)
{
	struct query *q;
	uint32_t error;
	int fd;

	(void)c;
	if (ibuf_get_n32(body, &error) == -1 || ibuf_size(body) != 0)
		return -1;
	if ((q = query_find(id, QUERY_CHUNKS, QUERY_CHUNKS)) == NULL)
		return 0;
	fd = imsg_get_fd(imsg);
	if (error == 0 && fd == -1)
		error = EIO;
	content_chunks(q->vn, (int)error, fd);
	query_end(q, 0);
	return 0;
}
