/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * store_list: the keys of the store in their order, from the folders on disk.
 * In store.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sailapid/sigv4.h"
#include "sailapid/store_path.h"

/* One component below a folder, however many pieces it has on disk. */
struct item {
	char *name; /* decoded, with '/' behind it when it is a folder */
	size_t len;
	char *path; /* on disk, from the folder */
	int is_dir;
};

struct items {
	struct item *v;
	size_t n, cap;
	int error;
};

struct lister {
	const char *prefix, *after;
	size_t prefix_len, after_len;
	char *skip; /* NULL, or what no key may begin with */
	size_t skip_len;
	int (*f)(void *, const char *, size_t, const struct stat *);
	void *arg;
};

int
store_each_name(int dirfd, void (*f)(void *, const char *), void *arg)
{
	struct dirent *e;
	DIR *d;
	int fd, error;

	fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd == -1)
		return -1;
	if ((d = fdopendir(fd)) == NULL) {
		close(fd);
		return -1;
	}
	for (errno = 0; (e = readdir(d)) != NULL; errno = 0)
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			f(arg, e->d_name);
	error = errno;
	closedir(d);
	errno = error;
	return error == 0 ? 0 : -1;
}

static void
items_free(struct items *s)
{
	size_t i;

	for (i = 0; i < s->n; i++) {
		free(s->v[i].name);
		free(s->v[i].path);
	}
	free(s->v);
	memset(s, 0, sizeof(*s));
}

static char *
join(const char *a, const char *b, size_t blen, const char *c)
{
	size_t alen = strlen(a), clen = strlen(c);
	char *s = malloc(alen + blen + clen + 1);

	if (s == NULL)
		return NULL;
	memcpy(s, a, alen);
	memcpy(s + alen, b, blen);
	memcpy(s + alen + blen, c, clen + 1);
	return s;
}

static void
items_add(struct items *s, const struct item *it)
{
	struct item *v;
	size_t cap;

	if (it->name == NULL || it->path == NULL)
		s->error = ENOMEM;
	if (s->error == 0 && s->n == s->cap) {
		cap = s->cap == 0 ? 64 : s->cap * 2;
		if ((v = reallocarray(s->v, cap, sizeof(*v))) == NULL)
			s->error = ENOMEM;
		else {
			s->v = v;
			s->cap = cap;
		}
	}
	if (s->error != 0) {
		free(it->name);
		free(it->path);
		return;
	}
	s->v[s->n++] = *it;
}

struct reading {
	struct items *items, *pieces; /* pieces: folders to be looked into */
	const char *path;             /* before the names, "" or "x%+/" */
	const char *before;           /* decoded, of earlier pieces */
};

static void
read_one(void *arg, const char *disk)
{
	struct reading *r = arg;
	size_t len = strlen(disk);
	struct item it = { 0 };
	char text[256];
	int n, more = 0;

	if (len >= 2 && strcmp(disk + len - 2, "%+") == 0) {
		more = 1;
		len -= 2;
	} else if (len >= 2 && disk[len - 1] == '%') {
		it.is_dir = 1;
		len--;
	}
	if (len == 2 && memcmp(disk, "%0", 2) == 0)
		n = 0;
	else if ((n = sigv4_decode(text, disk, len)) < 1)
		return; /* %tmp, or not ours */
	it.name = join(r->before, text, (size_t)n, it.is_dir ? "/" : "");
	it.path = join(r->path, disk, strlen(disk), more ? "/" : "");
	if (it.name != NULL)
		it.len = strlen(it.name);
	items_add(more ? r->pieces : r->items, &it);
}

static int
item_cmp(const void *va, const void *vb)
{
	const struct item *a = va, *b = vb;
	size_t n = a->len < b->len ? a->len : b->len;
	int c = memcmp(a->name, b->name, n);

	if (c != 0)
		return c;
	return a->len < b->len ? -1 : a->len > b->len;
}

/* All components below a folder, sorted as keys are. */
static int
read_items(int dir, struct items *items)
{
	struct items pieces = { 0 };
	struct reading r = { items, &pieces, "", "" };
	size_t i;
	int fd, ret;

	ret = store_each_name(dir, read_one, &r);
	for (i = 0; ret == 0 && i < pieces.n; i++) {
		r.path = pieces.v[i].path;
		r.before = pieces.v[i].name;
		fd = openat(dir, r.path,
		    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (fd == -1) {
			ret = errno == ENOENT ? 0 : -1;
			continue;
		}
		ret = store_each_name(fd, read_one, &r);
		close(fd);
	}
	items_free(&pieces);
	if (ret == 0 && (errno = items->error) != 0)
		ret = -1;
	if (ret == 0 && items->n > 1)
		qsort(items->v, items->n, sizeof(items->v[0]), item_cmp);
	return ret;
}

static int
begins(const char *s, size_t len, const char *with, size_t wlen)
{
	return len >= wlen && (wlen == 0 || memcmp(s, with, wlen) == 0);
}

/* May a key that begins with these bytes be wanted? */
static int
wanted(const struct lister *l, const char *s, size_t len)
{
	size_t n;

	if (!begins(s, len, l->prefix, l->prefix_len) &&
	    !begins(l->prefix, l->prefix_len, s, len))
		return 0;
	if (l->skip != NULL && begins(s, len, l->skip, l->skip_len))
		return 0;
	if (begins(l->after, l->after_len, s, len))
		return 1;
	n = len < l->after_len ? len : l->after_len;
	return n == 0 || memcmp(s, l->after, n) >= 0;
}

static int
list_file(struct lister *l, int dir, const struct item *it, const char *key,
    size_t len)
{
	struct stat st;
	size_t n = len < l->after_len ? len : l->after_len;
	int c = n == 0 ? 0 : memcmp(key, l->after, n);

	if (!begins(key, len, l->prefix, l->prefix_len) || c < 0 ||
	    (c == 0 && len <= l->after_len))
		return 0;
	if (fstatat(dir, it->path, &st, AT_SYMLINK_NOFOLLOW) == -1)
		return errno == ENOENT ? 0 : -1;
	if (!S_ISREG(st.st_mode))
		return 0;
	if ((c = l->f(l->arg, key, len, &st)) == STORE_LIST_STOP)
		return 1;
	if (c > 0 && (size_t)c <= len) {
		free(l->skip);
		if ((l->skip = malloc((size_t)c)) == NULL)
			return -1;
		memcpy(l->skip, key, (size_t)c);
		l->skip_len = (size_t)c;
	}
	return 0;
}

/* 0 went to the end, 1 stopped, -1.  key holds the folder's own, len bytes. */
static int
list_dir(struct lister *l, int dir, char *key, size_t len, int depth)
{
	struct items items = { 0 };
	const struct item *it;
	size_t i, n;
	int fd, ret;

	ret = read_items(dir, &items);
	for (i = 0; ret == 0 && i < items.n; i++) {
		it = &items.v[i];
		n = len + it->len;
		if (n > STORE_KEY_MAX)
			continue;
		memcpy(key + len, it->name, it->len);
		if (!wanted(l, key, n))
			continue;
		if (!it->is_dir) {
			ret = list_file(l, dir, it, key, n);
			continue;
		}
		if (depth == STORE_DEPTH_MAX)
			continue;
		fd = openat(dir, it->path,
		    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (fd == -1) {
			ret = errno == ENOENT ? 0 : -1;
			continue;
		}
		ret = list_dir(l, fd, key, n, depth + 1);
		close(fd);
	}
	items_free(&items);
	return ret;
}

int
store_list(int root, const char *prefix, size_t prefix_len, const char *after,
    size_t after_len,
    int (*f)(void *arg, const char *key, size_t len, const struct stat *),
    void *arg)
{
	struct lister l = { prefix, after, prefix_len, after_len, NULL, 0, f,
		arg };
	char key[STORE_KEY_MAX + 1];
	int ret;

	ret = list_dir(&l, root, key, 0, 0);
	free(l.skip);
	return ret == -1 ? -1 : 0;
}
