/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * treelook: what a file, or a directory with all that is below it, looks like,
 * as one hash: the sum of those of what is there, in any order.  In sailvolctl.
 */
#include <sys/stat.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "sailvolctl/treelook.h"

static void
add(struct hash *sum, const struct hash *h)
{
	unsigned int carry = 0;
	size_t i;

	for (i = 0; i < sizeof(sum->b); i++) {
		carry += (unsigned int)sum->b[i] + h->b[i];
		sum->b[i] = (uint8_t)carry;
		carry >>= 8;
	}
}

/* name NULL: the first, whose name and ctime a rename changes. */
static int
add_one(struct hash *sum, uint64_t above, const char *name,
    const struct stat *st)
{
	const uint64_t facts[] = { above, st->st_ino, st->st_mode, st->st_uid,
		st->st_gid, st->st_nlink, (uint64_t)st->st_size,
		(uint64_t)st->st_mtim.tv_sec, (uint64_t)st->st_mtim.tv_nsec,
		name != NULL ? (uint64_t)st->st_ctim.tv_sec : 0,
		name != NULL ? (uint64_t)st->st_ctim.tv_nsec : 0 };
	struct hash_ctx *c;
	struct hash h;

	if ((c = hash_begin()) == NULL)
		return -1;
	hash_update(c, facts, sizeof(facts));
	if (name != NULL)
		hash_update(c, name, strlen(name));
	hash_end(c, &h);
	add(sum, &h);
	return 0;
}

static int add_tree(struct hash *, uint64_t above, int dir, const char *name,
    int first);

/* One that shuts us out is as it looks from outside. */
static int
add_below(struct hash *sum, uint64_t ino, int dir, const char *name)
{
	struct dirent *e;
	int fd, rc = 0;
	DIR *d;

	fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd == -1)
		return errno == EACCES ? 0 : -1;
	if ((d = fdopendir(fd)) == NULL) {
		close(fd);
		return -1;
	}
	while (rc == 0 && (errno = 0, e = readdir(d)) != NULL)
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			rc = add_tree(sum, ino, fd, e->d_name, 0);
	if (rc == 0 && errno != 0)
		rc = -1;
	closedir(d);
	return rc;
}

static int
add_tree(struct hash *sum, uint64_t above, int dir, const char *name, int first)
{
	struct stat st;

	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == -1 ||
	    add_one(sum, above, first ? NULL : name, &st) == -1)
		return -1;
	return S_ISDIR(st.st_mode) ? add_below(sum, st.st_ino, dir, name) : 0;
}

int
treelook(int dir, const char *name, struct hash *sum)
{
	memset(sum, 0, sizeof(*sum));
	return add_tree(sum, 0, dir, name, 1);
}
