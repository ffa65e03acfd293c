/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * commit: the course of a commit: mark, set, session, files, delta, answer
 * (sailvold(8), COMMIT).  In manifest.
 */
#include <sys/mman.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/backoff.h"
#include "lib/log.h"
#include "lib/memfd.h"
#include "sailvold/collect.h"
#include "sailvold/commit.h"
#include "sailvold/delta_set.h"

#define ATTEMPTS 20000 /* nodes that are asked for */
#define PATH_SHOWN 400 /* bytes of a path in a message */
#define BACKOFF_FIRST_MS 200
#define BACKOFF_MAX_MS 10000
#define MISSING_TRIES 2
#define ANSWER_MAX (8 * 1024 * 1024)

static void collect(struct commit_run *);
static void session_put(struct commit_run *);
static void delta_post(struct commit_run *);
static void begin_set(struct commit_run *);

/* ---- life ---------------------------------------------------------------------------- */

/* What is sent from now on is another one. */
static void
set_drop(struct commit_run *c)
{
	commit_files_free(c);
	if (c->has_set)
		collect_drop(&c->set);
	if (c->delta != -1)
		close(c->delta);
	c->delta = -1;
	c->has_set = c->has_sent = 0;
}

static void
before_drop(struct commit_run *c)
{
	if (c->has_before)
		collect_drop(&c->before);
	c->has_before = 0;
}

/* The same, but what was sent so far may still come through. */
static void
set_renew(struct commit_run *c)
{
	if (c->has_set && c->has_sent) {
		before_drop(c);
		c->before = c->set;
		c->before_sent = c->sent;
		c->has_before = 1;
		c->has_set = 0;
	}
	set_drop(c);
}

void
commit_release(struct commit_run *c)
{
	if (c->refs > 0 || !c->dead)
		return;
	set_drop(c);
	before_drop(c);
	free(c);
}

static void
commit_stop(struct job *j)
{
	struct commit_run *c = j->run;

	j->run = NULL;
	c->dead = 1;
	collect_stop(c->collecting);
	commit_files_stop(c);
	if (c->request != 0)
		server_cancel(c->request);
	if (c->timer != NULL)
		event_free(c->timer);
	c->timer = NULL;
	commit_release(c);
}

static int
may_cancel(const struct job *j)
{
	return j->state != JOB_PUBLISHING;
}

int
commit_holds(const struct job *j, uint64_t ovl)
{
	const struct commit_run *c = j->run;
	size_t lo = 0, hi, mid;
	uint64_t at;

	if (c == NULL)
		return 0;
	for (hi = c->nby_ovl; lo < hi;) {
		mid = lo + (hi - lo) / 2;
		at = c->set.items[c->by_ovl[mid]].ovl;
		if (at == ovl)
			return 1;
		if (at < ovl)
			lo = mid + 1;
		else
			hi = mid;
	}
	return 0;
}

void
commit_fail(struct commit_run *c, const char *type, const char *code,
    const char *what)
{
	job_error(c->job, type, code, "%s", what);
}

int
commit_backoff_ms(unsigned int tries)
{
	return (int)backoff_ms(tries, BACKOFF_FIRST_MS, BACKOFF_MAX_MS);
}

/* A file that is not done yet counts with its chunks that are. */
static uint64_t
bytes_through(const struct commit_run *c)
{
	uint64_t n = c->bytes_sent + c->skipped;

	if (n < c->bytes_done)
		n = c->bytes_done;
	return n < c->bytes ? n : c->bytes;
}

void
commit_progress(struct commit_run *c, const char *phase)
{
	uint64_t done = bytes_through(c);
	int64_t left;

	if (!job_progress_due(c->job))
		return;
	rate_look(&c->rate, monotime_now(), done);
	left = rate_left_s(&c->rate, c->bytes - done);
	job_progress(c->job,
	    json_pack("{s:s,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:o}", "phase",
		phase, "files", (json_int_t)c->ndone, "files_total",
		(json_int_t)c->nfiles, "bytes", (json_int_t)done, "bytes_total",
		(json_int_t)c->bytes, "bytes_sent", (json_int_t)c->bytes_sent,
		"skipped", (json_int_t)c->skipped, "hashed",
		(json_int_t)(c->hashed < c->bytes ? c->hashed : c->bytes),
		"bytes_per_s", (json_int_t)rate_per_s(&c->rate), "seconds_left",
		left == -1 ? json_null() : json_integer(left)));
}

static void
retry_now(evutil_socket_t fd, short what, void *arg)
{
	struct commit_run *c = arg;

	(void)fd;
	(void)what;
	c->retry(c);
}

/* Of a delta that was sent nobody knows whether it was published: it must be
   found out before anything else of this mount.  code: a better one, or NULL. */
static void
give_up(struct commit_run *c, const char *type, const char *code,
    const char *what)
{
	char text[640];

	if (c->job->state != JOB_PUBLISHING) {
		commit_fail(c, type, code == NULL ? "no_answer" : code, what);
		return;
	}
	snprintf(text, sizeof(text),
	    "%s; it may have been published: the next commit or reload here "
	    "finds out first",
	    what);
	job_suspend(c->job, type, code == NULL ? "unknown_result" : code, text);
}

/* Later again, until the deadline of this step; then the job gives up. */
static void
retry_later(struct commit_run *c, void (*f)(struct commit_run *),
    const char *what)
{
	struct timeval tv;
	int ms;

	if (c->tries++ == 0)
		c->deadline =
		    monotime_add_ms(monotime_now(), COMMIT_PATIENCE_MS);
	job_log(c->job)("mount %s: commit: %s, try %u", c->job->m->row.path,
	    what, c->tries);
	if (!job_may_wait(c->job) || monotime_reached(c->deadline)) {
		give_up(c, "unavailable", NULL, what);
		return;
	}
	ms = commit_backoff_ms(c->tries);
	tv.tv_sec = ms / 1000;
	tv.tv_usec = (ms % 1000) * 1000;
	c->retry = f;
	if (c->timer == NULL)
		c->timer = evtimer_new(proc_base(), retry_now, c);
	if (c->timer == NULL || evtimer_add(c->timer, &tv) == -1)
		commit_fail(c, "internal", "memory", "out of memory");
}

void
commit_refused_by(struct commit_run *c, const struct server_answer *a)
{
	char what[512], code[64];

	server_error(a, what, sizeof(what), code, sizeof(code));
	commit_fail(c, server_error_type(a->status), code, what);
}

/* Who says so has looked into the session, and it is not published. */
static int
is_of_session(const struct server_answer *a, const char *code)
{
	return (a->status == 409 && strcmp(code, "overwritten") == 0) ||
	    (a->status == 400 && strcmp(code, "bad_delta") == 0);
}

/*
 * What is refused may have been done when it was sent first: its session knows.
 * Where that says nothing either, it is found out later.
 */
static void
find_out(struct commit_run *c, void (*f)(struct commit_run *), const char *type,
    const char *code, const char *what)
{
	if (f != delta_post) {
		give_up(c, type, code, what);
		return;
	}
	c->refused_type = type;
	snprintf(c->refused_code, sizeof(c->refused_code), "%s", code);
	snprintf(c->refused_what, sizeof(c->refused_what), "%s", what);
	session_put(c);
}

/* What an answer that is no success means. */
static void
answer_bad(struct commit_run *c, const struct server_answer *a,
    void (*f)(struct commit_run *))
{
	char what[512], code[64];

	server_error(a, what, sizeof(what), code, sizeof(code));
	if (a->untrusted)
		give_up(c, "unavailable", NULL, what);
	/* It has not published, and will not until somebody mends the store; but
	   sailvol-fetch may have sent it before, and heard nothing of that. */
	else if (a->status == 503 && strcmp(code, "store_unusable") == 0)
		give_up(c, "unavailable", code, what);
	else if (a->status == 0 || a->status >= 500 || a->status == 429)
		retry_later(c, f, what);
	else if (c->job->state == JOB_PUBLISHING && c->doubt &&
	    !is_of_session(a, code))
		find_out(c, f, server_error_type(a->status), code, what);
	else if (a->status == 409 && strcmp(code, "overwritten") == 0)
		commit_fail(c, "refused", code, what);
	else
		commit_fail(c, server_error_type(a->status), code, what);
}

/* ---- the answer to who asked --------------------------------------------------------------- */

static json_t *
left_dirty(const struct commit_run *c)
{
	json_t *l = json_array();
	size_t i;

	for (i = 0; c->has_set && i < c->set.n; i++)
		if (c->set.items[i].left)
			json_array_append_new(l,
			    json_name(c->set.items[i].path,
				c->set.items[i].len));
	return l;
}

static json_t *
not_kept(const struct commit_run *c)
{
	json_t *l = json_array();
	size_t i;

	for (i = 0; c->has_set && i < c->set.nnot_kept; i++)
		json_array_append_new(l,
		    json_name(c->set.not_kept[i].path, c->set.not_kept[i].len));
	return l;
}

static json_t *
result_of(const struct commit_run *c, const char *commit, uint64_t number,
    int changed, uint64_t files, uint64_t deletes, json_t *overwritten)
{
	if (overwritten == NULL)
		overwritten = json_pack("{s:i,s:[]}", "count", 0, "paths");
	return json_pack("{s:{s:s,s:I,s:b,s:I,s:I,s:I,s:o,s:o,s:o}}", "result",
	    "commit", commit, "number", (json_int_t)number, "changed", changed,
	    "files", (json_int_t)files, "bytes_uploaded",
	    (json_int_t)c->bytes_sent, "deletes", (json_int_t)deletes,
	    "overwritten", overwritten, "left_dirty", left_dirty(c), "not_kept",
	    not_kept(c));
}

/* Nothing to publish: the newest of the base and this mount's last commit. */
static void
nothing(struct commit_run *c)
{
	struct mount_row *row = &c->job->m->row;
	char hex[HASH_HEX_LEN + 1];
	uint64_t number = row->base_number;
	json_t *answer;

	hash_hex(&row->base, hex);
	if (row->has_last && row->last_number >= number) {
		hash_hex(&row->last, hex);
		number = row->last_number;
	}
	/* Files that turned out as they were published are clean again. */
	if (c->has_set) {
		if (db_begin_durable(manifest_db) == -1 ||
		    delta_set_published(manifest_db, row, &c->set) == -1 ||
		    db_commit(manifest_db) == -1) {
			db_rollback(manifest_db);
			log_warn("mount %s: commit: its rows", row->path);
		}
		c->job->m->rows_changed++;
	}
	answer = result_of(c, hex, number, 0, 0, 0, NULL);
	job_done(c->job, answer, 0);
}

/* ---- published ------------------------------------------------------------------------------ */

static int
record(struct commit_run *c, const struct hash *commit, uint64_t number,
    json_t *answer)
{
	struct mount_row *row = &c->job->m->row;
	struct mount_row saved = *row;

	if (db_begin_durable(manifest_db) == -1)
		return -1;
	if (c->has_set && delta_set_published(manifest_db, row, &c->set) == -1)
		goto fail;
	row->has_last = 1;
	row->last = *commit;
	row->last_number = number;
	if (db_mount_update(manifest_db, row) == -1 ||
	    job_store_answer(c->job, answer) == -1 ||
	    db_commit(manifest_db) == -1)
		goto fail;
	c->job->m->rows_changed++;
	return 0;
fail:
	db_rollback(manifest_db);
	*row = saved;
	return -1;
}

/*
 * A commit that was sent before, and of which nothing was heard, may come
 * through when its session has begun again with what was changed since: then
 * that is what was published, and the rest is for the next one.
 */
static int
is_what_was_sent(struct commit_run *c, json_t *r)
{
	const char *hex = json_string_value(json_object_get(r, "delta"));
	struct hash h;

	if (hex == NULL || hash_parse(&h, hex, strlen(hex)) == -1)
		return 0;
	if (c->has_sent && hash_cmp(&h, &c->sent) == 0)
		return 1;
	if (!c->has_before || hash_cmp(&h, &c->before_sent) != 0)
		return 0;
	set_drop(c);
	c->set = c->before;
	c->sent = c->before_sent;
	c->has_set = c->has_sent = 1;
	c->has_before = 0;
	return 1;
}

/* Asks what became of it: a set that was loaded makes no delta. */
static void
ask_again(struct commit_run *c)
{
	if (c->delta != -1)
		delta_post(c);
	else
		session_put(c);
}

/* r: what the server says of a published commit. */
static void
published(struct commit_run *c, json_t *r)
{
	const char *id = json_string_value(json_object_get(r, "commit"));
	uint64_t number, puts, deletes;
	struct hash commit;
	json_t *answer, *over;
	int changed;

	if (id == NULL || hash_parse(&commit, id, strlen(id)) == -1) {
		retry_later(c, ask_again, "an answer without a commit");
		return;
	}
	if (!is_what_was_sent(c, r)) {
		commit_fail(c, "conflict", "published_before",
		    "an earlier try of this commit was published; what was "
		    "changed since is still here: commit again");
		return;
	}
	number = (uint64_t)json_integer_value(json_object_get(r, "number"));
	puts = (uint64_t)json_integer_value(json_object_get(r, "puts"));
	deletes = (uint64_t)json_integer_value(json_object_get(r, "deletes"));
	changed = json_is_true(json_object_get(r, "changed"));
	over = json_object_get(r, "overwritten");
	answer = result_of(c, id, number, changed, puts, deletes,
	    json_is_object(over) ? json_incref(over) : NULL);
	if (answer == NULL || record(c, &commit, number, answer) == -1) {
		json_decref(answer);
		/* The set is kept: it is recorded later. */
		retry_later(c, ask_again, "the database does not take it");
		return;
	}
	log_info("mount %s: commit %s, number %llu", c->job->m->row.path, id,
	    (unsigned long long)number);
	lease_soon(c->job->m);
	job_done(c->job, answer, 1);
}

/* ---- the delta -------------------------------------------------------------------------------- */

void
commit_again(struct commit_run *c, const char *code, const char *what)
{
	if (++c->missing > MISSING_TRIES) {
		commit_fail(c, "conflict", code, what);
		return;
	}
	/* The set is made anew: all is hashed and looked up again. */
	if (db_job_state(manifest_db, c->job->id, JOB_QUEUED, NULL) == -1)
		log_warn("mount %s: commit: its job", c->job->m->row.path);
	c->job->state = JOB_QUEUED;
	set_renew(c);
	c->publishing = 0;
	begin_set(c);
}

static void
delta_answer(void *arg, const struct server_answer *a)
{
	struct commit_run *c = arg;
	char what[512], code[64];
	json_t *r;

	c->request = 0;
	if (a->status == 200 || a->status == 201) {
		r = json_loadb((const char *)a->data, a->len, 0, NULL);
		published(c, r);
		json_decref(r);
		return;
	}
	server_error(a, what, sizeof(what), code, sizeof(code));
	c->doubt |= a->repeated;
	if (a->status == 409 && strcmp(code, "missing_chunks") == 0)
		commit_again(c, code,
		    "the server lacks chunks that were uploaded");
	else if (a->status == 404 && strcmp(code, "session_not_found") == 0) {
		/* To another key a session is as none. */
		if (c->doubt && ++c->missing <= MISSING_TRIES)
			session_put(c);
		else if (c->doubt)
			give_up(c, "unavailable", code, what);
		else
			commit_again(c, code, what);
	} else {
		c->doubt |= a->status < 400 || a->status >= 500;
		answer_bad(c, a, delta_post);
	}
}

static int
hash_memfd(int fd, struct hash *h)
{
	uint8_t buf[16384];
	struct hash_ctx *ctx;
	off_t at = 0;
	ssize_t n;

	if ((ctx = hash_begin()) == NULL)
		return -1;
	while ((n = pread(fd, buf, sizeof(buf), at)) > 0) {
		hash_update(ctx, buf, (size_t)n);
		at += n;
	}
	hash_end(ctx, h);
	return n == -1 ? -1 : 0;
}

/* Made once for a set: what is sent again is the same. */
static int
delta_make(struct commit_run *c, struct node_miss *miss)
{
	int fd;

	if (c->delta != -1)
		return 0;
	fd = memfd_create("delta", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd == -1)
		return -1;
	if (delta_set_write(&c->set, fd, miss) == -1 ||
	    fcntl(fd, F_ADD_SEALS,
		F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) == -1 ||
	    hash_memfd(fd, &c->sent) == -1) {
		close(fd);
		return -1;
	}
	c->delta = fd;
	c->has_sent = 1;
	return 0;
}

static void
chunks_came(void *arg, int error)
{
	struct commit_run *c = arg;

	c->refs--;
	if (c->dead) {
		commit_release(c);
		return;
	}
	if (error != 0)
		retry_later(c, delta_post, strerror(error));
	else
		delta_post(c);
}

static int
publish_begin(struct commit_run *c)
{
	if (db_begin_durable(manifest_db) == -1)
		return -1;
	if (delta_save(manifest_db, c->job->id, DELTA_SENT, &c->set,
		&c->sent) == -1 ||
	    (c->has_before &&
		delta_save(manifest_db, c->job->id, DELTA_BEFORE, &c->before,
		    &c->before_sent) == -1) ||
	    db_job_state(manifest_db, c->job->id, JOB_PUBLISHING, NULL) == -1 ||
	    db_commit(manifest_db) == -1) {
		db_rollback(manifest_db);
		return -1;
	}
	c->job->state = JOB_PUBLISHING;
	return 0;
}

/* The delta, or the chunks of the file that miss names. */
static void
delta_too_large(struct commit_run *c, const struct node_miss *where)
{
	char shown[PATH_SHOWN];

	miss_shown(where, shown, sizeof(shown));
	if (*shown != '\0')
		job_error(c->job, "too_large", "too_many_chunks",
		    "%s: it has more than %zu chunks, and cannot be published: "
		    "copy it into smaller files, and remove it",
		    shown, DELTA_MAX_HASHES);
	else
		job_error(c->job, "too_large", "delta",
		    "what is to be published takes more than %zu MiB without "
		    "the content of files: publish less at a time",
		    DELTA_MAX_BYTES >> 20);
}

static void
delta_post(struct commit_run *c)
{
	struct mount *m = c->job->m;
	struct node_miss miss;
	char target[192], key[33];
	int fd;

	memset(&miss, 0, sizeof(miss));
	if (delta_make(c, &miss) == -1) {
		if (errno == ENODATA && miss.path != NULL &&
		    c->attempt++ < ATTEMPTS) {
			c->refs++;
			if (nodes_want(m->row.volume_id, &miss.commit, NULL,
				miss.path, miss.path_len, miss.first,
				miss.first_len, chunks_came, c) == 0) {
				node_miss_free(&miss);
				return;
			}
			c->refs--;
		}
		if (errno == EFBIG)
			delta_too_large(c, &miss);
		else
			commit_fail(c, "internal", "delta", strerror(errno));
		node_miss_free(&miss);
		return;
	}
	if (c->job->state != JOB_PUBLISHING && publish_begin(c) == -1) {
		commit_fail(c, "internal", "database",
		    "the database does not take it");
		return;
	}
	if (lseek(c->delta, 0, SEEK_SET) == -1 ||
	    (fd = fcntl(c->delta, F_DUPFD_CLOEXEC, 0)) == -1) {
		retry_later(c, delta_post, strerror(errno));
		return;
	}
	hex_of(c->job->key, sizeof(c->job->key), key);
	snprintf(target, sizeof(target), "/v1/volumes/%s/sessions/%s/commit",
	    m->row.volume_id, key);
	c->request = server_request(3, target, "application/x-sailvol", fd, 1,
	    ANSWER_MAX, delta_answer, c);
	if (c->request == 0)
		retry_later(c, delta_post, "sailvol-fetch cannot be asked");
	else
		commit_progress(c, "publish");
}

void
commit_hashed(struct commit_run *c)
{
	c->tries = 0;
	if (delta_set_count(&c->set) == 0)
		nothing(c);
	else
		delta_post(c);
}

/* ---- the session ---------------------------------------------------------------------------------- */

/* A commit of before: did it come through? */
static void
session_answer(void *arg, const struct server_answer *a)
{
	struct commit_run *c = arg;
	const char *state;
	json_t *r, *result;
	int done;

	c->request = 0;
	if (a->status != 200 && a->status != 201) {
		answer_bad(c, a, session_put);
		return;
	}
	r = json_loadb((const char *)a->data, a->len, 0, NULL);
	state = json_string_value(json_object_get(r, "state"));
	result = json_object_get(r, "result");
	done = state != NULL && strcmp(state, "published") == 0 &&
	    json_is_object(result);
	/* What cannot be recorded is asked for again, and not for ever. */
	if (!done)
		c->tries = 0;
	if (done)
		published(c, result);
	else if (c->job->state == JOB_PUBLISHING && c->refused_type != NULL)
		commit_fail(c, c->refused_type, c->refused_code,
		    c->refused_what);
	else if (c->job->state == JOB_PUBLISHING && c->delta != -1)
		delta_post(c);
	else if (c->job->state == JOB_PUBLISHING) {
		/* It did not: it begins again, with the same key. */
		if (db_job_state(manifest_db, c->job->id, JOB_QUEUED, NULL) ==
		    -1)
			log_warn("mount %s: commit: its job",
			    c->job->m->row.path);
		c->job->state = JOB_QUEUED;
		set_renew(c);
		begin_set(c);
	} else
		commit_files_begin(c);
	json_decref(r);
}

static json_t *
session_body(const struct job *j)
{
	const char *message;
	char hex[33], author[64];
	json_t *body;

	hex_of(j->m->row.lease, sizeof(j->m->row.lease), hex);
	snprintf(author, sizeof(author), "uid %u", j->uid);
	body = json_pack("{s:s,s:s}", "mount", hex, "author", author);
	message = json_string_value(json_object_get(j->request, "message"));
	if (message != NULL)
		json_object_set_new(body, "message", json_string(message));
	if (json_is_true(json_object_get(j->request, "if_unchanged")))
		json_object_set_new(body, "if_unchanged", json_true());
	return body;
}

static uint32_t
session_ask(struct commit_run *c,
    void (*f)(void *, const struct server_answer *))
{
	struct mount *m = c->job->m;
	char target[192], key[33], *text = NULL;
	json_t *body = session_body(c->job);
	int fd = -1;

	if (body != NULL)
		text = json_dumps(body, JSON_COMPACT);
	json_decref(body);
	if (text != NULL)
		fd = memfd_new("session", text, strlen(text));
	free(text);
	hex_of(c->job->key, sizeof(c->job->key), key);
	snprintf(target, sizeof(target), "/v1/volumes/%s/sessions/%s",
	    m->row.volume_id, key);
	return fd == -1 ? 0
			: server_request(2, target, "application/json", fd, 1,
			      ANSWER_MAX, f, c);
}

static void
session_put(struct commit_run *c)
{
	if ((c->request = session_ask(c, session_answer)) == 0)
		retry_later(c, session_put, "sailvol-fetch cannot be asked");
}

static void
session_is_back(void *arg, const struct server_answer *a)
{
	struct commit_run *c = arg;

	c->request = 0;
	/* Else who misses it tries again. */
	if (a->status >= 300 && a->status < 500 && a->status != 429)
		commit_refused_by(c, a);
}

int
commit_session_again(struct commit_run *c, const struct server_answer *a)
{
	char what[512], code[64];

	server_error(a, what, sizeof(what), code, sizeof(code));
	if (a->status != 404 || strcmp(code, "session_not_found") != 0)
		return 0;
	if (c->request == 0)
		c->request = session_ask(c, session_is_back);
	return 1;
}

/* ---- the set ---------------------------------------------------------------------------------------- */

static int
has_work(const struct delta_set *s)
{
	size_t i;

	for (i = 0; i < s->n; i++)
		if (s->items[i].kind != 0 || s->items[i].hash != HASH_KNOWN)
			return 1;
	return 0;
}

static void
node_came(void *arg, int error)
{
	struct commit_run *c = arg;

	c->refs--;
	if (c->dead)
		commit_release(c);
	else if (error != 0)
		retry_later(c, collect, strerror(error));
	else
		collect(c);
}

/* A tree that was moved below a deep directory. */
static void
path_too_long(struct commit_run *c, const struct node_miss *where)
{
	char shown[PATH_SHOWN];

	miss_shown(where, shown, sizeof(shown));
	job_error(c->job, "too_large", "path_too_long",
	    "a path is longer than 4096 bytes or 1024 names%s%s",
	    *shown != '\0' ? ": below " : "", shown);
}

static void
too_many_seen(struct commit_run *c, const struct node_miss *where)
{
	char text[640];

	seen_too_many(where, text, sizeof(text));
	commit_fail(c, "too_large", "too_many_seen", text);
}

static void
collected(void *arg, int error, struct delta_set *set, struct node_miss *miss)
{
	struct commit_run *c = arg;
	int rc = 0;

	if (error == ENODATA && c->attempt++ < ATTEMPTS) {
		c->refs++;
		rc = nodes_want(c->job->m->row.volume_id, &miss->commit, NULL,
		    miss->path, miss->path_len, miss->first, miss->first_len,
		    node_came, c);
		if (rc == -1) {
			c->refs--;
			commit_fail(c, "internal", "memory", "out of memory");
		}
	} else if (error == ENAMETOOLONG)
		path_too_long(c, miss);
	else if (error == EFBIG)
		too_many_seen(c, miss);
	else if (error == EBUSY)
		commit_fail(c, "unavailable", "busy",
		    "the changes are looked at in vain: ask again");
	else if (error != 0)
		commit_fail(c, "internal", "database", strerror(error));
	node_miss_free(miss);
	if (error != 0)
		return;
	c->set = *set;
	c->has_set = 1;
	c->tries = 0;
	if (!has_work(&c->set))
		nothing(c);
	else if (commit_files_gather(c) == -1)
		commit_fail(c, "internal", "memory", "out of memory");
	else
		session_put(c);
}

static void
collect(struct commit_run *c)
{
	if (collect_begin(c->job->m, &c->collecting, c->attempt, collected,
		c) == -1)
		commit_fail(c, "internal", "memory", "out of memory");
}

/* All up to the mark is in the rows. */
static void
marked(struct mount *m, void *arg)
{
	struct commit_run *c = arg;

	c->refs--;
	if (c->dead) {
		commit_release(c);
		return;
	}
	/* From now on a name that is removed may be published already. */
	if (!(m->row.flags & ROW_SEEN)) {
		m->row.flags |= ROW_SEEN;
		if (db_mount_update(manifest_db, &m->row) == -1) {
			commit_fail(c, "internal", "database",
			    "the database does not take it");
			return;
		}
	}
	collect(c);
}

/* The mark will never be reached. */
static void
never_marked(struct mount *m, void *arg)
{
	struct commit_run *c = arg;

	(void)m;
	c->refs--;
	if (c->dead)
		commit_release(c);
	else
		commit_fail(c, "unavailable", "journal", JOURNAL_BROKEN);
}

static void
synced(struct mount *m, void *arg, int error, uint64_t offset)
{
	struct commit_run *c = arg;

	if (c->dead || error != 0) {
		c->refs--;
		if (c->dead)
			commit_release(c);
		else if (error != ENODEV)
			commit_fail(c, "internal", "sync", strerror(error));
		return;
	}
	if (offset < c->job->mark)
		offset = c->job->mark;
	if (applied_wait_or(m, offset, marked, never_marked, c) == 0)
		return;
	if (errno == EIO)
		never_marked(m, c);
	else {
		c->refs--;
		commit_fail(c, "internal", "journal", strerror(errno));
	}
}

static void
begin_set(struct commit_run *c)
{
	c->refs++;
	if (ask_sync(c->job->m, synced, c) == -1) {
		c->refs--;
		commit_fail(c, "internal", "sync", strerror(errno));
	} else
		commit_progress(c, "mark");
}

void
commit_start(struct job *j)
{
	struct commit_run *c;

	if ((j->m->flags & MOUNT_READONLY) || j->m->has_commit) {
		job_error(j, "refused", "read_only", "the mount is read-only");
		return;
	}
	if ((c = calloc(1, sizeof(*c))) == NULL) {
		job_error(j, "internal", "memory", "out of memory");
		return;
	}
	c->delta = -1;
	c->job = j;
	j->run = c;
	j->stop = commit_stop;
	j->may_cancel = may_cancel;
	if (j->state != JOB_PUBLISHING) {
		/* It may have begun again. */
		c->has_before = j->resumed &&
		    delta_load(manifest_db, j->id, DELTA_SENT, &c->before,
			&c->before_sent) == 0;
		begin_set(c);
		return;
	}
	/* Its delta was sent before a restart: what became of it? */
	c->doubt = 1;
	if (delta_load(manifest_db, j->id, DELTA_SENT, &c->set, &c->sent) == 0)
		c->has_set = c->has_sent = 1;
	else
		log_warnx("mount %s: commit: its set is lost", j->m->row.path);
	c->has_before = delta_load(manifest_db, j->id, DELTA_BEFORE, &c->before,
			    &c->before_sent) == 0;
	session_put(c);
}
