/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * notify: the role that tells the kernel what to forget after a reload.  A
 * notification may block as long as the kernel likes (it waits for pages and
 * directory locks that requests hold), which is why it has a process of its
 * own, for as long as there is something to tell.
 */
#include <sys/uio.h>
#include <errno.h>
#include <event2/event.h>
#include <linux/fuse.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/log.h"
#include "sailvold/roles.h"
#include "sailvold/sailvold_imsg.h"

#define SLICE 256 /* notifications between two turns of the loop */
#define IDLE_S 2

static int session = -1;
static struct event *idle_event;

/* One TELL on its way. */
struct telling {
	struct chan *manifest;
	uint32_t id;
	struct memfd_view view;
	struct rbuf r;
	uint32_t told, unknown;
	struct event *next;
};
static struct telling *telling;

static void
arm_idle(void)
{
	struct timeval tv = { IDLE_S, 0 };

	evtimer_add(idle_event, &tv);
}

static void
on_idle(int fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
	if (telling == NULL)
		role_end(0);
}

/* 0 told, 1 the kernel does not know it, -1 it is unmounted. */
static int
send_notification(int code, void *body, size_t len, const void *name,
    size_t name_len)
{
	static const char nul = '\0';
	struct fuse_out_header h;
	struct iovec iov[4] = { { &h, sizeof(h) }, { body, len },
		{ (void *)(uintptr_t)name, name_len },
		{ (void *)(uintptr_t)&nul, 1 } };

	memset(&h, 0, sizeof(h));
	h.error = code;
	h.len = (uint32_t)(sizeof(h) + len);
	if (name != NULL)
		h.len += (uint32_t)name_len + 1;
	if (writev(session, iov, name != NULL ? 4 : 2) != -1)
		return 0;
	if (errno == ENODEV || errno == ENOTCONN)
		return -1;
	/* Also ENOTDIR and the like: a name that is something else by now. */
	return 1;
}

static int
tell_entry(uint64_t dir, const uint8_t *name, size_t len)
{
	struct fuse_notify_inval_entry_out out;

	memset(&out, 0, sizeof(out));
	out.parent = dir;
	out.namelen = (uint32_t)len;
	return send_notification(FUSE_NOTIFY_INVAL_ENTRY, &out, sizeof(out),
	    name, len);
}

/* Attributes alone: pages of a file's node id never change; list: a directory's
   names too, which the kernel keeps in its pages. */
static int
tell_inode(uint64_t nodeid, int list)
{
	struct fuse_notify_inval_inode_out out;

	memset(&out, 0, sizeof(out));
	out.ino = nodeid;
	out.off = list ? 0 : -1;
	return send_notification(FUSE_NOTIFY_INVAL_INODE, &out, sizeof(out),
	    NULL, 0);
}

static void
tell_done(struct telling *t)
{
	struct ibuf *b;

	if (t->manifest != NULL) {
		b = ibuf_dynamic(8, 8);
		if (b == NULL || ibuf_add_n32(b, t->told) == -1 ||
		    ibuf_add_n32(b, t->unknown) == -1 ||
		    chan_send_ibuf(t->manifest, IMSG_NOTIFY_MANIFEST_TOLD,
			t->id, -1, b) == -1)
			fatal("answering manifest");
	}
	memfd_unmap(&t->view);
	event_free(t->next);
	free(t);
	telling = NULL;
	arm_idle();
}

static void
tell_slice(int fd, short what, void *arg)
{
	struct timeval now = { 0, 0 };
	struct telling *t = arg;
	const uint8_t *name;
	uint64_t nodeid;
	uint8_t kind;
	size_t len;
	int i, rc;

	(void)fd;
	(void)what;
	for (i = 0; i < SLICE; i++) {
		if ((rc = tell_decode(&t->r, &kind, &nodeid, &name, &len)) ==
		    -1)
			/* What fuse wrote, of its own mount. */
			log_warnx("notifications: %s", t->r.error);
		if (rc <= 0) {
			tell_done(t);
			return;
		}
		rc = kind == TELL_ENTRY ? tell_entry(nodeid, name, len)
					: tell_inode(nodeid, kind == TELL_LIST);
		if (rc == -1) {
			tell_done(t);
			return;
		}
		t->told++;
		if (rc == 1)
			t->unknown++;
	}
	evtimer_add(t->next, &now);
}

static int
on_tell(struct chan *ch, uint32_t id, struct imsg *im, struct ibuf *body)
{
	struct timeval now = { 0, 0 };
	struct telling *t;
	int fd = imsg_get_fd(im);

	(void)body;
	/* A second one comes only after the answer to the first. */
	if (telling != NULL) {
		close(fd);
		return -1;
	}
	if ((t = calloc(1, sizeof(*t))) == NULL)
		fatal("notifications");
	t->manifest = ch;
	t->id = id;
	/* As if nothing were in it: fuse made it, of its own mount. */
	if (memfd_map(fd, TELL_MAX_BYTES, &t->view) == -1) {
		if (errno != EBADMSG && errno != EFBIG)
			fatal("notifications");
		log_warn("notifications");
		memset(&t->view, 0, sizeof(t->view));
	}
	close(fd);
	rbuf_init(&t->r, t->view.data, t->view.len);
	t->next = evtimer_new(proc_base(), tell_slice, t);
	if (t->next == NULL || evtimer_add(t->next, &now) == -1)
		fatal("telling the kernel");
	telling = t;
	event_del(idle_event);
	return 0;
}

static int
on_session(struct chan *ch, uint32_t id, struct imsg *im, struct ibuf *body)
{
	(void)ch;
	(void)id;
	(void)body;
	if (session != -1)
		return -1;
	session = imsg_get_fd(im);
	return 0;
}

static const struct msg_rule rules[] = {
	{ IMSG_PARENT_NOTIFY_SESSION, ROLE_PARENT, CHAN_FD, 0, 0, on_session,
	    "PARENT_NOTIFY_SESSION" },
	{ IMSG_MANIFEST_NOTIFY_TELL, ROLE_MANIFEST, CHAN_FD, 0, 0, on_tell,
	    "MANIFEST_NOTIFY_TELL" },
};

static int
is_configured(void)
{
	return session != -1;
}

static int
start(void)
{
	idle_event = evtimer_new(proc_base(), on_idle, NULL);
	if (idle_event == NULL)
		return -1;
	arm_idle();
	return 0;
}

/* What was begun is told to its end: the kernel needs it all the same. */
static void
peer_down(struct chan *ch)
{
	if (telling != NULL && telling->manifest == ch)
		telling->manifest = NULL;
}

const struct role_def notify_role = {
	.role = ROLE_NOTIFY,
	.rules = rules,
	.nrules = sizeof(rules) / sizeof(rules[0]),
	.configured = is_configured,
	.start = start,
	.peer_down = peer_down,
};
