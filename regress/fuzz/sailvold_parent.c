/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * The parent of sailvold: hostile children.  Of the first byte: 1 the mount of
 * the configuration is up before, 2 manifest goes on to answer as it should, 4
 * no child says READY by itself.  0xe4: what umount says from now on (u8), or,
 * u8 0xff, SIGTERM, 0xfe, the time of all mounts has come.
 *
 * What needs root is done by stand-ins, which see to it that nothing was asked
 * for that nobody may have.
 */
#include "regress/fuzz/parent.h"

int sailvold_main(int, char **);
#define main sailvold_main
#include "sailvold/sailvold.c"
#undef main
#include "sailvold/mnt.h"
#include "sailvold/warrant.h"

#define POINT "/mnt/conf"

static int honest, umount_error, wants_restart;
static struct config config;

/* ---- in whose name it is asked ------------------------------------------- */

int
warrant_ticket(int fd, struct hash *ticket)
{
	(void)fd;
	memset(ticket, 0, sizeof(*ticket));
	return 0;
}

/* The ticket says it; test_warrant tries the one in whose place this is. */
int
warrant_check(int fd, struct parent_req *req, uid_t *uid, const char **why)
{
	*why = "no ticket";
	*uid = (uid_t)req->ticket.b[3];
	errno = PARENT_REFUSED;
	return fd == -1 || req->ticket.b[0] != 0 ? -1 : 0;
}

/* ---- privileged ---------------------------------------------------------- */

int
priv_make_folder(const char *path, uid_t uid, gid_t gid, mode_t mode)
{
	char copy[2048], *at;

	(void)uid;
	(void)gid;
	fuzz_check(
	    strncmp(path, "/state", 6) == 0 || strncmp(path, "/cache", 6) == 0);
	if (strlcpy(copy, path, sizeof(copy)) >= sizeof(copy))
		return -1;
	for (at = copy + 1; (at = strchr(at, '/')) != NULL; *at++ = '/') {
		*at = '\0';
		(void)mkdir(copy, 0711);
	}
	return mkdir(copy, mode) == -1 && errno != EEXIST ? -1 : 0;
}

int
priv_listen(const char *path, uid_t uid, gid_t gid, mode_t mode)
{
	(void)path;
	(void)uid;
	(void)gid;
	(void)mode;
	errno = EACCES;
	return -1;
}

int
priv_listen_on(int fd, const char *path, uid_t uid, gid_t gid, mode_t mode)
{
	(void)fd;
	return priv_listen(path, uid, gid, mode);
}

int
priv_listen_loopback(const struct inaddr *at, const char *port_file)
{
	(void)at;
	(void)port_file;
	return memfd_new("listener", NULL, 0);
}

int
priv_write_port(int fd, const char *port_file)
{
	(void)fd;
	(void)port_file;
	return 0;
}

/* An answer comes from the loop. */
struct later {
	point_cb point;
	umount_cb umount;
	void *arg;
};

static void
on_later(int fd, short what, void *arg)
{
	struct later *l = arg;
	struct point p = { .fd = -1 };

	(void)fd;
	(void)what;
	if (l->point != NULL) {
		p.fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
		l->point(l->arg, &p);
	} else
		l->umount(l->arg, umount_error);
	free(l);
}

static int
later(point_cb point, umount_cb umount, void *arg)
{
	struct timeval now = { 0, 0 };
	struct later *l = calloc(1, sizeof(*l));

	if (l == NULL)
		abort();
	l->point = point;
	l->umount = umount;
	l->arg = arg;
	return event_once(-1, EV_TIMEOUT, on_later, l, &now);
}

int
priv_open_point(const char *path, uid_t uid, point_cb done, void *arg)
{
	struct mnt *m = mnt_by_instance((uint32_t)(uintptr_t)arg);

	fuzz_check(config_path_problem(path) == NULL);
	fuzz_check(m != NULL);
	fuzz_check(m->uid == uid && m->volume->owner == uid);
	fuzz_check(volume_name_problem(m->volume->name,
		       strlen(m->volume->name)) == NULL);
	/* What only root may, and only the configuration. */
	fuzz_check(uid == 0 ||
	    !(m->volume->flags & MOUNT_CREATE || m->volume->ids.count != 0 ||
		m->volume->policy.commit_on_umount));
	return later(done, NULL, arg);
}

int
priv_make_session(struct session *s, const char *volume, int flags, char *what,
    size_t size)
{
	(void)volume;
	(void)what;
	(void)size;
	fuzz_check(!(flags & PRIV_SUID));
	s->fuse_fd = memfd_new("session", NULL, 0);
	s->mount_fd = memfd_new("mount", NULL, 0);
	s->init_len = 64;
	return 0;
}

int
priv_attach(struct session *s, int point_fd)
{
	fuzz_check(point_fd != -1 && s->fuse_fd != -1 && s->mount_fd != -1);
	close(s->mount_fd);
	s->mount_fd = -1;
	s->mount_id = 7;
	return 0;
}

int
priv_open_folder(const char *path)
{
	fuzz_check(strncmp(path, "/state/mounts/", 14) == 0);
	return open(path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

int32_t
priv_backing_open(int fuse_fd, int folder_fd, uint64_t ovl, uid_t uid,
    gid_t gid)
{
	static int32_t last;

	(void)gid;
	fuzz_check(fuse_fd != -1 && folder_fd != -1 && uid != 0);
	if (ovl % 4 == 3) {
		errno = ENOENT;
		return -1;
	}
	return ++last;
}

int
priv_backing_close(int fuse_fd, uint32_t id)
{
	fuzz_check(fuse_fd != -1 && id != 0);
	return 0;
}

int
priv_session_is_over(const struct session *s)
{
	fuzz_check(s != NULL);
	return 1;
}

int
priv_umount(const char *path, uint64_t mount_id, int detach, umount_cb done,
    void *arg)
{
	struct mnt *m = mnt_by_path(path);

	(void)detach;
	fuzz_check(m != NULL && m->session.mount_id == mount_id);
	return later(NULL, done, arg);
}

int
priv_fuse_works(char *what, size_t size)
{
	(void)what;
	(void)size;
	return 1;
}

int
priv_open_latency(void)
{
	return -1;
}

int
priv_lock_state(const char *path)
{
	(void)path;
	return 0;
}

/* ---- another program in its place ---------------------------------------- */

void
restart_init(const char *path, int foreground, int verbose)
{
	(void)path;
	(void)foreground;
	(void)verbose;
}

void
restart_print(uid_t uid, const char *state)
{
	(void)uid;
	(void)state;
}

void
restart_ask(uid_t uid, const char *state, restart_cb done, void *arg)
{
	(void)uid;
	(void)state;
	done(arg, 0, "");
}

void
restart_now(void)
{
	wants_restart = 1;
	proc_stop_all(STOP_MS);
}

int
restart_wanted(void)
{
	return wants_restart;
}

void
restart_exec(void)
{
}

/* ---- its children -------------------------------------------------------- */

static void
manifest_says_yes(struct kid *k, struct imsg *imsg)
{
	static const uint8_t found[] = "\0\0\0\0\0\0\0\5vol_1", good[6];
	struct kid *manifest = kid_of_role(ROLE_MANIFEST);

	if (imsg_get_type(imsg) == IMSG_PARENT_MANIFEST_MOUNT)
		kid_say(k, IMSG_MANIFEST_PARENT_MOUNT_RES, imsg_get_id(imsg),
		    -1, found, sizeof(found) - 1);
	else if (imsg_get_type(imsg) == IMSG_PARENT_FUSE_SESSION &&
	    manifest != NULL)
		kid_say(manifest, IMSG_MANIFEST_PARENT_START_RES,
		    proc_of(k)->spec.instance, -1, good, sizeof(good));
}

/* What the parent tells cache, who takes nothing else. */
static void
check_ids(void)
{
	const struct mnt *m;

	TAILQ_FOREACH (m, &mnts_all, link)
		fuzz_check(m->volume_id[0] == '\0' ||
		    volume_name_problem(m->volume_id, strlen(m->volume_id)) ==
			NULL);
}

static void
heard(struct kid *k, uint8_t role, struct imsg *imsg)
{
	check_ids();
	if (honest && (role == ROLE_MANIFEST || role == ROLE_FUSE))
		manifest_says_yes(k, imsg);
}

static void
begin(uint8_t first)
{
	static char url[] = "http://127.0.0.1:1", state[] = "/state",
		    cache[] = "/cache", control[] = "/control", name[] = "v",
		    path[] = POINT, sub[] = "";
	static struct conf_volume v = { .name = name,
		.path = path,
		.subpath = sub,
		.flags = MOUNT_CONFIGURED };
	struct mnt *m;

	conf = &config;
	conf->api_url = conf->key_file = url;
	conf->state = state;
	conf->cache = cache;
	conf->control = control;
	conf->users_from = 1000;
	conf->fetchers = 2;
	conf->metrics = 1;
	TAILQ_INIT(&conf->volumes);
	v.policy.commit_on_umount = 1;
	TAILQ_INSERT_TAIL(&conf->volumes, &v, link);
	honest = (first & 1) != 0;
	requests_configure(conf);
	if (start_processes() == -1 || mounts_init(conf) == -1 ||
	    start_metrics() == -1)
		abort();
	mounts_begin_all(conf);
	parent_pump();
	parent_pump();
	if (honest) {
		m = mnt_by_path(POINT);
		fuzz_check(m != NULL && m->state == MOUNT_UP);
	}
	honest = (first & 2) != 0;
	no_ready = (first & 4) != 0;
}

static void
other(struct fuzz_in *in)
{
	uint8_t what = fuzz_u8(in);
	struct mnt *m;

	if (what == 0xff && !ending) {
		excused = 1;
		on_end(SIGTERM, 0, NULL);
	} else if (what == 0xfe) {
		excused = 1;
		TAILQ_FOREACH (m, &mnts_all, link)
			if (m->timer != NULL && evtimer_pending(m->timer, NULL))
				event_active(m->timer, EV_TIMEOUT, 1);
	} else if (what < 0xfe)
		umount_error = what;
}

static const struct fuzz_parent fuzz_parent = {
	.begin = begin,
	.heard = heard,
	.other = other,
};

static void
fuzz_one(const uint8_t *p, size_t len)
{
	/* It does not end for what they say. */
	fuzz_check(far_fuzz(p, len) == 0);
}
