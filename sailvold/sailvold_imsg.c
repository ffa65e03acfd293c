/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * sailvold_imsg: writes and reads the bodies of the messages between the
 * processes of sailvold(8).  In all of them.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sailvold/sailvold_imsg.h"

static int
bad(void)
{
	errno = EBADMSG;
	return -1;
}

static struct ibuf *
body_new(void)
{
	return ibuf_dynamic(256, PROC_MAX_BODY);
}

/* On failure the descriptor stays with the caller; the ibuf never does. */
static int
body_drop(struct ibuf *b)
{
	ibuf_free(b);
	return -1;
}

static int
add_str16(struct ibuf *b, const void *s, size_t len)
{
	if (len > UINT16_MAX) {
		errno = ERANGE;
		return -1;
	}
	if (ibuf_add_n16(b, len) == -1)
		return -1;
	return len == 0 ? 0 : ibuf_add(b, s, len);
}

static int
add_cstr(struct ibuf *b, const char *s)
{
	return add_str16(b, s, s == NULL ? 0 : strlen(s));
}

static int
add_str32(struct ibuf *b, const void *s, size_t len)
{
	if (ibuf_add_n32(b, len) == -1)
		return -1;
	return len == 0 ? 0 : ibuf_add(b, s, len);
}

static int
get_view(struct ibuf *b, size_t len, size_t max, const uint8_t **p,
    size_t *plen)
{
	static const uint8_t nothing[1];
	struct ibuf view;

	if (len > max || ibuf_get_ibuf(b, len, &view) == -1)
		return bad();
	*p = len == 0 ? nothing : ibuf_data(&view);
	*plen = len;
	return 0;
}

static int
get_str16(struct ibuf *b, size_t max, const uint8_t **p, size_t *len)
{
	uint16_t n;

	if (ibuf_get_n16(b, &n) == -1)
		return -1;
	return get_view(b, n, max, p, len);
}

static int
get_str32(struct ibuf *b, size_t max, const uint8_t **p, size_t *len)
{
	uint32_t n;

	if (ibuf_get_n32(b, &n) == -1)
		return -1;
	return get_view(b, n, max, p, len);
}

/* Into an array of size bytes, with a NUL behind; none may be inside. */
static int
get_cstr(struct ibuf *b, char *out, size_t size)
{
	const uint8_t *p;
	size_t len;

	if (get_str16(b, size - 1, &p, &len) == -1)
		return -1;
	if (memchr(p, '\0', len) != NULL)
		return bad();
	memcpy(out, p, len);
	out[len] = '\0';
	return 0;
}

static int
get_alloc(struct ibuf *b, size_t max, char **out)
{
	const uint8_t *p;
	size_t len;

	if (get_str16(b, max, &p, &len) == -1)
		return -1;
	if (memchr(p, '\0', len) != NULL)
		return bad();
	if ((*out = malloc(len + 1)) == NULL)
		return -1;
	memcpy(*out, p, len);
	(*out)[len] = '\0';
	return 0;
}

static int
get_flag(struct ibuf *b, int *out)
{
	uint8_t v;

	if (ibuf_get_n8(b, &v) == -1)
		return -1;
	if (v > 1)
		return bad();
	*out = v;
	return 0;
}

/* A path of a volume or an empty one. */
static int
get_path(struct ibuf *b, const uint8_t **p, size_t *len)
{
	if (get_str16(b, SAIL_PATH_MAX, p, len) == -1)
		return -1;
	return path_problem(*p, *len) == NULL ? 0 : bad();
}

static int
add_ids(struct ibuf *b, const struct idmap *m)
{
	return ibuf_add_n32(b, m->base) == -1 || ibuf_add_n32(b, m->count) == -1
	    ? -1
	    : 0;
}

static int
get_ids(struct ibuf *b, struct idmap *m)
{
	if (ibuf_get_n32(b, &m->base) == -1 || ibuf_get_n32(b, &m->count) == -1)
		return -1;
	return idmap_valid(m) ? 0 : bad();
}

static int
add_policy(struct ibuf *b, const struct mount_policy *p)
{
	return ibuf_add_n32(b, p->commit_every) == -1 ||
		ibuf_add_n8(b, p->commit_on_umount != 0) == -1 ||
		ibuf_add_n64(b, p->overlay_limit) == -1
	    ? -1
	    : 0;
}

static int
get_policy(struct ibuf *b, struct mount_policy *p)
{
	if (ibuf_get_n32(b, &p->commit_every) == -1 ||
	    get_flag(b, &p->commit_on_umount) == -1 ||
	    ibuf_get_n64(b, &p->overlay_limit) == -1)
		return -1;
	return p->commit_every <= COMMIT_EVERY_MAX ? 0 : bad();
}

static int
get_end(struct ibuf *b)
{
	return ibuf_size(b) == 0 ? 0 : bad();
}

/* ---- mounts ------------------------------------------------------------------ */

#define MOUNT_FLAGS                                                      \
	(MOUNT_READONLY | MOUNT_CREATE | MOUNT_SUID | MOUNT_CONFIGURED | \
	    MOUNT_AGAIN | MOUNT_BACK | MOUNT_NOEXEC)

static int
mount_req_add(struct ibuf *b, const struct mount_req *m)
{
	if (ibuf_add_n32(b, m->instance) == -1 ||
	    ibuf_add(b, m->mount, sizeof(m->mount)) == -1 ||
	    ibuf_add_n32(b, m->flags) == -1 || ibuf_add_n32(b, m->uid) == -1 ||
	    add_cstr(b, m->volume) == -1 || add_cstr(b, m->subpath) == -1 ||
	    add_cstr(b, m->path) == -1 ||
	    ibuf_add_n8(b, m->has_commit != 0) == -1 ||
	    ibuf_add(b, m->commit.b, HASH_LEN) == -1 ||
	    add_ids(b, &m->ids) == -1 || add_policy(b, &m->policy) == -1)
		return -1;
	return 0;
}

static int
mount_req_get(struct ibuf *b, struct mount_req *m)
{
	memset(m, 0, sizeof(*m));
	if (ibuf_get_n32(b, &m->instance) == -1 ||
	    ibuf_get(b, m->mount, sizeof(m->mount)) == -1 ||
	    ibuf_get_n32(b, &m->flags) == -1 ||
	    ibuf_get_n32(b, &m->uid) == -1 ||
	    get_cstr(b, m->volume, sizeof(m->volume)) == -1 ||
	    get_alloc(b, SAIL_PATH_MAX, &m->subpath) == -1 ||
	    get_alloc(b, SAIL_PATH_MAX, &m->path) == -1 ||
	    get_flag(b, &m->has_commit) == -1 ||
	    ibuf_get(b, m->commit.b, HASH_LEN) == -1 ||
	    get_ids(b, &m->ids) == -1 || get_policy(b, &m->policy) == -1)
		goto fail;
	if ((m->flags & ~(uint32_t)MOUNT_FLAGS) != 0 ||
	    path_problem(m->subpath, strlen(m->subpath)) != NULL) {
		errno = EBADMSG;
		goto fail;
	}
	return 0;
fail:
	mount_req_free(m);
	return -1;
}

int
mount_req_send(struct chan *c, uint32_t id, const struct mount_req *m)
{
	struct ibuf *b;

	if ((b = body_new()) == NULL)
		return -1;
	if (mount_req_add(b, m) == -1)
		return body_drop(b);
	return chan_send_ibuf(c, IMSG_PARENT_MANIFEST_MOUNT, id, -1, b);
}

int
mount_req_recv(struct ibuf *b, struct mount_req *m)
{
	if (mount_req_get(b, m) == -1)
		return -1;
	if (get_end(b) == 0)
		return 0;
	mount_req_free(m);
	return bad();
}

void
mount_req_free(struct mount_req *m)
{
	if (m == NULL)
		return;
	free(m->subpath);
	free(m->path);
	m->subpath = m->path = NULL;
}

int
policy_send(struct chan *c, uint32_t instance, const struct mount_policy *p)
{
	struct ibuf *b;

	if ((b = body_new()) == NULL)
		return -1;
	if (ibuf_add_n32(b, instance) == -1 || add_policy(b, p) == -1)
		return body_drop(b);
	return chan_send_ibuf(c, IMSG_PARENT_MANIFEST_POLICY, 0, -1, b);
}

int
policy_recv(struct ibuf *b, uint32_t *instance, struct mount_policy *p)
{
	if (ibuf_get_n32(b, instance) == -1 || get_policy(b, p) == -1)
		return -1;
	return get_end(b);
}

int
parent_req_send(struct chan *c, uint32_t id, const struct parent_req *r, int fd)
{
	struct ibuf *b;

	if ((b = body_new()) == NULL)
		return -1;
	if (ibuf_add_n8(b, r->verb) == -1 ||
	    ibuf_add(b, r->ticket.b, HASH_LEN) == -1 ||
	    ibuf_add_n32(b, r->line) == -1 ||
	    ibuf_add_n8(b, r->force != 0) == -1 ||
	    mount_req_add(b, &r->mount) == -1)
		return body_drop(b);
	return chan_send_ibuf(c, IMSG_MANIFEST_PARENT_DO, id, fd, b);
}

int
parent_req_recv(struct ibuf *b, struct parent_req *r)
{
	int force;

	memset(r, 0, sizeof(*r));
	if (ibuf_get_n8(b, &r->verb) == -1 ||
	    ibuf_get(b, r->ticket.b, HASH_LEN) == -1 ||
	    ibuf_get_n32(b, &r->line) == -1 || get_flag(b, &force) == -1)
		return -1;
	r->force = (uint8_t)force;
	if (r->verb < PARENT_MOUNT || r->verb > PARENT_RESTART)
		return bad();
	return mount_req_recv(b, &r->mount);
}

int
fuse_config_send(struct chan *c, const struct fuse_config *f)
{
	struct ibuf *b;

	if ((b = body_new()) == NULL)
		return -1;
	if (ibuf_add(b, f->mount, sizeof(f->mount)) == -1 ||
	    ibuf_add_n32(b, f->flags) == -1 ||
	    ibuf_add_n64(b, f->overlay_limit) == -1 ||
	    ibuf_add_n64(b, f->view_bytes) == -1 || add_ids(b, &f->ids) == -1 ||
	    add_cstr(b, f->volume) == -1)
		return body_drop(b);
	return chan_send_ibuf(c, IMSG_PARENT_FUSE_CONFIG, 0, -1, b);
}

int
fuse_config_recv(struct ibuf *b, struct fuse_config *f)
{
	memset(f, 0, sizeof(*f));
	if (ibuf_get(b, f->mount, sizeof(f->mount)) == -1 ||
	    ibuf_get_n32(b, &f->flags) == -1 ||
	    ibuf_get_n64(b, &f->overlay_limit) == -1 ||
	    ibuf_get_n64(b, &f->view_bytes) == -1 ||
	    get_ids(b, &f->ids) == -1 ||
	    get_cstr(b, f->volume, sizeof(f->volume)) == -1)
		return -1;
	if ((f->flags & ~(uint32_t)(MOUNT_FLAGS | MOUNT_PASSTHROUGH)) != 0)
		return bad();
	return get_end(b);
}

/* ---- overlay files ------------------------------------------------------------ */

int
numbers_send(struct chan *c, uint32_t type, uint32_t id, const uint64_t *ovls,
    uint16_t n)
{
	struct ibuf *b;
	uint16_t i;

	if ((b = body_new()) == NULL)
		return -1;
	if (ibuf_add_n16(b, n) == -1)
		return body_drop(b);
	for (i = 0; i < n; i++)
		if (ibuf_add_n64(b, ovls[i]) == -1)
			return body_drop(b);
	return chan_send_ibuf(c, type, id, -1, b);
}

int
numbers_recv(struct ibuf *b, uint64_t *ovls, uint16_t max, uint16_t *n)
{
	uint16_t i;

	if (ibuf_get_n16(b, n) == -1)
		return -1;
	if (*n > max)
		return bad();
	for (i = 0; i < *n; i++)
		if (ibuf_get_n64(b, &ovls[i]) == -1)
			return -1;
	return get_end(b);
}

int
backing_res_send(struct chan *c, uint32_t id, const struct backing_res *r,
    uint16_t n)
{
	struct ibuf *b;
	uint16_t i;

	if ((b = body_new()) == NULL)
		return -1;
	if (ibuf_add_n16(b, n) == -1)
		return body_drop(b);
	for (i = 0; i < n; i++)
		if (ibuf_add_n64(b, r[i].ovl) == -1 ||
		    ibuf_add_n32(b, r[i].error) == -1 ||
		    ibuf_add_n32(b, r[i].id) == -1)
			return body_drop(b);
	return chan_send_ibuf(c, IMSG_PARENT_FUSE_BACKING_RES, id, -1, b);
}

int
backing_res_recv(struct ibuf *b, struct backing_res r[BACKING_BATCH],
    uint16_t *n)
{
	uint16_t i;

	if (ibuf_get_n16(b, n) == -1)
		return -1;
	if (*n > BACKING_BATCH)
		return bad();
	for (i = 0; i < *n; i++) {
		if (ibuf_get_n64(b, &r[i].ovl) == -1 ||
		    ibuf_get_n32(b, &r[i].error) == -1 ||
		    ibuf_get_n32(b, &r[i].id) == -1)
			return -1;
		if (r[i].error == 0 && (r[i].id == 0 || r[i].id > INT32_MAX))
			return bad();
	}
	return get_end(b);
}

/* ---- what a mount shows ------------------------------------------------------ */

int
start_send(struct chan *c, uint32_t type, uint32_t id, const struct start *s,
    int fd)
{
	struct ibuf *b;

	if ((b = body_new()) == NULL)
		return -1;
	if (ibuf_add_n64(b, s->epoch) == -1 ||
	    ibuf_add_n64(b, s->applied) == -1 ||
	    ibuf_add_n64(b, s->next) == -1 ||
	    ibuf_add(b, s->base.b, HASH_LEN) == -1 ||
	    ibuf_add_n64(b, s->base_number) == -1 ||
	    ibuf_add_n8(b, s->volume_version) == -1 ||
	    add_cstr(b, s->volume_id) == -1 || add_cstr(b, s->volume) == -1 ||
	    add_cstr(b, s->org) == -1 ||
	    add_str32(b, s->root, s->root_len) == -1)
		return body_drop(b);
	return chan_send_ibuf(c, type, id, fd, b);
}

int
start_recv(struct ibuf *b, struct start *s)
{
	memset(s, 0, sizeof(*s));
	if (ibuf_get_n64(b, &s->epoch) == -1 ||
	    ibuf_get_n64(b, &s->applied) == -1 ||
	    ibuf_get_n64(b, &s->next) == -1 ||
	    ibuf_get(b, s->base.b, HASH_LEN) == -1 ||
	    ibuf_get_n64(b, &s->base_number) == -1 ||
	    ibuf_get_n8(b, &s->volume_version) == -1 ||
	    get_cstr(b, s->volume_id, sizeof(s->volume_id)) == -1 ||
	    get_cstr(b, s->volume, sizeof(s->volume)) == -1 ||
	    get_cstr(b, s->org, sizeof(s->org)) == -1 ||
	    get_str32(b, PROC_MAX_BODY, &s->root, &s->root_len) == -1)
		return -1;
	return get_end(b);
}

int
load_send(struct chan *c, uint32_t id, const struct load *l)
{
	struct ibuf *b;

	if ((b = body_new()) == NULL)
		return -1;
	if (ibuf_add_n64(b, l->offset) == -1 || ibuf_add_n64(b, l->ovl) == -1 ||
	    ibuf_add_n8(b, l->has_origin != 0) == -1 ||
	    ibuf_add(b, l->origin_commit.b, HASH_LEN) == -1 ||
	    add_str16(b, l->origin_path, l->origin_path_len) == -1 ||
	    add_str16(b, l->first, l->first_len) == -1 ||
	    ibuf_add_n32(b, l->max) == -1 || ibuf_add_n8(b, l->flags) == -1)
		return body_drop(b);
	return chan_send_ibuf(c, IMSG_FUSE_MANIFEST_LOAD, id, -1, b);
}

int
load_recv(struct ibuf *b, struct load *l)
{
	memset(l, 0, sizeof(*l));
	if (ibuf_get_n64(b, &l->offset) == -1 ||
	    ibuf_get_n64(b, &l->ovl) == -1 ||
	    get_flag(b, &l->has_origin) == -1 ||
	    ibuf_get(b, l->origin_commit.b, HASH_LEN) == -1 ||
	    get_path(b, &l->origin_path, &l->origin_path_len) == -1 ||
	    get_str16(b, SAIL_NAME_MAX, &l->first, &l->first_len) == -1 ||
	    ibuf_get_n32(b, &l->max) == -1 || ibuf_get_n8(b, &l->flags) == -1)
		return -1;
	if ((l->flags & ~LOAD_ONE) != 0 || (l->ovl == 0 && !l->has_origin) ||
	    ((l->flags & LOAD_ONE) && l->first_len == 0))
		return bad();
	return get_end(b);
}

#define ITEM_FLAGS (ITEM_LOCAL | ITEM_UNSETTLED | ITEM_CLEAN)

void
item_encode(struct wbuf *w, const struct item *it)
{
	size_t at = w->len;

	wbuf_u32(w, 0);
	wbuf_str16(w, it->name, it->name_len);
	wbuf_u64(w, it->ovl);
	wbuf_u8(w, it->flags);
	wbuf_u32(w, it->links);
	wbuf_u8(w, it->has_origin != 0);
	if (it->has_origin) {
		wbuf_hash(w, &it->origin_commit);
		wbuf_str16(w, it->origin_path, it->origin_path_len);
	}
	record_entry_encode(w, &it->entry);
	if (w->error == 0)
		wbuf_set_u32(w, at, (uint32_t)(w->len - at - 4));
}

static void
item_decode_one(struct rbuf *r, struct item *it)
{
	const char *why;
	uint8_t has;

	it->name = rbuf_str16(r, SAIL_NAME_MAX, &it->name_len);
	it->ovl = rbuf_u64(r);
	it->flags = rbuf_u8(r);
	it->links = rbuf_u32(r);
	has = rbuf_u8(r);
	it->has_origin = has == 1;
	if (has > 1)
		rbuf_fail(r, "item: bad flag");
	if (it->has_origin) {
		rbuf_hash(r, &it->origin_commit);
		it->origin_path =
		    rbuf_str16(r, SAIL_PATH_MAX, &it->origin_path_len);
		if (r->error == NULL &&
		    (why = path_problem(it->origin_path,
			 it->origin_path_len)) != NULL)
			rbuf_fail(r, why);
	}
	if (r->error != NULL || record_entry_decode(r, &it->entry) == -1)
		return;
	if (it->name_len != 0 &&
	    (why = name_problem(it->name, it->name_len)) != NULL)
		rbuf_fail(r, why);
	if ((it->flags & ~ITEM_FLAGS) != 0 ||
	    ((it->flags & (ITEM_LOCAL | ITEM_UNSETTLED)) && it->ovl == 0))
		rbuf_fail(r, "item: bad flags");
}

int
item_decode(struct rbuf *r, struct item *it)
{
	struct rbuf one;
	const uint8_t *p;
	size_t len;

	memset(it, 0, sizeof(*it));
	if (r->error != NULL)
		return -1;
	if (rbuf_left(r) == 0)
		return 0;
	p = rbuf_str32(r, PROC_MAX_BODY * 4, &len);
	if (r->error != NULL)
		return -1;
	rbuf_init(&one, p, len);
	item_decode_one(&one, it);
	if (rbuf_end(&one) == -1) {
		rbuf_fail(r,
		    one.error != NULL ? one.error : "item: bytes left over");
		return -1;
	}
	return 1;
}

/* ---- reload --------------------------------------------------------------- */

void
diff_encode(struct wbuf *w, uint8_t kind, const void *path, size_t len)
{
	wbuf_u8(w, kind);
	wbuf_str16(w, path, len);
}

void
diff_origin_encode(struct wbuf *w, const struct diff_origin *o)
{
	wbuf_u8(w, DIFF_ORIGIN);
	wbuf_u64(w, o->ovl);
	wbuf_hash(w, &o->commit);
	wbuf_str16(w, o->path, o->len);
}

int
diff_origin_decode(struct rbuf *r, struct diff_origin *o)
{
	const char *why;

	if (r->error != NULL)
		return -1;
	if (rbuf_left(r) == 0 || r->data[r->pos] != DIFF_ORIGIN)
		return 0;
	(void)rbuf_u8(r);
	o->ovl = rbuf_u64(r);
	rbuf_hash(r, &o->commit);
	o->path = rbuf_str16(r, SAIL_PATH_MAX, &o->len);
	if (r->error != NULL)
		return -1;
	if ((why = path_problem(o->path, o->len)) != NULL)
		rbuf_fail(r, why);
	return r->error != NULL ? -1 : 1;
}

int
diff_decode(struct rbuf *r, uint8_t *kind, const uint8_t **path, size_t *len)
{
	struct diff_origin o;
	const char *why;

	if (r->pos == 0)
		while (diff_origin_decode(r, &o) == 1)
			;
	if (r->error != NULL)
		return -1;
	if (rbuf_left(r) == 0)
		return 0;
	*kind = rbuf_u8(r);
	*path = rbuf_str16(r, SAIL_PATH_MAX, len);
	if (r->error != NULL)
		return -1;
	if (*kind < DIFF_ATTR || *kind > DIFF_OTHER)
		rbuf_fail(r, "difference: unknown kind");
	else if ((why = path_problem(*path, *len)) != NULL)
		rbuf_fail(r, why);
	return r->error != NULL ? -1 : 1;
}

void
tell_encode(struct wbuf *w, uint8_t kind, uint64_t nodeid, const void *name,
    size_t len)
{
	wbuf_u8(w, kind);
	wbuf_u64(w, nodeid);
	wbuf_str16(w, name, len);
}

int
tell_decode(struct rbuf *r, uint8_t *kind, uint64_t *nodeid,
    const uint8_t **name, size_t *len)
{
	const char *why;

	if (r->error != NULL)
		return -1;
	if (rbuf_left(r) == 0)
		return 0;
	*kind = rbuf_u8(r);
	*nodeid = rbuf_u64(r);
	*name = rbuf_str16(r, SAIL_NAME_MAX, len);
	if (r->error != NULL)
		return -1;
	if (*kind == TELL_ENTRY) {
		if ((why = name_problem(*name, *len)) != NULL)
			rbuf_fail(r, why);
	} else if ((*kind != TELL_ATTR && *kind != TELL_LIST) || *len != 0)
		rbuf_fail(r, "notification: unknown kind");
	if (*nodeid == 0)
		rbuf_fail(r, "notification: no node");
	return r->error != NULL ? -1 : 1;
}

/* ---- cache ----------------------------------------------------------------- */

int
cache_want_send(struct chan *c, uint32_t type, uint32_t id,
    const struct cache_want *w, int fd)
{
	struct ibuf *b;
	uint16_t i;

	if (w->n > CACHE_WANT_MAX) {
		errno = ERANGE;
		return -1;
	}
	if ((b = body_new()) == NULL)
		return -1;
	if (ibuf_add(b, w->commit.b, HASH_LEN) == -1 ||
	    add_str16(b, w->path, w->path_len) == -1 ||
	    ibuf_add_n8(b, w->shift) == -1 || ibuf_add_n16(b, w->n) == -1)
		return body_drop(b);
	for (i = 0; i < w->n; i++)
		if (ibuf_add_n64(b, w->chunks[i].slot) == -1 ||
		    ibuf_add_n32(b, w->chunks[i].bytes) == -1 ||
		    ibuf_add(b, w->chunks[i].hash.b, HASH_LEN) == -1)
			return body_drop(b);
	return chan_send_ibuf(c, type, id, fd, b);
}

int
cache_want_recv(struct ibuf *b, struct cache_want *w)
{
	struct fetch_get_chunk *k;
	uint16_t i;

	if (ibuf_get(b, w->commit.b, HASH_LEN) == -1 ||
	    get_path(b, &w->path, &w->path_len) == -1 ||
	    ibuf_get_n8(b, &w->shift) == -1 || ibuf_get_n16(b, &w->n) == -1)
		return -1;
	if (!chunk_shift_valid(w->shift) || w->n == 0 || w->n > CACHE_WANT_MAX)
		return bad();
	for (i = 0; i < w->n; i++) {
		k = &w->chunks[i];
		if (ibuf_get_n64(b, &k->slot) == -1 ||
		    ibuf_get_n32(b, &k->bytes) == -1 ||
		    ibuf_get(b, k->hash.b, HASH_LEN) == -1)
			return -1;
		if (k->slot >= SAIL_SIZE_MAX >> w->shift || k->bytes == 0 ||
		    k->bytes > (uint32_t)1 << w->shift ||
		    (i > 0 && k->slot <= w->chunks[i - 1].slot))
			return bad();
	}
	return get_end(b);
}
