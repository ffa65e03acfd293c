/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * mounts_proc: the processes of a mount, its fuse and notify, and what they are
 * given.  In the parent of sailvold(8).
 */
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/log.h"
#include "sailvold/inode.h"
#include "sailvold/mnt.h"
#include "sailvold/tally.h"

#define TABLE_SLOTS (4U << 20)
#define VIEW_BYTES ((uint64_t)24 << 20)
#define STOP_MS 5000

static uid_t fuse_uid;
static gid_t fuse_gid;
static int awake;

void
mnt_proc_init(uid_t uid, gid_t gid)
{
	fuse_uid = uid;
	fuse_gid = gid;
}

int
mnt_make_table(void)
{
	uint64_t size = table_bytes(TABLE_SLOTS);
	int fd;

	fd = memfd_create("inodes", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd == -1)
		return -1;
	if (ftruncate(fd, (off_t)size) == -1 ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) == -1) {
		close(fd);
		return -1;
	}
	return fd;
}

int
mnt_is_table(int fd)
{
	int seals = fcntl(fd, F_GET_SEALS);
	struct stat st;

	return seals != -1 && (seals & F_SEAL_SHRINK) && fstat(fd, &st) == 0 &&
	    (uint64_t)st.st_size == table_bytes(TABLE_SLOTS);
}

static int
send_session(struct mnt *m, struct proc *p)
{
	struct ibuf *b;
	int fd;

	b = ibuf_dynamic(64, 1024);
	if (b == NULL || ibuf_add_n8(b, m->answered ? 1 : 0) == -1 ||
	    ibuf_add(b, m->session.connection, 16) == -1 ||
	    ibuf_add(b, m->session.init, m->session.init_len) == -1 ||
	    (fd = fcntl(m->session.fuse_fd, F_DUPFD_CLOEXEC, 0)) == -1) {
		ibuf_free(b);
		return -1;
	}
	if (chan_send_ibuf(proc_chan(p), IMSG_PARENT_FUSE_SESSION, 0, fd, b) ==
	    -1) {
		close(fd);
		return -1;
	}
	return 0;
}

static int
send_table(struct mnt *m, struct proc *p)
{
	struct ibuf *b;
	int fd;

	if ((b = ibuf_dynamic(8, 8)) == NULL ||
	    ibuf_add_n64(b, TABLE_SLOTS) == -1 ||
	    (fd = fcntl(m->table_fd, F_DUPFD_CLOEXEC, 0)) == -1) {
		ibuf_free(b);
		return -1;
	}
	if (chan_send_ibuf(proc_chan(p), IMSG_PARENT_FUSE_TABLE, 0, fd, b) ==
	    -1) {
		close(fd);
		return -1;
	}
	return 0;
}

/*
 * How processors are kept awake.  The descriptor is of this mount alone, and
 * none is kept here: the kernel takes back what was held when fuse dies.
 */
static int
send_awake(struct proc *p)
{
	uint8_t mode = WAKEFUL_OFF;
	int fd = -1;

	if (awake) {
		fd = priv_open_latency();
		mode = fd != -1 ? WAKEFUL_LATENCY : WAKEFUL_LOOK;
	}
	if (chan_send(proc_chan(p), IMSG_PARENT_FUSE_AWAKE, 0, fd, &mode, 1) ==
	    -1) {
		if (fd != -1)
			close(fd);
		return -1;
	}
	return 0;
}

void
mnt_set_awake(int on)
{
	struct mnt *m;

	if (awake == on)
		return;
	awake = on;
	TAILQ_FOREACH (m, &mnts_all, link)
		if (m->fuse != NULL && proc_chan(m->fuse) != NULL &&
		    send_awake(m->fuse) == -1)
			log_warn("telling fuse");
}

int
mnt_tell_limit(struct mnt *m)
{
	struct ibuf *b;

	if (m->fuse == NULL || proc_chan(m->fuse) == NULL)
		return 0;
	if ((b = ibuf_dynamic(8, 8)) == NULL ||
	    ibuf_add_n64(b, m->volume->policy.overlay_limit) == -1) {
		ibuf_free(b);
		return -1;
	}
	return chan_send_ibuf(proc_chan(m->fuse), IMSG_PARENT_FUSE_LIMIT, 0, -1,
	    b);
}

static int
fuse_configure(struct proc *p, void *arg)
{
	struct mnt *m = arg;
	struct fuse_config c;

	memset(&c, 0, sizeof(c));
	memcpy(c.mount, m->id, sizeof(c.mount));
	c.flags = m->volume->flags;
	if (m->passthrough)
		c.flags |= MOUNT_PASSTHROUGH;
	c.view_bytes = VIEW_BYTES;
	c.ids = m->volume->ids;
	c.overlay_limit = m->volume->policy.overlay_limit;
	strlcpy(c.volume, m->volume->name, sizeof(c.volume));
	if (fuse_config_send(proc_chan(p), &c) == -1 ||
	    send_table(m, p) == -1 || send_awake(p) == -1 ||
	    send_session(m, p) == -1)
		return -1;
	return backing_tell(&m->backings, proc_chan(p));
}

static int
on_backing(struct chan *c, uint32_t id, struct imsg *im, struct ibuf *body)
{
	struct mnt *m = proc_arg(chan_arg(c));

	(void)im;
	return backing_ask(&m->backings, m->session.fuse_fd, c, id, body);
}

static int
on_backing_close(struct chan *c, uint32_t id, struct imsg *im,
    struct ibuf *body)
{
	struct mnt *m = proc_arg(chan_arg(c));

	(void)id;
	(void)im;
	return backing_close(&m->backings, m->session.fuse_fd, body);
}

/* Besides what all may send. */
static const struct msg_rule fuse_rules[] = {
	{ IMSG_FUSE_PARENT_BACKING, ROLE_FUSE, CHAN_NOFD, 2,
	    2 + BACKING_BATCH * 8, on_backing, "FUSE_PARENT_BACKING" },
	{ IMSG_FUSE_PARENT_BACKING_CLOSE, ROLE_FUSE, CHAN_NOFD, 2,
	    2 + BACKING_BATCH * 8, on_backing_close,
	    "FUSE_PARENT_BACKING_CLOSE" },
};

/* One that is down is told when it starts. */
void
mnt_tell_cache(struct mnt *m, struct proc *cache)
{
	size_t len = strlen(m->volume_id);
	struct ibuf *b;

	if (cache == NULL || proc_chan(cache) == NULL)
		return;
	b = ibuf_dynamic(6 + len, 6 + sizeof(m->volume_id));
	if (b == NULL || ibuf_add_n32(b, m->instance) == -1 ||
	    ibuf_add_n16(b, len) == -1 || ibuf_add(b, m->volume_id, len) == -1)
		fatal("telling cache");
	if (chan_send_ibuf(proc_chan(cache), IMSG_PARENT_CACHE_VOLUME, 0, -1,
		b) == -1 &&
	    errno != EPIPE)
		fatal("telling cache");
}

int
mnt_start_fuse(struct mnt *m)
{
	char title[SAIL_VOLUME_NAME_MAX + 16];
	struct proc_spec spec;
	struct proc *peer;

	snprintf(title, sizeof(title), "fuse %s", m->volume->name);
	memset(&spec, 0, sizeof(spec));
	spec.role = ROLE_FUSE;
	spec.instance = m->instance;
	spec.title = title;
	spec.uid = fuse_uid;
	spec.gid = fuse_gid;
	spec.chroot_dir = m->folder;
	spec.rules = fuse_rules;
	spec.nrules = sizeof(fuse_rules) / sizeof(fuse_rules[0]);
	spec.configure = fuse_configure;
	spec.on_ready = mnt_fuse_ready;
	spec.on_death = mnt_fuse_death;
	spec.is_old = mnt_line_is_old;
	spec.arg = m;
	if ((m->fuse = proc_start(&spec)) == NULL)
		return -1;
	if ((peer = proc_find(ROLE_MANIFEST, 0)) != NULL)
		proc_connect(m->fuse, peer);
	if ((peer = proc_find(ROLE_CACHE, 0)) != NULL) {
		mnt_tell_cache(m, peer);
		proc_connect(m->fuse, peer);
	}
	return 0;
}

static int
notify_configure(struct proc *p, void *arg)
{
	struct mnt *m = arg;
	int fd;

	if ((fd = fcntl(m->session.fuse_fd, F_DUPFD_CLOEXEC, 0)) == -1)
		return -1;
	if (chan_send(proc_chan(p), IMSG_PARENT_NOTIFY_SESSION, 0, fd, NULL,
		0) == -1) {
		close(fd);
		return -1;
	}
	return 0;
}

static int notify_death(struct proc *, int, void *);

static void
start_notify(struct mnt *m)
{
	char title[SAIL_VOLUME_NAME_MAX + 16];
	struct proc_spec spec;

	snprintf(title, sizeof(title), "notify %s", m->volume->name);
	memset(&spec, 0, sizeof(spec));
	spec.role = ROLE_NOTIFY;
	spec.instance = m->instance;
	spec.title = title;
	spec.uid = fuse_uid;
	spec.gid = fuse_gid;
	spec.configure = notify_configure;
	spec.on_death = notify_death;
	spec.arg = m;
	if ((m->notify = proc_start(&spec)) == NULL) {
		log_warn("starting notify of %s", m->volume->path);
		return;
	}
	proc_connect(m->notify, proc_find(ROLE_MANIFEST, 0));
}

static int
notify_death(struct proc *p, int status, void *arg)
{
	struct mnt *m = mnt_by_instance(proc_instance(p));

	(void)arg; /* its mount may have gone before it */
	if (m == NULL || m->notify != p)
		return 0;
	if (!(WIFEXITED(status) && WEXITSTATUS(status) == 0))
		return 1;
	m->notify = NULL;
	if (m->notify_wanted && m->fuse != NULL && !mounts_are_handed_over())
		start_notify(m);
	m->notify_wanted = 0;
	return 0;
}

/*
 * manifest sees the end of a notify by its channel, perhaps before it is reaped
 * here.
 */
int
mounts_on_notify(struct chan *ch, uint32_t id, struct imsg *im,
    struct ibuf *body)
{
	uint32_t instance;
	struct mnt *m;

	(void)ch;
	(void)id;
	(void)im;
	if (ibuf_get_n32(body, &instance) == -1 || ibuf_size(body) != 0)
		return -1;
	m = mnt_by_instance(instance);
	if (m == NULL || m->fuse == NULL || mounts_are_handed_over())
		return 0;
	if (m->notify != NULL)
		m->notify_wanted = 1;
	else
		start_notify(m);
	return 0;
}
