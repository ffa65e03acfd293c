/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * load: answers what fuse asks about directories, objects and chunks, once the
 * journal is applied as far as the question needs and the nodes are here.  In
 * manifest.
 */
#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/commit.h"
#include "lib/log.h"
#include "sailvold/load.h"

#define PAGE_ITEMS 4096
#define PAGE_BYTES (1024 * 1024)
#define BODY_BYTES (48 * 1024)
#define NODE_TRIES 64
#define QUESTIONS_MAX 65536 /* more than requests of the kernel at a time */
/* Answers with a descriptor that fuse has not read: others wait until it has.  Far
   from what a channel takes for a fuse that does not read. */
#define ANSWER_FDS 128
#define HELD_MS 5
#define CHUNK_SLOTS_MAX (4 * 1024 * 1024)

/* A question on its way; freed when it is answered or its fuse went. */
struct question {
	TAILQ_ENTRY(question) link;
	TAILQ_ENTRY(question) held_link;
	int held;
	uint32_t instance;
	struct chan *fuse; /* who asked; answers go to nobody else */
	uint32_t id, type;
	unsigned int tries;
	/* LOAD */
	struct shown_dir dir;
	uint8_t *first;
	size_t first_len;
	uint32_t max;
	uint8_t flags;
	/* OBJECT, CHUNKS */
	uint64_t ovl;
	struct hash commit;
	uint8_t *path;
	size_t path_len;
};
static TAILQ_HEAD(, question) questions = TAILQ_HEAD_INITIALIZER(questions);

static TAILQ_HEAD(question_list, question) held = TAILQ_HEAD_INITIALIZER(held);
static struct event *held_timer;

static void try_answer(struct mount *, void *);

static void
let_go(struct question *q)
{
	if (q->held)
		TAILQ_REMOVE(&held, q, held_link);
	q->held = 0;
}

static void
question_free(struct question *q)
{
	struct mount *m = mount_by_instance(q->instance);

	if (m != NULL && m->questions > 0)
		m->questions--;
	TAILQ_REMOVE(&questions, q, link);
	let_go(q);
	shown_dir_free(&q->dir);
	free(q->first);
	free(q->path);
	free(q);
}

/*
 * 1; 0: it is more than any fuse asks, or of what nobody has written: that would
 * be waited for for ever.
 */
static int
may_ask(const struct chan *ch, uint64_t offset)
{
	const struct mount *m = mount_by_instance(chan_instance(ch));

	return m == NULL || m->broken ||
	    (m->questions < QUESTIONS_MAX && offset <= journal_reach(m));
}

/* Nobody could be told that there is no memory for it. */
static struct question *
question_new(struct chan *ch, uint32_t type, uint32_t id)
{
	struct mount *m = mount_by_instance(chan_instance(ch));
	struct question *q;

	if ((q = calloc(1, sizeof(*q))) == NULL)
		fatal("a question of fuse");
	q->instance = chan_instance(ch);
	q->fuse = ch;
	q->type = type;
	q->id = id;
	if (m != NULL)
		m->questions++;
	TAILQ_INSERT_TAIL(&questions, q, link);
	return q;
}

static void *
dup_bytes(const void *p, size_t len)
{
	uint8_t *copy;

	if ((copy = malloc(len + 1)) == NULL)
		return NULL;
	if (len > 0)
		memcpy(copy, p, len);
	copy[len] = '\0';
	return copy;
}

void
load_fuse_down(struct chan *ch)
{
	struct question *q;

	/* Freed when what they wait for comes. */
	TAILQ_FOREACH (q, &questions, link)
		if (q->fuse == ch)
			q->fuse = NULL;
}

/* ---- answers ------------------------------------------------------------------------ */

/* head and fd are taken; -1: it was not sent, though somebody waits for it. */
static int
reply_fd(struct question *q, uint32_t type, struct ibuf *head, int fd)
{
	int error;

	if (q->fuse == NULL) {
		ibuf_free(head);
		if (fd != -1)
			close(fd);
		return 0;
	}
	if (chan_send_ibuf(q->fuse, type, q->id, fd, head) == 0)
		return 0;
	error = errno;
	if (fd != -1)
		close(fd);
	errno = error;
	return errno == EPIPE ? 0 : -1;
}

/* head is taken.  Items that do not fit a message go as a memfd.  -1: there was
   no room for an answer; who went needs none. */
static int
reply(struct question *q, uint32_t type, struct ibuf *head,
    const struct wbuf *items)
{
	int fd = -1;

	if (head == NULL)
		goto fail;
	if (items != NULL && items->error != 0) {
		errno = items->error;
		goto fail;
	}
	if (items != NULL && items->len > BODY_BYTES) {
		if ((fd = memfd_new("items", items->data, items->len)) == -1)
			goto fail;
	} else if (items != NULL && items->len > 0 &&
	    ibuf_add(head, items->data, items->len) == -1)
		goto fail;
	return reply_fd(q, type, head, fd);
fail:
	ibuf_free(head);
	return -1;
}

static struct ibuf *
head_new(uint32_t error)
{
	struct ibuf *b;

	b = ibuf_dynamic(64, PROC_MAX_BODY);
	if (b != NULL && ibuf_add_n32(b, error) == -1) {
		ibuf_free(b);
		return NULL;
	}
	return b;
}

/* Without an answer its program would wait for ever: a manifest that cannot give
   one ends, and the next is asked again. */
static void
reply_error(struct question *q, int error)
{
	struct ibuf *b = head_new((uint32_t)error);
	uint32_t type = IMSG_MANIFEST_FUSE_CHUNKS_RES;

	if (q->type == IMSG_FUSE_MANIFEST_LOAD) {
		type = IMSG_MANIFEST_FUSE_LOAD_RES;
		if (b != NULL &&
		    (ibuf_add_n8(b, 1) == -1 || ibuf_add_n16(b, 0) == -1)) {
			ibuf_free(b);
			b = NULL;
		}
	} else if (q->type == IMSG_FUSE_MANIFEST_OBJECT) {
		type = IMSG_MANIFEST_FUSE_OBJECT_RES;
		if (b != NULL && ibuf_add_n32(b, 0) == -1) {
			ibuf_free(b);
			b = NULL;
		}
	}
	if (reply(q, type, b, NULL) == -1)
		fatal("answering fuse");
	question_free(q);
}

/* The answer was made: rc, of reply(). */
static void
replied(struct question *q, int rc)
{
	if (rc == 0) {
		question_free(q);
		return;
	}
	log_warn("answering fuse");
	reply_error(q, ENOMEM);
}

static void
nodes_came(void *arg, int error)
{
	struct question *q = arg;
	struct mount *m = mount_by_instance(q->instance);

	if (m == NULL || q->fuse == NULL) {
		question_free(q);
		return;
	}
	if (error != 0) {
		reply_error(q, error == ENOENT ? ESTALE : EIO);
		return;
	}
	try_answer(m, q);
}

/* A node is missing: it is asked for, and the answer tried again. */
static void
want(struct mount *m, struct question *q, struct node_miss *miss)
{
	int rc;

	if (++q->tries > NODE_TRIES) {
		log_warnx(
		    "mount %s: the server's answers do not bring the nodes"
		    " of a directory",
		    m->row.path);
		node_miss_free(miss);
		reply_error(q, EIO);
		return;
	}
	rc = nodes_want(m->row.volume_id, &miss->commit, NULL, miss->path,
	    miss->path_len, miss->first, miss->first_len, nodes_came, q);
	node_miss_free(miss);
	if (rc == -1)
		reply_error(q, EIO);
}

static void
failed(struct mount *m, struct question *q, struct node_miss *miss)
{
	int error = errno;

	if (error == ENODATA && miss->path != NULL) {
		want(m, q, miss);
		return;
	}
	node_miss_free(miss);
	reply_error(q, error == ENODATA ? EIO : error);
}

/* ---- LOAD ------------------------------------------------------------------------------ */

static int
fill_question(struct mount *m, struct question *q, struct wbuf *w,
    uint32_t *count, int *end, struct node_miss *miss)
{
	struct item it;
	void *keep;
	int rc;

	if (!(q->flags & LOAD_ONE))
		return fill_dir(m, &q->dir, q->first, q->first_len, 0,
		    q->max != 0 && q->max < PAGE_ITEMS ? q->max : PAGE_ITEMS,
		    PAGE_BYTES, w, count, end, miss);
	rc = fill_one(m, &q->dir, q->first, q->first_len, &it, &keep, miss);
	if (rc == 1) {
		item_encode(w, &it);
		free(keep);
	}
	*count = rc == 1;
	*end = 0;
	return rc == -1 ? -1 : 0;
}

/* The name of the last item, to which the answer reaches. */
static const uint8_t *
last_name(const struct wbuf *w, size_t *len)
{
	const uint8_t *name = NULL;
	struct item it;
	struct rbuf r;

	*len = 0;
	rbuf_init(&r, w->data, w->len);
	while (item_decode(&r, &it) == 1) {
		name = it.name;
		*len = it.name_len;
	}
	return name;
}

static void
answer_load(struct mount *m, struct question *q)
{
	struct node_miss miss;
	const uint8_t *upto = NULL;
	struct ibuf *b;
	struct wbuf w;
	size_t upto_len = 0;
	uint32_t count;
	int end, rc;

	wbuf_init(&w, 4 * PAGE_BYTES);
	if (fill_question(m, q, &w, &count, &end, &miss) == -1) {
		wbuf_free(&w);
		failed(m, q, &miss);
		return;
	}
	if (q->flags & LOAD_ONE) {
		upto = q->first;
		upto_len = q->first_len;
	} else if (!end)
		upto = last_name(&w, &upto_len);
	b = head_new(0);
	if (b != NULL &&
	    (ibuf_add_n8(b, (uint8_t)end) == -1 ||
		ibuf_add_n16(b, (uint16_t)upto_len) == -1 ||
		(upto_len > 0 && ibuf_add(b, upto, upto_len) == -1))) {
		ibuf_free(b);
		b = NULL;
	}
	rc = reply(q, IMSG_MANIFEST_FUSE_LOAD_RES, b, &w);
	wbuf_free(&w);
	replied(q, rc);
}

static void
answer_object(struct mount *m, struct question *q)
{
	struct node_miss miss;
	struct item it;
	struct ibuf *b;
	struct wbuf w;
	void *keep;
	int rc;

	if (fill_object(m, q->ovl, &it, &keep, &miss) != 1) {
		failed(m, q, &miss);
		return;
	}
	wbuf_init(&w, 4 * PAGE_BYTES);
	item_encode(&w, &it);
	free(keep);
	b = head_new(0);
	if (b != NULL && ibuf_add_n32(b, it.links) == -1) {
		ibuf_free(b);
		b = NULL;
	}
	rc = reply(q, IMSG_MANIFEST_FUSE_OBJECT_RES, b, &w);
	wbuf_free(&w);
	replied(q, rc);
}

/* ---- CHUNKS ------------------------------------------------------------------------------ */

static struct chunklist *
chunks_of(struct mount *m, struct question *q, struct hash *missing)
{
	struct chunklist *cl = NULL;
	struct node_store store;
	struct blob *keep = NULL;
	struct entry e;
	struct obj o;
	size_t depth;

	db_node_store(manifest_db, &store);
	if (q->ovl != 0) {
		if (db_obj_get(manifest_db, m->row.row, q->ovl, &o) == -1)
			return NULL;
		if (o.entry->type != ENTRY_FILE || (o.flags & OBJ_LOCAL))
			errno = EINVAL;
		else
			cl = chunklist_from_entry(o.entry, &store,
			    CHUNK_SLOTS_MAX, missing);
		obj_free(&o);
		return cl;
	}
	if (nodes_lookup(&q->commit, q->path, q->path_len, &e, &keep, &depth) ==
	    -1)
		return NULL;
	if (e.type != ENTRY_FILE)
		errno = EINVAL;
	else
		cl = chunklist_from_entry(&e, &store, CHUNK_SLOTS_MAX, missing);
	blob_unref(keep);
	return cl;
}

static void
chunks_missing(struct mount *m, struct question *q)
{
	struct node_miss miss;
	struct obj o;

	memset(&miss, 0, sizeof(miss));
	miss.commit = q->commit;
	if (q->ovl != 0) {
		if (db_obj_get(manifest_db, m->row.row, q->ovl, &o) == -1) {
			reply_error(q, EIO);
			return;
		}
		if (!o.has_origin) {
			obj_free(&o);
			reply_error(q, EIO);
			return;
		}
		miss.commit = o.origin_commit;
		miss.path = dup_bytes(o.origin_path, o.origin_path_len);
		miss.path_len = o.origin_path_len;
		obj_free(&o);
	} else {
		miss.path = dup_bytes(q->path, q->path_len);
		miss.path_len = q->path_len;
	}
	if (miss.path == NULL)
		reply_error(q, ENOMEM);
	else
		want(m, q, &miss);
}

static void
answer_chunks(struct mount *m, struct question *q)
{
	struct chunklist *cl;
	struct hash missing;
	struct wbuf w;
	struct ibuf *head;
	int fd = -1;

	if ((cl = chunks_of(m, q, &missing)) == NULL) {
		if (errno == ENODATA)
			chunks_missing(m, q);
		else
			reply_error(q, errno);
		return;
	}
	wbuf_init(&w, (size_t)CHUNK_SLOTS_MAX * 40);
	chunklist_encode(&w, cl);
	chunklist_free(cl);
	if (w.error == 0)
		fd = memfd_new("chunks", w.data, w.len);
	wbuf_free(&w);
	if (fd == -1) {
		reply_error(q, ENOMEM);
		return;
	}
	if ((head = head_new(0)) == NULL) {
		close(fd);
		reply_error(q, ENOMEM);
		return;
	}
	replied(q, reply_fd(q, IMSG_MANIFEST_FUSE_CHUNKS_RES, head, fd));
}

/* The directory of a question, as its row has it. */
static int
own_dir(struct mount *m, struct question *q)
{
	struct obj o;

	if (db_obj_get(manifest_db, m->row.row, q->dir.ovl, &o) == -1)
		return errno == ENOENT ? 0 : -1;
	if (o.entry->type != ENTRY_DIR) {
		obj_free(&o);
		return 0;
	}
	free(q->dir.origin_path);
	q->dir.has_origin = o.has_origin;
	q->dir.origin_commit = o.origin_commit;
	q->dir.origin_path = o.origin_path;
	q->dir.origin_path_len = o.origin_path_len;
	o.origin_path = NULL;
	obj_free(&o);
	return 1;
}

/*
 * fuse asks for what its mount shows: nothing of another volume, and nothing
 * that is not below its subpath.  Of an object the row says what it shows.
 */
static int
is_allowed(struct mount *m, struct question *q)
{
	size_t n = strlen(m->row.subpath);
	const uint8_t *path = q->path;
	const struct hash *commit = &q->commit;
	size_t len = q->path_len;

	if (q->ovl != 0 || q->type == IMSG_FUSE_MANIFEST_OBJECT)
		return 1;
	if (q->type == IMSG_FUSE_MANIFEST_LOAD) {
		if (q->dir.ovl != 0)
			return own_dir(m, q);
		if (!q->dir.has_origin)
			return 1;
		path = q->dir.origin_path;
		len = q->dir.origin_path_len;
		commit = &q->dir.origin_commit;
	}
	if (len < n || memcmp(path, m->row.subpath, n) != 0 ||
	    (n > 0 && len > n && path[n] != '/'))
		return 0;
	return nodes_of_volume(commit, m->row.volume_id);
}

static void
answer_held(int fd, short what, void *arg)
{
	struct question *q, *last = TAILQ_LAST(&held, question_list);
	struct mount *m;
	int done = 0;

	(void)fd;
	(void)what;
	(void)arg;
	/* Those of a fuse that has not read yet come behind the last. */
	while (!done && (q = TAILQ_FIRST(&held)) != NULL) {
		done = q == last;
		let_go(q);
		if ((m = mount_by_instance(q->instance)) == NULL)
			question_free(q);
		else
			try_answer(m, q);
	}
}

static int
hold(struct question *q)
{
	struct timeval tv = { 0, HELD_MS * 1000 };

	if (held_timer == NULL)
		held_timer = evtimer_new(proc_base(), answer_held, NULL);
	if (held_timer == NULL ||
	    (!evtimer_pending(held_timer, NULL) &&
		evtimer_add(held_timer, &tv) == -1))
		return -1;
	TAILQ_INSERT_TAIL(&held, q, held_link);
	q->held = 1;
	return 0;
}

static void
try_answer(struct mount *m, void *arg)
{
	struct question *q = arg;
	int rc;

	if (q->fuse == NULL) {
		question_free(q);
		return;
	}
	if (chan_queued_fds(q->fuse) >= ANSWER_FDS) {
		if (hold(q) == -1)
			reply_error(q, ENOMEM);
		return;
	}
	if ((rc = is_allowed(m, q)) != 1) {
		reply_error(q, rc == 0 ? ESTALE : errno);
		return;
	}
	switch (q->type) {
	case IMSG_FUSE_MANIFEST_LOAD:
		answer_load(m, q);
		break;
	case IMSG_FUSE_MANIFEST_OBJECT:
		answer_object(m, q);
		break;
	default:
		answer_chunks(m, q);
		break;
	}
}

static void
never_applied(struct mount *m, void *arg)
{
	struct question *q = arg;

	(void)m;
	reply_error(q, EIO);
}

static int
begin(struct question *q, uint64_t offset)
{
	struct mount *m = mount_by_instance(q->instance);

	if (m == NULL) {
		reply_error(q, ENODEV);
		return 0;
	}
	if (applied_wait_or(m, offset, try_answer, never_applied, q) == -1)
		reply_error(q, EIO);
	return 0;
}

/* ---- handlers ------------------------------------------------------------------------------- */

int
load_dir(struct chan *ch, uint32_t id, struct imsg *im, struct ibuf *body)
{
	struct question *q;
	struct load l;

	(void)im;
	if (load_recv(body, &l) == -1 || !may_ask(ch, l.offset))
		return -1;
	q = question_new(ch, IMSG_FUSE_MANIFEST_LOAD, id);
	q->dir.ovl = l.ovl;
	q->dir.has_origin = l.has_origin;
	q->dir.origin_commit = l.origin_commit;
	q->dir.origin_path_len = l.origin_path_len;
	q->dir.origin_path = dup_bytes(l.origin_path, l.origin_path_len);
	q->first = dup_bytes(l.first, l.first_len);
	q->first_len = l.first_len;
	q->max = l.max;
	q->flags = l.flags;
	if (q->dir.origin_path == NULL || q->first == NULL) {
		reply_error(q, ENOMEM);
		return 0;
	}
	return begin(q, l.offset);
}

int
load_object(struct chan *ch, uint32_t id, struct imsg *im, struct ibuf *body)
{
	struct question *q;
	uint64_t offset, ovl;

	(void)im;
	if (ibuf_get_n64(body, &offset) == -1 ||
	    ibuf_get_n64(body, &ovl) == -1 || ibuf_size(body) != 0 ||
	    !may_ask(ch, offset))
		return -1;
	q = question_new(ch, IMSG_FUSE_MANIFEST_OBJECT, id);
	q->ovl = ovl;
	return begin(q, offset);
}

int
load_chunks(struct chan *ch, uint32_t id, struct imsg *im, struct ibuf *body)
{
	struct question *q;
	struct ibuf path;
	struct hash commit = { 0 };
	uint64_t offset, ovl;
	uint16_t len;

	(void)im;
	if (ibuf_get_n64(body, &offset) == -1 ||
	    ibuf_get_n64(body, &ovl) == -1 ||
	    ibuf_get(body, commit.b, HASH_LEN) == -1 ||
	    ibuf_get_n16(body, &len) == -1 ||
	    ibuf_get_ibuf(body, len, &path) == -1 || ibuf_size(body) != 0 ||
	    path_problem(ibuf_data(&path), len) != NULL || !may_ask(ch, offset))
		return -1;
	q = question_new(ch, IMSG_FUSE_MANIFEST_CHUNKS, id);
	q->ovl = ovl;
	q->commit = commit;
	q->path_len = len;
	if ((q->path = dup_bytes(ibuf_data(&path), len)) == NULL) {
		reply_error(q, ENOMEM);
		return 0;
	}
	return begin(q, offset);
}
