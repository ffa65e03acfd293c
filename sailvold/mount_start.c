/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * mount_start: how a mount begins in manifest: its volume is found, its base
 * and root are brought, its row is made or taken up; later its fuse says HELLO,
 * and gets START once its journal is applied.  In manifest.
 */
#include <errno.h>
#include <event2/event.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/json_name.h"
#include "lib/log.h"
#include "lib/path.h"
#include "lib/wire.h"
#include "sailvold/ask.h"
#include "sailvold/collect.h"
#include "sailvold/mount_start.h"
#include "sailvold/place.h"

#define ANSWER_MAX (64 * 1024)
/* The top of the tree: who mounts waits for it.  More of it comes with the first
   question for more. */
#define HEAD_BUDGET (64 * 1024)
#define NODE_TRIES 64
#define CHECK_S 2 /* for the server to say which volume it is */
#define SETTLE_AGAIN_S 1
#define START_AGAIN_S 1

struct begin {
	TAILQ_ENTRY(begin) link;
	struct mount *m;
	struct mount_req req;
	uint32_t id; /* of the parent's question */
	int gone;
	unsigned int tries;
	uint32_t asked; /* the number of the check of a row that is taken up */
	int renamed;    /* its volume has another name by now */
	struct event *late;
};
static TAILQ_HEAD(, begin) begins = TAILQ_HEAD_INITIALIZER(begins);

/* What the kernel says of itself; "": nobody knows. */
static char boot_id[BOOT_ID_LEN + 1];

static void find_volume(struct begin *);
static void settle_again(int, short, void *);
static void start_again(int, short, void *);
static void make_root(void *, int);
static void begin_fail(struct begin *, int, const char *, ...)
    __attribute__((format(printf, 3, 4)));

static void
begin_free(struct begin *b)
{
	TAILQ_REMOVE(&begins, b, link);
	if (b->late != NULL)
		event_free(b->late);
	mount_req_free(&b->req);
	free(b);
}

/* Answers the parent.  error 0: the mount is ready for its fuse. */
static void
begin_done(struct begin *b, int error, const char *what)
{
	struct ibuf *buf;
	const char *id = error == 0 ? b->m->row.volume_id : "";
	uint32_t number = b->id;

	if (b->gone && error == 0) {
		begin_fail(b, ECANCELED, "unmounted meanwhile");
		return;
	}
	buf = ibuf_dynamic(64, PROC_MAX_BODY);
	if (buf == NULL || ibuf_add_n32(buf, (uint32_t)error) == -1 ||
	    ibuf_add_n16(buf, (uint16_t)strlen(what)) == -1 ||
	    ibuf_add(buf, what, strlen(what)) == -1 ||
	    ibuf_add_n16(buf, (uint16_t)strlen(id)) == -1 ||
	    ibuf_add(buf, id, strlen(id)) == -1)
		fatal("answering the parent");
	if (chan_send_ibuf(role_parent(), IMSG_MANIFEST_PARENT_MOUNT_RES,
		number, -1, buf) == -1)
		fatal("answering the parent");
	if (error != 0)
		mount_free(b->m);
	else
		mount_ready(b->m);
	begin_free(b);
}

static void
begin_fail(struct begin *b, int error, const char *fmt, ...)
{
	char what[512];
	va_list ap;
	int n;

	if (error == 0)
		error = EIO;
	n = snprintf(what, sizeof(what), "volume %s: ", b->req.volume);
	va_start(ap, fmt);
	vsnprintf(what + n, sizeof(what) - (size_t)n, fmt, ap);
	va_end(ap);
	begin_done(b, error, what);
}

/* ---- the row ------------------------------------------------------------------------- */

static int
set_string(char **p, const char *s)
{
	char *copy;

	if ((copy = strdup(s)) == NULL)
		return -1;
	free(*p);
	*p = copy;
	return 0;
}

static int
fill_row(struct mount_row *row, const struct mount_req *req)
{
	memcpy(row->id, req->mount, sizeof(row->id));
	row->flags &= ~(uint32_t)ROW_PINNED;
	if (req->has_commit)
		row->flags |= ROW_PINNED;
	if (set_string(&row->path, req->path) == -1 ||
	    set_string(&row->volume, req->volume) == -1 ||
	    set_string(&row->subpath, req->subpath) == -1)
		return -1;
	if (row->volume_id == NULL && set_string(&row->volume_id, "") == -1)
		return -1;
	if (row->org == NULL && set_string(&row->org, "") == -1)
		return -1;
	return 0;
}

/* The object of the root directory, as the base has it. */
static int
put_root(struct mount *m, const struct entry *e)
{
	struct obj o;

	memset(&o, 0, sizeof(o));
	o.ovl = OVL_ROOT;
	o.links = 1;
	if ((o.entry = entry_dup(e)) == NULL)
		return -1;
	o.has_origin = 1;
	o.origin_commit = m->row.base;
	o.origin_path_len = strlen(m->row.subpath);
	o.origin_path = (uint8_t *)m->row.subpath;
	if (db_obj_put(manifest_db, m->row.row, &o) == -1) {
		free(o.entry);
		return -1;
	}
	free(o.entry);
	return 0;
}

static int
store_row(struct mount *m, const struct entry *root)
{
	struct mount_row saved = m->row;

	if (db_begin_durable(manifest_db) == -1)
		return -1;
	m->row.epoch++;
	if (m->row.row == 0) {
		m->row.next = OVL_ROOT + 1;
		arc4random_buf(m->row.lease, sizeof(m->row.lease));
		if (db_mount_insert(manifest_db, &m->row) == -1)
			goto fail;
	} else {
		m->row.has_last = 0;
		m->row.flags &= ~(uint32_t)ROW_SEEN;
		if (db_overlay_reset(manifest_db, m->row.row) == -1 ||
		    db_mount_update(manifest_db, &m->row) == -1)
			goto fail;
	}
	if (put_root(m, root) == -1 || db_commit(manifest_db) == -1)
		goto fail;
	return 0;
fail:
	db_rollback(manifest_db);
	m->row = saved;
	return -1;
}

/* ---- base and root -------------------------------------------------------------------- */

static int
base_number(struct mount *m)
{
	struct blob *b;
	struct commit c;
	const char *why;

	if ((b = db_commit_get(manifest_db, &m->row.base)) == NULL)
		return -1;
	if ((why = commit_decode(b->data, b->len, &c)) == NULL)
		m->row.base_number = c.number;
	blob_unref(b);
	return why == NULL ? 0 : -1;
}

static void
want_root(struct begin *b, const struct node_miss *miss)
{
	if (++b->tries > NODE_TRIES ||
	    nodes_want(b->m->row.volume_id, &miss->commit, NULL, miss->path,
		miss->path_len, miss->first, miss->first_len, make_root,
		b) == -1)
		begin_fail(b, EIO, "its nodes cannot be had");
}

/* The commit is here: the directory to be shown is looked for in it. */
static void
make_root(void *arg, int error)
{
	struct begin *b = arg;
	struct mount *m = b->m;
	const char *path = m->row.subpath;
	struct node_miss miss;
	struct entry *root;

	/* The row may be that of the next mount there by now. */
	if (b->gone) {
		begin_fail(b, ECANCELED, "unmounted meanwhile");
		return;
	}
	if (error != 0) {
		begin_fail(b, error, "%s",
		    error == ENOENT ? "it has no such commit"
				    : "its newest commit cannot be had");
		return;
	}
	memset(&miss, 0, sizeof(miss));
	if (place_entry(&m->row.base, path, strlen(path), &root, &miss) == 0) {
		if (*path == '\0' && !nodes_commit_whole(&m->row.base))
			begin_fail(b, EACCES,
			    "the key sees a part of it alone");
		else if (base_number(m) == -1 || store_row(m, root) == -1)
			begin_fail(b, EIO, "the database does not take it");
		else
			begin_done(b, 0, "");
		free(root);
	} else if (errno == ENODATA)
		want_root(b, &miss);
	else
		begin_fail(b, errno, "%s is not %s", path,
		    errno == ENOTDIR ? "a directory" : "there");
	node_miss_free(&miss);
}

static int
status_errno(uint16_t status)
{
	return status == 404                 ? ENOENT
	    : status == 401 || status == 403 ? EACCES
					     : EIO;
}

static void
head_came(void *arg, const struct server_answer *a)
{
	struct begin *b = arg;
	struct hash head;
	const char *why;
	char what[256], code[64];
	int complete;

	if (a->status != 200) {
		server_error(a, what, sizeof(what), code, sizeof(code));
		begin_fail(b, status_errno(a->status), "%s", what);
		return;
	}
	if ((why = nodes_take_bundle(b->m->row.volume_id, a->data, a->len,
		 &head, &complete)) != NULL) {
		begin_fail(b, EIO, "the server sent %s", why);
		return;
	}
	b->m->row.base = head;
	make_root(b, 0);
}

static void
find_base(struct begin *b)
{
	struct mount *m = b->m;
	char target[160];

	if (b->req.has_commit) {
		m->row.base = b->req.commit;
		if (nodes_want(m->row.volume_id, &m->row.base, NULL, "", 0, "",
			0, make_root, b) == -1)
			begin_fail(b, errno, "asking the server");
		return;
	}
	snprintf(target, sizeof(target), "/v1/volumes/%s/head?budget=%d",
	    m->row.volume_id, HEAD_BUDGET);
	if (server_request(1, target, NULL, -1, 1,
		WIRE_BUDGET_MAX + HEAD_BUDGET, head_came, b) == 0)
		begin_fail(b, errno, "asking the server");
}

/* ---- the volume -------------------------------------------------------------------------- */

static int
valid_volume_id(const char *s)
{
	return s != NULL && strncmp(s, "vol_", 4) == 0 && strlen(s) == 36 &&
	    strspn(s + 4, "0123456789abcdef") == 32;
}

/* 1: answered, for the key is for another part of the volume. */
static int
beyond_key(struct begin *b, const json_t *volume)
{
	const char *sub = b->m->row.subpath;
	size_t len;
	char *path = json_name_get(json_object_get(volume, "path"), &len);
	int beyond =
	    path != NULL && !path_is_below(sub, strlen(sub), path, len);

	if (beyond)
		begin_fail(b, EACCES,
		    "the key is limited to a directory of it: %s:/%s",
		    b->m->row.volume, path);
	free(path);
	return beyond;
}

static void
volume_came(void *arg, const struct server_answer *a)
{
	struct begin *b = arg;
	struct mount *m = b->m;
	const char *id, *org;
	char what[256], code[64];
	json_t *root;
	json_int_t must;

	if (a->status != 200 && a->status != 201) {
		server_error(a, what, sizeof(what), code, sizeof(code));
		begin_fail(b, status_errno(a->status), "%s", what);
		return;
	}
	root = json_loadb((const char *)a->data, a->len, 0, NULL);
	id = json_string_value(json_object_get(root, "id"));
	org = json_string_value(
	    json_object_get(json_object_get(root, "org"), "name"));
	must = json_integer_value(
	    json_object_get(json_object_get(root, "format"), "must_know"));
	if (!valid_volume_id(id))
		begin_fail(b, EIO, "the server's answer has no id");
	else if (((uint64_t)must & ~VOLUME_FEATURES_KNOWN) != 0)
		begin_fail(b, EPROTONOSUPPORT,
		    "its format has "
		    "features that this program does not know");
	else if (set_string(&m->row.volume_id, id) == -1 ||
	    set_string(&m->row.org, org != NULL ? org : "") == -1)
		begin_fail(b, ENOMEM, "out of memory");
	else if (!beyond_key(b, root))
		find_base(b);
	json_decref(root);
}

static void
find_volume(struct begin *b)
{
	char target[256], *text = NULL;
	json_t *body;
	uint32_t n = 0;
	int fd;

	if (b->req.flags & MOUNT_CREATE) {
		body = json_pack("{s:s, s:b}", "name", b->req.volume,
		    "mint_if_missing", 1);
		text = body != NULL ? json_dumps(body, JSON_COMPACT) : NULL;
		json_decref(body);
		fd =
		    text != NULL ? memfd_new("volume", text, strlen(text)) : -1;
		if (fd != -1)
			n = server_request(3, "/v1/volumes", "application/json",
			    fd, 1, ANSWER_MAX, volume_came, b);
		free(text);
	} else {
		snprintf(target, sizeof(target), "/v1/volumes/%s",
		    b->req.volume);
		n = server_request(1, target, NULL, -1, 1, ANSWER_MAX,
		    volume_came, b);
	}
	if (n == 0)
		begin_fail(b, errno, "asking the server");
}

/*
 * 1: the row's base is taken up.  A restart comes back at the base that it had,
 * server or not.  0: it begins anew.  -1: it cannot be.
 */
static int
taken_up(const struct mount_row *row, const struct mount_req *req)
{
	if (row->row == 0 || hash_is_zero(&row->base))
		return 0;
	if (req->has_commit && hash_cmp(&req->commit, &row->base) == 0)
		return 1;
	if (row->flags & ROW_PINNED)
		return 0;
	return req->has_commit ? -1 : 1;
}

static int check_ask(struct begin *, const char *, server_cb);

/*
 * Only an answer that names another volume counts: what was made above one that
 * was deleted, or has another name now, is never published into its namesake.
 */
static void
name_checked(void *arg, const struct server_answer *a)
{
	struct begin *b = arg;
	const char *id;
	json_t *root;
	int other;

	b->asked = 0;
	root = a->status == 200
	    ? json_loadb((const char *)a->data, a->len, 0, NULL)
	    : NULL;
	id = json_string_value(json_object_get(root, "id"));
	other = valid_volume_id(id) && strcmp(id, b->m->row.volume_id) != 0;
	json_decref(root);
	if (other)
		begin_fail(b, ESTALE,
		    "it was %s, and what is kept for %s "
		    "belongs to the old one (%s): it stays there, and is not "
		    "published; mount the new volume at another directory",
		    b->renamed ? "renamed, and another one has its name"
			       : "deleted and made again",
		    b->req.path, b->m->row.volume_id);
	else
		begin_done(b, 0, "");
}

/*
 * What was mounted when sailvold ended goes on, whatever the volume is called by
 * now.  Who mounts by a name means the volume that has it.
 */
static void
id_checked(void *arg, const struct server_answer *a)
{
	struct begin *b = arg;
	const char *id, *name;
	json_t *root = NULL;

	b->asked = 0;
	if (a->status == 200)
		root = json_loadb((const char *)a->data, a->len, 0, NULL);
	id = json_string_value(json_object_get(root, "id"));
	name = json_string_value(json_object_get(root, "name"));
	b->renamed = id != NULL && strcmp(id, b->m->row.volume_id) == 0 &&
	    name != NULL && strcmp(name, b->req.volume) != 0;
	json_decref(root);
	if ((!b->renamed && a->status != 404) ||
	    (b->renamed && (b->req.flags & MOUNT_BACK)) ||
	    check_ask(b, b->req.volume, name_checked) == -1)
		begin_done(b, 0, "");
}

static void
check_is_late(int fd, short what, void *arg)
{
	struct begin *b = arg;

	(void)fd;
	(void)what;
	server_cancel(b->asked);
	begin_done(b, 0, "");
}

static int
check_ask(struct begin *b, const char *volume, server_cb f)
{
	char target[256];

	snprintf(target, sizeof(target), "/v1/volumes/%s", volume);
	b->asked = server_request(1, target, NULL, -1, 0, ANSWER_MAX, f, b);
	return b->asked != 0 ? 0 : -1;
}

/* A mount that lives is not asked about; without a server it comes back too. */
static void
check_row(struct begin *b)
{
	struct timeval tv = { CHECK_S, 0 };
	const char *id = b->m->row.volume_id;

	/* The parent takes none that is wrong. */
	if (volume_name_problem(id, strlen(id)) != NULL) {
		begin_fail(b, EIO, "the id of its volume is damaged");
		return;
	}
	if (b->req.flags & MOUNT_AGAIN) {
		begin_done(b, 0, "");
		return;
	}
	b->late = evtimer_new(proc_base(), check_is_late, b);
	if (b->late == NULL || evtimer_add(b->late, &tv) == -1 ||
	    check_ask(b, id, id_checked) == -1)
		begin_done(b, 0, "");
}

int
mount_begin(uint32_t id, struct mount_req *req)
{
	struct begin *b;
	struct mount *m;
	int up;

	if ((b = calloc(1, sizeof(*b))) == NULL || (m = mount_new()) == NULL)
		fatal("a new mount");
	b->m = m;
	b->id = id;
	b->req = *req;
	memset(req, 0, sizeof(*req));
	TAILQ_INSERT_TAIL(&begins, b, link);
	m->instance = b->req.instance;
	m->flags = b->req.flags;
	m->uid = b->req.uid;
	m->ids = b->req.ids;
	m->policy = b->req.policy;
	m->has_commit = b->req.has_commit;
	m->fresh = !(b->req.flags & MOUNT_AGAIN);
	if (volume_name_problem(b->req.volume, strlen(b->req.volume)) != NULL) {
		begin_fail(b, EINVAL, "not a name of a volume");
		return 0;
	}
	if (db_mount_find(manifest_db, b->req.mount, &m->row) == -1 &&
	    errno != ENOENT) {
		/* It lives, and would have no manifest until the next one. */
		if (b->req.flags & MOUNT_AGAIN)
			fatal("mount %s: its row", b->req.path);
		begin_fail(b, EIO, "the database does not answer");
		return 0;
	}
	up = taken_up(&m->row, &b->req);
	if (fill_row(&m->row, &b->req) == -1)
		fatal("a new mount");
	if (up == 1)
		check_row(b);
	else if (up == -1)
		begin_fail(b, EBUSY,
		    "there may be unpublished changes of %s: "
		    "mount it without a commit, and unmount it, first",
		    b->req.path);
	else
		find_volume(b);
	return 0;
}

void
mount_begin_gone(uint32_t instance)
{
	struct begin *b;

	TAILQ_FOREACH (b, &begins, link)
		if (b->req.instance == instance)
			b->gone = 1;
}

/* ---- HELLO and START --------------------------------------------------------------------------- */

int
start_fill(struct mount *m, struct start *st, void **keep)
{
	struct node_miss miss;
	struct item it;
	struct rbuf r;
	struct wbuf w;
	size_t len;

	memset(st, 0, sizeof(*st));
	*keep = NULL;
	if (fill_object(m, OVL_ROOT, &it, keep, &miss) != 1) {
		log_warn("mount %s: its root", m->row.path);
		node_miss_free(&miss);
		return -1;
	}
	wbuf_init(&w, 1024 * 1024);
	item_encode(&w, &it);
	free(*keep);
	if ((*keep = wbuf_take(&w, &len)) == NULL)
		return -1;
	rbuf_init(&r, *keep, len);
	st->epoch = m->row.epoch;
	st->applied = m->row.applied;
	st->next = m->row.next;
	st->base = m->row.base;
	st->base_number = m->row.base_number;
	st->volume_version = VOLUME_VERSION;
	snprintf(st->volume_id, sizeof(st->volume_id), "%s", m->row.volume_id);
	snprintf(st->volume, sizeof(st->volume), "%s", m->row.volume);
	snprintf(st->org, sizeof(st->org), "%s", m->row.org);
	st->root = *keep;
	st->root_len = len;
	return 0;
}

static int
drop_some(struct mount *m, const uint64_t *ovls, size_t n)
{
	struct obj o;
	size_t i;
	int rc = 0;

	for (i = 0; i < n && rc == 0; i++) {
		if (db_obj_get(manifest_db, m->row.row, ovls[i], &o) == -1)
			continue;
		o.flags |= OBJ_DROPPED;
		rc = db_obj_put(manifest_db, m->row.row, &o);
		obj_free(&o);
	}
	return rc;
}

/* No handle survived: what has no name is not needed any more. */
static void
drop_nameless(struct mount *m)
{
	uint64_t ovls[NAMELESS_BATCH], after = 0;
	size_t n;

	if (db_begin(manifest_db) == -1)
		return;
	do {
		if (db_obj_list_nameless(manifest_db, m->row.row, after, ovls,
			NAMELESS_BATCH, &n) == -1 ||
		    drop_some(m, ovls, n) == -1)
			goto fail;
		if (n > 0)
			after = ovls[n - 1];
	} while (n == NAMELESS_BATCH);
	if (db_commit(manifest_db) == 0)
		return;
fail:
	log_warn("mount %s: files without a name", m->row.path);
	db_rollback(manifest_db);
}

static int
add_time(struct ibuf *b, const struct timens *t)
{
	return ibuf_add_n64(b, (uint64_t)t->sec) == -1 ||
		ibuf_add_n32(b, t->nsec) == -1
	    ? -1
	    : 0;
}

static int
add_unsettled(struct ibuf *b, const struct obj *o)
{
	int settled = (o->flags & (OBJ_UNSETTLED | OBJ_SUSPECT)) == 0;

	return ibuf_add_n64(b, o->ovl) == -1 ||
		ibuf_add_n64(b, o->entry->size) == -1 ||
		add_time(b, &o->entry->mtime) == -1 ||
		add_time(b, &o->entry->ctime) == -1 ||
		ibuf_add_n8(b, (uint8_t)settled) == -1
	    ? -1
	    : 0;
}

static int
send_unsettled(struct mount *m, const uint64_t *ovls, size_t n)
{
	struct ibuf *b;
	struct obj o;
	size_t i;
	int rc = 0;

	b = ibuf_dynamic(2 + n * SETTLE_ITEM_LEN, PROC_MAX_BODY);
	if (b == NULL || ibuf_add_n16(b, (uint16_t)n) == -1)
		goto fail;
	for (i = 0; rc == 0 && i < n; i++) {
		if (db_obj_get(manifest_db, m->row.row, ovls[i], &o) == -1)
			goto fail;
		rc = add_unsettled(b, &o);
		obj_free(&o);
	}
	if (rc == 0)
		return chan_send_ibuf(m->fuse, IMSG_MANIFEST_FUSE_SETTLE, 0, -1,
		    b);
fail:
	ibuf_free(b);
	return -1;
}

/* -1 and EPIPE: fuse is gone, and the next one is told. */
static int
settle_all(struct mount *m,
    int (*list)(struct db *, int64_t, uint64_t **, size_t *))
{
	uint64_t *ovls = NULL;
	size_t n = 0, at, k;
	int rc;

	rc = list(manifest_db, m->row.row, &ovls, &n);
	for (at = 0; rc == 0 && at < n; at += k) {
		k = n - at < SETTLE_BATCH ? n - at : SETTLE_BATCH;
		rc = send_unsettled(m, ovls + at, k);
	}
	free(ovls);
	return rc;
}

/* fuse has looked at all: that is not needed again before power is lost. */
static void
looked_at(struct mount *m, void *arg, int error, uint64_t offset)
{
	(void)arg;
	(void)offset;
	if (error != 0)
		return;
	memcpy(m->row.boot, boot_id, sizeof(m->row.boot));
	if (db_mount_update(manifest_db, &m->row) == -1) {
		log_warn("mount %s: its row", m->row.path);
		m->row.boot[0] = '\0';
	}
}

/*
 * A loss of power leaves of a file that was not synced less than was settled:
 * what it says is what there is.  As long as this kernel runs there was none.
 */
static int
settle_shortened(struct mount *m)
{
	if (boot_id[0] != '\0' && strcmp(m->row.boot, boot_id) == 0)
		return 0;
	if (settle_all(m, db_obj_list_settled) == -1)
		return -1;
	/* The answer comes after what it does for all these. */
	ask_cancel(m, m->row.boot);
	return boot_id[0] == '\0' ? 0 : ask_sync(m, looked_at, m->row.boot);
}

/*
 * Files that were open for writing when fuse died have sizes and times that
 * fstat(2) alone knows (also those that were settled for a commit: what is
 * passed through is written to without a record): those that nobody has open any more are settled now, so
 * that the next mark finds them in the rows.
 */
static void
settle_left(struct mount *m)
{
	struct timeval tv = { SETTLE_AGAIN_S, 0 };

	if (settle_all(m, db_obj_list_unsettled) == 0 &&
	    settle_shortened(m) == 0)
		return;
	if (errno == EPIPE)
		return;
	if (m->settle_again == NULL) {
		log_warn("mount %s: settling files: again each second",
		    m->row.path);
		m->settle_again = evtimer_new(proc_base(), settle_again, m);
	}
	if (m->settle_again == NULL || evtimer_add(m->settle_again, &tv) == -1)
		fatal("mount %s: settling files", m->row.path);
}

static void
settle_again(int fd, short what, void *arg)
{
	struct mount *m = arg;

	(void)fd;
	(void)what;
	/* A fuse that is still to start gets it then. */
	if (m->fuse != NULL && m->started && !m->gone)
		settle_left(m);
}

void
mount_boot(const char *id)
{
	snprintf(boot_id, sizeof(boot_id), "%s", id);
}

void
mount_start_free(struct mount *m)
{
	if (m->settle_again != NULL)
		event_free(m->settle_again);
	m->settle_again = NULL;
	if (m->start_again != NULL)
		event_free(m->start_again);
	m->start_again = NULL;
}

/* The parent attaches the mount, or gives it up. */
static void
tell_start(struct mount *m, int error, const char *what)
{
	struct ibuf *b;

	b = ibuf_dynamic(64, PROC_MAX_BODY);
	if (b == NULL || ibuf_add_n32(b, (uint32_t)error) == -1 ||
	    ibuf_add_n16(b, (uint16_t)strlen(what)) == -1 ||
	    ibuf_add(b, what, strlen(what)) == -1 ||
	    chan_send_ibuf(role_parent(), IMSG_MANIFEST_PARENT_START_RES,
		m->instance, -1, b) == -1)
		fatal("answering the parent");
}

static void
start_failed(struct mount *m, const char *why)
{
	char what[512];

	snprintf(what, sizeof(what), "volume %s: %s", m->row.volume, why);
	log_warnx("mount %s: cannot be started: %s", m->row.path, why);
	tell_start(m, EBADMSG, what);
}

static void
start_broken(struct mount *m, void *arg)
{
	(void)arg;
	if (m->gone)
		return;
	start_failed(m,
	    "its journal is broken (the log says where); "
	    "its changes stay in the journal");
	collect_go_on(m);
}

/* Who mounts is told; one that lives has nobody else who would try again. */
static void
start_later(struct mount *m)
{
	struct timeval tv = { START_AGAIN_S, 0 };

	if (errno == EPIPE)
		return; /* fuse is gone, and the next one says HELLO */
	if (m->fresh) {
		start_failed(m, "its root cannot be had");
		return;
	}
	if (m->start_again == NULL) {
		log_warnx("mount %s: its root cannot be had: again each second",
		    m->row.path);
		m->start_again = evtimer_new(proc_base(), start_again, m);
	}
	if (m->start_again == NULL || evtimer_add(m->start_again, &tv) == -1)
		fatal("mount %s: its start", m->row.path);
}

static void
send_start(struct mount *m, void *arg)
{
	struct start st;
	void *keep;
	int rc;

	(void)arg;
	if (m->fuse == NULL)
		return;
	/* From here on fuse may cut off what was applied. */
	if (m->row.applied > 0 && journal_sync(m) == -1)
		log_warnx(
		    "mount %s: what was applied may not survive a loss of "
		    "power",
		    m->row.path);
	if (m->fresh)
		drop_nameless(m);
	errno = 0;
	rc = start_fill(m, &st, &keep);
	if (rc == 0)
		rc = start_send(m->fuse, IMSG_MANIFEST_FUSE_START, 0, &st, -1);
	free(keep);
	if (rc == -1) {
		start_later(m);
		return;
	}
	settle_left(m);
	m->ask_left = !m->fresh;
	m->fresh = 0;
	m->started = m->whole = 1;
	tell_start(m, 0, "");
	ask_fuse_started(m);
	mount_started(m);
	namespace_sweep(m);
}

static void
start_again(int fd, short what, void *arg)
{
	struct mount *m = arg;

	(void)fd;
	(void)what;
	if (!m->started && !m->gone && !m->broken)
		send_start(m, NULL);
}

int
mount_hello(struct mount *m, const uint8_t id[16], uint64_t end)
{
	if (memcmp(id, m->row.id, 16) != 0 || m->started) {
		errno = EBADMSG;
		return -1;
	}
	mount_fuse_down(m);
	if (end < m->row.applied)
		log_warnx("mount %s: its journal ends before what was applied; "
			  "nothing is missing",
		    m->row.path);
	if (applied_wait_or(m, end, send_start, start_broken, NULL) == -1) {
		if (!m->broken)
			return -1;
		start_broken(m, NULL);
	}
	return 0;
}

void
mount_fuse_down(struct mount *m)
{
	applied_wait_cancel(m, send_start, NULL);
	if (m->start_again != NULL)
		evtimer_del(m->start_again);
}

void
mount_reset(struct mount *m)
{
	struct mount_row saved = m->row;
	uint64_t names, objects;

	if (!m->whole || m->broken ||
	    db_dirty_count(manifest_db, m->row.row, &names, &objects) == -1 ||
	    names > 0 || objects > 0)
		return; /* taken up by the next mount there */
	if (db_begin(manifest_db) == -1)
		return;
	memset(&m->row.base, 0, sizeof(m->row.base));
	m->row.has_last = 0;
	m->row.flags &= ~(uint32_t)(ROW_SEEN | ROW_PINNED);
	if (db_overlay_reset(manifest_db, m->row.row) == -1 ||
	    db_mount_update(manifest_db, &m->row) == -1 ||
	    db_commit(manifest_db) == -1) {
		db_rollback(manifest_db);
		m->row = saved;
	}
}
