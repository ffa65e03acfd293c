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
#include "lib/lack.h"
#include "lib/log.h"
#include "lib/memfd.h"
#include "lib/rest.h"
#include "lib/wire.h"
#include "sailvold/commit.h"
#include "sailvold/delta_set.h"

#define LIST_MAX_BYTES ((size_t)1 << 30)
#define RACE_NS 20000000 /* a ctime younger than this may hide a change */

struct ask_file {
	struct commit_run *c;
	struct cfile *f;
	uint32_t number; /* of server_hash */
	uint64_t hashed; /* told so far */
};

static void batch_send(struct batch *);
static void batch_next(struct commit_run *);

/* Of a callback that has ended, or of who works on after what may fail. */
static void
unref(struct commit_run *c)
{
	c->refs--;
	commit_release(c);
}

/* ---- the list of files ------------------------------------------------------------- */

static const struct delta_set *sort_set;

static int
by_ovl_cmp(const void *a, const void *b)
{
	const size_t *i = a, *k = b;
	uint64_t x = sort_set->items[*i].ovl, y = sort_set->items[*k].ovl;

	return x < y ? -1 : x > y ? 1 : *i < *k ? -1 : *i > *k;
}

static const size_t *sort_by_ovl;

/* In the order of their paths, as packs will have them. */
static int
file_cmp(const void *a, const void *b)
{
	const struct cfile *x = a, *y = b;
	size_t i = sort_by_ovl[x->lo], k = sort_by_ovl[y->lo];

	return i < k ? -1 : i > k;
}

int
commit_files_gather(struct commit_run *c)
{
	size_t i, k;

	c->bytes = 0;
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
	sort_by_ovl = c->by_ovl;
	qsort(c->files, c->nfiles, sizeof(*c->files), file_cmp);
	return 0;
}

void
commit_files_begin(struct commit_run *c)
{
	c->waiting_tail = &c->waiting;
	rate_begin(&c->rate, monotime_now());
	commit_files_pump(c);
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
	commit_chunks_free(f);
	rest_free(f->rest);
	f->rest = NULL;
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
	commit_chunks_free(f);
	f->again = f->hashed = 0;
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
		cl = chunklist_decode(&r, COMMIT_LIST_SLOTS);
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
	for (i = 0; i < b->nfds; i++)
		close(b->fds[i]);
	free(b->chunks);
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
	job_log(c->job)("mount %s: commit: upload: %s, try %u",
	    c->job->m->row.path, why, b->tries);
	if (!job_may_wait(c->job) || monotime_reached(b->deadline)) {
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
uploaded(void *arg, uint32_t error, const struct server_answer *a,
    const uint8_t *status, uint32_t n)
{
	struct batch *b = arg;
	struct commit_run *c = b->c;
	struct cfile *f;
	uint64_t sent = 0;
	uint32_t i;

	b->number = 0;
	for (i = 0; i < n; i++)
		if (status[i] == 3 && error == 0)
			error = EIO;
	/* A key that was revoked, a session that is gone: no waiting brings them
	   back; nor does it make a certificate a good one. */
	if (error != 0 && a->status != 0) {
		if (commit_session_again(c, a))
			batch_retry(b, a->what);
		else
			commit_refused_by(c, a);
		return;
	}
	if (error == ENOENT || error == FETCH_UNTRUSTED) {
		commit_fail(c, "unavailable", "upload_failed", a->what);
		return;
	}
	if (error != 0 || n != b->n) {
		batch_retry(b,
		    a->what[0] != '\0'
			? a->what
			: strerror(error != 0 ? (int)error : EBADMSG));
		return;
	}
	for (i = 0; i < n; i++) {
		if (status[i] == 2 || status[i] == 4)
			b->chunks[i].file->again = 1;
		if (status[i] == 4)
			b->chunks[i].file->no_keep = 1;
		if (status[i] == 1)
			sent += b->chunks[i].chunk.bytes;
		if (status[i] == 0)
			c->skipped += b->chunks[i].chunk.bytes;
	}
	if (sent > b->reported)
		c->bytes_sent += sent - b->reported;
	for (i = 0; i < n; i++) {
		f = b->chunks[i].file;
		if ((i == 0 || b->chunks[i - 1].file != f) &&
		    --f->pending == 0 && f->hashed)
			settle_file(c, f);
	}
	batch_end(b);
	c->refs++;
	batch_next(c);
	commit_batch_idle(c);
	commit_files_pump(c);
	unref(c);
}

/* Their order is that of the paths. */
static int
batch_cmp(const void *a, const void *b)
{
	const struct batch_chunk *x = a, *y = b;

	if (x->file != y->file)
		return x->file < y->file ? -1 : 1;
	return x->chunk.offset < y->chunk.offset
	    ? -1
	    : x->chunk.offset > y->chunk.offset;
}

/* Copies of its descriptors, which upload takes; -1 and errno. */
static int
batch_files(const struct batch *b, struct upload_file *files)
{
	uint32_t i;
	int saved;

	for (i = 0; i < b->nfds; i++) {
		files[i].fd = fcntl(b->fds[i], F_DUPFD_CLOEXEC, 0);
		if (files[i].fd == -1) {
			saved = errno;
			while (i > 0)
				close(files[--i].fd);
			errno = saved;
			return -1;
		}
	}
	return 0;
}

static void
batch_send(struct batch *b)
{
	struct upload_file files[COMMIT_BATCH_FILES];
	struct fetch_upload_chunk *chunks;
	struct commit_run *c = b->c;
	char key[33];
	uint32_t i;

	chunks = calloc((size_t)b->n + 1, sizeof(*chunks));
	if (chunks == NULL || batch_files(b, files) == -1) {
		free(chunks);
		batch_retry(b, strerror(errno));
		return;
	}
	for (i = 0; i < b->n; i++)
		chunks[i] = b->chunks[i].chunk;
	hex_of(c->job->key, sizeof(c->job->key), key);
	b->reported = 0;
	b->number = server_upload(c->job->m->row.volume_id, key, files, b->nfds,
	    chunks, b->n, upload_progress, uploaded, b);
	if (b->number == 0)
		batch_retry(b, strerror(errno));
	free(chunks);
}

/* It goes up when its turn comes. */
static void
batch_flush(struct commit_run *c, enum batch_kind kind)
{
	struct batch *b = c->filling[kind];

	c->filling[kind] = NULL;
	if (b->n > 0)
		qsort(b->chunks, b->n, sizeof(b->chunks[0]), batch_cmp);
	b->next = NULL;
	*c->waiting_tail = b;
	c->waiting_tail = &b->next;
	batch_next(c);
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

void
commit_batch_idle(struct commit_run *c)
{
	size_t i;

	for (i = 0; i < COMMIT_UPLOADS && !c->dead; i++)
		if (c->up[i] == NULL && c->waiting == NULL &&
		    c->filling[BATCH_LARGE] != NULL &&
		    c->filling[BATCH_LARGE]->n > 0)
			batch_flush(c, BATCH_LARGE);
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

/* No room in it for one more chunk, of so many bytes for a pack, or for one
   more descriptor. */
static int
batch_full(const struct batch *b, uint32_t small, int fd)
{
	return b->n == FETCH_UPLOAD_MAX ||
	    (fd && b->nfds == COMMIT_BATCH_FILES) ||
	    b->small + small > WIRE_PACK_ROOM;
}

/* A batch of that kind with room for a chunk of the file; a full one goes up. */
static struct batch *
batch_room(struct commit_run *c, const struct cfile *f, enum batch_kind kind,
    uint32_t bytes, int fd)
{
	struct batch *b = c->filling[kind];
	uint32_t small = kind == BATCH_PACKS ? bytes : 0;

	if (b != NULL &&
	    batch_full(b, small, fd && f->in[kind].batch != b->serial)) {
		batch_flush(c, kind);
		if (c->dead)
			return NULL;
		b = NULL;
	}
	if (b == NULL) {
		if ((b = calloc(1, sizeof(*b))) == NULL)
			return NULL;
		b->c = c;
		b->serial = ++c->nbatches;
		c->filling[kind] = b;
	}
	return b;
}

/* Room for one more of its chunks. */
static int
batch_grow(struct batch *b)
{
	uint32_t size = b->size == 0 ? 16 : b->size * 2;
	struct batch_chunk *more;

	if (b->n < b->size)
		return 0;
	if ((more = reallocarray(b->chunks, size, sizeof(*more))) == NULL)
		return -1;
	b->chunks = more;
	b->size = size;
	return 0;
}

int
commit_batch_add(struct commit_run *c, struct cfile *f, uint64_t offset,
    uint32_t bytes, const struct hash *h)
{
	enum batch_kind kind =
	    bytes < WIRE_PACK_CHUNK ? BATCH_PACKS : BATCH_LARGE;
	int kept = kind == BATCH_PACKS && f->res.kept;
	struct batch_chunk *k;
	struct batch *b;

	if ((b = batch_room(c, f, kind, bytes, !kept)) == NULL ||
	    batch_grow(b) == -1)
		return -1;
	if (f->in[kind].batch != b->serial) {
		f->in[kind].file = FETCH_UPLOAD_KEPT;
		if (!kept) {
			b->fds[b->nfds] = fcntl(f->fd, F_DUPFD_CLOEXEC, 0);
			if (b->fds[b->nfds] == -1)
				return -1;
			f->in[kind].file = b->nfds++;
		}
		f->in[kind].batch = b->serial;
		f->pending++;
	}
	if (kind == BATCH_PACKS)
		b->small += bytes;
	k = &b->chunks[b->n++];
	k->file = f;
	k->chunk.file = f->in[kind].file;
	k->chunk.offset = offset;
	k->chunk.bytes = bytes;
	k->chunk.hash = *h;
	return 0;
}

/* ---- one file ------------------------------------------------------------------------------- */

static void
file_hashed(struct commit_run *c, struct cfile *f)
{
	struct chunklist *cl;
	struct rbuf r;
	int rc = -1;

	rbuf_init(&r, f->list, f->list_len);
	cl = chunklist_decode(&r, COMMIT_LIST_SLOTS);
	if (cl != NULL && rbuf_end(&r) == 0 &&
	    chunklist_size(cl) == f->res.size)
		rc = commit_chunks_all(c, f, cl);
	chunklist_free(cl);
	if (c->dead || rc == 0)
		return;
	log_warnx("mount %s: commit: overlay file %llu: bad chunk list",
	    c->job->m->row.path, (unsigned long long)f->ovl);
	f->again = 1;
}

/* The chunk list, from the message or the descriptor. */
static int
take_list(struct cfile *f, const struct fetch_hash_res *res, int list_fd)
{
	struct memfd_view view;

	if (list_fd == -1) {
		f->list = mem_dup(res->list, res->list_len);
		f->list_len = f->list == NULL ? 0 : res->list_len;
		return res->list_len > 0 ? 0 : -1;
	}
	if (memfd_map(list_fd, LIST_MAX_BYTES, &view) == -1)
		return -1;
	f->list = mem_dup(view.data, view.len);
	f->list_len = f->list == NULL ? 0 : view.len;
	memfd_unmap(&view);
	return 0;
}

static void
hash_goes_on(void *arg, uint64_t bytes)
{
	struct ask_file *a = arg;
	struct commit_run *c = a->c;

	if (c->dead || bytes <= a->hashed)
		return;
	c->hashed += bytes - a->hashed;
	a->hashed = bytes;
	commit_progress(c, uploads_busy(c) ? "upload" : "hash");
}

static void
hash_told(void *arg, const struct fetch_hash_chunks *chunks)
{
	struct ask_file *a = arg;

	if (!a->c->dead)
		commit_chunks_some(a->c, a->f, chunks);
}

static void
hash_came(void *arg, const struct fetch_hash_res *res, int list_fd)
{
	struct ask_file *a = arg;
	struct commit_run *c = a->c;
	struct cfile *f = a->f;

	if (res->error == 0 && res->size > a->hashed)
		c->hashed += res->size - a->hashed;
	free(a);
	c->in_flight--;
	if (c->dead) {
		if (list_fd != -1)
			close(list_fd);
		unref(c);
		return;
	}
	f->res = *res;
	f->res.list = NULL;
	if (res->error != 0)
		log_warnx("mount %s: commit: overlay file %llu: %s",
		    c->job->m->row.path, (unsigned long long)f->ovl,
		    strerror((int)res->error));
	if (res->error != 0 || res->changed || take_list(f, res, list_fd) == -1)
		f->again = 1;
	else if (!f->again)
		file_hashed(c, f);
	if (list_fd != -1)
		close(list_fd);
	if (c->dead) {
		unref(c);
		return;
	}
	close(f->fd);
	f->fd = -1;
	/* Chunks of it may be on their way still, whatever they are. */
	f->hashed = 1;
	if (f->pending == 0)
		settle_file(c, f);
	commit_batch_idle(c);
	commit_files_pump(c);
	unref(c);
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
		if ((cl = chunklist_decode(&r, COMMIT_LIST_SLOTS)) != NULL)
			shift = chunklist_shift(cl);
		chunklist_free(cl);
	} else if (o->has_origin)
		shift = o->entry->chunk_shift;
	return shift;
}

/* What a file that is not whole lacks is where its chunks were before. */
static void
keep_rest(struct cfile *f, int rest_fd)
{
	rest_free(f->rest);
	f->rest = NULL;
	if (rest_fd != -1 && (f->rest = rest_read(rest_fd)) == NULL)
		log_warn("commit: overlay file %llu: what it lacks",
		    (unsigned long long)f->ovl);
}

/*
 * What is published is no change of the mount any more, so a loss of power must
 * leave it all of that.  One sync for many files, all of which were written before
 * the commit's mark; of one that may have been written since, another.
 */
static uint8_t
sync_of(struct commit_run *c, const struct cfile *f, const struct obj *o,
    int writers)
{
	uint8_t flags = 0;

	if (writers || f->tries > 0 || c->nfiles <= COMMIT_SYNC_EACH ||
	    o->changed_content > c->set.mark)
		flags |= FETCH_HASH_SYNC;
	if (c->nfiles > COMMIT_SYNC_EACH && !c->synced)
		flags |= FETCH_HASH_SYNC_ALL;
	c->synced |= (flags & FETCH_HASH_SYNC_ALL) != 0;
	return flags;
}

static void
file_opened(struct mount *m, void *arg, int error, int fd, int writers,
    int rest_fd)
{
	struct ask_file *a = arg;
	struct commit_run *c = a->c;
	struct cfile *f = a->f;
	struct obj o;
	int dup_fd, known = 0;
	uint8_t flags = 0;

	if (!c->dead && error == 0 &&
	    db_obj_get(manifest_db, m->row.row, f->ovl, &o) == -1)
		error = errno;
	if (c->dead || error != 0) {
		if (fd != -1)
			close(fd);
		if (rest_fd != -1)
			close(rest_fd);
		goto fail;
	}
	f->writers = writers;
	f->fd = fd;
	keep_rest(f, rest_fd);
	if (item_of(c, f->lo)->hash == HASH_SUSPECT &&
	    unchanged(m, &o, fd, writers)) {
		close(fd);
		if (rest_fd != -1)
			close(rest_fd);
		f->fd = -1;
		known = take_known(c, f, &o) == 0;
		error = errno;
		obj_free(&o);
		if (!known)
			goto fail;
		free(a);
		c->in_flight--;
		c->refs--;
		commit_files_pump(c);
		return;
	}
	commit_chunks_begin(c, f, &o);
	/* Without a writer nothing can change that does not show: who comes
	   after the mark makes it dirty again. */
	flags = (uint8_t)((f->no_keep ? 0 : FETCH_HASH_KEEP) |
	    sync_of(c, f, &o, writers) | FETCH_HASH_TELL);
	dup_fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (dup_fd != -1 &&
	    (a->number = server_hash(shift_of(&o), flags, dup_fd, rest_fd,
		 hash_came, a)) != 0) {
		server_hash_watch(a->number, hash_goes_on, hash_told);
		obj_free(&o);
		return;
	}
	error = errno;
	if (dup_fd == -1 && rest_fd != -1)
		close(rest_fd);
	obj_free(&o);
	close(fd);
	f->fd = -1;
fail:
	if (flags & FETCH_HASH_SYNC_ALL)
		c->synced = 0;
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
	if (is_lack(error))
		try_again(c, f);
	else
		leave(c, f);
	commit_files_pump(c);
}

static int
open_file(struct commit_run *c, struct cfile *f)
{
	struct ask_file *a;

	if ((a = calloc(1, sizeof(*a))) == NULL)
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

static void
pump(struct commit_run *c)
{
	enum batch_kind kind;
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
	for (kind = 0; kind < BATCH_KINDS && c->in_flight == 0; kind++)
		if (c->filling[kind] != NULL && c->filling[kind]->n > 0) {
			batch_flush(c, kind);
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
commit_files_pump(struct commit_run *c)
{
	c->refs++;
	pump(c);
	unref(c);
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
	for (i = 0; i < BATCH_KINDS; i++) {
		batch_free(c->filling[i]);
		c->filling[i] = NULL;
	}
}

void
commit_files_free(struct commit_run *c)
{
	size_t i;

	for (i = 0; i < c->nfiles; i++) {
		if (c->files[i].fd != -1)
			close(c->files[i].fd);
		free(c->files[i].list);
		commit_chunks_free(&c->files[i]);
		rest_free(c->files[i].rest);
	}
	free(c->files);
	free(c->by_ovl);
	free(c->redo);
	c->files = NULL;
	c->by_ovl = NULL;
	c->redo = NULL;
	c->nfiles = c->nby_ovl = c->next = c->ndone = c->nredo = 0;
	c->redo_cap = 0;
	c->synced = 0;
}
