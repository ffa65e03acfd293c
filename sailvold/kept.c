/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * kept: the record of a session, in shared memory.  In the parent of
 * sailvold(8).
 */
#include <sys/mman.h>
#include <sys/stat.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/memfd.h"
#include "lib/path.h"
#include "sailvold/kept.h"
#include "sailvold/mnt.h"

static const char magic[8] = { 'S', 'A', 'I', 'L', 'K', 'E', 'P', 'T' };

static struct kept *
map(int fd)
{
	void *p = mmap(NULL, sizeof(struct kept), PROT_READ | PROT_WRITE,
	    MAP_SHARED, fd, 0);

	return p == MAP_FAILED ? NULL : p;
}

struct kept *
kept_new(int *fd)
{
	struct kept *k = NULL;

	*fd = memfd_create("session", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (*fd == -1)
		return NULL;
	if (ftruncate(*fd, sizeof(*k)) == -1 ||
	    fcntl(*fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) == -1 ||
	    (k = map(*fd)) == NULL) {
		close(*fd);
		*fd = -1;
		return NULL;
	}
	memcpy(k->magic, magic, sizeof(magic));
	k->version = KEPT_VERSION;
	return k;
}

static int
is_string(const char *s, size_t size)
{
	return memchr(s, '\0', size) != NULL;
}

struct kept *
kept_open(int fd)
{
	struct kept *k;
	struct stat st;
	int seals = fcntl(fd, F_GET_SEALS);

	if (seals == -1 || !(seals & F_SEAL_SHRINK) || fstat(fd, &st) == -1 ||
	    st.st_size < (off_t)(sizeof(k->magic) + sizeof(k->version))) {
		errno = EBADMSG;
		return NULL;
	}
	/* No more of it is looked at than there is in every version. */
	if ((k = map(fd)) == NULL)
		return NULL;
	if (memcmp(k->magic, magic, sizeof(magic)) != 0)
		errno = EBADMSG;
	else if (k->version < KEPT_OLDEST || k->version > KEPT_VERSION)
		errno = EPROTONOSUPPORT;
	else if (st.st_size != sizeof(*k) || k->init_len > sizeof(k->init) ||
	    k->volume_len > sizeof(k->volume) ||
	    !is_string(k->volume_id, sizeof(k->volume_id)) ||
	    (k->volume_id[0] != '\0' &&
		volume_name_problem(k->volume_id, strlen(k->volume_id)) !=
		    NULL) ||
	    !is_string(k->folder, sizeof(k->folder)))
		errno = EBADMSG;
	else {
		k->version = KEPT_VERSION;
		return k;
	}
	kept_free(k);
	return NULL;
}

void
kept_free(struct kept *k)
{
	int saved = errno;

	if (k != NULL)
		munmap(k, sizeof(*k));
	errno = saved;
}

int
kept_set_volume(struct kept *k, const struct conf_volume *v)
{
	FILE *f;
	long end;

	if ((f = fmemopen(k->volume, sizeof(k->volume), "w")) == NULL)
		return -1;
	config_print_volume(v, f);
	if (fflush(f) == EOF || (end = ftell(f)) < 0) {
		fclose(f);
		return -1;
	}
	k->volume_len = (uint32_t)end;
	k->flags = v->flags;
	return fclose(f) == EOF ? -1 : 0;
}

struct conf_volume *
kept_volume(const struct kept *k)
{
	struct conf_volume *v = NULL;
	struct config *c = NULL;
	char path[64];
	int fd;

	if ((fd = memfd_new("volume", k->volume, k->volume_len)) == -1)
		return NULL;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	c = config_parse_volumes(path);
	close(fd);
	if (c != NULL && !TAILQ_EMPTY(&c->volumes))
		v = mnt_volume_dup(TAILQ_FIRST(&c->volumes));
	if (c != NULL)
		config_free(c);
	if (v == NULL) {
		errno = EBADMSG;
		return NULL;
	}
	v->flags = k->flags;
	return v;
}

void
kept_set_session(struct kept *k, const struct session *s)
{
	k->mount_id = s->mount_id;
	memcpy(k->connection, s->connection, sizeof(k->connection));
	memcpy(k->init, s->init, s->init_len);
	k->init_len = (uint32_t)s->init_len;
}

void
kept_session(const struct kept *k, struct session *s)
{
	memset(s, 0, sizeof(*s));
	s->fuse_fd = s->mount_fd = -1;
	s->mount_id = k->mount_id;
	memcpy(s->connection, k->connection, sizeof(s->connection));
	memcpy(s->init, k->init, k->init_len);
	s->init_len = k->init_len;
}
