/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * store_file: from a key to a path, and what is done to one object.  In store.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "sailapid/store_file.h"
#include "sailapid/store_path.h"

#define TMP "%tmp"

const char *
store_key_problem(const char *key, size_t len)
{
	size_t i, start = 0, depth = 0, n;

	if (len == 0)
		return "the key is empty";
	if (len > STORE_KEY_MAX)
		return "the key is longer than 1024 bytes";
	for (i = 0; i <= len; i++) {
		if (i < len && key[i] == '\0')
			return "the key has a NUL byte";
		if (i < len && key[i] != '/')
			continue;
		n = i - start;
		if ((n == 1 && key[start] == '.') ||
		    (n == 2 && memcmp(key + start, "..", 2) == 0))
			return "the key has . or .. between slashes";
		if (++depth > STORE_DEPTH_MAX)
			return "the key has more than 63 slashes";
		start = i + 1;
	}
	return NULL;
}

/* A component in the form in which it stands on disk, without suffix. */
static size_t
encode(char *out, const char *s, size_t len)
{
	static const char hex[] = "0123456789ABCDEF";
	size_t i, n = 0;

	if (len == 0) {
		memcpy(out, "%0", 2);
		return 2;
	}
	for (i = 0; i < len; i++) {
		unsigned char c = (unsigned char)s[i];

		if (c >= ' ' && c != 0x7f && c != '%') {
			out[n++] = s[i];
			continue;
		}
		out[n++] = '%';
		out[n++] = hex[c >> 4];
		out[n++] = hex[c & 15];
	}
	return n;
}

/* Length of the first piece of an encoded component; no escape is cut. */
static size_t
piece_len(const char *s, size_t len)
{
	size_t n = STORE_PIECE_MAX;

	if (len <= n)
		return len;
	if (s[n - 1] == '%')
		return n - 1;
	if (s[n - 2] == '%')
		return n - 2;
	return n;
}

int
store_path_next(struct store_path *p)
{
	const char *slash;
	size_t len, n;

	if (p->enc_pos == p->enc_len) {
		if (p->key == NULL)
			return 0;
		slash = memchr(p->key, '/', p->left);
		len = slash == NULL ? p->left : (size_t)(slash - p->key);
		p->enc_len = encode(p->enc, p->key, len);
		p->enc_pos = 0;
		p->left -= slash == NULL ? len : len + 1;
		p->key = slash == NULL ? NULL : slash + 1;
	}
	n = piece_len(p->enc + p->enc_pos, p->enc_len - p->enc_pos);
	memcpy(p->name, p->enc + p->enc_pos, n);
	p->name[n] = '\0';
	p->enc_pos += n;
	p->last = 0;
	if (p->enc_pos < p->enc_len)
		strlcat(p->name, "%+", sizeof(p->name));
	else if (p->key != NULL)
		strlcat(p->name, "%", sizeof(p->name));
	else
		p->last = 1;
	return 1;
}

void
store_path_init(struct store_path *p, const char *key, size_t len)
{
	memset(p, 0, sizeof(*p));
	p->key = key;
	p->left = len;
}

static int
open_dir(int at, const char *name)
{
	return openat(at, name,
	    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

/*
 * Folders of which this process knows that a loss of power leaves their names,
 * by their inode numbers: nobody removes one.
 */
#define SAFE_MAX 4096
static atomic_uint_fast64_t safe[SAFE_MAX];

static int
make_safe(int at, int fd)
{
	atomic_uint_fast64_t *known;
	struct stat st;
	uint64_t id;

	if (fstat(fd, &st) == -1)
		return -1;
	id = st.st_ino ^ (uint64_t)st.st_dev << 40;
	known = &safe[st.st_ino % SAFE_MAX];
	if (atomic_load(known) == id)
		return 0;
	if (fsync(at) == -1)
		return -1;
	atomic_store(known, id);
	return 0;
}

enum { WALK_LOOK, WALK_SAFE, WALK_CREATE };

/*
 * One folder down, which must not be away after a crash that leaves the object
 * in it: it may have been made just now, here, by another worker or before this
 * process.
 */
static int
step(int at, const char *name, int how)
{
	int fd = open_dir(at, name), saved;

	if (fd == -1 && errno == ENOENT && how == WALK_CREATE) {
		if (mkdirat(at, name, 0700) == -1 && errno != EEXIST)
			return -1;
		fd = open_dir(at, name);
	}
	if (fd == -1 || how == WALK_LOOK || make_safe(at, fd) == 0)
		return fd;
	saved = errno;
	close(fd);
	errno = saved;
	return -1;
}

/* The folder of the key's file; its name is then in p->name. */
static int
walk(int root, struct store_path *p, int how)
{
	int at, next, saved;

	if ((at = fcntl(root, F_DUPFD_CLOEXEC, 0)) == -1)
		return -1;
	while (store_path_next(p)) {
		if (p->last)
			return at;
		next = step(at, p->name, how);
		saved = errno;
		close(at);
		errno = saved;
		if (next == -1)
			return -1;
		at = next;
	}
	close(at);
	errno = EINVAL;
	return -1;
}

static void
clean_one(void *arg, const char *name)
{
	(void)unlinkat(*(int *)arg, name, 0);
}

int
store_setup(int root)
{
	int fd, ret;
	size_t i;

	for (i = 0; i < SAFE_MAX; i++)
		atomic_store(&safe[i], 0);
	if (mkdirat(root, TMP, 0700) == -1 && errno != EEXIST)
		return -1;
	if ((fd = open_dir(root, TMP)) == -1)
		return -1;
	ret = store_each_name(fd, clean_one, &fd);
	close(fd);
	return ret;
}

int
store_put_begin(int root, struct store_put *put)
{
	static atomic_uint_fast64_t number;

	snprintf(put->tmp, sizeof(put->tmp), "%s/%llu", TMP,
	    (unsigned long long)atomic_fetch_add(&number, 1));
	put->fd = openat(root, put->tmp,
	    O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	return put->fd == -1 ? -1 : 0;
}

int
store_put_write(struct store_put *put, const void *data, size_t len)
{
	const char *p = data;
	ssize_t n;

	while (len > 0) {
		n = write(put->fd, p, len);
		if (n == -1 && errno == EINTR)
			continue;
		if (n == -1)
			return -1;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

void
store_put_abort(int root, struct store_put *put)
{
	int saved = errno;

	if (put->fd != -1) {
		close(put->fd);
		put->fd = -1;
		(void)unlinkat(root, put->tmp, 0);
	}
	errno = saved;
}

/* File systems without renameat2's flag have link(2). */
static int
rename_new(int root, const char *tmp, int dir, const char *name)
{
	if (renameat2(root, tmp, dir, name, RENAME_NOREPLACE) == 0)
		return 0;
	if (errno != EINVAL && errno != ENOSYS)
		return -1;
	if (linkat(root, tmp, dir, name, 0) == -1)
		return -1;
	return unlinkat(root, tmp, 0);
}

/*
 * Of a folder one at a time names, syncs and takes away again, or says what is
 * there: nobody says so of a name that another has yet to sync.  NULL and errno.
 */
#define LOCKS 64
#define M PTHREAD_MUTEX_INITIALIZER
#define M8 M, M, M, M, M, M, M, M
static pthread_mutex_t locks[LOCKS] = { M8, M8, M8, M8, M8, M8, M8, M8 };

static pthread_mutex_t *
lock_dir(int dir)
{
	pthread_mutex_t *m;
	struct stat st;

	if (fstat(dir, &st) == -1)
		return NULL;
	m = &locks[st.st_ino % LOCKS];
	if ((errno = pthread_mutex_lock(m)) != 0)
		return NULL;
	return m;
}

static void
unlock_dir(pthread_mutex_t *m)
{
	if (m != NULL)
		(void)pthread_mutex_unlock(m);
}

int
store_put_commit(int root, struct store_put *put, const char *key, size_t len,
    int exclusive, struct stat *st)
{
	pthread_mutex_t *locked = NULL;
	struct store_path p;
	int dir = -1, named = 0, saved;

	if (fsync(put->fd) == -1 || fstat(put->fd, st) == -1)
		goto fail;
	store_path_init(&p, key, len);
	if ((dir = walk(root, &p, WALK_CREATE)) == -1 ||
	    (locked = lock_dir(dir)) == NULL)
		goto fail;
	if (exclusive) {
		if (rename_new(root, put->tmp, dir, p.name) == -1) {
			/* Who named it may have died before it was synced. */
			if (errno == EEXIST && fsync(dir) == 0)
				errno = EEXIST;
			goto fail;
		}
	} else if (renameat(root, put->tmp, dir, p.name) == -1)
		goto fail;
	named = 1;
	if (fsync(dir) == -1)
		goto fail;
	unlock_dir(locked);
	close(dir);
	close(put->fd);
	put->fd = -1;
	return 0;

fail:
	saved = errno;
	/*
	 * The name is there: whether for good, nobody knows, and who brings it
	 * again would hear that it is there.  One that replaced another may stay.
	 */
	if (named && exclusive)
		(void)unlinkat(dir, p.name, 0);
	unlock_dir(locked);
	if (dir != -1)
		close(dir);
	if (named) {
		close(put->fd);
		put->fd = -1;
	} else
		store_put_abort(root, put);
	errno = saved;
	return -1;
}

/* A missing folder is a missing object; so is what is not a file of ours. */
static int
missing(int error)
{
	return error == ENOENT || error == ENOTDIR || error == ELOOP;
}

int
store_get(int root, const char *key, size_t len, struct stat *st)
{
	struct store_path p;
	int dir, fd, saved;

	store_path_init(&p, key, len);
	if ((dir = walk(root, &p, WALK_LOOK)) == -1) {
		if (missing(errno))
			errno = ENOENT;
		return -1;
	}
	fd = openat(dir, p.name,
	    O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	saved = errno;
	close(dir);
	errno = saved;
	if (fd == -1) {
		if (missing(errno))
			errno = ENOENT;
		return -1;
	}
	if (fstat(fd, st) == -1 || !S_ISREG(st->st_mode)) {
		close(fd);
		errno = ENOENT;
		return -1;
	}
	return fd;
}

int
store_there(int root, const char *key, size_t len)
{
	struct store_path p;
	pthread_mutex_t *locked;
	struct stat st;
	int dir, ret = -1, saved;

	store_path_init(&p, key, len);
	if ((dir = walk(root, &p, WALK_SAFE)) == -1)
		return -1;
	if ((locked = lock_dir(dir)) != NULL)
		ret = fstatat(dir, p.name, &st, AT_SYMLINK_NOFOLLOW);
	/* Its bytes are: they come before its name. */
	if (ret == 0)
		ret = fsync(dir);
	saved = errno;
	unlock_dir(locked);
	close(dir);
	errno = saved;
	return ret;
}

int
store_delete(int root, const char *key, size_t len)
{
	struct store_path p;
	int dir, ret, saved;

	store_path_init(&p, key, len);
	if ((dir = walk(root, &p, WALK_LOOK)) == -1)
		return missing(errno) ? 0 : -1;
	ret = unlinkat(dir, p.name, 0);
	if (ret == -1 && missing(errno))
		ret = 0;
	else if (ret == 0)
		ret = fsync(dir);
	saved = errno;
	close(dir);
	errno = saved;
	return ret;
}
