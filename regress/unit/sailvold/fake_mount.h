/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * fake_mount: stand-ins for fuse, the journal, sailvol-fetch and the server, of
 * one mount in one process.  What they answer comes later, one step at a time,
 * so that a test may stop in between.  Included by one file of a test alone.
 */
#ifndef FAKE_MOUNT_H
#define FAKE_MOUNT_H

#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/chunklist.h"
#include "lib/commit.h"
#include "lib/memfd.h"
#include "lib/proc_base.h"
#include "lib/wire.h"
#include "regress/unit/sailvold/merge_all.h"
#include "sailvold/commit.h"
#include "sailvold/diff.h"

struct db *manifest_db;
static struct mount mnt;
static struct event_base *base;
static uint64_t offset;

/* ---- steps --------------------------------------------------------------------------- */

struct step {
	TAILQ_ENTRY(step) link;
	void (*run)(struct step *);
	void (*f)(void);
	void *arg;
	uint64_t n;
	int fd, error;
	uint32_t count;
	uint8_t method;
	char *target;
	uint8_t *data;
	size_t len;
	hash_chunks_cb chunks_f;
	unsigned int told;
};
static TAILQ_HEAD(step_list, step) steps = TAILQ_HEAD_INITIALIZER(steps);
static unsigned int steps_done;

static struct step *
post_step(void (*run)(struct step *), void (*f)(void), void *arg)
{
	struct step *s = calloc(1, sizeof(*s));

	assert_non_null(s);
	s->run = run;
	s->f = f;
	s->arg = arg;
	s->fd = -1;
	TAILQ_INSERT_TAIL(&steps, s, link);
	return s;
}

static void
step_free(struct step *s)
{
	free(s->target);
	free(s->data);
	free(s);
}

static int
one_step(void)
{
	struct step *s = TAILQ_FIRST(&steps);

	if (s == NULL)
		return 0;
	TAILQ_REMOVE(&steps, s, link);
	s->run(s);
	step_free(s);
	steps_done++;
	return 1;
}

/* A step for which a job may have to wait, for its turn or to try again; 0: none is
   to come. */
static int
next_step(void)
{
	unsigned int idle = 0;

	while (idle < 400) {
		if (one_step())
			return 1;
		if (TAILQ_EMPTY(&mnt.jobs))
			return 0;
		event_base_loop(base, EVLOOP_NONBLOCK);
		if (TAILQ_EMPTY(&steps)) {
			usleep(5000);
			idle++;
		}
	}
	return 0;
}

/* Until all is quiet. */
static void
run_all(void)
{
	while (next_step())
		;
	if (!TAILQ_EMPTY(&mnt.jobs))
		fail_msg("a job waits for nothing");
}

/* ---- fuse ----------------------------------------------------------------------------- */

#define FILES 64
static int files[FILES]; /* overlay files, by number */
static int writers[FILES];
static int parked_now, parks, switches, told_now, let_go;
static unsigned int cache_puts;
static uint8_t diff_bytes[65536];
static size_t diff_len;

static void
run_offset(struct step *s)
{
	((ask_offset_cb)s->f)(&mnt, s->arg, 0, offset);
}

int
ask_sync(struct mount *m, ask_offset_cb f, void *arg)
{
	(void)m;
	post_step(run_offset, (void (*)(void))f, arg);
	return 0;
}

int
ask_reload(struct mount *m, ask_offset_cb f, void *arg)
{
	(void)m;
	parked_now = 1;
	parks++;
	post_step(run_offset, (void (*)(void))f, arg);
	return 0;
}

static void
run_open(struct step *s)
{
	int fd = files[s->n] == -1 ? -1 : dup(files[s->n]);

	((ask_open_cb)s->f)(&mnt, s->arg, fd == -1 ? ENOENT : 0, fd,
	    writers[s->n], -1);
}

int
ask_open(struct mount *m, uint64_t ovl, ask_open_cb f, void *arg)
{
	(void)m;
	post_step(run_open, (void (*)(void))f, arg)->n = ovl;
	return 0;
}

static void
run_switch(struct step *s)
{
	parked_now = 0;
	if (s->fd != -1)
		switches++;
	((ask_switch_cb)s->f)(&mnt, s->arg, 0, 0,
	    s->fd != -1 ? memfd_new("tell", "", 0) : -1);
}

int
ask_switch(struct mount *m, int fd, ask_switch_cb f, void *arg)
{
	struct memfd_view v;

	(void)m;
	if (fd != -1 && memfd_map(fd, sizeof(diff_bytes), &v) == 0) {
		memcpy(diff_bytes, v.data, v.len);
		diff_len = v.len;
		memfd_unmap(&v);
	}
	if (fd != -1)
		close(fd);
	post_step(run_switch, (void (*)(void))f, arg)->fd = fd;
	return 0;
}

static void
run_done(struct step *s)
{
	((ask_done_cb)s->f)(&mnt, s->arg, 0);
}

int
ask_cache_put(struct mount *m, uint64_t ovl, const struct hash *content,
    uint64_t size, const uint8_t *list, size_t len, ask_done_cb f, void *arg)
{
	(void)m;
	(void)ovl;
	(void)content;
	(void)size;
	(void)list;
	(void)len;
	cache_puts++;
	post_step(run_done, (void (*)(void))f, arg);
	return 0;
}

int
ask_tell(struct mount *m, int fd, ask_done_cb f, void *arg)
{
	(void)m;
	close(fd);
	told_now++;
	post_step(run_done, (void (*)(void))f, arg);
	return 0;
}

void
tell_unlink(struct mount *m, const uint64_t *ovls, size_t n)
{
	(void)m;
	(void)ovls;
	(void)n;
}

static void
run_applied(struct step *s)
{
	((applied_cb)s->f)(&mnt, s->arg);
}

uint64_t
journal_reach(const struct mount *m)
{
	(void)m;
	return UINT64_MAX;
}

void
journal_now(struct mount *m)
{
	(void)m;
}

void
journal_hold(struct mount *m)
{
	m->held++;
}

void
journal_let(struct mount *m)
{
	m->held--;
}

int
journal_sync(struct mount *m)
{
	(void)m;
	return 0;
}

/* The journal is found broken by who waits for it next. */
static int broken_next;

int
applied_wait_or(struct mount *m, uint64_t at, applied_cb f, applied_cb broken,
    void *arg)
{
	(void)m;
	(void)at;
	post_step(run_applied, (void (*)(void))(broken_next ? broken : f), arg);
	broken_next = 0;
	return 0;
}

struct mount *
mount_by_instance(uint32_t instance)
{
	return instance == mnt.instance ? &mnt : NULL;
}

struct mount *
mount_by_path(const char *path)
{
	return strcmp(path, mnt.row.path) == 0 ? &mnt : NULL;
}

void
mount_foreach(void (*f)(struct mount *, void *), void *arg)
{
	f(&mnt, arg);
}

/* ---- sailvol-fetch ---------------------------------------------------------------------- */

static unsigned int changes_while_hashed; /* so many hashes say "changed" */
static unsigned int uploads, hashes;
/* What each hash tells before its end, and the chunks that it has then. */
static struct fetch_hash_chunks tells[8];
static struct hash told_list[8];
static unsigned int ntells, ntold;

/* The hash of a file of several chunks advances: 1: not its end yet. */
static int
hash_tells(struct step *s)
{
	struct step *again;

	if (s->told == ntells)
		return 0;
	s->chunks_f(s->arg, &tells[s->told]);
	again = post_step(s->run, s->f, s->arg);
	again->fd = s->fd;
	again->count = s->count;
	again->chunks_f = s->chunks_f;
	again->told = s->told + 1;
	return 1;
}

static void
run_hash(struct step *s)
{
	unsigned int i;
	struct fetch_hash_res res;
	struct chunklist *cl;
	struct hash h;
	struct stat st;
	struct wbuf w;
	char buf[4096];
	ssize_t n;

	if (hash_tells(s))
		return;
	memset(&res, 0, sizeof(res));
	hashes++;
	assert_int_equal(fstat(s->fd, &st), 0);
	n = pread(s->fd, buf, sizeof(buf), 0);
	res.size = (uint64_t)st.st_size;
	res.ctime.sec = st.st_ctim.tv_sec;
	res.ctime.nsec = (uint32_t)st.st_ctim.tv_nsec;
	res.before = timens_now();
	if (changes_while_hashed > 0) {
		changes_while_hashed--;
		res.changed = 1;
	}
	cl = chunklist_new(res.size, CHUNK_SHIFT_MIN);
	for (i = 0; i < ntold; i++)
		chunklist_add(cl, &told_list[i]);
	if (res.size > 0 && ntold == 0) {
		hash_bytes(&h, buf, (size_t)n);
		chunklist_add(cl, &h);
	}
	wbuf_init(&w, 65536);
	chunklist_encode(&w, cl);
	/* By turns kept with a list in the message, and not. */
	res.kept = s->count && n > 0 && hashes % 2 == 0 && ntold == 0;
	if (res.kept) {
		res.list = w.data;
		res.list_len = w.len;
	}
	((hash_cb)s->f)(s->arg, &res,
	    res.kept ? -1 : memfd_new("list", w.data, w.len));
	wbuf_free(&w);
	chunklist_free(cl);
	close(s->fd);
}

static unsigned int no_hashes; /* so many cannot be asked for */

uint32_t
server_hash(uint8_t shift, uint8_t flags, int fd, int rest_fd, hash_cb f,
    void *arg)
{
	struct step *s;

	(void)shift;
	assert_int_equal(rest_fd, -1);
	if (no_hashes > 0) {
		no_hashes--;
		close(fd);
		errno = EMFILE;
		return 0;
	}
	s = post_step(run_hash, (void (*)(void))f, arg);
	s->fd = fd;
	s->count = flags & FETCH_HASH_KEEP;
	return 7;
}

void
server_hash_watch(uint32_t number, hash_progress_cb f, hash_chunks_cb chunks)
{
	(void)number;
	(void)f;
	TAILQ_LAST(&steps, step_list)->chunks_f = chunks;
}

static unsigned int stale_uploads; /* so many say that the bytes changed */
static struct {
	struct fetch_upload_chunk chunk;
	unsigned int hashes; /* that had ended */
} sent_chunks[64];
static unsigned int nsent;

/* Of uploads; with a status it is why they fail. */
static struct server_answer upload_answer;

static void
run_upload(struct step *s)
{
	uint8_t status[FETCH_UPLOAD_MAX];

	memset(status, 1, sizeof(status));
	uploads++;
	if (stale_uploads > 0) {
		stale_uploads--;
		status[0] = stale_uploads % 2 == 0 ? 2 : 4;
	}
	((upload_cb)s->f)(s->arg, upload_answer.status != 0 ? EACCES : 0,
	    &upload_answer, status, s->count);
}

static uint32_t next_question = 100;

uint32_t
server_upload(const char *volume_id, const char *session, struct upload_file *f,
    uint32_t nfiles, const struct fetch_upload_chunk *chunks, uint32_t n,
    upload_progress_cb progress, upload_cb cb, void *arg)
{
	struct step *s;
	uint32_t i;

	(void)volume_id;
	(void)session;
	(void)progress;
	for (i = 0; i < n && nsent < 64; i++) {
		assert_true(chunks[i].file < nfiles ||
		    chunks[i].file == FETCH_UPLOAD_KEPT);
		sent_chunks[nsent].chunk = chunks[i];
		sent_chunks[nsent++].hashes = hashes;
	}
	while (nfiles > 0)
		close(f[--nfiles].fd);
	s = post_step(run_upload, (void (*)(void))cb, arg);
	s->count = n;
	s->n = ++next_question;
	return next_question;
}

void
server_cancel(uint32_t number)
{
	struct step *s;

	TAILQ_FOREACH (s, &steps, link)
		if (s->n == number &&
		    (s->run == run_upload || s->target != NULL)) {
			TAILQ_REMOVE(&steps, s, link);
			step_free(s);
			return;
		}
}

/*
 * The process dies: what was asked is not answered any more; who waits is told
 * that the mount is gone, so that nothing is left in memory.
 */
static void
drop_steps(void)
{
	struct fetch_hash_res res;
	struct step *s;

	memset(&res, 0, sizeof(res));
	while ((s = TAILQ_FIRST(&steps)) != NULL) {
		TAILQ_REMOVE(&steps, s, link);
		if (s->run == run_offset)
			((ask_offset_cb)s->f)(&mnt, s->arg, ENODEV, 0);
		else if (s->run == run_open)
			((ask_open_cb)s->f)(&mnt, s->arg, ENODEV, -1, 0, -1);
		else if (s->run == run_switch)
			((ask_switch_cb)s->f)(&mnt, s->arg, ENODEV, 0, -1);
		else if (s->run == run_done)
			((ask_done_cb)s->f)(&mnt, s->arg, ENODEV);
		else if (s->run == run_applied)
			((applied_cb)s->f)(&mnt, s->arg);
		else if (s->run == run_hash) {
			close(s->fd);
			((hash_cb)s->f)(s->arg, &res, -1);
		}
		step_free(s);
	}
}

/* ---- the server ---------------------------------------------------------------------------- */

static const uint8_t salt[TREE_SALT_LEN];
static struct hash head;
static struct entry *head_root;
static uint64_t head_number;
static unsigned int published_count, lost_answers, unavailable, posts;
static char published_key[33], published_result[512];

static void
commit_new(const struct entry *root)
{
	struct entry *copy = entry_dup(root);
	struct commit c;
	struct wbuf w;

	memset(&c, 0, sizeof(c));
	c.has_parent = head_number > 0;
	c.parent = head;
	c.number = head_number++;
	c.root = *copy;
	c.author = c.message = (const uint8_t *)"";
	wbuf_init(&w, 65536);
	commit_encode(&w, &c);
	assert_int_equal(w.error, 0);
	hash_bytes(&head, w.data, w.len);
	assert_int_equal(db_commit_put(manifest_db, &head, w.data, w.len), 0);
	wbuf_free(&w);
	free(head_root);
	head_root = copy;
}

static int
root_of_commit(void *arg, const struct hash *id, struct entry *root,
    struct blob **keep)
{
	(void)arg;
	return nodes_commit_root(id, root, keep);
}

static const char *
do_publish(const char *key, const uint8_t *data, size_t len, uint16_t *status)
{
	struct node_store store;
	struct merge_out out;
	struct merge_in in;
	struct delta *d;
	const char *why;
	char hex[HASH_HEX_LEN + 1], sent[HASH_HEX_LEN + 1];
	struct hash h;

	*status = 200;
	posts++;
	if (strcmp(key, published_key) == 0)
		return published_result;
	hash_bytes(&h, data, len);
	hash_hex(&h, sent);
	d = delta_decode(data, len, &why);
	if (d == NULL)
		fail_msg("delta: %s", why);
	db_node_store(manifest_db, &store);
	memset(&in, 0, sizeof(in));
	in.store = &store;
	in.salt = salt;
	in.head_root = head_root;
	in.commit_root = root_of_commit;
	in.delta = d;
	in.max_report = 10;
	assert_int_equal(merge_apply(&in, &out), 0);
	if (out.changed)
		commit_new(&out.root);
	published_count++;
	hash_hex(&head, hex);
	snprintf(published_key, sizeof(published_key), "%s", key);
	snprintf(published_result, sizeof(published_result),
	    "{\"commit\":"
	    "\"%s\",\"number\":%llu,\"changed\":true,\"puts\":%llu,"
	    "\"deletes\":%llu,\"overwritten\":{\"count\":0,\"paths\":[]},"
	    "\"delta\":\"%s\"}",
	    hex, (unsigned long long)(head_number - 1),
	    (unsigned long long)out.puts, (unsigned long long)out.deletes,
	    sent);
	merge_out_free(&out);
	delta_free(d);
	return published_result;
}

static void
answer(struct step *s, uint16_t status, const void *data, size_t len,
    uint8_t type)
{
	struct server_answer a;
	static char what[] = "no answer";

	memset(&a, 0, sizeof(a));
	a.status = status;
	a.what = what;
	a.type = type;
	a.data = data;
	a.len = len;
	((server_cb)s->f)(s->arg, &a);
}

static int refuse_next, hold_next;
static struct blob *lost; /* a node that the server has */
static uint8_t *held;     /* a delta that comes through late */
static size_t held_len;
static char held_key[33];

static void
bring_lost(struct step *s)
{
	struct wire_bundle_writer w;
	struct wire_nodes_req req;
	uint8_t *bundle;
	struct blob *b;
	size_t len;

	assert_null(wire_nodes_req_decode(s->data, s->len, &req));
	assert_non_null(b = db_commit_get(manifest_db, &req.commit));
	wire_bundle_begin(&w, &req.commit, b->data, b->len);
	wire_bundle_add(&w, lost->data, lost->len);
	bundle = wire_bundle_end(&w, 1, &len);
	blob_unref(b);
	blob_unref(lost);
	lost = NULL;
	answer(s, 200, bundle, len, 2);
	free(bundle);
}

static void
run_request(struct step *s)
{
	const char *t = strstr(s->target, "/sessions/"), *text;
	struct wire_bundle_writer w;
	uint8_t *bundle;
	char key[33] = "", buf[1024];
	struct blob *b;
	uint16_t status;
	size_t len;

	if (unavailable > 0) {
		unavailable--;
		answer(s, 503, "", 0, 0);
		return;
	}
	if (t != NULL)
		snprintf(key, sizeof(key), "%.32s", t + 10);
	if (t != NULL && s->method == 3 && refuse_next) {
		refuse_next = 0;
		text = "{\"error\":{\"message\":\"f was changed\",\"type\":"
		       "\"refused\",\"code\":\"overwritten\"}}";
		answer(s, 409, text, strlen(text), 1);
	} else if (t != NULL && s->method == 3 && hold_next) {
		/* It is on its way, and its client hears nothing. */
		hold_next = 0;
		held_len = s->len;
		assert_non_null(held = mem_dup(s->data, s->len));
		snprintf(held_key, sizeof(held_key), "%s", key);
		answer(s, 0, "", 0, 0);
	} else if (t != NULL && s->method == 3) {
		if (held != NULL) {
			(void)do_publish(held_key, held, held_len, &status);
			free(held);
			held = NULL;
		}
		text = do_publish(key, s->data, s->len, &status);
		if (lost_answers > 0) {
			lost_answers--;
			answer(s, 0, "", 0, 0);
		} else
			answer(s, status, text, strlen(text), 1);
	} else if (t != NULL) {
		if (strcmp(key, published_key) == 0)
			snprintf(buf, sizeof(buf),
			    "{\"key\":\"%s\",\"state\":"
			    "\"published\",\"result\":%s}",
			    key, published_result);
		else
			snprintf(buf, sizeof(buf),
			    "{\"key\":\"%s\",\"state\":\"open\"}", key);
		answer(s, 200, buf, strlen(buf), 1);
	} else if (strstr(s->target, "/nodes") != NULL && lost != NULL)
		bring_lost(s);
	else if (strstr(s->target, "/head") != NULL) {
		b = db_commit_get(manifest_db, &head);
		wire_bundle_begin(&w, &head, b->data, b->len);
		bundle = wire_bundle_end(&w, 1, &len);
		answer(s, 200, bundle, len, 2);
		free(bundle);
		blob_unref(b);
	} else
		answer(s, 200, "{}", 2, 1);
}

uint32_t
server_request(uint8_t method, const char *target, const char *type, int fd,
    int retry, uint64_t max, server_cb f, void *arg)
{
	struct memfd_view v;
	struct step *s;

	(void)type;
	(void)retry;
	(void)max;
	s = post_step(run_request, (void (*)(void))f, arg);
	s->method = method;
	s->target = strdup(target);
	if (fd != -1 && memfd_map(fd, 1 << 24, &v) == 0) {
		s->data = mem_dup(v.data, v.len);
		s->len = v.len;
		memfd_unmap(&v);
	}
	if (fd != -1)
		close(fd);
	s->n = ++next_question;
	return next_question;
}

void
server_error(const struct server_answer *a, char *out, size_t size, char *code,
    size_t code_size)
{
	json_t *r = json_loadb((const char *)a->data, a->len, 0, NULL), *e;

	e = json_object_get(r, "error");
	snprintf(out, size, "status %u", a->status);
	snprintf(code, code_size, "%s",
	    json_string_value(json_object_get(e, "code")) != NULL
		? json_string_value(json_object_get(e, "code"))
		: "none");
	json_decref(r);
}

#endif
