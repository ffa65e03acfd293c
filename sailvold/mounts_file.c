/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * mounts_file: which mounts there are to be: the configuration's, and the file
 * of those that commands made.  In the parent of sailvold(8).
 */
#include <sys/stat.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/log.h"
#include "sailvold/mnt.h"

static char file_path[1100];

void
mnt_file_init(const char *state_dir)
{
	snprintf(file_path, sizeof(file_path), "%s/mounts.conf", state_dir);
}

/* ---- paths and volumes --------------------------------------------------- */
/* As the kernel writes it: without doubled and last slashes, in place. */
static void
clean_path(char *path)
{
	char *in = path, *out = path;

	for (; *in != '\0'; in++)
		if (*in != '/' || out == path || out[-1] != '/')
			*out++ = *in;
	if (out - path > 1 && out[-1] == '/')
		out--;
	*out = '\0';
}

/* 1 when path is that clean one. */
int
mnt_is_path(const char *path, const char *clean)
{
	char copy[1200];

	if (strlcpy(copy, path, sizeof(copy)) >= sizeof(copy))
		return 0;
	clean_path(copy);
	return strcmp(copy, clean) == 0;
}

struct conf_volume *
mnt_volume_dup(const struct conf_volume *v)
{
	struct conf_volume *copy;

	if ((copy = calloc(1, sizeof(*copy))) == NULL)
		return NULL;
	copy->name = strdup(v->name);
	copy->path = strdup(v->path);
	copy->subpath = strdup(v->subpath);
	copy->flags = v->flags;
	copy->has_commit = v->has_commit;
	memcpy(copy->commit, v->commit, sizeof(copy->commit));
	if (copy->name == NULL || copy->path == NULL || copy->subpath == NULL) {
		conf_volume_free(copy);
		return NULL;
	}
	clean_path(copy->path);
	return copy;
}

/* ---- the file of mounts that commands made ------------------------------- */

void
mnt_file_write(void)
{
	char tmp[1200];
	struct mnt *m;
	FILE *f = NULL;
	int fd;

	snprintf(tmp, sizeof(tmp), "%s.new", file_path);
	fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC,
	    0600);
	if (fd == -1 || (f = fdopen(fd, "w")) == NULL)
		goto fail;
	fputs("# Made by sailvold: volumes that were mounted by a command.\n",
	    f);
	TAILQ_FOREACH (m, &mnts_all, link)
		if (m->kept)
			config_print_volume(m->volume, f);
	if (fflush(f) == EOF || fsync(fd) == -1)
		goto fail;
	if (fclose(f) == EOF || rename(tmp, file_path) == -1)
		log_warn("%s", file_path);
	return;
fail:
	log_warn("%s", tmp);
	if (f != NULL)
		fclose(f);
	else if (fd != -1)
		close(fd);
}

/* ---- all of them --------------------------------------------------------- */

static void
begin_configured(const struct config *c)
{
	struct conf_volume *v;

	TAILQ_FOREACH (v, &c->volumes, link) {
		struct conf_volume copy = *v;

		copy.flags |= MOUNT_CONFIGURED;
		if (mnt_by_path(v->path) == NULL)
			mounts_add(&copy, 0, NULL, NULL);
	}
}

void
mounts_begin_all(const struct config *c)
{
	struct conf_volume *v;
	struct config *kept;

	begin_configured(c);
	if (access(file_path, F_OK) == -1 ||
	    (kept = config_parse_volumes(file_path)) == NULL)
		return;
	TAILQ_FOREACH (v, &kept->volumes, link)
		if (mnt_by_path(v->path) == NULL)
			mounts_add(v, 0, NULL, NULL);
	config_free(kept);
}

static int
is_configured(const struct config *c, const char *path)
{
	struct conf_volume *v;

	TAILQ_FOREACH (v, &c->volumes, link)
		if (mnt_is_path(v->path, path))
			return 1;
	return 0;
}

void
mounts_reconfigure(const struct config *c)
{
	struct mnt *m, *next;

	for (m = TAILQ_FIRST(&mnts_all); m != NULL; m = next) {
		next = TAILQ_NEXT(m, link);
		if (!(m->volume->flags & MOUNT_CONFIGURED) ||
		    is_configured(c, m->volume->path))
			continue;
		if (m->state == MOUNT_UP)
			mnt_umount(m, 0); /* its changes stay for later */
		else if (m->state == MOUNT_RETRY)
			mnt_free(m);
	}
	begin_configured(c);
}
