/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * source: walks a tree of this machine in the order of a delta, following no
 * link in it, and looks up each path in the newest commit.  In sailvolctl.
 */
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/json_name.h"
#include "sailvolctl/content.h"
#include "sailvolctl/fetch.h"
#include "sailvolctl/publish.h"
#include "sailvolctl/source.h"

static int
failed(struct failure *f, const void *path, size_t len, const char *what)
{
	int e = errno;

	failure_set(f, "", "put", "%.*s: %s%s%s", (int)len, (const char *)path,
	    what, *what != '\0' ? ": " : "", strerror(e));
	return -1;
}

/* ---- what is in the volume --------------------------------------------------------- */

struct head {
	int there;
	struct entry e;
	struct blob *keep, *xattrs;
};

static void
head_free(struct head *h)
{
	blob_unref(h->xattrs);
	blob_unref(h->keep);
	memset(h, 0, sizeof(*h));
}

/* What is at s->path there. */
static int
head_find(struct source *s, struct head *h, struct failure *f)
{
	memset(h, 0, sizeof(*h));
	if (!s->there)
		return 0;
	if (remote_find(s->remote, s->path, s->len, &h->e, &h->keep, f) == -1) {
		if (strcmp(f->code, "path_not_found") != 0)
			return -1;
		failure_clear(f);
		return 0;
	}
	h->there = 1;
	if (remote_xattrs(s->remote, s->path, s->len, &h->e, &h->xattrs, f) ==
	    0)
		return 0;
	head_free(h);
	return -1;
}

/* A directory and something else do not take each other's place. */
static int
check_types(const struct source *s, const struct head *h, int is_dir,
    struct failure *f)
{
	if (!h->there || (h->e.type == ENTRY_DIR) == is_dir)
		return 0;
	failure_set(f, "refused", "exists",
	    "%.*s: in the volume it is %s directory: remove it first "
	    "(sailvolctl rm), or give another path",
	    (int)s->len, (const char *)s->path, is_dir ? "no" : "a");
	return -1;
}

/* ---- items -------------------------------------------------------------------------- */

/* One more, at s->path. */
static struct item *
item_add(struct source *s, const struct entry *e, const struct head *h,
    struct failure *f)
{
	struct item *it, *more;
	struct entry now = *e;
	size_t size;

	if (s->n == s->size) {
		size = s->size == 0 ? 64 : 2 * s->size;
		more = reallocarray(s->items, size, sizeof(*more));
		if (more == NULL)
			goto fail;
		s->items = more;
		s->size = size;
	}
	it = &s->items[s->n];
	memset(it, 0, sizeof(*it));
	seen_of(h->there ? &h->e : NULL, &it->seen);
	/* It stays the same file. */
	if (h->there && h->e.type == e->type)
		now.fileid = h->e.fileid;
	while (now.fileid <= 1)
		arc4random_buf(&now.fileid, sizeof(now.fileid));
	it->path = malloc(s->len + 1);
	it->entry = entry_dup(&now);
	if (it->path == NULL || it->entry == NULL) {
		free(it->path);
		free(it->entry);
		goto fail;
	}
	memcpy(it->path, s->path, s->len);
	it->len = s->len;
	it->rel = s->rel;
	it->above = s->above;
	s->n++;
	return it;
fail:
	failure_memory(f);
	return NULL;
}

/* What is to be done with one that has no chunks. */
static void
item_decide(struct item *it)
{
	struct seen now;

	seen_of(it->entry, &now);
	if (!seen_equal(&now, &it->seen))
		it->use = it->seen.present && it->entry->type == ENTRY_DIR
		    ? ITEM_ATTR
		    : ITEM_PUT;
	else if (it->entry->type == ENTRY_DIR)
		it->use = ITEM_CONTEXT;
}

static int
not_kept(struct source *s, struct failure *f)
{
	if (s->not_kept == NULL)
		s->not_kept = json_array();
	if (json_array_append_new(s->not_kept, json_name(s->path, s->len)) == 0)
		return 0;
	return failure_memory(f);
}

int
source_above(struct source *s, const void *path, size_t len, struct failure *f)
{
	const uint8_t *p = path;
	struct entry made;
	struct head h;
	struct item *it;
	mode_t mask = umask(0);
	size_t i;

	umask(mask);
	s->there = 1;
	s->above = SIZE_MAX;
	memset(&made, 0, sizeof(made));
	made.type = ENTRY_DIR;
	made.mode = (uint16_t)(0777 & ~mask);
	made.uid = geteuid();
	made.gid = getegid();
	made.mtime = made.ctime = timens_now();
	for (i = 0; i < len; i++) {
		if (p[i] != '/')
			continue;
		memcpy(s->path, p, i);
		s->len = s->rel = i;
		if (head_find(s, &h, f) == -1)
			return -1;
		if (check_types(s, &h, 1, f) == -1 ||
		    (it = item_add(s, h.there ? &h.e : &made, &h, f)) == NULL) {
			head_free(&h);
			return -1;
		}
		it->use = h.there ? ITEM_CONTEXT : ITEM_PUT;
		s->there = h.there;
		s->above = s->n - 1;
		head_free(&h);
	}
	return 0;
}

/* ---- attributes ----------------------------------------------------------------------- */

static int
take_xattr(int fd, const char *name, uint8_t **all, size_t *len)
{
	uint8_t *more = NULL;
	size_t more_len = 0;
	char *value;
	ssize_t n;
	int rc;

	if ((value = malloc(XATTR_SIZE_MAX)) == NULL)
		return -1;
	n = fgetxattr(fd, name, value, XATTR_SIZE_MAX);
	rc = n == -1 ? -1
		     : xattrs_set(*all, *len, name, value, (size_t)n, 0, &more,
			   &more_len);
	free(value);
	if (rc == -1)
		return n == -1 && errno == ENODATA ? 0 : -1;
	free(*all);
	*all = more;
	*len = more_len;
	return 0;
}

static int
take_xattrs(int fd, uint8_t **all, size_t *len)
{
	char *names, *p;
	ssize_t n;
	int rc = 0;

	*all = NULL;
	*len = 0;
	if ((names = malloc(XATTR_LIST_MAX)) == NULL)
		return -1;
	n = flistxattr(fd, names, XATTR_LIST_MAX);
	if (n == -1 && errno != EOPNOTSUPP)
		rc = -1;
	for (p = names; rc == 0 && n > 0 && p < names + n; p += strlen(p) + 1)
		if (strncmp(p, "user.", 5) == 0)
			rc = take_xattr(fd, p, all, len);
	free(names);
	return rc;
}

static void
entry_of(struct entry *e, uint8_t type, const struct stat *st)
{
	memset(e, 0, sizeof(*e));
	e->type = type;
	e->mode =
	    type == ENTRY_SYMLINK ? 0777 : (uint16_t)(st->st_mode & 07777);
	e->uid = st->st_uid;
	e->gid = st->st_gid;
	e->mtime = timens_of(st->st_mtim);
	e->ctime = timens_now();
	e->chunk_shift = CHUNK_SHIFT_MIN;
}

/* ---- the walk --------------------------------------------------------------------------- */

static int walk_dir(struct source *, int fd, struct failure *);

/* An open file or directory, at s->path. */
static int
walk_open(struct source *s, int fd, const struct stat *st, struct failure *f)
{
	int is_dir = S_ISDIR(st->st_mode), there = s->there, rc = -1;
	size_t above = s->above, len;
	struct item *it;
	struct entry e;
	struct head h;
	uint8_t *x;

	if (head_find(s, &h, f) == -1)
		return -1;
	entry_of(&e, is_dir ? ENTRY_DIR : ENTRY_FILE, st);
	if (take_xattrs(fd, &x, &len) == -1) {
		failed(f, s->path, s->len, "extended attributes");
		free(x);
		head_free(&h);
		return -1;
	}
	e.xattrs = x;
	e.xattrs_len = len;
	if (check_types(s, &h, is_dir, f) == 0 &&
	    (it = item_add(s, &e, &h, f)) != NULL) {
		rc = 0;
		if (is_dir) {
			item_decide(it);
			s->there = h.there;
			s->above = s->n - 1;
		} else {
			s->files++;
			s->bytes += (uint64_t)st->st_size;
		}
	}
	free(x);
	head_free(&h);
	if (rc == 0 && is_dir)
		rc = walk_dir(s, fd, f);
	s->there = there;
	s->above = above;
	return rc;
}

/* A link or fifo of the directory. */
static int
walk_special(struct source *s, int dir, const char *name, const struct stat *st,
    struct failure *f)
{
	char target[SAIL_TARGET_MAX + 1];
	struct item *it;
	struct entry e;
	struct head h;
	ssize_t n;

	entry_of(&e, S_ISLNK(st->st_mode) ? ENTRY_SYMLINK : ENTRY_FIFO, st);
	if (e.type == ENTRY_SYMLINK) {
		n = readlinkat(dir, name, target, sizeof(target));
		if (n == (ssize_t)sizeof(target))
			errno = ENAMETOOLONG;
		if (n == -1 || n == (ssize_t)sizeof(target))
			return failed(f, s->path, s->len, "");
		e.target = (const uint8_t *)target;
		e.target_len = (size_t)n;
	}
	if (head_find(s, &h, f) == -1)
		return -1;
	it = check_types(s, &h, 0, f) == 0 ? item_add(s, &e, &h, f) : NULL;
	head_free(&h);
	if (it == NULL)
		return -1;
	item_decide(it);
	s->files++;
	return 0;
}

static int
walk_name(struct source *s, int dir, const char *name, struct failure *f)
{
	struct stat st;
	int fd, rc;

	if (fetch_go_on(f) == -1)
		return -1;
	if (name_is_reserved(name, strlen(name)))
		return not_kept(s, f);
	if (path_problem(s->path, s->len) != NULL) {
		failure_set(f, "", "bad_path", "%.*s: %s", (int)s->len,
		    (const char *)s->path, path_problem(s->path, s->len));
		return -1;
	}
	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == -1)
		return failed(f, s->path, s->len, "");
	if (S_ISLNK(st.st_mode) || S_ISFIFO(st.st_mode))
		return walk_special(s, dir, name, &st, f);
	if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))
		return not_kept(s, f);
	fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd == -1 || fstat(fd, &st) == -1) {
		rc = failed(f, s->path, s->len, "");
	} else if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))
		rc = not_kept(s, f);
	else
		rc = walk_open(s, fd, &st, f);
	if (fd != -1)
		close(fd);
	return rc;
}

static int
name_cmp(const void *a, const void *b)
{
	const char *const *x = a, *const *y = b;

	return strcmp(*x, *y);
}

/* The names of a directory in the order of a delta; *n of them. */
static char **
read_names(int fd, size_t *n)
{
	char **names = NULL, **more;
	struct dirent *e;
	size_t size = 0;
	int copy, saved;
	DIR *d;

	*n = 0;
	copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (copy == -1 || (d = fdopendir(copy)) == NULL) {
		if (copy != -1)
			close(copy);
		return NULL;
	}
	while ((errno = 0, e = readdir(d)) != NULL) {
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		if (*n == size) {
			size = size == 0 ? 64 : 2 * size;
			more = reallocarray(names, size, sizeof(*more));
			if (more == NULL)
				break;
			names = more;
		}
		if ((names[*n] = strdup(e->d_name)) == NULL)
			break;
		(*n)++;
	}
	saved = errno;
	closedir(d);
	if (saved == 0 && names == NULL)
		names = calloc(1, sizeof(*names));
	if (saved != 0) {
		while (*n > 0)
			free(names[--*n]);
		free(names);
		names = NULL;
	}
	errno = saved;
	if (names != NULL && *n > 1)
		qsort(names, *n, sizeof(*names), name_cmp);
	return names;
}

static int
walk_dir(struct source *s, int fd, struct failure *f)
{
	size_t before = s->len, n, i, len;
	char **names;
	int rc = 0;

	if ((names = read_names(fd, &n)) == NULL)
		return failed(f, s->path, s->len, "");
	for (i = 0; i < n; i++) {
		len = strlen(names[i]);
		if (rc == 0 && before + 1 + len > sizeof(s->path)) {
			errno = ENAMETOOLONG;
			rc = failed(f, s->path, s->len, names[i]);
		}
		if (rc == 0) {
			if (before > 0)
				s->path[s->len++] = '/';
			memcpy(s->path + s->len, names[i], len);
			s->len += len;
			rc = walk_name(s, fd, names[i], f);
			s->len = before;
		}
		free(names[i]);
	}
	free(names);
	return rc;
}

int
source_walk(struct source *s, const void *path, size_t len, int contents,
    struct failure *f)
{
	struct stat st;
	struct head h;
	int rc;

	memcpy(s->path, path, len);
	s->len = len;
	/* What is below the source is behind a slash, but for the root's. */
	s->rel = len + (len > 0);
	if (fstat(s->root, &st) == -1)
		return failed(f, path, len, "");
	if (!contents)
		return walk_open(s, s->root, &st, f);
	/* The directory itself stays as it is, or is made like this one. */
	if (len == 0)
		return walk_dir(s, s->root, f);
	if (head_find(s, &h, f) == -1)
		return -1;
	rc = h.there;
	head_free(&h);
	if (!rc)
		return walk_open(s, s->root, &st, f);
	if (head_find(s, &h, f) == -1)
		return -1;
	rc = check_types(s, &h, 1, f) == 0 && item_add(s, &h.e, &h, f) != NULL
	    ? 0
	    : -1;
	head_free(&h);
	if (rc == -1)
		return -1;
	s->items[s->n - 1].use = ITEM_CONTEXT;
	s->above = s->n - 1;
	return walk_dir(s, s->root, f);
}

int
source_stream(struct source *s, const void *path, size_t len, struct failure *f)
{
	mode_t mask = umask(0);
	struct entry e;
	struct head h;
	int rc;

	umask(mask);
	memcpy(s->path, path, len);
	s->len = s->rel = len;
	if (head_find(s, &h, f) == -1)
		return -1;
	memset(&e, 0, sizeof(e));
	e.mode = (uint16_t)(0666 & ~mask);
	e.uid = geteuid();
	e.gid = getegid();
	/* As a shell's > has it. */
	if (h.there && h.e.type == ENTRY_FILE) {
		e.mode = h.e.mode;
		e.uid = h.e.uid;
		e.gid = h.e.gid;
		e.xattrs = h.e.xattrs;
		e.xattrs_len = h.e.xattrs_len;
	}
	e.type = ENTRY_FILE;
	e.chunk_shift = CHUNK_SHIFT_MIN;
	e.mtime = e.ctime = timens_now();
	rc = check_types(s, &h, 0, f) == 0 && item_add(s, &e, &h, f) != NULL
	    ? 0
	    : -1;
	head_free(&h);
	s->files = 1;
	return rc;
}

int
source_open(struct source *s, struct item *it, struct timespec *ctime,
    struct failure *f)
{
	char rel[SAIL_PATH_MAX + 1];
	struct stat st;
	int fd;

	if (!s->is_dir)
		fd = fcntl(s->root, F_DUPFD_CLOEXEC, 0);
	else {
		memcpy(rel, it->path + it->rel, it->len - it->rel);
		rel[it->len - it->rel] = '\0';
		fd = open_below(s->root, rel,
		    O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0);
	}
	if (fd != -1 && (fstat(fd, &st) == -1 || !S_ISREG(st.st_mode))) {
		close(fd);
		fd = -1;
		errno = ESTALE;
	}
	if (fd == -1) {
		failed(f, it->path, it->len, "");
		return -1;
	}
	/* What was seen on the walk may be old. */
	it->entry->mode = (uint16_t)(st.st_mode & 07777);
	it->entry->uid = st.st_uid;
	it->entry->gid = st.st_gid;
	it->entry->mtime = timens_of(st.st_mtim);
	*ctime = st.st_ctim;
	return fd;
}

/* ---- the delta --------------------------------------------------------------------------- */

static int
put_nowhere(void *ctx, const struct hash *h, const uint8_t *p, size_t len)
{
	(void)ctx;
	(void)h;
	(void)p;
	(void)len;
	return 0;
}

int
source_hashed(struct item *it, struct chunklist *l, struct failure *f)
{
	struct node_store store = { .put = put_nowhere };
	struct entry e = *it->entry;
	struct seen now;
	struct wbuf w;
	int rc;

	chunklist_free(it->list);
	it->list = l;
	wbuf_init(&w, NODE_MAX_BYTES);
	if ((rc = chunklist_to_entry(l, &store, &e, &w)) == 0) {
		seen_of(&e, &now);
		it->use = seen_equal(&now, &it->seen) ? ITEM_NONE : ITEM_PUT;
	} else
		failed(f, it->path, it->len, "chunks");
	wbuf_free(&w);
	return rc;
}

size_t
source_count(const struct source *s)
{
	size_t i, n = 0;

	for (i = 0; i < s->n; i++)
		n += s->items[i].use >= ITEM_ATTR;
	return n;
}

static size_t
mark_contexts(struct source *s)
{
	size_t i, at, n = 0;

	for (i = 0; i < s->n; i++) {
		if (s->items[i].use < ITEM_ATTR)
			continue;
		for (at = s->items[i].above;
		     at != SIZE_MAX && !s->items[at].needed;
		     at = s->items[at].above) {
			s->items[at].needed = 1;
			n += s->items[at].use == ITEM_CONTEXT;
		}
	}
	return n;
}

/* As a directory stands in a delta. */
static struct entry
bare(const struct item *it)
{
	struct entry e = *it->entry;

	memset(&e.root, 0, sizeof(e.root));
	e.files = e.bytes = 0;
	return e;
}

static int
write_all(struct source *s, struct delta_writer *w)
{
	struct delta_context c;
	struct delta_op op;
	struct item *it;
	size_t i;

	for (i = 0; i < s->n; i++) {
		it = &s->items[i];
		if (it->use != ITEM_CONTEXT || !it->needed)
			continue;
		c.path = it->path;
		c.len = it->len;
		c.entry = bare(it);
		if (delta_add_context(w, &c) == -1)
			return -1;
	}
	for (i = 0; i < s->n; i++) {
		it = &s->items[i];
		if (it->use < ITEM_ATTR)
			continue;
		memset(&op, 0, sizeof(op));
		op.path = it->path;
		op.len = it->len;
		op.kind = it->use == ITEM_ATTR ? DELTA_ATTR : DELTA_PUT;
		op.seen = it->seen;
		op.entry = bare(it);
		op.chunks = it->list;
		if (delta_add_op(w, &op) == -1)
			return -1;
	}
	return 0;
}

int
source_delta(struct source *s, struct failure *f)
{
	size_t contexts = mark_contexts(s), ops = source_count(s);
	struct delta_writer w;
	int fd;

	if (ops > DELTA_MAX_OPS || contexts > DELTA_MAX_OPS) {
		failure_set(f, "", "too_large",
		    "too many files at once: put parts of it");
		return -1;
	}
	fd = memfd_create("delta", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd != -1 &&
	    delta_begin(&w, publish_write, &fd, NULL, 0, (uint32_t)contexts,
		(uint32_t)ops) == 0 &&
	    write_all(s, &w) == 0 && delta_end(&w) == 0)
		return fd;
	failure_set(f, "", "delta", "%s", strerror(errno));
	if (fd != -1)
		close(fd);
	return -1;
}

void
source_free(struct source *s)
{
	size_t i;

	for (i = 0; i < s->n; i++) {
		free(s->items[i].path);
		free(s->items[i].entry);
		chunklist_free(s->items[i].list);
	}
	free(s->items);
	json_decref(s->not_kept);
	if (s->root != -1)
		close(s->root);
}
