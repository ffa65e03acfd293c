/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * commit_files: the files of a commit: opened by fuse, hashed and uploaded by
 * sailvol-fetch, a bounded number at a time.  In manifest.
 */
#include <sys/stat.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/chunklist.h"
#include "lib/log.h"
#include "lib/memfd.h"
#include "sailvold/commit.h"
#include "sailvold/delta_set.h"

#define LIST_MAX_BYTES ((size_t)1 << 30)
#define LIST_MAX_SLOTS ((uint64_t)1 << 31)
#define RACE_NS 20000000 /* a ctime younger than this may hide a change */

struct ask_file {
	struct commit_run *c;
	struct cfile *f;
};

static void batch_send(struct batch *);
static void batch_next(struct commit_run *);

/* ---- the list of files ------------------------------------------------------------- */

static const struct delta_set *sort_set;

static int
by_ovl_cmp(const void *a, const void *b)
{
	const size_t *i = a, *k = b;
	uint64_t x = sort_set->items[*i].ovl, y = sort_set->items[*k].ovl;

	return x < y ? -1 : x > y ? 1 : *i < *k ? -1 : *i > *k;
}

static int
gather_files(struct commit_run *c)
{
	size_t i, k;

	c->by_ovl = calloc(c->set.n + 1, sizeof(*c->by_ovl));
	c->files = calloc(c->set.n + 1, sizeof(*c->files));
	if (c->by_ovl == NULL || c->files == NULL)
		return -1;
	for (i = 0; i < c->set.n; i++)
		if (c->set.items[i].hash != HASH_KNOWN)
			c->by_ovl[c->nby_ovl++] = i;
	sort_set = &c->set;
	qsort(c->by_ovl, c->nby_ovl, sizeof(*c->by_ovl), by_ovl_cmp);
	for (i = 0; i < c->nby_ovl; i = k) {
		struct cfile *f = &c->files[c->nfiles++];

		f->ovl = c->set.items[c->by_ovl[i]].ovl;
		f->fd = -1;
		f->lo = i;
		for (k = i;
		     k < c->nby_ovl && c->set.items[c->by_ovl[k]].ovl == f->ovl;
		     k++)
			;
		f->hi = k;
		c->bytes += c->set.items[c->by_ovl[i]].entry->size;
	}
	return 0;
}

int
commit_files_begin(struct commit_run *c)
{
	c->waiting_tail = &c->waiting;
	c->files_began = monotime_now();
	if (gather_files(c) == -1)
		return -1;
	commit_files_pump(c);
	return 0;
}

static struct delta_item *
item_of(struct commit_run *c, size_t i)
{
	return &c->set.items[c->by_ovl[i]];
}

static void
file_done(struct commit_run *c, struct cfile *f)
{
	f->done = 1;
	c->ndone++;
	c->bytes_done += f->res.size;
	free(f->list);
	f->list = NULL;
	commit_progress(c, "upload");
}

static void
leave(struct commit_run *c, struct cfile *f)
{
	size_t i;

	for (i = f->lo; i < f->hi; i++)
		delta_item_leave(item_of(c, i));
	file_done(c, f);
}

static void
try_again(struct commit_run *c, struct cfile *f)
{
	struct cfile **more;
	size_t cap;

	if (++f->tries >= COMMIT_TRIES) {
		leave(c, f);
		return;
	}
	if (c->nredo == c->redo_cap) {
		cap = c->redo_cap == 0 ? 16 : c->redo_cap * 2;
		if ((more = reallocarray(c->redo, cap, sizeof(*more))) ==
		    NULL) {
			leave(c, f);
			return;
		}
		c->redo = more;
		c->redo_cap = cap;
	}
	free(f->list);
	f->list = NULL;
	f->again = 0;
	c->redo[c->nredo++] = f;
}

/* All its chunks are in the store. */
static void
settle_file(struct commit_run *c, struct cfile *f)
{
	struct delta_item *it;
	struct chunklist *cl;
	struct rbuf r;
	size_t i;

	if (f->again) {
		try_again(c, f);
		return;
	}
	for (i = f->lo; i < f->hi; i++) {
		it = item_of(c, i);
		rbuf_init(&r, f->list, f->list_len);
		cl = chunklist_decode(&r, LIST_MAX_SLOTS);
		if (cl == NULL || delta_item_hashed(it, cl) == -1) {
			leave(c, f);
			return;
		}
		it->writers = f->writers;
		it->hashed_ctime = f->res.ctime;
		it->hash_began = f->res.before;
		it->hashed_size = f->res.size;
	}
	file_done(c, f);
}

/* ---- batches of chunks ---------------------------------------------------------------- */

static void
batch_free(struct batch *b)
{
	uint32_t i;

	if (b == NULL)
		return;
	if (b->number != 0)
		server_cancel(b->number);
	if (b->timer != NULL)
		event_free(b->timer);
	for (i = 0; i < b->nfiles; i++)
		close(b->fds[i]);
	free(b);
}

static void
batch_end(struct batch *b)
{
	struct commit_run *c = b->c;
	size_t i;

	for (i = 0; i < COMMIT_UPLOADS; i++)
		if (c->up[i] == b)
			c->up[i] = NULL;
	batch_free(b);
}

static void
batch_again(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	batch_send(arg);
}

static void
batch_retry(struct batch *b, const char *why)
{
	struct commit_run *c = b->c;
	struct timeval tv;
	int ms;

	if (b->tries++ == 0)
		b->deadline =
		    monotime_add_ms(monotime_now(), COMMIT_PATIENCE_MS);
	log_warnx("mount %s: commit: upload: %s, try %u", c->job->m->row.path,
	    why, b->tries);
	if (monotime_reached(b->deadline)) {
		commit_fail(c, "unavailable", "upload_failed", why);
		return;
	}
	ms = commit_backoff_ms(b->tries);
	tv.tv_sec = ms / 1000;
	tv.tv_usec = (ms % 1000) * 1000;
	if (b->timer == NULL)
		b->timer = evtimer_new(proc_base(), batch_again, b);
	if (b->timer == NULL || evtimer_add(b->timer, &tv) == -1)
		commit_fail(c, "internal", "memory", "out of memory");
}

static void
upload_progress(void *arg, uint32_t chunks, uint64_t bytes, uint64_t sent)
{
	struct batch *b = arg;

	(void)bytes;
	/* Not bytes: those of a store that takes nothing count as sent too. */
	if (chunks > b->most) {
		b->most = chunks;
		b->tries = 0;
	}
	if (sent > b->reported) {
		b->c->bytes_sent += sent - b->reported;
		b->reported = sent;
	}
	commit_progress(b->c, "upload");
}

static void
uploaded(void *arg, uint32_t error, const char *what, const uint8_t *status,
    uint32_t n)
{
	struct batch *b = arg;
	struct commit_run *c = b->c;
	uint64_t sent = 0;
	uint32_t i;

	b->number = 0;
	for (i = 0; i < n; i++)
		if (status[i] == 3 && error == 0)
			error = EIO;
	if (error != 0 || n != b->n) {
		batch_retry(b,
		    what[0] != '\0'
			? what
			: strerror(error != 0 ? (int)error : EBADMSG));
		return;
	}
	for (i = 0; i < n; i++) {
		if (status[i] == 2)
			b->files[b->chunks[i].file]->again = 1;
		if (status[i] == 1)
			sent += b->chunks[i].bytes;
		if (status[i] == 0)
			c->skipped += b->chunks[i].bytes;
	}
	if (sent > b->reported)
		c->bytes_sent += sent - b->reported;
	for (i = 0; i < b->nfiles; i++)
		if (--b->files[i]->pending == 0 && b->files[i]->fd == -1)
			settle_file(c, b->files[i]);
	batch_end(b);
	batch_next(c);
	commit_files_pump(c);
}

static void
batch_send(struct batch *b)
{
	struct upload_file files[COMMIT_BATCH_FILES];
	struct commit_run *c = b->c;
	char key[33];
	uint32_t i;

	for (i = 0; i < b->nfiles; i++) {
		files[i].ovl = b->files[i]->ovl;
		files[i].fd = fcntl(b->fds[i], F_DUPFD_CLOEXEC, 0);
		if (files[i].fd == -1) {
			while (i > 0)
				close(files[--i].fd);
			batch_retry(b, strerror(errno));
			return;
		}
	}
	hex_of(c->job->key, sizeof(c->job->key), key);
	b->reported = 0;
	b->number = server_upload(c->job->m->row.volume_id, key, files,
	    b->nfiles, b->chunks, b->n, upload_progress, uploaded, b);
	if (b->number == 0)
		batch_retry(b, strerror(errno));
}

static void
batch_next(struct commit_run *c)
{
	struct batch *b;
	size_t i;

	for (i = 0; i < COMMIT_UPLOADS && c->waiting != NULL; i++) {
		if (c->up[i] != NULL)
			continue;
		b = c->waiting;
		if ((c->waiting = b->next) == NULL)
			c->waiting_tail = &c->waiting;
		c->up[i] = b;
		batch_send(b);
		if (c->dead)
			return;
	}
}

/* It goes up when its turn comes. */
static void
batch_flush(struct commit_run *c)
{
	struct batch *b = c->batch;

	c->batch = NULL;
	b->next = NULL;
	*c->waiting_tail = b;
	c->waiting_tail = &b->next;
	batch_next(c);
}

static int
uploads_busy(const struct commit_run *c)
{
	size_t i;

	for (i = 0; i < COMMIT_UPLOADS; i++)
		if (c->up[i] != NULL)
			return 1;
	return c->waiting != NULL;
}

/* The file's place in a batch with room for a chunk; a full batch goes up. */
static int
batch_room(struct commit_run *c, struct cfile *f, uint32_t *at)
{
	struct batch *b = c->batch;

	if (b != NULL && b->n < FETCH_UPLOAD_MAX && b->nfiles > 0 &&
	    b->files[b->nfiles - 1] == f) {
		*at = b->nfiles - 1;
		return 0;
	}
	if (b != NULL &&
	    (b->n == FETCH_UPLOAD_MAX || b->nfiles == COMMIT_BATCH_FILES)) {
		batch_flush(c);
		if (c->dead)
			return -1;
		b = NULL;
	}
	if (b == NULL) {
		if ((b = calloc(1, sizeof(*b))) == NULL)
			return -1;
		b->c = c;
		c->batch = b;
	}
	if ((b->fds[b->nfiles] = fcntl(f->fd, F_DUPFD_CLOEXEC, 0)) == -1)
		return -1;
	b->files[b->nfiles] = f;
	f->pending++;
	*at = b->nfiles++;
	return 0;
}

/* ---- what is new in a file ---------------------------------------------------------------- */

struct old_chunks {
	struct hash *h;
	size_t n;
};

static int
hash_qcmp(const void *a, const void *b)
{
	return hash_cmp(a, b);
}

static struct chunklist *
old_list(struct commit_run *c, const struct obj *o)
{
	struct node_store store;
	struct chunklist *cl;
	struct blob *keep;
	struct hash missing;
	struct entry e;
	struct rbuf r;
	size_t depth;

	(void)c;
	if (o->chunks != NULL) {
		rbuf_init(&r, o->chunks, o->chunks_len);
		return chunklist_decode(&r, LIST_MAX_SLOTS);
	}
	if (!o->has_origin ||
	    nodes_lookup(&o->origin_commit, o->origin_path, o->origin_path_len,
		&e, &keep, &depth) == -1)
		return NULL;
	db_node_store(manifest_db, &store);
	cl = e.type == ENTRY_FILE
	    ? chunklist_from_entry(&e, &store, LIST_MAX_SLOTS, &missing)
	    : NULL;
	blob_unref(keep);
	return cl;
}

/* Chunks that were published with this file before, sorted; none is fine. */
static void
old_chunks(struct commit_run *c, const struct obj *o, struct old_chunks *out)
{
	struct chunklist *cl = old_list(c, o);
	uint64_t slot = 0, found;
	struct hash h;

	memset(out, 0, sizeof(*out));
	if (cl == NULL)
		return;
	out->h = calloc(chunklist_hashes(cl) + 1, sizeof(*out->h));
	while (out->h != NULL && chunklist_next(cl, slot, &found, &h)) {
		out->h[out->n++] = h;
		slot = found + 1;
	}
	chunklist_free(cl);
	if (out->n > 1)
		qsort(out->h, out->n, sizeof(*out->h), hash_qcmp);
}

static int
queue_chunks(struct commit_run *c, struct cfile *f, struct chunklist *cl,
    const struct old_chunks *old)
{
	uint64_t slot, found;
	struct hash h;
	uint32_t at = 0, bytes;

	for (slot = 0; chunklist_next(cl, slot, &found, &h); slot = found + 1) {
		bytes = chunklist_slot_bytes(cl, found);
		if (old->n > 0 &&
		    bsearch(&h, old->h, old->n, sizeof(h), hash_qcmp) != NULL) {
			c->skipped += bytes;
			continue;
		}
		if (batch_room(c, f, &at) == -1)
			return -1;
		c->batch->chunks[c->batch->n].file = at;
		c->batch->chunks[c->batch->n].offset = found
		    << chunklist_shift(cl);
		c->batch->chunks[c->batch->n].bytes = bytes;
		c->batch->chunks[c->batch->n++].hash = h;
		c->batch->bytes += bytes;
	}
	return 0;
}

/* ---- one file ------------------------------------------------------------------------------- */

static void
file_hashed(struct commit_run *c, struct cfile *f)
{
	struct old_chunks old = { NULL, 0 };
	struct chunklist *cl;
	struct rbuf r;
	struct obj o;
	int rc = -1;

	rbuf_init(&r, f->list, f->list_len);
	cl = chunklist_decode(&r, LIST_MAX_SLOTS);
	if (cl == NULL || rbuf_end(&r) == -1 ||
	    chunklist_size(cl) != f->res.size)
		goto done;
	if (db_obj_get(manifest_db, c->job->m->row.row, f->ovl, &o) == 0) {
		old_chunks(c, &o, &old);
		obj_free(&o);
	}
	rc = queue_chunks(c, f, cl, &old);
	free(old.h);
done:
	chunklist_free(cl);
	close(f->fd);
	f->fd = -1;
	if (c->dead)
		return;
	if (rc == -1) {
		log_warnx("mount %s: commit: overlay file %llu: bad chunk list",
		    c->job->m->row.path, (unsigned long long)f->ovl);
		f->again = 1;
	}
	if (f->pending == 0)
		settle_file(c, f);
}

static void
hash_came(void *arg, const struct fetch_hash_res *res, int list_fd)
{
	struct ask_file *a = arg;
	struct commit_run *c = a->c;
	struct memfd_view view;
	struct cfile *f = a->f;

	free(a);
	c->in_flight--;
	c->refs--;
	if (c->dead) {
		if (list_fd != -1)
			close(list_fd);
		commit_release(c);
		return;
	}
	f->res = *res;
	if (res->error != 0 || res->changed || list_fd == -1 ||
	    memfd_map(list_fd, LIST_MAX_BYTES, &view) == -1) {
		if (res->error != 0)
			log_warnx("mount %s: commit: overlay file %llu: %s",
			    c->job->m->row.path, (unsigned long long)f->ovl,
			    strerror((int)res->error));
		close(f->fd);
		f->fd = -1;
		try_again(c, f);
	} else {
		f->list = mem_dup(view.data, view.len);
		f->list_len = view.len;
		memfd_unmap(&view);
		if (f->list == NULL)
			f->list_len = 0;
		file_hashed(c, f);
	}
	if (list_fd != -1)
		close(list_fd);
	commit_files_pump(c);
}

/* 1 when a suspect file is as it was hashed, and nobody may write to it any
   more. */
static int
unchanged(const struct mount *m, const struct obj *o, int fd, int writers)
{
	struct timens race;
	struct stat st;

	if (!m->stores_show || writers || o->changed_content != 0 ||
	    o->chunks == NULL || fstat(fd, &st) == -1)
		return 0;
	race = o->hash_began;
	if (race.nsec < RACE_NS) {
		race.sec--;
		race.nsec += 1000000000;
	}
	race.nsec -= RACE_NS;
	return (uint64_t)st.st_size == o->hashed_size &&
	    timens_cmp(timens_of(st.st_ctim), o->hashed_ctime) == 0 &&
	    timens_cmp(timens_of(st.st_ctim), race) < 0;
}

/* Of a suspect file that did not change: what is known of it. */
static int
take_known(struct commit_run *c, struct cfile *f, const struct obj *o)
{
	if ((f->list = mem_dup(o->chunks, o->chunks_len)) == NULL)
		return -1;
	f->list_len = o->chunks_len;
	memset(&f->res, 0, sizeof(f->res));
	f->res.size = o->hashed_size;
	f->res.ctime = o->hashed_ctime;
	f->res.before = o->hash_began;
	c->skipped += o->hashed_size;
	settle_file(c, f);
	return 0;
}

/* 0: chosen by size, for a file that was never published. */
static uint8_t
shift_of(const struct obj *o)
{
	struct chunklist *cl;
	struct rbuf r;
	uint8_t shift = 0;

	if (o->chunks != NULL) {
		rbuf_init(&r, o->chunks, o->chunks_len);
		if ((cl = chunklist_decode(&r, LIST_MAX_SLOTS)) != NULL)
			shift = chunklist_shift(cl);
		chunklist_free(cl);
	} else if (o->has_origin)
		shift = o->entry->chunk_shift;
	return shift;
}

static void
file_opened(struct mount *m, void *arg, int error, int fd, int writers)
{
	struct ask_file *a = arg;
	struct commit_run *c = a->c;
	struct cfile *f = a->f;
	struct obj o;
	int dup_fd, known = 0;

	if (c->dead || error != 0 ||
	    db_obj_get(manifest_db, m->row.row, f->ovl, &o) == -1) {
		if (fd != -1)
			close(fd);
		goto fail;
	}
	f->writers = writers;
	f->fd = fd;
	if (item_of(c, f->lo)->hash == HASH_SUSPECT &&
	    unchanged(m, &o, fd, writers)) {
		close(fd);
		f->fd = -1;
		known = take_known(c, f, &o) == 0;
		obj_free(&o);
		if (!known)
			goto fail;
		free(a);
		c->in_flight--;
		c->refs--;
		commit_files_pump(c);
		return;
	}
	dup_fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (dup_fd != -1 &&
	    server_hash(shift_of(&o), dup_fd, hash_came, a) != 0) {
		obj_free(&o);
		return;
	}
	obj_free(&o);
	close(fd);
	f->fd = -1;
	if (error == 0)
		error = errno;
fail:
	free(a);
	c->in_flight--;
	c->refs--;
	if (c->dead) {
		commit_release(c);
		return;
	}
	if (error == ENODEV)
		return; /* the mount goes, and the job with it */
	log_warnx("mount %s: commit: overlay file %llu: %s", m->row.path,
	    (unsigned long long)f->ovl, strerror(error));
	leave(c, f);
	commit_files_pump(c);
}

static int
open_file(struct commit_run *c, struct cfile *f)
{
	struct ask_file *a;

	if ((a = malloc(sizeof(*a))) == NULL)
		return -1;
	a->c = c;
	a->f = f;
	c->in_flight++;
	c->refs++;
	if (ask_open(c->job->m, f->ovl, file_opened, a) == -1) {
		c->in_flight--;
		c->refs--;
		free(a);
		return -1;
	}
	return 0;
}

void
commit_files_pump(struct commit_run *c)
{
	struct cfile *f;

	if (c->dead)
		return;
	while (c->in_flight < COMMIT_IN_FLIGHT && c->waiting == NULL) {
		if (c->next < c->nfiles)
			f = &c->files[c->next++];
		else if (c->nredo > 0)
			f = c->redo[--c->nredo];
		else
			break;
		if (open_file(c, f) == -1) {
			commit_fail(c, "internal", "memory", "out of memory");
			return;
		}
	}
	/* Nothing more comes in at the moment: what was gathered goes up. */
	if (c->in_flight == 0 && c->batch != NULL && c->batch->n > 0) {
		batch_flush(c);
		if (c->dead)
			return;
	}
	if (c->ndone == c->nfiles && c->in_flight == 0 &&
	    uploads_busy(c) == 0 && !c->publishing) {
		c->publishing = 1;
		commit_hashed(c);
	}
}

void
commit_files_stop(struct commit_run *c)
{
	struct batch *b;
	size_t i;

	for (i = 0; i < COMMIT_UPLOADS; i++) {
		batch_free(c->up[i]);
		c->up[i] = NULL;
	}
	while ((b = c->waiting) != NULL) {
		c->waiting = b->next;
		batch_free(b);
	}
	batch_free(c->batch);
	c->batch = NULL;
}

void
commit_files_free(struct commit_run *c)
{
	size_t i;

	for (i = 0; i < c->nfiles; i++) {
		if (c->files[i].fd != -1)
			close(c->files[i].fd);
		free(c->files[i].list);
	}
	free(c->files);
	free(c->by_ovl);
	free(c->redo);
	c->files = NULL;
	c->by_ovl = NULL;
	c->redo = NULL;
	c->nfiles = c->nby_ovl = c->next = c->ndone = c->nredo = 0;
	c->redo_cap = 0;
}
