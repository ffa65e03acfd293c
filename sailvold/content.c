/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * content: where the bytes of a file are: asked of cache, or copied up into
 * its overlay file before the first write.  In fuse.
 */
#include <sys/ioctl.h>
#include <linux/fs.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/log.h"
#include "sailvold/change.h"
#include "sailvold/frontend.h"
#include "sailvold/journal.h"
#include "sailvold/overlay.h"
#include "sailvold/worker.h"

#define LIST_INLINE (32 * 1024)
#define COPY_BYTES (1024 * 1024)

/* A file whose content is on its way. */
struct fetch {
	TAILQ_ENTRY(fetch) link;
	struct waitq q;
	struct vn *vn; /* pinned */
	uint32_t id;
	int chunks_asked; /* manifest is asked for the list */
	int copying;
	int asked;       /* of cache, which has not answered */
	uint8_t *list;   /* flat chunk list, or list_fd */
	size_t list_len; /* also of the one in list_fd */
	int list_fd;
};

static TAILQ_HEAD(, fetch) fetches = TAILQ_HEAD_INITIALIZER(fetches);
static uint32_t next_id = 1;
static unsigned int gets; /* asked */
static uint64_t lists;    /* bytes of the lists of these */

static void send_gets(void);

static struct fetch *
fetch_new(struct vn *vn)
{
	struct fetch *f;

	if ((f = calloc(1, sizeof(*f))) == NULL)
		return NULL;
	waitq_init(&f->q);
	f->vn = vn;
	f->id = next_id++;
	f->list_fd = -1;
	vn->fetch = f;
	vn_pin(vn);
	TAILQ_INSERT_TAIL(&fetches, f, link);
	return f;
}

static void
fetch_end(struct fetch *f, int error)
{
	struct vn *vn = f->vn;

	TAILQ_REMOVE(&fetches, f, link);
	if (f->asked) {
		gets--;
		lists -= f->list_len;
	}
	vn->fetch = NULL;
	waitq_wake(&f->q, error);
	if (f->list_fd != -1)
		close(f->list_fd);
	free(f->list);
	free(f);
	vn_unpin(vn);
	send_gets();
}

/* ---- asking cache ------------------------------------------------------------- */

/* 0; or an errno: it ends with that; EPIPE: cache is dying. */
static int
send_get(struct chan *c, struct fetch *f)
{
	uint8_t path[SAIL_PATH_MAX];
	struct cache_get g;
	struct entry e;
	int fd = -1, error;

	memset(&g, 0, sizeof(g));
	if (vn_entry(f->vn, &e) == -1 ||
	    vn_origin(f->vn, &g.commit, path, &g.path_len) == -1)
		return EIO;
	entry_content_hash(&e, &g.content);
	g.size = f->vn->size;
	g.path = path;
	if (f->list != NULL) {
		g.list = f->list;
		g.list_len = f->list_len;
	} else if ((fd = fcntl(f->list_fd, F_DUPFD_CLOEXEC, 0)) == -1 ||
	    chan_send(c, IMSG_FUSE_CACHE_LIST, f->id, fd, NULL, 0) == -1) {
		error = errno;
		if (fd != -1)
			close(fd);
		return error;
	}
	if (cache_get_send(c, IMSG_FUSE_CACHE_GET, f->id, &g, -1) == -1)
		return errno;
	f->asked = 1;
	gets++;
	lists += f->list_len;
	return 0;
}

/* The first that is to be asked for and may be, in their order; NULL. */
static struct fetch *
next_get(void)
{
	struct fetch *f;

	if (gets >= CACHE_GETS_MAX)
		return NULL;
	TAILQ_FOREACH (f, &fetches, link)
		if (!f->asked && !f->copying &&
		    (f->list != NULL || f->list_fd != -1))
			break;
	if (f != NULL && lists > 0 &&
	    (f->list_len > CACHE_LISTS_MAX ||
		lists > CACHE_LISTS_MAX - f->list_len))
		return NULL;
	return f;
}

/* As many as cache takes at a time. */
static void
send_gets(void)
{
	struct chan *c = frontend_cache();
	struct fetch *f;
	int error;

	while (c != NULL && (f = next_get()) != NULL) {
		error = send_get(c, f);
		if (error == EPIPE)
			return; /* the next one is asked */
		if (error != 0) {
			log_warnx("question to cache: %s", strerror(error));
			fetch_end(f, error); /* and the others */
			return;
		}
	}
}

void
content_resend(void)
{
	struct fetch *f;

	TAILQ_FOREACH (f, &fetches, link)
		f->asked = 0;
	gets = 0;
	lists = 0;
	send_gets();
}

/* The flat list of a file whose entry has its chunks. */
static int
list_inline(struct fetch *f)
{
	struct chunklist *cl;
	struct hash missing;
	struct entry e;
	struct wbuf w;
	int rc = -1;

	if (vn_entry(f->vn, &e) == -1 ||
	    (cl = chunklist_from_entry(&e, NULL, CHUNK_INLINE_MAX, &missing)) ==
		NULL)
		return -1;
	wbuf_init(&w, LIST_INLINE);
	chunklist_encode(&w, cl);
	chunklist_free(cl);
	if ((f->list = wbuf_take(&w, &f->list_len)) != NULL)
		rc = 0;
	else
		wbuf_free(&w);
	return rc;
}

void
content_chunks(struct vn *vn, int error, int fd)
{
	struct fetch *f = vn->fetch;
	struct stat st;

	if (f == NULL || !f->chunks_asked || f->list_fd != -1) {
		if (fd != -1)
			close(fd);
		return;
	}
	if (error == 0 && fstat(fd, &st) == -1)
		error = errno;
	if (error != 0) {
		if (fd != -1)
			close(fd);
		fetch_end(f, error);
		return;
	}
	f->list_fd = fd;
	f->list_len = (size_t)st.st_size;
	send_gets();
}

static int
fetch_begin(struct vn *vn)
{
	struct fetch *f;
	struct entry e;
	int error;

	if (vn_entry(vn, &e) == -1)
		return EIO;
	if ((f = fetch_new(vn)) == NULL)
		return ENOMEM;
	if (e.chunk_form == CHUNKS_TREE) {
		f->chunks_asked = 1;
		if (query_chunks(vn) == 0) {
			fetch_end(f, 0);
			return ENOMEM;
		}
	} else if (list_inline(f) == -1) {
		error = errno == ENOMEM ? ENOMEM : EIO;
		fetch_end(f, 0);
		return error;
	} else
		send_gets();
	return vn->fetch == NULL ? EIO : wait_on(&f->q);
}

int
content_fd(struct vn *vn)
{
	if (vn->flags & VN_LOCAL)
		return overlay_fd(vn) == -1 ? errno : 0;
	if (vn->fd != -1 && !vn->fd_local) {
		overlay_fd_used(vn);
		return 0;
	}
	if (now.error != 0)
		return now.error;
	if (vn->fetch != NULL)
		return wait_on(&vn->fetch->q);
	return fetch_begin(vn);
}

/* Nobody waits for it any more. */
void
content_abandoned(struct waitq *q)
{
	struct chan *c = frontend_cache();
	struct ibuf *b;
	struct fetch *f;

	TAILQ_FOREACH (f, &fetches, link)
		if (&f->q == q)
			break;
	if (f == NULL || f->copying || f->chunks_asked)
		return;
	if (f->asked && c != NULL && (b = ibuf_dynamic(4, 64)) != NULL) {
		if (ibuf_add_n32(b, f->id) == 0)
			(void)chan_send_ibuf(c, IMSG_FUSE_CACHE_CANCEL, f->id,
			    -1, b);
		else
			ibuf_free(b);
	}
	fetch_end(f, EINTR);
}

int
content_rules_get(struct chan *c, uint32_t id, struct imsg *imsg,
    struct ibuf *body)
{
	struct fetch *f;
	struct stat st;
	uint32_t error;
	uint16_t len;
	int fd;

	(void)c;
	if (ibuf_get_n32(body, &error) == -1 ||
	    ibuf_get_n16(body, &len) == -1 || ibuf_size(body) != len)
		return -1;
	TAILQ_FOREACH (f, &fetches, link)
		if (f->id == id)
			break;
	if (f == NULL || f->copying)
		return 0; /* cancelled, or asked of one that died */
	fd = imsg_get_fd(imsg);
	if (error != 0) {
		log_debug("content of node %u: %.*s", f->vn->slot, (int)len,
		    (const char *)ibuf_data(body));
		if (fd != -1)
			close(fd);
		fetch_end(f, (int)error);
		return 0;
	}
	if (fd == -1 || fstat(fd, &st) == -1 || !S_ISREG(st.st_mode) ||
	    (uint64_t)st.st_size != f->vn->size) {
		if (fd != -1)
			close(fd);
		log_warnx("cache: a file that is not what was asked for");
		fetch_end(f, EIO);
		return 0;
	}
	overlay_fd_set(f->vn, fd, 0);
	fetch_end(f, 0);
	return 0;
}

/* ---- copying up ------------------------------------------------------------------ */

struct copy {
	struct work work;
	struct vn *vn; /* pinned by its fetch */
	int from, to;
	uint64_t size;
	struct timespec times[2];
};

static int
copy_plain(int from, int to, off_t at, off_t end)
{
	ssize_t n, w, done;
	uint8_t *buf;
	size_t want;
	int error = 0;

	if ((buf = malloc(COPY_BYTES)) == NULL)
		return ENOMEM;
	for (; at < end && error == 0; at += n) {
		want = end - at < COPY_BYTES ? (size_t)(end - at) : COPY_BYTES;
		if ((n = pread(from, buf, want, at)) <= 0) {
			error = n == -1 ? errno : EIO;
			break;
		}
		for (done = 0; done < n; done += w) {
			errno = 0;
			w = pwrite(to, buf + done, (size_t)(n - done),
			    at + done);
			if (w <= 0) {
				error = errno != 0 ? errno : ENOSPC;
				break;
			}
		}
	}
	free(buf);
	return error;
}

/* Bytes that are data: in the kernel, or through a buffer. */
static int
copy_span(int from, int to, off_t at, off_t end)
{
	loff_t in = at, out = at;
	ssize_t n;

	while (in < end) {
		n = copy_file_range(from, &in, to, &out, (size_t)(end - in), 0);
		if (n > 0)
			continue;
		if (n == -1 &&
		    (errno == ENOSPC || errno == EDQUOT || errno == EIO))
			return errno;
		return copy_plain(from, to, in, end);
	}
	return 0;
}

/* Holes stay holes: copy_file_range(2) between file systems fills them. */
static int
copy_data(int from, int to, off_t size)
{
	off_t at = 0, data, end;
	int error;

	if (ftruncate(to, size) == -1)
		return errno;
	while (at < size) {
		if ((data = lseek(from, at, SEEK_DATA)) == -1) {
			if (errno == ENXIO)
				return 0;
			data = at;
			end = size;
		} else if ((end = lseek(from, data, SEEK_HOLE)) == -1 ||
		    end > size)
			end = size;
		if (data >= size)
			return 0;
		if ((error = copy_span(from, to, data, end)) != 0)
			return error;
		at = end;
	}
	return 0;
}

static void
copy_run(struct work *w)
{
	struct copy *c = (struct copy *)w;

	if (ioctl(c->to, FICLONE, c->from) == -1)
		w->error = copy_data(c->from, c->to, (off_t)c->size);
	if (w->error == 0 && futimens(c->to, c->times) == -1)
		w->error = errno;
}

/* The overlay file has the content: from now on it counts. */
static int
content_is_local(struct vn *vn, int fd, struct timens mtime, uint64_t size)
{
	struct change c;
	struct record r;
	int error;

	memset(&c, 0, sizeof(c));
	wbuf_init(&c.w, RECORD_MAX_BYTES);
	memset(&r, 0, sizeof(r));
	r.type = RECORD_CONTENT;
	r.ovl = vn->ovl;
	r.entry.size = size;
	r.entry.mtime = mtime;
	r.entry.ctime = vn->ctime;
	change_add(&c, &r);
	if ((error = change_commit(&c)) != 0)
		return error;
	vn->flags |= VN_LOCAL | VN_UNSETTLED;
	vn->flags &= ~VN_CLEAN;
	vn->size = size;
	vn->mtime = mtime;
	vn->dirty = journal_end();
	vn_drop_clean(vn);
	overlay_fd_set(vn, fd, 1);
	return 0;
}

/* utimens(2) meanwhile: the file's own count from now on. */
static int
copy_times(struct copy *c)
{
	struct timespec *mtime = &c->times[1];

	if (mtime->tv_sec == c->vn->mtime.sec &&
	    (uint32_t)mtime->tv_nsec == c->vn->mtime.nsec)
		return 0;
	mtime->tv_sec = c->vn->mtime.sec;
	mtime->tv_nsec = (long)c->vn->mtime.nsec;
	return futimens(c->to, c->times);
}

static void
copy_done(struct work *w)
{
	struct copy *c = (struct copy *)w;
	int error = w->error;

	memset(&now, 0, sizeof(now)); /* a record of no request */
	close(c->from);
	if (error == 0 && copy_times(c) == -1)
		error = errno;
	if (error == 0)
		error = content_is_local(c->vn, c->to, c->vn->mtime, c->size);
	if (error != 0) {
		close(c->to);
		(void)overlay_unlink(c->vn->ovl);
	}
	fetch_end(c->vn->fetch, error);
	free(c);
}

static int
copy_begin(struct vn *vn)
{
	struct fetch *f;
	struct copy *c;

	if ((c = calloc(1, sizeof(*c))) == NULL)
		return ENOMEM;
	c->work.run = copy_run;
	c->work.done = copy_done;
	c->vn = vn;
	c->size = vn->size;
	c->times[0].tv_nsec = UTIME_NOW;
	c->times[1].tv_sec = vn->mtime.sec;
	c->times[1].tv_nsec = (long)vn->mtime.nsec;
	c->to = -1;
	c->from = fcntl(vn->fd, F_DUPFD_CLOEXEC, 0);
	if (c->from == -1 || (c->to = overlay_create(vn->ovl, 1)) == -1 ||
	    (f = fetch_new(vn)) == NULL) {
		int error = errno;

		if (c->from != -1)
			close(c->from);
		if (c->to != -1)
			close(c->to);
		free(c);
		return error;
	}
	f->copying = 1;
	worker_submit(&c->work);
	return wait_on(&f->q);
}

static int
make_object(struct vn *vn)
{
	struct change c;
	uint64_t unique = now.unique;
	int error;

	if (vn->ovl != 0)
		return 0;
	if ((error = change_begin(&c)) != 0)
		return error;
	(void)change_object(&c, vn);
	now.unique = 0; /* the request is not done by that */
	error = change_commit(&c);
	now.unique = unique;
	return error;
}

static int
local_empty(struct vn *vn, int keep_time)
{
	uint64_t unique = now.unique;
	struct timens t = keep_time ? vn->mtime : change_time();
	struct timespec ts[2] = { { 0, UTIME_NOW }, { t.sec, (long)t.nsec } };
	int fd, error;

	if ((fd = overlay_create(vn->ovl, 1)) == -1)
		return errno;
	if (futimens(fd, ts) == -1) {
		error = errno;
		close(fd);
		return error;
	}
	if (!keep_time)
		vn->ctime = t;
	now.unique = 0;
	error = content_is_local(vn, fd, t, 0);
	now.unique = unique;
	if (error != 0)
		close(fd);
	return error;
}

int
content_local(struct vn *vn, int empty)
{
	struct change c;
	struct stat st;
	int error;

	if (vn->flags & VN_LOCAL)
		return 0;
	if ((error = change_begin(&c)) != 0)
		return error;
	change_abort(&c);
	if (vn->fetch != NULL && vn->fetch->copying) {
		if (now.error != 0)
			return now.error;
		return wait_on(&vn->fetch->q);
	}
	if (empty || vn->size == 0) {
		if ((error = make_object(vn)) != 0)
			return error;
		return local_empty(vn, !empty);
	}
	if ((error = content_fd(vn)) != 0 || (error = make_object(vn)) != 0)
		return error;
	if (now.error != 0)
		return now.error;
	/* Holes stay holes. */
	if (fstat(vn->fd, &st) == -1)
		return errno;
	if ((error = overlay_room((uint64_t)st.st_blocks * 512)) != 0)
		return error;
	return copy_begin(vn);
}

/* ---- to the cache ------------------------------------------------------------------ */

/* A published file goes to the cache, so that nobody fetches it again. */
int
content_put(struct vn *vn, uint32_t id, const struct cache_get *g)
{
	struct chan *c = frontend_cache();
	int fd;

	if (c == NULL)
		return EAGAIN;
	if ((fd = overlay_open_file(vn->ovl, O_RDONLY)) == -1)
		return errno;
	if (cache_get_send(c, IMSG_FUSE_CACHE_PUT, id, g, fd) == -1) {
		close(fd);
		return errno;
	}
	return 0;
}

int
content_rules_put(struct chan *c, uint32_t id, struct imsg *imsg,
    struct ibuf *body)
{
	uint32_t error;

	(void)c;
	(void)imsg;
	if (ibuf_get_n32(body, &error) == -1 || ibuf_size(body) != 0)
		return -1;
	switch_put_done(id, (int)error);
	return 0;
}
