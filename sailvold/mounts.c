/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * mounts: the states of each mount of sailvold(8), from the configuration or a
 * command to a session, and to its end.  In the parent.
 */
#include <sys/stat.h>
#include <sys/wait.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/handover.h"
#include "lib/hash.h"
#include "lib/log.h"
#include "lib/path.h"
#include "sailvold/mnt.h"

#define RETRY_S 10
#define RETRY_MAX_S 30 /* of what is no server's silence */
#define RETRY_DOUBLED 5
#define STOP_MS 5000
#define START_S 120   /* to apply a long journal */
#define FUSE_DEATHS 3 /* before it is mounted */
#define ELSEWHERE_S 2 /* for a session to end after its umount */
#define END_ELSEWHERE_S 10
#define BUSY_TRIES 10 /* of an umount */
#define BUSY_MS 100

struct mnts mnts_all = TAILQ_HEAD_INITIALIZER(mnts_all);

static uid_t fuse_uid;
static gid_t fuse_gid;
static char state_dir[1024];
static int passthrough;
static uint32_t last_instance;
static void (*all_ended)(void);
static int ending;       /* so they are all */
static int handing_over; /* their processes end, and the sessions do not */

static void mount_begin(struct mnt *);
static void mount_failed(struct mnt *, int, const char *);

/* ---- small things -------------------------------------------------------- */

struct mnt *
mnt_by_instance(uint32_t instance)
{
	struct mnt *m;

	TAILQ_FOREACH (m, &mnts_all, link)
		if (m->instance == instance)
			return m;
	return NULL;
}

struct mnt *
mnt_by_path(const char *path)
{
	struct mnt *m;

	TAILQ_FOREACH (m, &mnts_all, link)
		if (mnt_is_path(path, m->volume->path))
			return m;
	return NULL;
}

/* Which overlay is a mount's: that of (volume, subpath, mount point). */
static void
mount_id(const struct conf_volume *v, uint8_t id[16])
{
	struct hash_ctx *ctx;
	struct hash h;

	if ((ctx = hash_begin()) == NULL)
		fatal("hash");
	hash_update(ctx, v->name, strlen(v->name) + 1);
	hash_update(ctx, v->subpath, strlen(v->subpath) + 1);
	hash_update(ctx, v->path, strlen(v->path) + 1);
	hash_end(ctx, &h);
	memcpy(id, h.b, 16);
}

static void
close_fd(int *fd)
{
	if (*fd != -1)
		close(*fd);
	*fd = -1;
}

static void
close_session(struct mnt *m)
{
	backing_free(&m->backings);
	mnt_unkeep(m);
	close_fd(&m->session.fuse_fd);
	close_fd(&m->session.mount_fd);
	close_fd(&m->point_fd);
	close_fd(&m->table_fd);
}

void
mnt_free(struct mnt *m)
{
	TAILQ_REMOVE(&mnts_all, m, link);
	if (m->volume_id[0] != '\0') {
		m->volume_id[0] = '\0';
		mnt_tell_cache(m, proc_find(ROLE_CACHE, 0));
	}
	close_session(m);
	if (m->timer != NULL)
		event_free(m->timer);
	conf_volume_free(m->again);
	if (ending && m->kept)
		mnt_file_keep(m->volume);
	else
		conf_volume_free(m->volume);
	free(m);
	if (all_ended != NULL && TAILQ_EMPTY(&mnts_all)) {
		all_ended();
		all_ended = NULL;
	}
}

static void
call_done(struct mnt *m, int error, const char *what, const char *warning)
{
	mounts_cb done = m->done;

	m->done = NULL;
	if (done != NULL)
		done(m->arg, error, what, warning, m->instance);
	else if (error != 0 && strcmp(m->said, what) != 0) {
		log_warnx("mount %s on %s: %s", m->volume->name,
		    m->volume->path, what);
		strlcpy(m->said, what, sizeof(m->said));
	}
	if (done == NULL && error == 0 && *warning != '\0')
		log_warnx("%s", warning);
}

/* It is not to be: its fuse ends first. */
static void
give_up(struct mnt *m, int error, const char *what)
{
	if (m->failed != 0)
		return;
	m->failed = error;
	strlcpy(m->failure, what, sizeof(m->failure));
	if (m->fuse != NULL)
		proc_stop(m->fuse, STOP_MS);
	else
		mount_failed(m, error, m->failure);
}

/* Unmounted here, and its session lives on. */
static void
still_in_use(struct mnt *m)
{
	char warning[1300];

	snprintf(warning, sizeof(warning),
	    "%s is unmounted here, but still in use elsewhere (open files, or "
	    "a container or other mount namespace that has it): nothing can "
	    "be mounted there until that ends",
	    m->volume->path);
	if (all_ended != NULL && m->fuse != NULL) {
		log_warnx("mount %s: in use elsewhere: its session ends now",
		    m->volume->path);
		proc_stop(m->fuse, STOP_MS);
	} else if (m->done != NULL)
		call_done(m, 0, "", warning);
	else
		log_warnx("%s", warning);
}

static void
mnt_timer(int fd, short what, void *arg)
{
	struct mnt *m = arg;

	(void)fd;
	(void)what;
	if (handing_over)
		return; /* the next parent begins it */
	switch (m->state) {
	case MOUNT_RETRY:
		mount_begin(m);
		break;
	case MOUNT_FUSE:
		give_up(m, ETIMEDOUT,
		    "its journal was not applied in time; the log may say "
		    "why");
		break;
	case MOUNT_GONE:
		still_in_use(m);
		break;
	case MOUNT_UMOUNT:
		mnt_umount(m, 0);
		break;
	default:
		break;
	}
}

static int
timer_set_ms(struct mnt *m, int ms)
{
	struct timeval tv = { ms / 1000, (suseconds_t)(ms % 1000) * 1000 };

	if (m->timer == NULL)
		m->timer = evtimer_new(proc_base(), mnt_timer, m);
	return m->timer == NULL ? -1 : evtimer_add(m->timer, &tv);
}

static int
timer_set(struct mnt *m, int seconds)
{
	return timer_set_ms(m, seconds * 1000);
}

static void
tell_gone(struct mnt *m)
{
	struct proc *manifest = proc_find(ROLE_MANIFEST, 0);
	uint8_t b[4] = { (uint8_t)(m->instance >> 24),
		(uint8_t)(m->instance >> 16), (uint8_t)(m->instance >> 8),
		(uint8_t)m->instance };

	if (manifest != NULL && proc_chan(manifest) != NULL &&
	    proc_ready(manifest))
		chan_send(proc_chan(manifest), IMSG_PARENT_MANIFEST_GONE, 0, -1,
		    b, sizeof(b));
}

/* Soon at first: what is in the way may be the end of the daemon before. */
static int
retry_pause(struct mnt *m, int silence)
{
	if (silence)
		return RETRY_S;
	return m->tries < RETRY_DOUBLED ? 1 << m->tries++ : RETRY_MAX_S;
}

/*
 * A mount of the configuration is tried again, whatever is in its way, and so is
 * one that comes back, until it is taken away: a key is renewed, a volume made.
 */
static void
mount_failed(struct mnt *m, int error, const char *what)
{
	int silence = error == EIO || error == ETIMEDOUT;
	int again = m->done == NULL && !m->ending && all_ended == NULL &&
	    (silence || (m->volume->flags & (MOUNT_BACK | MOUNT_CONFIGURED)));

	if (m->done != NULL)
		m->kept = 0; /* who asked for it is told */
	if (m->cancelled)
		call_done(m, 0, "", "");
	else
		call_done(m, error, what, "");
	if (m->state == MOUNT_FUSE ||
	    (m->state == MOUNT_MANIFEST && m->cancelled))
		tell_gone(m);
	close_session(m);
	if (!again) {
		mnt_free(m);
		return;
	}
	m->state = MOUNT_RETRY;
	m->failed = 0;
	if (timer_set(m, retry_pause(m, silence)) == -1)
		log_warn("mount %s: it is tried again after SIGHUP",
		    m->volume->path);
}

/* ---- what its processes say ---------------------------------------------- */

/* READY and START come in any order. */
static void
attach_if_started(struct mnt *m)
{
	char what[1200];
	int error;

	if (m->state != MOUNT_FUSE || !m->answered || m->failed != 0 ||
	    handing_over || m->fuse == NULL || !proc_ready(m->fuse))
		return;
	evtimer_del(m->timer);
	/* First: if this process ends behind it, the next one knows that there
	   is a mount, and brings it back. */
	m->attaching = 1;
	if (m->kept)
		mnt_file_write();
	if (priv_attach(&m->session, m->point_fd) == -1) {
		error = errno;
		m->attaching = 0;
		if (m->kept && m->done != NULL)
			mnt_file_write();
		snprintf(what, sizeof(what), "%s: %s", m->volume->path,
		    strerror(error));
		give_up(m, error, what);
		return;
	}
	close_fd(&m->point_fd);
	m->state = MOUNT_UP;
	m->tries = 0;
	m->said[0] = '\0';
	mnt_keep(m);
	log_info("volume %s is mounted on %s", m->volume->name,
	    m->volume->path);
	call_done(m, 0, "", m->warning);
}

void
mnt_fuse_ready(struct proc *p, void *arg)
{
	(void)p;
	attach_if_started(arg);
}

static int
get_str16(struct ibuf *body, char *out, size_t size)
{
	uint16_t len;

	if (ibuf_get_n16(body, &len) == -1 || len >= size ||
	    ibuf_get(body, out, len) == -1 || memchr(out, '\0', len) != NULL)
		return -1;
	out[len] = '\0';
	return 0;
}

int
mounts_on_start_res(struct chan *ch, uint32_t id, struct imsg *im,
    struct ibuf *body)
{
	char what[512];
	uint32_t error;
	struct mnt *m;

	(void)im;
	if (ibuf_get_n32(body, &error) == -1 ||
	    get_str16(body, what, sizeof(what)) == -1 || ibuf_size(body) != 0)
		return -1;
	if ((m = mnt_by_instance(id)) == NULL)
		return 0;
	if (error == 0) {
		m->answered = 1;
		attach_if_started(m);
		if (m->state == MOUNT_UP)
			mnt_ask_change(m);
	} else if (m->state == MOUNT_FUSE)
		give_up(m, (int)error, what);
	else if (!proc_floods(chan_arg(ch)))
		log_warnx("mount %s: %s", m->volume->path, what);
	return 0;
}

/* At the end only what is asked for goes for good. */
static void
forget(struct mnt *m)
{
	if (!m->kept || (ending && m->done == NULL))
		return;
	m->kept = 0;
	mnt_file_write();
}

/* What takes its place after SIGHUP. */
static void
mount_again(struct mnt *m)
{
	struct conf_volume *v = m->again;

	m->again = NULL;
	mnt_free(m);
	if (v != NULL && all_ended == NULL)
		mounts_add(v, 0, NULL, NULL);
	conf_volume_free(v);
}

/*
 * It ends by itself, with status 0, when the kernel has unmounted it.  One that
 * dies while an umount runs, which may fail, is needed again, and so is one of
 * what is unmounted here and in use elsewhere, as long as that is.
 */
static int
is_over(const struct mnt *m, int status)
{
	if (m->ending || m->failed != 0)
		return 1;
	if (m->state == MOUNT_GONE)
		return all_ended != NULL || priv_session_is_over(&m->session);
	/* With 0 it says that the session is over: that is seen here. */
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 &&
	    priv_session_is_over(&m->session);
}

int
mnt_fuse_death(struct proc *p, int status, void *arg)
{
	struct mnt *m = arg;

	(void)p;
	if (handing_over) {
		m->fuse = NULL;
		return 0;
	}
	if (!is_over(m, status) &&
	    (m->state != MOUNT_FUSE || ++m->deaths < FUSE_DEATHS))
		return 1;
	m->fuse = NULL;
	if (m->notify != NULL) {
		proc_stop(m->notify, STOP_MS);
		m->notify = NULL;
	}
	if (m->state == MOUNT_FUSE) {
		if (m->failed == 0) {
			m->failed = EBADMSG;
			strlcpy(m->failure,
			    "its fuse process does not start: the log says "
			    "why",
			    sizeof(m->failure));
		}
		mount_failed(m, m->failed, m->failure);
		return 0;
	}
	if (!ending) {
		tell_gone(m);
		log_info("volume %s is unmounted from %s", m->volume->name,
		    m->volume->path);
	}
	forget(m);
	call_done(m, 0, "", "");
	mount_again(m);
	return 0;
}

/* ---- from a volume to a mount -------------------------------------------- */

static int
send_mount_req(struct mnt *m, int again)
{
	struct proc *manifest = proc_find(ROLE_MANIFEST, 0);
	struct mount_req req;

	memset(&req, 0, sizeof(req));
	req.instance = m->instance;
	memcpy(req.mount, m->id, sizeof(req.mount));
	req.flags = m->volume->flags | (again ? MOUNT_AGAIN : 0);
	req.uid = m->uid;
	strlcpy(req.volume, m->volume->name, sizeof(req.volume));
	req.subpath = m->volume->subpath;
	req.path = m->volume->path;
	req.has_commit = m->volume->has_commit;
	req.ids = m->volume->ids;
	req.policy = m->volume->policy;
	if (req.has_commit &&
	    hash_parse(&req.commit, m->volume->commit,
		strlen(m->volume->commit)) == -1) {
		errno = EINVAL;
		return -1;
	}
	if (manifest == NULL || proc_chan(manifest) == NULL ||
	    !proc_ready(manifest))
		return 0; /* mounts_manifest_ready() tells it */
	return mount_req_send(proc_chan(manifest), m->instance, &req);
}

static void
point_came(void *arg, struct point *p)
{
	struct mnt *m = mnt_by_instance((uint32_t)(uintptr_t)arg);

	if (m == NULL) { /* unmounted meanwhile */
		close_fd(&p->fd);
		return;
	}
	if (p->error != 0) {
		close_fd(&p->fd);
		mount_failed(m, p->error, p->what);
		return;
	}
	m->point_fd = p->fd;
	strlcpy(m->warning, p->warning, sizeof(m->warning));
	m->state = MOUNT_MANIFEST;
	if (send_mount_req(m, 0) == -1)
		mount_failed(m, errno, "asking manifest");
}

void
mnt_try_now(struct mnt *m)
{
	if (m->timer != NULL)
		evtimer_del(m->timer);
	m->tries = 0;
	m->said[0] = '\0';
	mount_begin(m);
}

/* Of the first try all is said. */
int
mnt_line_is_old(const char *line, void *arg)
{
	struct mnt *m = arg;

	return (m->state < MOUNT_UP || m->state == MOUNT_RETRY) &&
	    heard_line(&m->heard, line) && m->said[0] != '\0';
}

int
mounts_line_is_old(const char *line, void *arg)
{
	static const char begin[] = "mount ";
	size_t len;
	struct mnt *m;

	(void)arg;
	if (strncmp(line, begin, sizeof(begin) - 1) != 0)
		return 0;
	line += sizeof(begin) - 1;
	TAILQ_FOREACH (m, &mnts_all, link) {
		len = strlen(m->volume->path);
		if (strncmp(line, m->volume->path, len) == 0 &&
		    line[len] == ':')
			return mnt_line_is_old(line + len, m);
	}
	return 0;
}

static void
mount_begin(struct mnt *m)
{
	heard_next(&m->heard);
	m->state = MOUNT_POINT;
	if (priv_open_point(m->volume->path, m->uid, point_came,
		(void *)(uintptr_t)m->instance) == -1)
		mount_failed(m, errno,
		    errno == ETIMEDOUT ? "its mount point does not answer"
				       : strerror(errno));
}

static int
session_flags(const struct mnt *m)
{
	uint32_t flags = m->volume->flags;

	return (flags & MOUNT_READONLY ? PRIV_READONLY : 0) |
	    (flags & MOUNT_SUID ? PRIV_SUID : 0) |
	    (flags & MOUNT_NOEXEC ? PRIV_NOEXEC : 0);
}

/* manifest has the volume: the session is made, and its fuse. */
static void
manifest_said_yes(struct mnt *m)
{
	char what[512];

	m->state = MOUNT_FUSE;
	m->answered = m->failed = 0;
	m->deaths = 0;
	if (timer_set(m, START_S) == -1) {
		mount_failed(m, ENOMEM, strerror(ENOMEM));
		return;
	}
	if (priv_make_folder(m->folder, fuse_uid, fuse_gid, 0700) == -1) {
		mount_failed(m, EACCES, "its folder cannot be made");
		return;
	}
	m->backings.folder_fd = priv_open_folder(m->folder);
	mnt_record(m, fuse_uid);
	if (priv_make_session(&m->session, m->volume->name, session_flags(m),
		what, sizeof(what)) == -1) {
		mount_failed(m, errno, what);
		return;
	}
	if ((m->table_fd = mnt_make_table()) == -1 || mnt_start_fuse(m) == -1)
		mount_failed(m, errno, strerror(errno));
}

int
mounts_on_mount_res(struct chan *ch, uint32_t id, struct imsg *im,
    struct ibuf *body)
{
	char what[1024], volume_id[64];
	uint32_t error;
	struct mnt *m;

	(void)im;
	if (ibuf_get_n32(body, &error) == -1 ||
	    get_str16(body, what, sizeof(what)) == -1 ||
	    get_str16(body, volume_id, sizeof(volume_id)) == -1 ||
	    ibuf_size(body) != 0)
		return -1;
	/* cache would break off for what is none, and so at each start. */
	if (error == 0 &&
	    volume_name_problem(volume_id, strlen(volume_id)) != NULL)
		return -1;
	m = mnt_by_instance(id);
	if (m == NULL || m->state != MOUNT_MANIFEST || handing_over) {
		if (error != 0 && m != NULL && !proc_floods(chan_arg(ch)))
			log_warnx("mount %s: %s", m->volume->path, what);
		return 0;
	}
	if (error != 0) {
		mount_failed(m, (int)error, what);
		return 0;
	}
	strlcpy(m->volume_id, volume_id, sizeof(m->volume_id));
	manifest_said_yes(m);
	return 0;
}

void
mounts_tell_cache(struct proc *cache)
{
	struct mnt *m;

	TAILQ_FOREACH (m, &mnts_all, link)
		if (m->volume_id[0] != '\0')
			mnt_tell_cache(m, cache);
}

void
mounts_manifest_ready(struct proc *manifest)
{
	struct mnt *m;

	(void)manifest;
	TAILQ_FOREACH (m, &mnts_all, link)
		if (m->state != MOUNT_POINT && m->state != MOUNT_RETRY &&
		    send_mount_req(m, m->state != MOUNT_MANIFEST) == -1)
			log_warn("mount %s", m->volume->path);
}

struct mnt *
mnt_new(const struct conf_volume *v, uid_t uid)
{
	struct mnt *m;
	size_t i, n;

	if ((m = calloc(1, sizeof(*m))) == NULL ||
	    (m->volume = mnt_volume_dup(v)) == NULL)
		fatal("a mount");
	m->instance = ++last_instance;
	m->uid = uid;
	m->point_fd = m->table_fd = m->backings.folder_fd = -1;
	m->record_fd = -1;
	m->passthrough = passthrough;
	m->session.fuse_fd = m->session.mount_fd = -1;
	m->kept = !(v->flags & MOUNT_CONFIGURED);
	m->volume->owner = uid;
	mount_id(m->volume, m->id);
	n = (size_t)snprintf(m->folder, sizeof(m->folder), "%s/mounts/",
	    state_dir);
	for (i = 0; i < 16 && n + 3 < sizeof(m->folder); i++, n += 2)
		snprintf(m->folder + n, 3, "%02x", m->id[i]);
	TAILQ_INSERT_TAIL(&mnts_all, m, link);
	return m;
}

void
mounts_add(const struct conf_volume *v, uid_t uid, mounts_cb done, void *arg)
{
	struct mnt *m;

	if ((m = mnt_by_path(v->path)) != NULL) {
		if (done != NULL)
			done(arg, EBUSY,
			    m->state == MOUNT_GONE
				? "what was unmounted there is still in use "
				  "elsewhere (open files, or another mount "
				  "namespace)"
				: m->state == MOUNT_RETRY
				? "a volume is to come back there, and cannot "
				  "yet (status says why); umount takes it away"
				: "a volume is mounted there already, or "
				  "about to be",
			    "", 0);
		return;
	}
	m = mnt_new(v, uid);
	m->done = done;
	m->arg = arg;
	mount_begin(m);
}

/* ---- umount -------------------------------------------------------------- */

#define NO_ANSWER "%s: what it lies in does not answer: it stays there"

/* At the end: dead, until the next sailvold takes it away. */
static void
leave_behind(struct mnt *m)
{
	char what[1300];

	snprintf(what, sizeof(what), NO_ANSWER, m->volume->path);
	log_warnx("mount %s", what);
	if (m->done != NULL)
		call_done(m, ETIMEDOUT, what, "");
	m->state = MOUNT_GONE;
	if (m->fuse != NULL)
		proc_stop(m->fuse, STOP_MS);
	else
		mnt_free(m);
}

static void
umounted(void *arg, int error)
{
	struct mnt *m = mnt_by_instance((uint32_t)(uintptr_t)arg);
	char what[1200];

	if (m == NULL)
		return; /* its fuse saw it first */
	if (error == 0 || error == EINVAL) {
		/* Its fuse ends by itself, with the last that is still in it;
		   mnt_fuse_death() goes on. */
		m->state = MOUNT_GONE;
		if (m->record != NULL)
			m->record->gone = 1;
		forget(m);
		if (m->fuse == NULL)
			call_done(m, 0, "", "");
		if (m->fuse == NULL)
			mount_again(m);
		else if (timer_set(m,
			     all_ended != NULL ? END_ELSEWHERE_S
					       : ELSEWHERE_S) == -1)
			log_warn("mount %s", m->volume->path);
		return;
	}
	/* Who has just got an answer from ctl is about to close it. */
	if (error == EBUSY && !m->ending && ++m->busy < BUSY_TRIES &&
	    timer_set_ms(m, BUSY_MS) == 0) {
		if (m->busy == 1)
			log_info("umount of %s: in use, and tried again",
			    m->volume->path);
		return;
	}
	if (error == ETIMEDOUT && m->ending) {
		leave_behind(m);
		return;
	}
	/* Want of a process or of memory passes, and the end waits for it. */
	if (error != EBUSY && m->ending && timer_set_ms(m, BUSY_MS) == 0) {
		if (m->busy++ == 0)
			log_warnx("umount of %s: %s, and tried again",
			    m->volume->path, strerror(error));
		m->state = MOUNT_UMOUNT;
		return;
	}
	m->busy = 0;
	m->state = MOUNT_UP;
	if (m->ending && error == EBUSY) {
		log_warnx("mount %s is in use: it goes when it is left",
		    m->volume->path);
		mnt_umount(m, 1);
		return;
	}
	if (error == EBUSY)
		snprintf(what, sizeof(what),
		    "%s is in use (open files, or a "
		    "current directory below it)",
		    m->volume->path);
	else if (error == ETIMEDOUT)
		snprintf(what, sizeof(what), NO_ANSWER, m->volume->path);
	else
		snprintf(what, sizeof(what), "%s: %s", m->volume->path,
		    strerror(error));
	if (m->again != NULL) {
		log_warnx("mount %s: not changed to what the configuration "
			  "says: %s",
		    m->volume->path, what);
		mnt_no_change(m);
	}
	call_done(m, error, what, "");
}

void
mnt_umount(struct mnt *m, int detach)
{
	m->state = MOUNT_UMOUNT;
	if (priv_umount(m->volume->path, m->session.mount_id, detach, umounted,
		(void *)(uintptr_t)m->instance) == -1)
		umounted((void *)(uintptr_t)m->instance, errno);
}

/* It is unmounted because all are, and nobody waits for that yet. */
static int
is_going(const struct mnt *m)
{
	return m->ending && m->done == NULL &&
	    (m->state == MOUNT_UMOUNT || m->state == MOUNT_GONE);
}

/* It is tried again, and nobody waits for it. */
static int
is_tried(const struct mnt *m)
{
	return m->state < MOUNT_UP && m->done == NULL;
}

/* done is called when nothing of it is left; what looks at its mount point is not
   waited for: that may hang. */
static void
cancel(struct mnt *m, mounts_cb done, void *arg)
{
	m->done = done;
	m->arg = arg;
	m->kept = 0;
	m->ending = m->cancelled = 1;
	mnt_file_write();
	if (m->state == MOUNT_FUSE)
		give_up(m, ECANCELED, "");
	else
		mount_failed(m, ECANCELED, "");
}

void
mnt_cancel(struct mnt *m)
{
	if (is_tried(m))
		cancel(m, NULL, NULL);
}

void
mounts_remove(const char *path, uid_t uid, int force, mounts_cb done, void *arg)
{
	struct mnt *m = mnt_by_path(path);

	/* It was when it was asked for. */
	if (m == NULL && ending && mnt_file_drop(path, uid) == 0)
		done(arg, 0, "", "", 0);
	else if (m == NULL)
		done(arg, ENOENT, "no volume is mounted there", "", 0);
	else if (uid != 0 && uid != m->uid)
		done(arg, EPERM, "it was mounted by somebody else", "", 0);
	else if (m->state == MOUNT_RETRY) {
		m->kept = 0;
		mnt_file_write();
		done(arg, 0, "", "", m->instance);
		mnt_free(m);
	} else if (is_tried(m))
		cancel(m, done, arg);
	else if (is_going(m)) {
		m->done = done;
		m->arg = arg;
		if (m->state == MOUNT_GONE)
			forget(m);
	} else if (m->state != MOUNT_UP || m->done != NULL)
		done(arg, EBUSY, "it is being mounted or unmounted", "", 0);
	else {
		m->done = done;
		m->arg = arg;
		/* It was to come, if this one is clean. */
		if (m->again != NULL)
			log_info("mount %s: not changed to what the "
				 "configuration says: it is unmounted",
			    m->volume->path);
		mnt_no_change(m);
		mnt_umount(m, force);
	}
}

void
mounts_forget(const char *path, uid_t uid, mounts_cb done, void *arg)
{
	struct mnt *m = mnt_by_path(path);

	if (m == NULL || m->state == MOUNT_RETRY || is_tried(m) || is_going(m))
		mounts_remove(path, uid, 0, done, arg);
	else
		done(arg, EBUSY, "it is being mounted or unmounted", "", 0);
}

/* ---- handed over --------------------------------------------------------- */

int
mounts_hand_over(char *what, size_t size)
{
	struct mnt *m;

	if (ending || mnt_last_commits()) {
		snprintf(what, size, "sailvold ends");
		return -1;
	}
	TAILQ_FOREACH (m, &mnts_all, link) {
		/* What is tried again is begun by the next parent. */
		if (m->state == MOUNT_RETRY || is_tried(m) ||
		    ((m->state == MOUNT_UP || m->state == MOUNT_GONE) &&
			m->done == NULL && m->record != NULL))
			continue;
		snprintf(what, size,
		    m->record == NULL && m->state == MOUNT_UP
			? "%s: it could not be kept: unmount it first"
			: "%s is being mounted or unmounted: try again",
		    m->volume->path);
		return -1;
	}
	if (handover_prepare() == -1) {
		snprintf(what, size,
		    "what keeps the mounts cannot be handed over (%s): nothing "
		    "was changed; unmount some, or stop sailvold, and start it "
		    "again",
		    errno == E2BIG ? "there are too many" : strerror(errno));
		return -1;
	}
	handing_over = 1;
	return 0;
}

int
mounts_are_handed_over(void)
{
	return handing_over;
}

int
mounts_adopt(void)
{
	return mnt_adopt_all(fuse_uid);
}

/* ---- the end ------------------------------------------------------------- */

int
mnt_ends(void (*done)(void))
{
	ending = 1;
	if (TAILQ_EMPTY(&mnts_all)) {
		done();
		return 0;
	}
	all_ended = done;
	return 1;
}

void
mnt_umount_all(void)
{
	struct mnt *m, *next;

	for (m = TAILQ_FIRST(&mnts_all); m != NULL; m = next) {
		next = TAILQ_NEXT(m, link);
		m->ending = 1;
		if (m->state == MOUNT_UP)
			mnt_umount(m, 0);
		else if (m->state == MOUNT_RETRY)
			mnt_free(m);
		else if (m->state == MOUNT_GONE)
			timer_set(m, ELSEWHERE_S);
		else if (m->state == MOUNT_FUSE && m->fuse != NULL)
			give_up(m, ECANCELED, "sailvold ends");
		else if (m->state == MOUNT_POINT || m->state == MOUNT_MANIFEST)
			mount_failed(m, ECANCELED, "sailvold ends");
	}
}

/* ---- all of them --------------------------------------------------------- */
void
mounts_configure(const struct config *c)
{
	passthrough = c->passthrough;
}

int
mounts_init(const struct config *c)
{
	char path[1100];

	if (config_user(c, CONF_FUSE, &fuse_uid, &fuse_gid) == -1)
		return -1;
	strlcpy(state_dir, c->state, sizeof(state_dir));
	mounts_configure(c);
	mnt_proc_init(fuse_uid, fuse_gid);
	mnt_set_awake(c->awake);
	backing_init(fuse_uid, fuse_gid);
	mnt_file_init(c->state);
	snprintf(path, sizeof(path), "%s/mounts", c->state);
	return priv_make_folder(path, 0, 0, 0711);
}
