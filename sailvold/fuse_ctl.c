/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * fuse_ctl: .sailvol, the mount's own door: volume.json, and sessions of ctl
 * (sailvol-ctl(5)): one line in, lines out until the last.  In fuse.
 */
#include <sys/random.h>
#include <sys/stat.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/hash.h"
#include "lib/log.h"
#include "lib/memfd.h"
#include "lib/monotime.h"
#include "sailvold/change.h"
#include "sailvold/frontend.h"
#include "sailvold/journal.h"
#include "sailvold/lines.h"

#define LINE_MAX_BYTES (64 * 1024)
#define UNREAD_MAX (4 * 1024 * 1024) /* of lines that are not the last */
#define SESSIONS_A_USER 64
#define SESSIONS_MAX 1024
#define KEEP_AGAIN_MS 1000

struct session {
	TAILQ_ENTRY(session) link;
	struct handle *handle;
	uint64_t id;
	uint32_t user;     /* of the machine: whose room it takes */
	uint32_t uid, gid; /* who asks, as the volume knows him */
	char *line;        /* what was written, with its new line */
	size_t line_len;
	uint64_t offset; /* of the journal, behind the line's record */
	int sent, ended;
	int kept;    /* the line (lines.h) */
	int nobody;  /* of a process before this one, which knew gid */
	int adopted; /* the same: any offset is the next */
	/* The last answer, then what was not read yet; base: offset of it. */
	uint8_t *out;
	size_t out_len, last_len;
	size_t end_len; /* of the last line, the end of that */
	uint64_t base;
	struct waitq q;
};
static TAILQ_HEAD(session_list, session) sessions = TAILQ_HEAD_INITIALIZER(
    sessions);

/* ---- nodes --------------------------------------------------------------------- */

int
door_is(fuse_ino_t ino)
{
	return ino == INODE_DOOR || ino == INODE_CTL || ino == INODE_INFO;
}

static char *
info_text(size_t *len)
{
	const struct start *st = frontend_start();
	char base[HASH_HEX_LEN + 1], *text, *out;
	json_t *o;

	hash_hex(&st->base, base);
	o = json_pack("{s:s, s:s, s:s, s:s, s:I, s:i, s:b}", "volume_id",
	    st->volume_id, "volume", st->volume, "org", st->org, "base", base,
	    "base_number", (json_int_t)st->base_number, "version",
	    (int)st->volume_version, "readonly", frontend_readonly());
	text = o != NULL ? json_dumps(o, JSON_COMPACT) : NULL;
	json_decref(o);
	if (text == NULL)
		return NULL;
	*len = strlen(text);
	if ((out = realloc(text, *len + 2)) == NULL) {
		free(text);
		return NULL;
	}
	out[(*len)++] = '\n';
	out[*len] = '\0';
	return out;
}

static void
door_stat(fuse_ino_t ino, struct stat *st)
{
	const struct vn *root = view_root();
	char *text;
	size_t len = 0;
	mode_t w = root->mode & 0222;

	memset(st, 0, sizeof(*st));
	st->st_ino = ino;
	st->st_nlink = 1;
	st->st_uid = idmap_out(frontend_ids(), root->uid);
	st->st_gid = idmap_out(frontend_ids(), root->gid);
	st->st_blksize = 4096;
	st->st_mtim.tv_sec = st->st_ctim.tv_sec = st->st_atim.tv_sec =
	    root->ctime.sec;
	if (ino == INODE_DOOR)
		st->st_mode = S_IFDIR | 0555;
	else if (ino == INODE_CTL)
		st->st_mode = S_IFREG | w | w << 1;
	else {
		st->st_mode = S_IFREG | 0444;
		if ((text = info_text(&len)) != NULL)
			st->st_size = (off_t)len;
		free(text);
	}
}

int
door_getattr(fuse_req_t req, fuse_ino_t ino)
{
	struct stat st;

	door_stat(ino, &st);
	fuse_reply_attr(req, &st, 0);
	return 0;
}

int
door_lookup(fuse_req_t req, const char *name, fuse_ino_t parent)
{
	struct fuse_entry_param e;
	fuse_ino_t ino = 0;

	if (parent == INODE_ROOT && strcmp(name, ".sailvol") == 0)
		ino = INODE_DOOR;
	else if (parent == INODE_ROOT && strcmp(name, ".sail_volume.json") == 0)
		ino = INODE_INFO;
	else if (parent == INODE_DOOR && strcmp(name, "ctl") == 0)
		ino = INODE_CTL;
	else if (parent == INODE_DOOR && strcmp(name, "volume.json") == 0)
		ino = INODE_INFO;
	else if (parent != INODE_DOOR && !name_is_reserved(name, strlen(name)))
		return 0;
	memset(&e, 0, sizeof(e));
	e.ino = ino;
	e.entry_timeout = FOREVER;
	if (ino != 0)
		door_stat(ino, &e.attr);
	fuse_reply_entry(req, &e);
	return 1;
}

/* ---- sessions -------------------------------------------------------------------- */

static struct session *
session_find(uint64_t id)
{
	struct session *s;

	TAILQ_FOREACH (s, &sessions, link)
		if (s->id == id)
			return s;
	return NULL;
}

static struct session *
session_new(struct handle *h, uint32_t uid, uint32_t gid)
{
	struct session *s;

	if ((s = calloc(1, sizeof(*s))) == NULL)
		return NULL;
	s->handle = h;
	s->id = h->session;
	s->user = uid;
	s->uid = idmap_name(frontend_ids(), uid);
	s->gid = idmap_name(frontend_ids(), gid);
	waitq_init(&s->q);
	TAILQ_INSERT_TAIL(&sessions, s, link);
	return s;
}

static void
session_free(struct session *s)
{
	TAILQ_REMOVE(&sessions, s, link);
	waitq_wake(&s->q, EBADF);
	if (s->kept)
		lines_drop(s->id);
	free(s->line);
	free(s->out);
	free(s);
}

/* A new one fits: the oldest that asked nothing yet ends for it. */
static int
session_room(uint32_t uid)
{
	struct session *s, *idle = NULL;
	int n = 0, of_user = 0;

	TAILQ_FOREACH (s, &sessions, link) {
		n++;
		if (s->user == uid)
			of_user++;
		if (idle == NULL && !s->sent && !s->ended &&
		    (s->user == uid || uid == 0))
			idle = s;
	}
	if (of_user < SESSIONS_A_USER && n < SESSIONS_MAX)
		return 1;
	if (idle == NULL)
		return 0;
	idle->ended = 1;
	idle->user = UINT32_MAX;
	return n < SESSIONS_MAX;
}

/* Who reads would wait for ever for what could not be sent: the next fuse sends
   it. */
static void
session_send(struct session *s)
{
	struct chan *c = frontend_manifest();
	struct ibuf *b;
	int fd = -1;

	if (c == NULL || !s->sent || s->ended)
		return;
	if ((b = ibuf_dynamic(24, 24)) == NULL ||
	    ibuf_add_n64(b, s->id) == -1 || ibuf_add_n32(b, s->uid) == -1 ||
	    ibuf_add_n32(b, s->gid) == -1 || ibuf_add_n64(b, s->offset) == -1 ||
	    (fd = memfd_new("line", s->line, s->line_len - 1)) == -1)
		fatal("session of ctl");
	if (chan_send_ibuf(c, IMSG_FUSE_MANIFEST_CTL, 0, fd, b) == -1) {
		if (errno != EPIPE)
			fatal("session of ctl");
		close(fd);
	}
}

void
door_resend(void)
{
	struct session *s;

	TAILQ_FOREACH (s, &sessions, link)
		session_send(s);
}

/* The handle's session; a process before this one may have made it. */
static int
session_open(struct handle *h, const struct fuse_ctx *ctx)
{
	uint64_t id;

	if (h->session != 0)
		return 0;
	if (!session_room(ctx->uid))
		return EUSERS;
	if (getrandom(&id, sizeof(id), 0) != (ssize_t)sizeof(id))
		fatal("getrandom");
	h->session = id >> 1 | 1;
	return session_new(h, ctx->uid, ctx->gid) == NULL ? ENOMEM : 0;
}

void
door_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	const struct fuse_ctx *ctx = fuse_req_ctx(req);
	uint8_t kind = ino == INODE_CTL ? HANDLE_CTL : HANDLE_INFO;
	int error = EISDIR;

	if (ino == INODE_DOOR)
		goto fail;
	error = EACCES;
	if (ino == INODE_INFO && (fi->flags & O_ACCMODE) != O_RDONLY)
		goto fail;
	fi->fh = now.resent ? handle_by_unique(now.unique, kind) : 0;
	if (fi->fh == 0)
		fi->fh = handle_new(kind, (uint32_t)ino, (uint32_t)fi->flags,
		    now.unique, ctx->uid);
	error = ENFILE;
	if (fi->fh == 0)
		goto fail;
	if (ino == INODE_CTL &&
	    (error = session_open(handle_get(fi->fh), ctx)) != 0) {
		handle_free(fi->fh);
		goto fail;
	}
	fi->direct_io = 1;
	fi->noflush = 1;
	if (fuse_reply_open(req, fi) != 0) {
		door_release(handle_get(fi->fh));
		handle_free(fi->fh);
	}
	return;
fail:
	fuse_reply_err(req, error);
}

void
door_release(struct handle *h)
{
	struct chan *c = frontend_manifest();
	struct session *s;
	struct ibuf *b;

	if (h == NULL || h->kind != HANDLE_CTL ||
	    (s = session_find(h->session)) == NULL)
		return;
	if (s->sent && !s->ended && c != NULL &&
	    (b = ibuf_dynamic(8, 64)) != NULL) {
		if (ibuf_add_n64(b, s->id) == -1)
			ibuf_free(b);
		else
			(void)chan_send_ibuf(c, IMSG_FUSE_MANIFEST_CTL_CLOSE, 0,
			    -1, b);
	}
	session_free(s);
}

/* ---- writing ------------------------------------------------------------------------ */

/* The line is whole: it stands in the journal before it is answered. */
static int
line_done(struct session *s)
{
	struct change c;
	struct record r;
	int error;

	/* Before the mark of a commit: what is known of sizes. */
	writer_settle_all();
	memset(&c, 0, sizeof(c));
	wbuf_init(&c.w, RECORD_MAX_BYTES * 2);
	memset(&r, 0, sizeof(r));
	r.type = RECORD_CTL;
	r.session = s->id;
	r.uid = s->uid;
	r.gid = s->gid;
	r.line = (const uint8_t *)s->line;
	r.line_len = s->line_len - 1;
	change_add(&c, &r);
	if ((error = change_commit(&c)) != 0)
		return error;
	s->offset = journal_end();
	s->sent = 1;
	s->base = s->line_len;
	if (s->kept)
		lines_drop(s->id);
	s->kept = 0;
	session_send(s);
	return 0;
}

/* Its writer was told that it is written: the next fuse has to know it. */
static int
line_begun(struct session *s)
{
	if (lines_put(s->id, s->uid, s->gid, (const uint8_t *)s->line,
		s->line_len, 0) == -1)
		return errno;
	s->kept = 1;
	return 0;
}

static int
line_add(struct session *s, const char *data, size_t size, off_t off)
{
	const char *nl = memchr(data, '\n', size);
	char *p;
	int error;

	if (s->sent || s->ended)
		return EBUSY;
	/* Begun by a process before this one, whose answer was lost. */
	if (now.resent && off >= 0 && (uint64_t)off + size == s->line_len &&
	    memcmp(s->line + off, data, size) == 0)
		return 0;
	if (off < 0 || (uint64_t)off != s->line_len)
		return EINVAL;
	if (nl != NULL && nl != data + size - 1)
		return EBUSY; /* a second line behind it */
	if (s->line_len + size > LINE_MAX_BYTES)
		return EMSGSIZE;
	if ((p = realloc(s->line, s->line_len + size)) == NULL)
		return ENOMEM;
	s->line = p;
	memcpy(p + s->line_len, data, size);
	s->line_len += size;
	if ((error = nl == NULL ? line_begun(s) : line_done(s)) == 0)
		return 0;
	s->line_len -= size;
	return error;
}

void
door_write(fuse_req_t req, struct handle *h, const char *data, size_t size,
    off_t off)
{
	const struct journal_done *d;
	struct session *s;
	int error = EBADF;

	if (now.resent && (d = journal_find(now.unique)) != NULL &&
	    d->session == h->session) {
		fuse_reply_write(req, size);
		return;
	}
	if ((s = session_find(h->session)) != NULL && s->nobody) {
		s->gid = idmap_name(frontend_ids(), fuse_req_ctx(req)->gid);
		s->nobody = 0;
	}
	if (s != NULL && size > 0)
		error = line_add(s, data, size, off);
	if (error != 0)
		fuse_reply_err(req, error);
	else
		fuse_reply_write(req, size);
}

/* ---- reading ------------------------------------------------------------------------- */

static void
read_info(fuse_req_t req, size_t size, off_t off)
{
	size_t len = 0;
	char *text = info_text(&len);

	if (text == NULL)
		fuse_reply_err(req, ENOMEM);
	else if ((size_t)off >= len)
		fuse_reply_buf(req, NULL, 0);
	else
		fuse_reply_buf(req, text + off,
		    size < len - (size_t)off ? size : len - (size_t)off);
	free(text);
}

/* Where the last line begins the next fuse has to know, and which it was. */
static void
note_last(struct session *s)
{
	const uint8_t *line = s->out + s->out_len - s->end_len;

	s->handle->last_len = (uint32_t)s->end_len;
	s->handle->last_sum = (uint16_t)crc32c(0, line, s->end_len);
	__atomic_store_n(&s->handle->last, s->base + s->out_len - s->end_len,
	    __ATOMIC_RELEASE);
}

/*
 * The first read of an answer of which a fuse before this one has given the
 * front: 0 and what is to be read from there, 1: that was the end; E_WAIT; EIO:
 * it is another answer by now.
 */
static int
read_on(struct session *s, uint64_t off)
{
	const struct handle *h = s->handle;
	const uint8_t *line;
	size_t had;

	if (h->last != 0 && off > h->last) {
		had = (size_t)(off - h->last);
		if (had == h->last_len)
			return 1;
		if (!s->ended)
			return wait_on(&s->q);
		line = s->out + s->out_len - s->end_len;
		if (had > h->last_len || s->end_len != h->last_len ||
		    (uint16_t)crc32c(0, line, s->end_len) != h->last_sum)
			return EIO;
		s->out_len = s->end_len - had;
		memmove(s->out, line + had, s->out_len);
	} else if (s->ended) {
		s->base = off;
		note_last(s);
	} else
		s->handle->last = 0; /* another answer comes */
	s->base = off;
	s->adopted = 0;
	return 0;
}

void
door_read(fuse_req_t req, struct handle *h, size_t size, off_t off)
{
	struct session *s;
	size_t n;
	int error;

	if (h->kind == HANDLE_INFO) {
		read_info(req, size, off);
		return;
	}
	if ((s = session_find(h->session)) == NULL || off < 0) {
		fuse_reply_err(req, EBADF);
		return;
	}
	if (!s->sent) {
		/* Nothing was asked: nothing is answered. */
		fuse_reply_buf(req, NULL, 0);
		return;
	}
	error = s->adopted ? read_on(s, (uint64_t)off) : 0;
	if (error == 1) {
		fuse_reply_buf(req, NULL, 0);
		return;
	}
	if (error != 0) {
		request_fail(req, error);
		return;
	}
	if (s->last_len > 0 && (uint64_t)off == s->base) {
		fuse_reply_buf(req, (char *)s->out,
		    size < s->last_len ? size : s->last_len);
		return;
	}
	if ((uint64_t)off != s->base + s->last_len) {
		fuse_reply_err(req, EINVAL);
		return;
	}
	if (s->out_len == s->last_len && !s->ended) {
		request_fail(req, wait_on(&s->q));
		return;
	}
	s->base += s->last_len;
	s->out_len -= s->last_len;
	if (s->out_len > 0)
		memmove(s->out, s->out + s->last_len, s->out_len);
	n = s->out_len < size ? s->out_len : size;
	s->last_len = n;
	fuse_reply_buf(req, (char *)s->out, n);
}

static void
session_line(struct session *s, const struct memfd_view *line, int last)
{
	uint8_t *p;

	/* Progress that nobody reads is not kept. */
	if (!last && s->out_len - s->last_len > UNREAD_MAX)
		return;
	if ((p = realloc(s->out, s->out_len + line->len + 1)) == NULL) {
		if (last)
			fatal("session of ctl");
		return;
	}
	s->out = p;
	memcpy(p + s->out_len, line->data, line->len);
	s->out_len += line->len;
	p[s->out_len++] = '\n';
	s->ended = last;
	if (last) {
		s->end_len = line->len + 1;
		if (!s->adopted)
			note_last(s);
	}
	waitq_wake(&s->q, 0);
}

int
door_line(struct chan *c, uint32_t id, struct imsg *imsg, struct ibuf *body)
{
	struct memfd_view line;
	struct session *s;
	uint64_t session;
	uint8_t last;
	int fd = imsg_get_fd(imsg), rc;

	(void)c;
	(void)id;
	rc = memfd_map(fd, CTL_ANSWER_MAX, &line);
	close(fd);
	if (rc == -1)
		return -1;
	if (ibuf_get_n64(body, &session) == -1 ||
	    ibuf_get_n8(body, &last) == -1)
		rc = -1;
	else if ((s = session_find(session)) != NULL && s->sent && !s->ended)
		session_line(s, &line, last);
	memfd_unmap(&line);
	return rc;
}

/* ---- a session of the process before --------------------------------------------- */

static void
adopt(struct handle *h, void *arg)
{
	struct session *s;

	(void)arg;
	if (h->kind != HANDLE_CTL || h->session == 0)
		return;
	if ((s = session_new(h, h->uid, 0)) == NULL)
		fatal("sessions");
	s->nobody = 1;
}

static void
adopt_line(uint64_t session, uint32_t uid, uint32_t gid, const uint8_t *line,
    size_t len, uint64_t offset, void *arg)
{
	struct session *s = session_find(session);

	(void)arg;
	if (s == NULL || s->sent)
		return;
	if ((s->line = malloc(len + 1)) == NULL)
		fatal("sessions");
	memcpy(s->line, line, len);
	s->line_len = len;
	s->uid = uid;
	s->gid = gid;
	s->nobody = 0;
	if (offset == 0)
		return; /* not whole */
	s->line[s->line_len++] = '\n';
	s->offset = offset;
	s->sent = s->adopted = 1;
	s->base = s->line_len;
}

#define LINE_LOST                                                                   \
	"{\"error\":{\"message\":\"there was no room to keep the request: whether " \
	"it was done is in the log of the volume, or with its job\","               \
	"\"type\":\"unavailable\",\"code\":\"line_lost\"}}\n"

/* What was asked nobody knows any more. */
static void
adopt_lost(struct session *s)
{
	log_warnx("a line of ctl was not kept: its session ends");
	if ((s->out = (uint8_t *)strdup(LINE_LOST)) == NULL)
		fatal("sessions");
	s->out_len = s->end_len = strlen(LINE_LOST);
	s->sent = s->adopted = s->ended = 1;
}

static int
is_session(uint64_t id)
{
	return session_find(id) != NULL;
}

void
door_begin(int takeover)
{
	struct session *s;

	if (takeover) {
		handle_foreach(adopt, NULL);
		journal_lines(adopt_line, NULL);
		TAILQ_FOREACH (s, &sessions, link)
			if (!s->sent) {
				lines_get(s->id, adopt_line, NULL);
				s->kept = s->line != NULL;
				if (s->line == NULL && s->handle->lost)
					adopt_lost(s);
			}
	}
	lines_tidy(is_session);
}

/* Also one that is answered, until its client is gone: the answer may not have
   been read. */
static void
keep_line(struct session *s)
{
	static int told;

	s->kept = lines_put(s->id, s->uid, s->gid, (const uint8_t *)s->line,
		      s->line_len - 1, s->offset) == 0;
	s->handle->lost = !s->kept;
	if (!s->kept && !told)
		log_warn(
		    "a line of ctl cannot be kept, which is tried again: "
		    "until it is its session does not outlive this process");
	told = !s->kept;
}

void
door_cut(uint64_t first, uint64_t end)
{
	struct session *s;

	TAILQ_FOREACH (s, &sessions, link)
		if (s->sent && !s->kept && !s->handle->lost &&
		    s->offset > first && s->offset <= end)
			keep_line(s);
}

void
door_tick(void)
{
	static monotime_t next;
	struct session *s;

	if (!monotime_reached(next))
		return;
	next = monotime_add_ms(monotime_now(), KEEP_AGAIN_MS);
	TAILQ_FOREACH (s, &sessions, link)
		if (s->handle->lost && s->line != NULL)
			keep_line(s);
}
