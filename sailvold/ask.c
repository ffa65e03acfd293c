/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * ask: the questions of manifest to fuse and notify.  Each is kept until it is
 * answered, put again when a new fuse has started, and answered with ENODEV
 * when the mount goes.  In manifest.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/memfd.h"
#include "sailvold/ask.h"

struct ask {
	TAILQ_ENTRY(ask) link;
	uint32_t number;
	uint32_t type; /* IMSG_MANIFEST_FUSE_* or IMSG_MANIFEST_NOTIFY_TELL */
	uint64_t ovl, size;
	struct hash content;
	uint8_t *list;
	size_t list_len;
	int fd; /* differences or notifications */
	ask_offset_cb offset_f;
	ask_open_cb open_f;
	ask_switch_cb switch_f;
	ask_done_cb done_f;
	void *arg;
};
static uint32_t last_number;

static struct ask *
ask_new(struct mount *m, uint32_t type, void *arg)
{
	struct ask *a;

	if ((a = calloc(1, sizeof(*a))) == NULL)
		return NULL;
	/* At random first: what answers an earlier manifest finds nothing. */
	if (last_number == 0)
		last_number = arc4random();
	if (++last_number == 0)
		last_number = 1;
	a->number = last_number;
	a->type = type;
	a->fd = -1;
	a->arg = arg;
	TAILQ_INSERT_TAIL(&m->asks, a, link);
	return a;
}

/* No longer in the queue of its mount. */
static void
ask_end(struct ask *a)
{
	if (a->fd != -1)
		close(a->fd);
	free(a->list);
	free(a);
}

static void
ask_free(struct mount *m, struct ask *a)
{
	TAILQ_REMOVE(&m->asks, a, link);
	ask_end(a);
}

/*
 * The question that is answered, out of the queue: its callback may ask, cancel
 * and end what it likes.
 */
static struct ask *
ask_take(struct mount *m, uint32_t type, uint32_t number)
{
	struct ask *a;

	if (m == NULL)
		return NULL;
	TAILQ_FOREACH (a, &m->asks, link)
		if (a->number == number && a->type == type) {
			TAILQ_REMOVE(&m->asks, a, link);
			return a;
		}
	return NULL;
}

/* ---- sending --------------------------------------------------------------------- */

static int
send_switch(struct mount *m, struct ask *a)
{
	struct start st;
	void *keep = NULL;
	int fd = -1, rc = -1;

	if (start_fill(m, &st, &keep) == -1)
		return -1;
	if (a->fd != -1 && (fd = dup(a->fd)) == -1)
		goto done;
	rc = start_send(m->fuse, IMSG_MANIFEST_FUSE_SWITCH, a->number, &st, fd);
	if (rc == -1 && fd != -1)
		close(fd);
done:
	free(keep);
	return rc;
}

static int
send_cache_put(struct mount *m, struct ask *a)
{
	struct ibuf *b;

	b = ibuf_dynamic(64, PROC_MAX_BODY);
	if (b == NULL || ibuf_add_n64(b, a->ovl) == -1 ||
	    ibuf_add(b, a->content.b, HASH_LEN) == -1 ||
	    ibuf_add_n64(b, a->size) == -1 ||
	    ibuf_add_n32(b, (uint32_t)a->list_len) == -1 ||
	    ibuf_add(b, a->list, a->list_len) == -1) {
		ibuf_free(b);
		return -1;
	}
	return chan_send_ibuf(m->fuse, a->type, a->number, -1, b);
}

static int
send_ovl(struct mount *m, struct ask *a)
{
	struct ibuf *b;

	if ((b = ibuf_dynamic(8, 8)) == NULL || ibuf_add_n64(b, a->ovl) == -1) {
		ibuf_free(b);
		return -1;
	}
	return chan_send_ibuf(m->fuse, a->type, a->number, -1, b);
}

static int
send_tell(struct mount *m, struct ask *a)
{
	int fd;

	if (m->notify == NULL)
		return parent_start_notify(m);
	if ((fd = dup(a->fd)) == -1)
		return -1;
	if (chan_send(m->notify, a->type, a->number, fd, NULL, 0) == -1) {
		close(fd);
		return -1;
	}
	return 0;
}

static int
ask_send_now(struct mount *m, struct ask *a)
{
	if (a->type == IMSG_MANIFEST_NOTIFY_TELL)
		return send_tell(m, a);
	if (m->fuse == NULL || !m->started)
		return 0;
	switch (a->type) {
	case IMSG_MANIFEST_FUSE_OPEN:
		return send_ovl(m, a);
	case IMSG_MANIFEST_FUSE_SWITCH:
		return send_switch(m, a);
	case IMSG_MANIFEST_FUSE_CACHE_PUT:
		return send_cache_put(m, a);
	default:
		return chan_send(m->fuse, a->type, a->number, -1, NULL, 0);
	}
}

/* 0 also when it has to wait for a fuse: there is none, or that one is dead and
   this process has not heard of it yet. */
static int
ask_send(struct mount *m, struct ask *a)
{
	return ask_send_now(m, a) == 0 || errno == EPIPE ? 0 : -1;
}

static int
ask_first(struct mount *m, struct ask *a)
{
	int saved;

	if (m->gone)
		errno = ENODEV;
	else if (ask_send(m, a) == 0)
		return 0;
	saved = errno;
	ask_free(m, a);
	errno = saved;
	return -1;
}

/* ---- the questions ------------------------------------------------------------------ */

int
ask_sync(struct mount *m, ask_offset_cb f, void *arg)
{
	struct ask *a;

	if ((a = ask_new(m, IMSG_MANIFEST_FUSE_SYNC, arg)) == NULL)
		return -1;
	a->offset_f = f;
	return ask_first(m, a);
}

int
ask_reload(struct mount *m, ask_offset_cb f, void *arg)
{
	struct ask *a;

	if ((a = ask_new(m, IMSG_MANIFEST_FUSE_RELOAD, arg)) == NULL)
		return -1;
	a->offset_f = f;
	return ask_first(m, a);
}

int
ask_open(struct mount *m, uint64_t ovl, ask_open_cb f, void *arg)
{
	struct ask *a;

	if ((a = ask_new(m, IMSG_MANIFEST_FUSE_OPEN, arg)) == NULL)
		return -1;
	a->ovl = ovl;
	a->open_f = f;
	return ask_first(m, a);
}

int
ask_switch(struct mount *m, int diff_fd, ask_switch_cb f, void *arg)
{
	struct ask *a;

	if ((a = ask_new(m, IMSG_MANIFEST_FUSE_SWITCH, arg)) == NULL) {
		if (diff_fd != -1)
			close(diff_fd);
		return -1;
	}
	a->fd = diff_fd;
	a->switch_f = f;
	return ask_first(m, a);
}

int
ask_cache_put(struct mount *m, uint64_t ovl, const struct hash *content,
    uint64_t size, const uint8_t *list, size_t list_len, ask_done_cb f,
    void *arg)
{
	struct ask *a;

	if ((a = ask_new(m, IMSG_MANIFEST_FUSE_CACHE_PUT, arg)) == NULL)
		return -1;
	a->ovl = ovl;
	a->content = *content;
	a->size = size;
	a->done_f = f;
	/* A list that does not fit a message is asked for by CHUNKS. */
	if (list_len > 0 && list_len <= PROC_MAX_BODY - 128) {
		if ((a->list = malloc(list_len)) == NULL) {
			ask_free(m, a);
			return -1;
		}
		memcpy(a->list, list, list_len);
		a->list_len = list_len;
	}
	return ask_first(m, a);
}

int
ask_tell(struct mount *m, int tell_fd, ask_done_cb f, void *arg)
{
	struct ask *a;

	if ((a = ask_new(m, IMSG_MANIFEST_NOTIFY_TELL, arg)) == NULL) {
		close(tell_fd);
		return -1;
	}
	a->fd = tell_fd;
	a->done_f = f;
	return ask_first(m, a);
}

void
tell_unlink(struct mount *m, const uint64_t *ovls, size_t n)
{
	struct ibuf *b;
	size_t i, k;

	/* Without a fuse the files stay until a new mount sweeps again. */
	if (m->fuse == NULL || !m->started)
		return;
	for (; n > 0; ovls += k, n -= k) {
		k = n < 4096 ? n : 4096;
		b = ibuf_dynamic(2 + k * 8, 2 + k * 8);
		if (b == NULL || ibuf_add_n16(b, (uint16_t)k) == -1)
			goto fail;
		for (i = 0; i < k; i++)
			if (ibuf_add_n64(b, ovls[i]) == -1)
				goto fail;
		if (chan_send_ibuf(m->fuse, IMSG_MANIFEST_FUSE_UNLINK, 0, -1,
			b) == -1)
			log_warn("mount %s: telling what may go", m->row.path);
	}
	return;
fail:
	log_warn("mount %s: telling what may go", m->row.path);
	ibuf_free(b);
}

/* ---- the answers ---------------------------------------------------------------------- */

static int
offset_res(struct chan *ch, uint32_t type, uint32_t id, struct ibuf *body)
{
	struct mount *m = mount_by_instance(chan_instance(ch));
	struct ask *a;
	uint64_t offset;

	if (ibuf_get_n64(body, &offset) == -1 || ibuf_size(body) != 0)
		return -1;
	/* What is not written would be waited for for ever. */
	if (m != NULL && !m->broken && offset > journal_reach(m))
		return -1;
	if ((a = ask_take(m, type, id)) == NULL)
		return 0;
	a->offset_f(m, a->arg, 0, offset);
	ask_end(a);
	return 0;
}

int
ask_sync_res(struct chan *ch, uint32_t id, struct imsg *im, struct ibuf *body)
{
	(void)im;
	return offset_res(ch, IMSG_MANIFEST_FUSE_SYNC, id, body);
}

int
ask_reload_res(struct chan *ch, uint32_t id, struct imsg *im, struct ibuf *body)
{
	(void)im;
	return offset_res(ch, IMSG_MANIFEST_FUSE_RELOAD, id, body);
}

int
ask_open_res(struct chan *ch, uint32_t id, struct imsg *im, struct ibuf *body)
{
	struct mount *m = mount_by_instance(chan_instance(ch));
	uint32_t error;
	uint8_t writers;
	struct ask *a;
	int fd, rest;

	if (ibuf_get_n32(body, &error) == -1 ||
	    ibuf_get_n8(body, &writers) == -1 || ibuf_size(body) != 0)
		return -1;
	if ((a = ask_take(m, IMSG_MANIFEST_FUSE_OPEN, id)) == NULL)
		return 0;
	fd = imsg_get_fd(im);
	if (error == 0 && fd == -1)
		error = EBADF;
	if (error != 0 && fd != -1) {
		close(fd);
		fd = -1;
	}
	rest = error == 0 ? a->fd : -1;
	if (rest != -1)
		a->fd = -1;
	a->open_f(m, a->arg, (int)error, fd, writers != 0, rest);
	ask_end(a);
	return 0;
}

/* What the file lacks, of which OPEN_RES comes next. */
int
ask_open_rest(struct chan *ch, uint32_t id, struct imsg *im, struct ibuf *body)
{
	struct mount *m = mount_by_instance(chan_instance(ch));
	struct ask *a;
	int fd = imsg_get_fd(im);

	(void)body;
	if (m == NULL) { /* it went */
		close(fd);
		return 0;
	}
	TAILQ_FOREACH (a, &m->asks, link)
		if (a->number == id && a->type == IMSG_MANIFEST_FUSE_OPEN)
			break;
	if (a == NULL || a->fd != -1) {
		close(fd);
		return a == NULL ? 0 : -1;
	}
	a->fd = fd;
	return 0;
}

int
ask_switched(struct chan *ch, uint32_t id, struct imsg *im, struct ibuf *body)
{
	struct mount *m = mount_by_instance(chan_instance(ch));
	uint32_t writers;
	struct ask *a;
	int fd = imsg_get_fd(im);

	/* It goes to notify, for which it would be our doing. */
	if (ibuf_get_n32(body, &writers) == -1 || ibuf_size(body) != 0 ||
	    !memfd_is_sealed(fd)) {
		close(fd);
		return -1;
	}
	if ((a = ask_take(m, IMSG_MANIFEST_FUSE_SWITCH, id)) == NULL) {
		close(fd);
		return 0;
	}
	a->switch_f(m, a->arg, 0, writers, fd);
	ask_end(a);
	return 0;
}

int
ask_cache_put_res(struct chan *ch, uint32_t id, struct imsg *im,
    struct ibuf *body)
{
	struct mount *m = mount_by_instance(chan_instance(ch));
	uint32_t error;
	struct ask *a;

	(void)im;
	if (ibuf_get_n32(body, &error) == -1 || ibuf_size(body) != 0)
		return -1;
	if ((a = ask_take(m, IMSG_MANIFEST_FUSE_CACHE_PUT, id)) == NULL)
		return 0;
	a->done_f(m, a->arg, (int)error);
	ask_end(a);
	return 0;
}

int
ask_told(struct chan *ch, uint32_t id, struct imsg *im, struct ibuf *body)
{
	struct mount *m = mount_by_instance(chan_instance(ch));
	uint32_t told, unknown;
	struct ask *a;

	(void)im;
	if (ibuf_get_n32(body, &told) == -1 ||
	    ibuf_get_n32(body, &unknown) == -1 || ibuf_size(body) != 0)
		return -1;
	if ((a = ask_take(m, IMSG_MANIFEST_NOTIFY_TELL, id)) == NULL)
		return 0;
	log_debug("mount %s: told the kernel %u, %u of them unknown to it",
	    m->row.path, told, unknown);
	a->done_f(m, a->arg, 0);
	ask_end(a);
	return 0;
}

/* ---- fuse and notify come and go ------------------------------------------------------- */

static void
ask_again(struct mount *m, int notify)
{
	struct ask *a;

	TAILQ_FOREACH (a, &m->asks, link) {
		/* What a fuse that died has sent with it. */
		if (a->type == IMSG_MANIFEST_FUSE_OPEN && a->fd != -1) {
			close(a->fd);
			a->fd = -1;
		}
		if ((a->type == IMSG_MANIFEST_NOTIFY_TELL) != notify ||
		    ask_send(m, a) == 0)
			continue;
		/* Its answer would never come; the next manifest begins anew. */
		fatal("mount %s: asking again", m->row.path);
	}
}

void
ask_fuse_started(struct mount *m)
{
	ask_again(m, 0);
}

void
ask_notify_up(struct mount *m)
{
	ask_again(m, 1);
}

void
ask_notify_down(struct mount *m)
{
	struct ask *a;

	TAILQ_FOREACH (a, &m->asks, link)
		if (a->type == IMSG_MANIFEST_NOTIFY_TELL) {
			parent_start_notify(m);
			break;
		}
}

void
ask_mount_gone(struct mount *m)
{
	struct ask *a;

	m->gone = 1;
	while ((a = TAILQ_FIRST(&m->asks)) != NULL) {
		TAILQ_REMOVE(&m->asks, a, link);
		if (a->offset_f != NULL)
			a->offset_f(m, a->arg, ENODEV, 0);
		else if (a->open_f != NULL)
			a->open_f(m, a->arg, ENODEV, -1, 0, -1);
		else if (a->switch_f != NULL)
			a->switch_f(m, a->arg, ENODEV, 0, -1);
		else
			a->done_f(m, a->arg, ENODEV);
		ask_end(a);
	}
}

void
ask_cancel(struct mount *m, const void *arg)
{
	struct ask *a, *next;

	for (a = TAILQ_FIRST(&m->asks); a != NULL; a = next) {
		next = TAILQ_NEXT(a, link);
		if (a->arg == arg)
			ask_free(m, a);
	}
}
