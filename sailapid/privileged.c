/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * privileged: folders, sockets, the store's secret: what the parent of
 * sailapid(8) does as root.
 */
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/queue.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/log.h"
#include "sailapid/privileged.h"

#define BACKLOG 1024
/* Of the embedded store. */
#define ACCESS_KEY_LEN 24
#define SECRET_LEN 64

static int
is_empty(int fd)
{
	struct dirent *e;
	int copy, n = 0;
	DIR *d;

	copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (copy == -1 || (d = fdopendir(copy)) == NULL) {
		if (copy != -1)
			close(copy);
		return 0;
	}
	while (n <= 2 && (e = readdir(d)) != NULL)
		n++;
	closedir(d);
	return n <= 2;
}

/* The folder name in at, made when it is missing; *made says so. */
static int
enter(int at, const char *name, mode_t mode, int *made)
{
	int fd;

	*made = 0;
	fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd != -1 || errno != ENOENT)
		return fd;
	if (mkdirat(at, name, mode) == -1)
		return -1;
	fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	/* The umask may have taken too much. */
	if (fd != -1 && fchmod(fd, mode) == -1) {
		close(fd);
		return -1;
	}
	*made = 1;
	return fd;
}

static int
own(int fd, const char *path, int made, uid_t uid, gid_t gid)
{
	struct stat st;

	if (fstat(fd, &st) == -1)
		goto fail;
	if (!made && st.st_uid != uid && !(st.st_uid == 0 && is_empty(fd))) {
		log_warnx("%s: belongs to user %u, not to %u", path, st.st_uid,
		    uid);
		return -1;
	}
	if ((st.st_uid != uid || st.st_gid != gid) &&
	    fchown(fd, uid, gid) == -1)
		goto fail;
	if ((st.st_mode & 07777) != 0700 && fchmod(fd, 0700) == -1)
		goto fail;
	return 0;

fail:
	log_warn("%s", path);
	return -1;
}

int
privileged_folder(const char *path, uid_t uid, gid_t gid)
{
	char name[NAME_MAX + 1];
	const char *p = path;
	int at, fd, made = 0, ret;
	size_t len;

	if ((at = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC)) == -1) {
		log_warn("/");
		return -1;
	}
	for (p += strspn(p, "/"); *p != '\0'; p += strspn(p, "/")) {
		len = strcspn(p, "/");
		if (len > NAME_MAX)
			len = NAME_MAX;
		memcpy(name, p, len);
		name[len] = '\0';
		p += len;
		fd = enter(at, name, p[strspn(p, "/")] == '\0' ? 0700 : 0711,
		    &made);
		close(at);
		if ((at = fd) != -1)
			continue;
		if (errno == ELOOP || errno == ENOTDIR)
			log_warnx("%.*s: is not a folder, or a symbolic link, "
				  "which is not followed",
			    (int)(p - path), path);
		else
			log_warn("%.*s", (int)(p - path), path);
		return -1;
	}
	ret = own(at, path, made, uid, gid);
	close(at);
	return ret;
}

/* -1 and errno. */
static int
listen_at(const struct conf_listen *l)
{
	struct conf_listen four = *l;
	int fd = inaddr_listen(&l->at, l->any, BACKLOG);

	/* All addresses are those of IPv4, where there are no others. */
	if (fd == -1 && l->any && inaddr_is_six(&l->at) &&
	    (errno == EAFNOSUPPORT || errno == EADDRNOTAVAIL)) {
		config_listen_any4(&four);
		return listen_at(&four);
	}
	return fd;
}

int
privileged_claim(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd != -1 && flock(fd, LOCK_EX | LOCK_NB) == 0)
		return 0; /* fd stays open */
	if (fd != -1 && errno == EWOULDBLOCK)
		log_warnx("%s: another sailapid has it; several can share "
			  "`store s3' alone",
		    path);
	else
		log_warn("%s", path);
	if (fd != -1)
		close(fd);
	return -1;
}

int
privileged_listen(const struct conf_listen *l, uint16_t *port)
{
	struct inaddr got;
	char where[128], text[16];
	int fd;

	config_listen_text(l, where, sizeof(where));
	if ((fd = listen_at(l)) == -1 || inaddr_of(&got, fd) == -1) {
		log_warn("listen on %s", where);
		goto fail;
	}
	*port = inaddr_port(&got);
	snprintf(text, sizeof(text), "%u\n", *port);
	if (l->port_file != NULL && privileged_write(l->port_file, text) == -1)
		goto fail;
	return fd;

fail:
	if (fd != -1)
		close(fd);
	return -1;
}

/* A descriptor of the new file, or -1. */
static int
write_new(const char *path, const char *text, mode_t mode)
{
	size_t len = strlen(text);
	int fd;

	/* What a crash left. */
	if (unlink(path) == -1 && errno != ENOENT)
		return -1;
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
	    mode);
	if (fd == -1)
		return -1;
	if (fchmod(fd, mode) == 0 && write(fd, text, len) == (ssize_t)len &&
	    fsync(fd) == 0 && flock(fd, LOCK_EX | LOCK_NB) == 0)
		return fd;
	(void)unlink(path);
	close(fd);
	return -1;
}

static int
write_file(const char *path, const char *text, mode_t mode)
{
	char tmp[PATH_MAX];
	int fd;

	if (snprintf(tmp, sizeof(tmp), "%s.new", path) >= (int)sizeof(tmp))
		errno = ENAMETOOLONG;
	else if ((fd = write_new(tmp, text, mode)) != -1) {
		if (rename(tmp, path) == 0)
			return fd;
		(void)unlink(tmp);
		close(fd);
	}
	log_warn("%s", path);
	return -1;
}

#define OTHER_WROTE "%s: another sailapid that runs wrote it"

/* Files of which the one that has the name is locked by this process. */
static SLIST_HEAD(, own_file) own_files = SLIST_HEAD_INITIALIZER(own_files);
struct own_file {
	SLIST_ENTRY(own_file) link;
	char *path;
	int fd;
};

static struct own_file *
own_file(const char *path)
{
	struct own_file *f;

	SLIST_FOREACH (f, &own_files, link)
		if (strcmp(f->path, path) == 0)
			return f;
	return NULL;
}

int
privileged_is_free(const char *path)
{
	int fd, ok;

	if (own_file(path) != NULL)
		return 0;
	fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd == -1)
		return 0; /* whoever writes it will see */
	ok = flock(fd, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK;
	close(fd);
	if (!ok)
		log_warnx(OTHER_WROTE, path);
	return ok ? 0 : -1;
}

/*
 * Gives the file tmp, which fd has locked, the name path: 0, 1 when another
 * process has given it to its own, or -1 and errno.  The file that has the name
 * is replaced by nobody but who holds its lock.
 */
static int
take_name(const char *tmp, const char *path, int own)
{
	struct stat old, now;
	int fd, saved, r = -1;

	if (own)
		return rename(tmp, path);
	for (;;) {
		if (link(tmp, path) == 0)
			return unlink(tmp);
		if (errno != EEXIST)
			return -1;
		fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
		if (fd == -1 && errno == ENOENT)
			continue;
		if (fd == -1)
			return errno == ELOOP ? rename(tmp, path) : -1;
		if (flock(fd, LOCK_EX | LOCK_NB) == -1) {
			r = errno == EWOULDBLOCK ? 1 : -1;
			break;
		}
		/* Is it still the file of that name, now that it is ours? */
		if (fstat(fd, &old) == 0 && lstat(path, &now) == 0 &&
		    old.st_dev == now.st_dev && old.st_ino == now.st_ino) {
			r = rename(tmp, path);
			break;
		}
		close(fd);
	}
	saved = errno;
	close(fd);
	errno = saved;
	return r;
}

int
privileged_write(const char *path, const char *text)
{
	struct own_file *f = own_file(path);
	char tmp[PATH_MAX];
	int fd = -1, r = -1;

	/* Two that start at once do not share it. */
	if (snprintf(tmp, sizeof(tmp), "%s.%d", path, (int)getpid()) >=
	    (int)sizeof(tmp))
		errno = ENAMETOOLONG;
	else if ((fd = write_new(tmp, text, 0644)) != -1)
		r = take_name(tmp, path, f != NULL);
	if (r != 0) {
		if (r == 1)
			log_warnx(OTHER_WROTE, path);
		else
			log_warn("%s", path);
		if (fd != -1) {
			(void)unlink(tmp);
			close(fd);
		}
		return -1;
	}
	if (f == NULL) {
		if ((f = calloc(1, sizeof(*f))) == NULL ||
		    (f->path = strdup(path)) == NULL)
			fatal("memory");
		f->fd = -1;
		SLIST_INSERT_HEAD(&own_files, f, link);
	}
	if (f->fd != -1)
		close(f->fd);
	f->fd = fd;
	return 0;
}

/* ---- the secret ---------------------------------------------------------- */

static void
random_hex(char *out, size_t digits)
{
	static const char hex[] = "0123456789abcdef";
	unsigned char b[SECRET_LEN / 2];
	size_t i;

	if (getrandom(b, digits / 2, 0) != (ssize_t)(digits / 2))
		fatal("getrandom");
	for (i = 0; i < digits; i++)
		out[i] = hex[i % 2 == 0 ? b[i / 2] >> 4 : b[i / 2] & 15];
	out[digits] = '\0';
	explicit_bzero(b, sizeof(b));
}

static int
parse_secret(char *text, struct store_keys *s)
{
	char *nl = strchr(text, '\n'), *end;

	if (nl == NULL || (end = strchr(nl + 1, '\n')) == NULL ||
	    end[1] != '\0')
		return -1;
	*nl = *end = '\0';
	if (strlen(text) != ACCESS_KEY_LEN || strlen(nl + 1) != SECRET_LEN ||
	    strspn(nl + 1, "0123456789abcdef") != SECRET_LEN)
		return -1;
	strlcpy(s->access_key, text, sizeof(s->access_key));
	strlcpy(s->secret, nl + 1, sizeof(s->secret));
	return 0;
}

/* -1 after a message. */
static int
read_closed(int fd, const char *path, char *text, size_t size)
{
	struct stat st;
	size_t len = 0;
	ssize_t n;

	if (fstat(fd, &st) == -1)
		log_warn("%s", path);
	else if (!S_ISREG(st.st_mode) || st.st_uid != 0 ||
	    (st.st_mode & 077) != 0)
		log_warnx("%s: must be a file of root's, mode 0600", path);
	else if ((uintmax_t)st.st_size >= size)
		log_warnx("%s: is larger than such a file can be", path);
	else {
		while ((n = read(fd, text + len, size - 1 - len)) > 0)
			len += (size_t)n;
		text[len] = '\0';
		if (n == -1)
			log_warn("%s", path);
		else if (strlen(text) != len)
			log_warnx("%s: is not a text", path);
		else
			return 0;
		explicit_bzero(text, size);
	}
	return -1;
}

int
privileged_read_closed(const char *path, char *text, size_t size)
{
	int fd, ret;

	fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd == -1) {
		log_warn("%s", path);
		return -1;
	}
	ret = read_closed(fd, path, text, size);
	close(fd);
	return ret;
}

/* -1: errno, or 0 when it was said. */
static int
append(int memfd, int fd, const char *path, int closed, size_t max, size_t *len)
{
	uint8_t buf[16 * 1024];
	struct stat st;
	ssize_t n = -1;

	*len = 0;
	errno = 0;
	if (fstat(fd, &st) == -1)
		return -1;
	if (!S_ISREG(st.st_mode))
		log_warnx("%s: is not a file", path);
	else if (closed && (st.st_uid != 0 || (st.st_mode & 037) != 0))
		log_warnx("%s: must be root's, and closed to others: mode 0600 "
			  "or 0640",
		    path);
	else if ((uintmax_t)st.st_size > max)
		log_warnx("%s: is larger than such a file can be", path);
	else {
		while (*len <= max && (n = read(fd, buf, sizeof(buf))) > 0) {
			if (write(memfd, buf, (size_t)n) != n) {
				n = -1;
				break;
			}
			*len += (size_t)n;
		}
		explicit_bzero(buf, sizeof(buf));
	}
	return n == 0 ? 0 : -1;
}

int
privileged_append(int memfd, const char *path, int closed, size_t max,
    size_t *len)
{
	int fd, ret = -1;

	if ((fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC)) != -1) {
		ret = append(memfd, fd, path, closed, max, len);
		if (ret == -1 && errno != 0)
			log_warn("%s", path);
		close(fd);
	} else
		log_warn("%s", path);
	return ret;
}

int
privileged_secret(const char *path, struct store_keys *s)
{
	char text[S3_ACCESS_KEY_MAX + S3_SECRET_MAX + 3];
	struct stat st;
	int fd, ret;

	memset(s, 0, sizeof(*s));
	if (lstat(path, &st) == 0 || errno != ENOENT) {
		if (privileged_read_closed(path, text, sizeof(text)) == -1)
			return -1;
		if ((ret = parse_secret(text, s)) == -1)
			log_warnx("%s: is not a key file of the store", path);
		explicit_bzero(text, sizeof(text));
		return ret;
	}
	strlcpy(s->access_key, "SAIL", sizeof(s->access_key));
	random_hex(s->access_key + 4, ACCESS_KEY_LEN - 4);
	random_hex(s->secret, SECRET_LEN);
	snprintf(text, sizeof(text), "%s\n%s\n", s->access_key, s->secret);
	fd = write_file(path, text, 0600);
	explicit_bzero(text, sizeof(text));
	if (fd == -1)
		return -1;
	close(fd);
	return 0;
}

void
privileged_become(const char *folder, uid_t uid, gid_t gid)
{
	int fd = open(folder, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd == -1 || fchdir(fd) == -1 || chroot(".") == -1 ||
	    chdir("/") == -1)
		fatal("%s", folder);
	close(fd);
	if (uid == 0 || gid == 0)
		fatalx("%s: its user must not be root", folder);
	if (setgroups(0, NULL) == -1 || setresgid(gid, gid, gid) == -1 ||
	    setresuid(uid, uid, uid) == -1 ||
	    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == -1)
		fatal("user %u", uid);
	if (setuid(0) != -1 || setgid(0) != -1)
		fatalx("root can be had back");
}
