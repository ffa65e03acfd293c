/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * privileged: every act of the parent of sailvold(8) that needs root, each with
 * its check.  In the parent, and in short-lived children of it.
 */
#include <sys/file.h>
#include <sys/fsuid.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <sys/un.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <inttypes.h>
#include <linux/capability.h>
#include <linux/fuse.h>
#include <linux/major.h>
#include <linux/openat2.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "lib/handover.h"
#include "lib/inaddr.h"
#include "lib/log.h"
#include "lib/rest.h"
#include "sailvold/errand.h"
#include "sailvold/privileged.h"

#ifndef SO_PASSRIGHTS
#define SO_PASSRIGHTS 83 /* asm-generic/socket.h */
#endif
#define METRICS_BACKLOG 64
#define INIT_WAIT_MS 10000
#define NOBODY ((gid_t)65534)
#define STATE "state" /* of handover.h */
#define DEAD_TRIES 40 /* of 50 ms */
#define POINT_S 30
#define UMOUNT_S 10

static int
open_plain(int dirfd, const char *path, int flags, uint64_t resolve)
{
	struct open_how how;

	memset(&how, 0, sizeof(how));
	how.flags = (uint64_t)(unsigned int)(flags | O_CLOEXEC);
	how.resolve = RESOLVE_NO_MAGICLINKS | resolve;
	return (int)syscall(SYS_openat2, dirfd, path, &how, sizeof(how));
}

/* ---- folders ---------------------------------------------------------------------- */

/* One component below dirfd, made when it is missing. */
static int
open_folder(int dirfd, const char *name, int *made)
{
	*made = 0;
	if (mkdirat(dirfd, name, 0711) == 0)
		*made = 1;
	else if (errno != EEXIST)
		return -1;
	return openat(dirfd, name,
	    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

/* One that a parent made and could not give away, as it was killed just then. */
static int
is_left_over(int dirfd, const struct stat *st)
{
	const struct dirent *e;
	int fd, empty = 1;
	DIR *d;

	if (st->st_uid != 0)
		return 0;
	if ((fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)) ==
		-1 ||
	    (d = fdopendir(fd)) == NULL) {
		if (fd != -1)
			close(fd);
		return 0;
	}
	while ((e = readdir(d)) != NULL)
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			empty = 0;
	closedir(d);
	return empty;
}

int
priv_make_folder(const char *path, uid_t uid, gid_t gid, mode_t mode)
{
	char copy[4096], *rest = copy, *name;
	struct stat st;
	int fd, next, made = 0, error;

	if (strlcpy(copy, path, sizeof(copy)) >= sizeof(copy)) {
		log_warnx("folder %s: name too long", path);
		return -1;
	}
	if ((fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC)) == -1)
		goto fail;
	while ((name = strsep(&rest, "/")) != NULL) {
		if (*name == '\0')
			continue;
		next = open_folder(fd, name, &made);
		/* Folders above that were there may be links of the system. */
		if (next == -1 && (errno == ELOOP || errno == ENOTDIR) &&
		    rest != NULL)
			next = openat(fd, name,
			    O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		close(fd);
		if ((fd = next) == -1)
			goto fail;
	}
	if (fstat(fd, &st) == -1)
		goto fail;
	if (!made && st.st_uid != uid && is_left_over(fd, &st))
		made = 1;
	if (made && (fchown(fd, uid, gid) == -1 || fchmod(fd, mode) == -1)) {
		error = errno;
		(void)rmdir(path);
		errno = error;
		goto fail;
	}
	if (!made && st.st_uid != uid) {
		log_warnx("folder %s: it belongs to user %u, and not to %u: "
			  "remove it, or give it away by chown",
		    path, st.st_uid, uid);
		close(fd);
		return -1;
	}
	if (!made && (st.st_mode & 07777) != mode && fchmod(fd, mode) == -1)
		goto fail;
	close(fd);
	return 0;
fail:
	log_warn("folder %s", path);
	if (fd != -1)
		close(fd);
	return -1;
}

/* ---- the control socket -------------------------------------------------------------- */

int
priv_lock_state(const char *path)
{
	int fd;

	if (priv_make_folder(path, 0, 0, 0711) == -1)
		return -1;
	fd = handover_take(STATE);
	if (fd == -1)
		fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd == -1 || flock(fd, LOCK_EX | LOCK_NB) == -1) {
		if (fd != -1 && errno == EWOULDBLOCK)
			log_warnx("state %s: another sailvold has it", path);
		else
			log_warn("state %s", path);
		if (fd != -1)
			close(fd);
		return -1;
	}
	if (handover_keep(STATE, fd, HANDOVER_EXEC) == -1)
		log_warn("state %s", path);
	return 0;
}

static int
is_served(const struct sockaddr_un *sun)
{
	int fd, rc;

	/* One whose queue is full is served too: EAGAIN. */
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd == -1)
		return 0;
	rc = connect(fd, (const struct sockaddr *)sun, sizeof(*sun));
	if (rc == -1 && errno == EAGAIN)
		rc = 0;
	close(fd);
	return rc == 0;
}

/*
 * Clients have no descriptors to send: the last close of one may wait as long as
 * its sender likes (SO_LINGER, socket(7)).  Since Linux 6.16, unix(7); sockets
 * that are accepted have it from there.
 */
static void
pass_no_rights(int fd)
{
	int off = 0;

	if (setsockopt(fd, SOL_SOCKET, SO_PASSRIGHTS, &off, sizeof(off)) ==
		-1 &&
	    errno != ENOPROTOOPT)
		log_warn("control socket: SO_PASSRIGHTS");
}

int
priv_listen(const char *path, uid_t uid, gid_t gid, mode_t mode)
{
	struct sockaddr_un sun;
	struct stat st;
	mode_t old;
	int fd, rc;

	memset(&sun, 0, sizeof(sun));
	sun.sun_family = AF_UNIX;
	if (strlcpy(sun.sun_path, path, sizeof(sun.sun_path)) >=
	    sizeof(sun.sun_path)) {
		log_warnx("control %s: longer than %zu bytes", path,
		    sizeof(sun.sun_path) - 1);
		return -1;
	}
	if (lstat(path, &st) == 0) {
		if (!S_ISSOCK(st.st_mode)) {
			log_warnx("control %s: it is there, and no socket",
			    path);
			return -1;
		}
		if (is_served(&sun)) {
			log_warnx("control %s: another sailvold serves it",
			    path);
			return -1;
		}
		if (unlink(path) == -1)
			log_warn("control %s", path);
	}
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd == -1)
		goto fail;
	pass_no_rights(fd);
	old = umask(0777);
	rc = bind(fd, (struct sockaddr *)&sun, sizeof(sun));
	umask(old);
	if (rc == -1 || chown(path, uid, gid) == -1 ||
	    chmod(path, mode) == -1 || listen(fd, 128) == -1)
		goto fail;
	return fd;
fail:
	log_warn("control %s", path);
	if (fd != -1)
		close(fd);
	return -1;
}

int
priv_listen_on(int fd, const char *path, uid_t uid, gid_t gid, mode_t mode)
{
	struct sockaddr_un sun;
	socklen_t len = sizeof(sun), size = sizeof(int);
	struct stat st;
	int on = 0;

	memset(&sun, 0, sizeof(sun));
	if (getsockname(fd, (struct sockaddr *)&sun, &len) == -1 ||
	    getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &on, &size) == -1)
		return -1;
	if (!on || sun.sun_family != AF_UNIX || lstat(path, &st) == -1 ||
	    !S_ISSOCK(st.st_mode) ||
	    strncmp(sun.sun_path, path, sizeof(sun.sun_path)) != 0) {
		errno = EADDRNOTAVAIL;
		return -1;
	}
	pass_no_rights(fd);
	return chown(path, uid, gid) == -1 ? -1 : chmod(path, mode);
}

int
priv_write_port(int fd, const char *port_file)
{
	char tmp[4096], text[16];
	struct inaddr at;
	int n, out = -1;

	if (port_file == NULL)
		return 0;
	if (inaddr_of(&at, fd) == -1 ||
	    snprintf(tmp, sizeof(tmp), "%s.new", port_file) >= (int)sizeof(tmp))
		goto fail;
	n = snprintf(text, sizeof(text), "%u\n", inaddr_port(&at));
	/* What a crash left. */
	if (unlink(tmp) == -1 && errno != ENOENT)
		goto fail;
	out = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
	    0644);
	if (out == -1)
		goto fail;
	if (fchmod(out, 0644) == -1 || write(out, text, (size_t)n) != n ||
	    rename(tmp, port_file) == -1) {
		unlink(tmp);
		goto fail;
	}
	close(out);
	return 0;

fail:
	log_warn("port file %s", port_file);
	if (out != -1)
		close(out);
	return -1;
}

int
priv_listen_loopback(const struct inaddr *l, const char *port_file)
{
	char at[128];
	int fd;

	if ((fd = inaddr_listen(l, 0, METRICS_BACKLOG)) == -1) {
		inaddr_text(l, at, sizeof(at));
		log_warn("metrics listen on %s", at);
		return -1;
	}
	if (priv_write_port(fd, port_file) == -1) {
		close(fd);
		return -1;
	}
	return fd;
}

/* ---- mount points --------------------------------------------------------------------- */

/*
 * The mount that fd (O_PATH) is the root of; 0: none, but a directory in one.
 * The kernel asks nobody.
 */
static uint64_t
mount_of(int fd)
{
	struct statx stx;

	if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_MNT_ID,
		&stx) == -1 ||
	    !(stx.stx_mask & STATX_MNT_ID) ||
	    !(stx.stx_attributes & STATX_ATTR_MOUNT_ROOT))
		return 0;
	return stx.stx_mnt_id;
}

/* 1 when /proc/self/mountinfo says that its type is fuse.sailvol; -1: it cannot be
   read. */
static int
is_sailvol(uint64_t id)
{
	unsigned long long n;
	char *line = NULL, *end;
	size_t size = 0;
	int found = 0;
	FILE *f;

	if (id == 0)
		return 0;
	if ((f = fopen("/proc/self/mountinfo", "re")) == NULL)
		return -1;
	while (!found && getline(&line, &size, f) > 0)
		found = sscanf(line, "%llu", &n) == 1 && n == id &&
		    (end = strstr(line, " - ")) != NULL &&
		    strncmp(end + 3, "fuse.sailvol ", 13) == 0;
	if (!found && !feof(f))
		found = -1;
	free(line);
	fclose(f);
	return found;
}

/*
 * In a child: goes to the folder that a mount point is in, without links, and
 * says what it is called there: whoever owns a folder above it and puts another
 * in its place has no mount elsewhere taken away.  NULL and errno.
 */
static const char *
enter_folder_of(const char *path)
{
	const char *name = strrchr(path, '/');
	char folder[4096];
	int fd, rc;

	if (name == NULL || (size_t)(name - path) >= sizeof(folder) - 1) {
		errno = EINVAL;
		return NULL;
	}
	/* With the slash: "/" of a name in the root. */
	memcpy(folder, path, (size_t)(name - path) + 1);
	folder[name - path + 1] = '\0';
	fd = open_plain(AT_FDCWD, folder, O_PATH | O_DIRECTORY,
	    RESOLVE_NO_SYMLINKS);
	if (fd == -1)
		return NULL;
	rc = fchdir(fd);
	close(fd);
	return rc == 0 ? name + 1 : NULL;
}

static int
open_point(const char *name)
{
	return openat(AT_FDCWD, name,
	    O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

/* The path without doubled and last slashes. */
static void
squeeze(const char *path, char *out, size_t size)
{
	size_t n = 0;

	for (; *path != '\0' && n + 1 < size; path++)
		if (*path != '/' || n == 0 || out[n - 1] != '/')
			out[n++] = *path;
	if (n > 1 && out[n - 1] == '/')
		n--;
	out[n] = '\0';
}

/* "path: why", the path cut if need be. */
static void
point_error(struct point *p, int error, const char *why)
{
	p->error = error;
	snprintf(p->what, sizeof(p->what), "%.300s: %s", p->real, why);
}

/*
 * A mount whose daemon is gone answers ENOTCONN, to statfs(2): what stat(2) asks
 * the kernel may still know.  It is taken away.  The last processes of a daemon
 * that was killed need a moment to end.
 */
static void
take_dead_away(const char *path)
{
	struct timespec nap = { 0, 50 * 1000 * 1000 };
	const char *name = enter_folder_of(path);
	struct statfs st;
	int fd, tries, dead;

	for (tries = 0; name != NULL && tries < DEAD_TRIES; tries++) {
		if ((fd = open_point(name)) == -1)
			return;
		if (is_sailvol(mount_of(fd)) != 1) {
			close(fd);
			return;
		}
		dead = fstatfs(fd, &st) == -1 && errno == ENOTCONN;
		close(fd);
		if (dead)
			(void)umount2(name, MNT_DETACH | UMOUNT_NOFOLLOW);
		else
			nanosleep(&nap, NULL);
	}
}

static void
point_open_error(struct point *p)
{
	switch (errno) {
	case ENOENT:
		point_error(p, ENOENT,
		    "there is no such directory; make it "
		    "first");
		break;
	case ENOTDIR:
		point_error(p, ENOTDIR, "not a directory");
		break;
	case ELOOP:
		point_error(p, ELOOP,
		    "a symbolic link, or behind one; name "
		    "the directory itself");
		break;
	default:
		point_error(p, errno, strerror(errno));
	}
}

static void
warn_if_not_empty(struct point *p)
{
	char buf[4096];
	ssize_t n;
	int fd;

	if ((fd = openat(p->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)) == -1)
		return;
	/* "." and ".." are two records of 24 bytes. */
	n = syscall(SYS_getdents64, fd, buf, sizeof(buf));
	if (n > 48)
		snprintf(p->warning, sizeof(p->warning),
		    "%.400s is not empty: "
		    "what is in it is hidden until umount",
		    p->real);
	close(fd);
}

/*
 * What is wrong is told to who could find it out himself; others hear the same
 * whatever is there.  In a child, whose rights are given up for it.
 */
static void
hide_point(struct point *p, uid_t uid)
{
	int fd, error = 0;

	if (setgroups(0, NULL) == -1 ||
	    setresgid(NOBODY, NOBODY, NOBODY) == -1 ||
	    setresuid(uid, uid, uid) == -1)
		error = EPERM;
	else if ((fd = open_plain(AT_FDCWD, p->real,
		      O_PATH | O_DIRECTORY | O_NOFOLLOW,
		      RESOLVE_NO_SYMLINKS)) == -1)
		error = errno;
	else
		close(fd);
	if (error != 0 && error != p->error)
		point_error(p, EPERM,
		    "there is no directory that belongs to you, or that you "
		    "may look at");
}

/* In a child: it may block on what is mounted there. */
static void
look_at_point(struct point *p, const char *path, uid_t uid)
{
	struct stat st;

	p->fd = -1;
	squeeze(path, p->real, sizeof(p->real));
	if (*path != '/') {
		point_error(p, EINVAL, "not an absolute path");
		return;
	}
	if (strcmp(p->real, "/") == 0) {
		point_error(p, EBUSY, "cannot be mounted on");
		return;
	}
	take_dead_away(p->real);
	p->fd = open_plain(AT_FDCWD, p->real, O_PATH | O_DIRECTORY | O_NOFOLLOW,
	    RESOLVE_NO_SYMLINKS);
	if (p->fd == -1) {
		point_open_error(p);
		return;
	}
	if (is_sailvol(mount_of(p->fd)) == 1)
		point_error(p, EBUSY, "a volume is mounted there already");
	else if (fstat(p->fd, &st) == -1)
		point_open_error(p);
	else if (uid != 0 && st.st_uid != uid)
		point_error(p, EPERM, "it does not belong to you");
	else
		warn_if_not_empty(p);
}

/* ---- short-lived children -------------------------------------------------------------- */

static const char NO_ANSWER[] = "it, or what it lies in, does not answer";

struct open_point {
	char path[4096];
	uid_t uid;
	point_cb done;
	void *arg;
};

static int
open_point_run(void *arg, void *answer)
{
	struct open_point *o = arg;
	struct point *p = answer;

	look_at_point(p, o->path, o->uid);
	if (p->error != 0 && o->uid != 0)
		hide_point(p, o->uid);
	return p->error == 0 ? p->fd : -1;
}

static void
open_point_done(void *arg, void *answer, int fd)
{
	struct open_point *o = arg;
	struct point *p = answer;

	int error = errno;

	p->fd = fd;
	if (p->error == 0 && fd == -1) {
		squeeze(o->path, p->real, sizeof(p->real));
		if (error == ETIMEDOUT)
			point_error(p, error, NO_ANSWER);
		else
			point_error(p, EIO, "looking at it failed");
	}
	o->done(o->arg, p);
	free(o);
}

int
priv_open_point(const char *path, uid_t uid, point_cb done, void *arg)
{
	struct errand_spec spec;
	struct open_point *o;

	if ((o = calloc(1, sizeof(*o))) == NULL)
		return -1;
	strlcpy(o->path, path, sizeof(o->path));
	o->uid = uid;
	o->done = done;
	o->arg = arg;
	spec = (struct errand_spec){ .run = open_point_run,
		.done = open_point_done,
		.arg = o,
		.size = sizeof(struct point),
		.seconds = POINT_S,
		.about = path,
		.uid = uid };
	if (errand_run(&spec) == -1) {
		free(o);
		return -1;
	}
	return 0;
}

struct umount_answer {
	int asked; /* 0: its process was killed before it had an answer */
	int error;
};
struct do_umount {
	char path[4096];
	uint64_t id;
	int detach;
	umount_cb done;
	void *arg;
};

static int
umount_run(void *arg, void *answer)
{
	struct do_umount *u = arg;
	const char *name = enter_folder_of(u->path);
	struct umount_answer *a = answer;
	uint64_t id = 0;
	int fd;

	a->asked = 1;
	a->error = 0;
	if (name != NULL && (fd = open_point(name)) != -1) {
		id = mount_of(fd);
		close(fd);
	}
	if (id == 0 || id != u->id)
		a->error = EINVAL; /* it is not there any more */
	else if (umount2(name,
		     UMOUNT_NOFOLLOW | (u->detach ? MNT_DETACH : 0)) == -1)
		a->error = errno;
	return -1;
}

static void
umount_done(void *arg, void *answer, int fd)
{
	const struct umount_answer *a = answer;
	struct do_umount *u = arg;
	int error = a->asked ? a->error : errno;

	if (fd != -1)
		close(fd);
	/* Behind that the kernel may still wait, for the session's end. */
	if (error == ETIMEDOUT && !a->asked && is_sailvol(u->id) == 0)
		error = 0;
	u->done(u->arg, error);
	free(u);
}

int
priv_umount(const char *path, uint64_t mount_id, int detach, umount_cb done,
    void *arg)
{
	struct errand_spec spec;
	struct do_umount *u;

	if ((u = calloc(1, sizeof(*u))) == NULL)
		return -1;
	strlcpy(u->path, path, sizeof(u->path));
	u->id = mount_id;
	u->detach = detach;
	u->done = done;
	u->arg = arg;
	spec = (struct errand_spec){ .run = umount_run,
		.done = umount_done,
		.arg = u,
		.size = sizeof(struct umount_answer),
		.seconds = UMOUNT_S,
		.about = path };
	if (errand_run(&spec) == -1) {
		free(u);
		return -1;
	}
	return 0;
}

/* ---- a connection to the kernel ------------------------------------------------------------ */

int
priv_fuse_works(char *what, size_t size)
{
	struct stat st;

	if (stat("/dev/fuse", &st) == -1) {
		snprintf(what, size,
		    "FUSE does not work here: /dev/fuse: %s "
		    "(load it by: modprobe fuse; in a container give it the "
		    "device /dev/fuse)",
		    strerror(errno));
		return 0;
	}
	if (!S_ISCHR(st.st_mode)) {
		snprintf(what, size,
		    "FUSE does not work here: /dev/fuse is not "
		    "a device");
		return 0;
	}
	return 1;
}

static int
set_options(int fsfd, int fuse_fd, const char *volume)
{
	char fd[16];

	snprintf(fd, sizeof(fd), "%d", fuse_fd);
	if (fsconfig(fsfd, FSCONFIG_SET_STRING, "source", volume, 0) == -1 ||
	    fsconfig(fsfd, FSCONFIG_SET_STRING, "subtype", "sailvol", 0) ==
		-1 ||
	    fsconfig(fsfd, FSCONFIG_SET_STRING, "fd", fd, 0) == -1 ||
	    fsconfig(fsfd, FSCONFIG_SET_STRING, "rootmode", "40000", 0) == -1 ||
	    fsconfig(fsfd, FSCONFIG_SET_STRING, "user_id", "0", 0) == -1 ||
	    fsconfig(fsfd, FSCONFIG_SET_STRING, "group_id", "0", 0) == -1 ||
	    fsconfig(fsfd, FSCONFIG_SET_FLAG, "allow_other", NULL, 0) == -1 ||
	    fsconfig(fsfd, FSCONFIG_SET_FLAG, "default_permissions", NULL, 0) ==
		-1)
		return -1;
	return fsconfig(fsfd, FSCONFIG_CMD_CREATE, NULL, NULL, 0);
}

static int
read_init(struct session *s)
{
	struct pollfd pfd = { .fd = s->fuse_fd, .events = POLLIN };
	struct fuse_in_header h;
	uint8_t *buf;
	ssize_t n;

	if (poll(&pfd, 1, INIT_WAIT_MS) != 1) {
		errno = ETIMEDOUT;
		return -1;
	}
	/* The kernel refuses to be read into less than a whole request. */
	if ((buf = malloc(FUSE_MIN_READ_BUFFER)) == NULL)
		return -1;
	n = read(s->fuse_fd, buf, FUSE_MIN_READ_BUFFER);
	if (n >= (ssize_t)sizeof(h) && (size_t)n <= sizeof(s->init)) {
		memcpy(&h, buf, sizeof(h));
		if (h.opcode == FUSE_INIT && h.len == (uint32_t)n) {
			memcpy(s->init, buf, (size_t)n);
			s->init_len = (size_t)n;
			free(buf);
			return 0;
		}
	}
	free(buf);
	errno = n == -1 ? errno : EPROTO;
	return -1;
}

int
priv_make_session(struct session *s, const char *volume, int flags, char *what,
    size_t size)
{
	const char *step = "/dev/fuse";
	unsigned int attrs = MOUNT_ATTR_NODEV;
	int fsfd = -1, saved;

	memset(s, 0, sizeof(*s));
	s->fuse_fd = s->mount_fd = -1;
	if (!priv_fuse_works(what, size)) {
		errno = ENODEV;
		return -1;
	}
	arc4random_buf(s->connection, sizeof(s->connection));
	s->fuse_fd = open("/dev/fuse", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	if (s->fuse_fd == -1)
		goto fail;
	step = "a file system of type fuse (modprobe fuse)";
	if ((fsfd = fsopen("fuse", FSOPEN_CLOEXEC)) == -1)
		goto fail;
	step = "its options";
	if (set_options(fsfd, s->fuse_fd, volume) == -1)
		goto fail;
	step = "its mount";
	if (!(flags & PRIV_SUID))
		attrs |= MOUNT_ATTR_NOSUID;
	if (flags & PRIV_NOEXEC)
		attrs |= MOUNT_ATTR_NOEXEC;
	if (flags & PRIV_READONLY)
		attrs |= MOUNT_ATTR_RDONLY;
	s->mount_fd = fsmount(fsfd, FSMOUNT_CLOEXEC, attrs);
	if (s->mount_fd == -1)
		goto fail;
	step = "the kernel's first request";
	if (read_init(s) == -1)
		goto fail;
	close(fsfd);
	return 0;
fail:
	saved = errno;
	snprintf(what, size, "FUSE does not work here: %s: %s", step,
	    strerror(saved));
	if (fsfd != -1)
		close(fsfd);
	if (s->mount_fd != -1)
		close(s->mount_fd);
	if (s->fuse_fd != -1)
		close(s->fuse_fd);
	s->fuse_fd = s->mount_fd = -1;
	errno = saved;
	return -1;
}

int
priv_attach(struct session *s, int point_fd)
{
	struct statx stx;

	if (move_mount(s->mount_fd, "", point_fd, "",
		MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) == -1)
		return -1;
	/* Of the descriptor's own mount: the kernel asks nobody. */
	if (statx(s->mount_fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC,
		STATX_MNT_ID, &stx) == 0 &&
	    (stx.stx_mask & STATX_MNT_ID))
		s->mount_id = stx.stx_mnt_id;
	close(s->mount_fd);
	s->mount_fd = -1;
	return 0;
}

int
priv_session_is_over(const struct session *s)
{
	struct pollfd pfd = { .fd = s->fuse_fd };

	return s->fuse_fd == -1 ||
	    (poll(&pfd, 1, 0) == 1 && (pfd.revents & POLLERR));
}

/* ---- processors ---------------------------------------------------------------- */

/* 1 where an idle driver asks how long it may take to wake. */
static int
has_idle_driver(void)
{
	char buf[32];
	ssize_t n;
	int fd;

	fd = open("/sys/devices/system/cpu/cpuidle/current_driver",
	    O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (fd == -1)
		return 0;
	n = read(fd, buf, sizeof(buf));
	close(fd);
	return n > 0 && !(n >= 4 && memcmp(buf, "none", 4) == 0);
}

int
priv_open_latency(void)
{
	struct stat st;
	int fd;

	if (!has_idle_driver())
		return -1;
	fd = open("/dev/cpu_dma_latency",
	    O_WRONLY | O_CLOEXEC | O_NOCTTY | O_NOFOLLOW | O_NONBLOCK);
	if (fd == -1)
		return -1;
	if (fstat(fd, &st) == -1 || !S_ISCHR(st.st_mode) ||
	    major(st.st_rdev) != MISC_MAJOR) {
		close(fd);
		return -1;
	}
	return fd;
}

/* ---- backing files of passthrough ---------------------------------------------------------- */

/* Of a newer linux/fuse.h. */
struct backing_map {
	int32_t fd;
	uint32_t flags;
	uint64_t padding;
};
#define BACKING_OPEN _IOW(FUSE_DEV_IOC_MAGIC, 1, struct backing_map)
#define BACKING_CLOSE _IOW(FUSE_DEV_IOC_MAGIC, 2, uint32_t)

int
priv_open_folder(const char *path)
{
	return open(path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

/*
 * The kernel keeps who registers a file, and reads and writes it as that one:
 * with the user's rights to files, and without the right to the blocks that a
 * file system keeps for root.
 */
static int
files_as(uid_t uid, gid_t gid, int resource)
{
	struct __user_cap_header_struct h = {
		.version = _LINUX_CAPABILITY_VERSION_3,
	};
	struct __user_cap_data_struct caps[2];
	const uint32_t bit = 1U << CAP_SYS_RESOURCE;

	(void)setfsgid(gid);
	(void)setfsuid(uid);
	/* They fail in silence: asked by a number that nobody can have. */
	if ((uid_t)setfsuid((uid_t)-1) != uid ||
	    (gid_t)setfsgid((gid_t)-1) != gid ||
	    syscall(SYS_capget, &h, caps) == -1)
		return -1;
	if (resource)
		caps[0].effective |= caps[0].permitted & bit;
	else
		caps[0].effective &= ~bit;
	return (int)syscall(SYS_capset, &h, caps);
}

static int32_t
backing_register(int fuse_fd, int folder_fd, const char *name, uid_t uid)
{
	struct backing_map map = { .fd = -1 };
	int32_t id = -1;
	struct stat st;
	int error;

	map.fd = open_plain(folder_fd, name, O_RDWR | O_NOFOLLOW | O_NONBLOCK,
	    RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV);
	if (map.fd == -1)
		return -1;
	if (fstat(map.fd, &st) == 0) {
		/* One that is not whole has the sticky bit (lib/rest.h). */
		if (S_ISREG(st.st_mode) && !(st.st_mode & REST_MODE) &&
		    st.st_uid == uid && st.st_nlink == 1)
			id = ioctl(fuse_fd, BACKING_OPEN, &map);
		else
			errno = EPERM;
	}
	error = errno;
	close(map.fd);
	errno = error;
	return id;
}

int32_t
priv_backing_open(int fuse_fd, int folder_fd, uint64_t ovl, uid_t uid,
    gid_t gid)
{
	char name[40];
	int32_t id = -1;
	int error;

	snprintf(name, sizeof(name), "files/%02x/%016" PRIx64,
	    (unsigned int)(ovl & 0xff), ovl);
	if (files_as(uid, gid, 0) == 0)
		id = backing_register(fuse_fd, folder_fd, name, uid);
	error = errno;
	if (files_as(0, 0, 1) == -1)
		fatal("privileges of the parent");
	errno = error;
	return id;
}

int
priv_backing_close(int fuse_fd, uint32_t id)
{
	return ioctl(fuse_fd, BACKING_CLOSE, &id);
}
