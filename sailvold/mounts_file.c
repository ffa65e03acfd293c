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

#define AGAIN_S 1

static char file_path[1100], folder[1100];
static int unread;    /* it could not be read: it is not written over */
static int unwritten; /* nor could it be written since that was said */
static struct event *again;
static void begin_kept(void);

static struct conf_volumes kept_on = TAILQ_HEAD_INITIALIZER(kept_on);

void
mnt_file_init(const char *state_dir)
{
	snprintf(file_path, sizeof(file_path), "%s/mounts.conf", state_dir);
	snprintf(folder, sizeof(folder), "%s", state_dir);
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
	copy->owner = v->owner;
	copy->ids = v->ids;
	copy->policy = v->policy;
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
mnt_file_keep(struct conf_volume *v)
{
	TAILQ_INSERT_TAIL(&kept_on, v, link);
}

int
mnt_file_drop(const char *path, uid_t uid)
{
	struct conf_volume *v;

	TAILQ_FOREACH (v, &kept_on, link)
		if (mnt_is_path(path, v->path))
			break;
	if (v == NULL)
		return 0;
	if (uid != 0 && uid != v->owner)
		return -1;
	TAILQ_REMOVE(&kept_on, v, link);
	conf_volume_free(v);
	mnt_file_write();
	return 0;
}

static void
try_again(int fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
	if (unread) {
		begin_kept();
		unwritten |= !unread; /* what was made meanwhile */
	}
	if (unwritten && !unread)
		mnt_file_write();
}

/* What is short now may be there later. */
static void
again_later(void)
{
	struct timeval tv = { AGAIN_S, 0 };

	if (again == NULL)
		again = event_new(proc_base(), -1, 0, try_again, NULL);
	if (again == NULL || event_add(again, &tv) == -1)
		log_warnx("%s: no timer", file_path);
}

/* The name is safe from a loss of power, too. */
static int
sync_folder(void)
{
	int fd, rc;

	if ((fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) == -1)
		return -1;
	rc = fsync(fd);
	close(fd);
	return rc;
}

void
mnt_file_write(void)
{
	char tmp[1200];
	struct conf_volume *v;
	struct mnt *m;
	FILE *f = NULL;
	int fd;

	if (unread) {
		log_warnx("%s: it cannot be read, and is not written over",
		    file_path);
		return;
	}
	snprintf(tmp, sizeof(tmp), "%s.new", file_path);
	fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC,
	    0600);
	if (fd == -1 || (f = fdopen(fd, "w")) == NULL)
		goto fail;
	fputs("# Made by sailvold: volumes that were mounted by a command.\n",
	    f);
	TAILQ_FOREACH (m, &mnts_all, link)
		/* One that a command just begins is not known to be. */
		if (m->kept &&
		    (m->state >= MOUNT_UP || m->attaching || m->done == NULL))
			config_print_volume(m->volume, f);
	TAILQ_FOREACH (v, &kept_on, link)
		config_print_volume(v, f);
	/* Of a block that failed the flush before said so, and no later one. */
	if (fflush(f) == EOF || ferror(f) || fsync(fd) == -1)
		goto fail;
	if (fclose(f) == EOF || rename(tmp, file_path) == -1 ||
	    sync_folder() == -1) {
		f = NULL;
		fd = -1;
		goto fail;
	}
	if (unwritten)
		log_info("%s: it is written", file_path);
	unwritten = 0;
	return;
fail:
	if (!unwritten)
		log_warn("%s: it cannot be written: again each second: a mount "
			 "that a command made may not come back",
		    file_path);
	unwritten = 1;
	if (f != NULL)
		fclose(f);
	else if (fd != -1)
		close(fd);
	again_later();
}

/* ---- all of them --------------------------------------------------------- */

static void
begin_configured(const struct config *c, uint32_t flags)
{
	struct conf_volume *v;

	TAILQ_FOREACH (v, &c->volumes, link) {
		struct conf_volume copy = *v;

		copy.flags |= MOUNT_CONFIGURED | flags;
		if (mnt_by_path(v->path) == NULL)
			mounts_add(&copy, 0, NULL, NULL);
	}
}

/* The next mount would write another over it. */
static void
put_aside(void)
{
	char bad[1200];

	snprintf(bad, sizeof(bad), "%s.bad", file_path);
	if (rename(file_path, bad) == -1)
		log_warn("%s", file_path);
	else
		log_warnx("%s cannot be read: its mounts do not come back; it "
			  "is %s now",
		    file_path, bad);
}

/* 0, or why not: that is no fault of what stands in it. */
static int
read_error(void)
{
	char buf[4096];
	ssize_t n;
	int fd, error;

	fd = open(file_path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd == -1)
		return errno;
	while ((n = read(fd, buf, sizeof(buf))) > 0)
		;
	error = n == -1 ? errno : 0;
	close(fd);
	return error;
}

static void
begin_kept(void)
{
	struct conf_volume *v;
	struct config *kept;
	int error = read_error();

	if (error == EMFILE || error == ENFILE || error == ENOMEM ||
	    error == EIO) {
		if (!unread)
			log_warnx("%s: %s: again each second", file_path,
			    strerror(error));
		unread = 1;
		again_later();
		return;
	}
	if (unread)
		log_info("%s: it is read", file_path);
	unread = 0;
	if (error == ENOENT)
		return;
	if ((kept = config_parse_volumes(file_path)) == NULL) {
		put_aside();
		return;
	}
	TAILQ_FOREACH (v, &kept->volumes, link) {
		v->flags |= MOUNT_BACK;
		if (mnt_by_path(v->path) == NULL)
			mounts_add(v, v->owner, NULL, NULL);
	}
	config_free(kept);
}

void
mounts_begin_all(const struct config *c)
{
	begin_configured(c, MOUNT_BACK);
	begin_kept();
}

static struct conf_volume *
configured_at(const struct config *c, const char *path)
{
	struct conf_volume *v;

	TAILQ_FOREACH (v, &c->volumes, link)
		if (mnt_is_path(v->path, path))
			return v;
	return NULL;
}

static int
same_mount(const struct conf_volume *a, const struct conf_volume *b)
{
	const uint32_t flags = MOUNT_READONLY | MOUNT_SUID | MOUNT_NOEXEC;

	return strcmp(a->name, b->name) == 0 &&
	    strcmp(a->subpath, b->subpath) == 0 &&
	    (a->flags & flags) == (b->flags & flags) &&
	    a->ids.base == b->ids.base && a->ids.count == b->ids.count &&
	    a->has_commit == b->has_commit &&
	    (!a->has_commit || strcmp(a->commit, b->commit) == 0);
}

void
mnt_no_change(struct mnt *m)
{
	conf_volume_free(m->again);
	m->again = NULL;
}

void
mnt_ask_change(struct mnt *m)
{
	struct proc *manifest = proc_find(ROLE_MANIFEST, 0);
	uint8_t b[4] = { (uint8_t)(m->instance >> 24),
		(uint8_t)(m->instance >> 16), (uint8_t)(m->instance >> 8),
		(uint8_t)m->instance };

	if (m->again == NULL)
		return;
	if (m->state == MOUNT_UP && manifest != NULL &&
	    proc_chan(manifest) != NULL && proc_ready(manifest) &&
	    chan_send(proc_chan(manifest), IMSG_PARENT_MANIFEST_DIRTY, 0, -1, b,
		sizeof(b)) == 0)
		return;
	if (m->state == MOUNT_GONE)
		return; /* it comes when this one has ended */
	log_warnx("mount %s: it is not ready to be changed: SIGHUP again later",
	    m->volume->path);
	mnt_no_change(m);
}

/* manifest says first whether something in it is not published. */
static void
change(struct mnt *m, const struct conf_volume *v)
{
	mnt_no_change(m);
	if ((m->again = mnt_volume_dup(v)) == NULL) {
		log_warn("mount %s", v->path);
		return;
	}
	m->again->flags |= MOUNT_CONFIGURED;
	mnt_ask_change(m);
}

int
mounts_on_dirty_res(struct chan *ch, uint32_t id, struct imsg *im,
    struct ibuf *body)
{
	uint32_t instance;
	struct mnt *m;
	uint8_t dirty;

	(void)ch;
	(void)id;
	(void)im;
	if (ibuf_get_n32(body, &instance) == -1 ||
	    ibuf_get_n8(body, &dirty) == -1 || ibuf_size(body) != 0)
		return -1;
	m = mnt_by_instance(instance);
	if (m == NULL || m->state != MOUNT_UP || m->again == NULL ||
	    mounts_are_handed_over())
		return 0;
	if (!dirty) {
		mnt_umount(m, 0);
		return 0;
	}
	log_warnx("mount %s: it has changes that are not published: it stays "
		  "as it is; commit them, then send SIGHUP again",
	    m->volume->path);
	mnt_no_change(m);
	return 0;
}

/* What it does by itself changes while it lives. */
static void
change_policy(struct mnt *m, const struct conf_volume *v)
{
	struct proc *manifest = proc_find(ROLE_MANIFEST, 0);

	if (policy_equal(&m->volume->policy, &v->policy))
		return;
	m->volume->policy = v->policy;
	if (mnt_tell_limit(m) == -1)
		log_warn("mount %s: its limit", v->path);
	/* One that is not ready gets it with the mount. */
	if (manifest != NULL && proc_chan(manifest) != NULL &&
	    proc_ready(manifest) &&
	    policy_send(proc_chan(manifest), m->instance, &v->policy) == -1)
		log_warn("mount %s", v->path);
}

void
mounts_reconfigure(const struct config *c)
{
	struct mnt *m, *next;
	struct conf_volume *v;

	for (m = TAILQ_FIRST(&mnts_all); m != NULL; m = next) {
		next = TAILQ_NEXT(m, link);
		if (!(m->volume->flags & MOUNT_CONFIGURED)) {
			if (m->state == MOUNT_RETRY)
				mnt_try_now(m);
			continue;
		}
		v = configured_at(c, m->volume->path);
		mnt_no_change(m);
		if (m->state == MOUNT_RETRY &&
		    (v == NULL || !same_mount(m->volume, v)))
			mnt_free(m); /* begun anew below */
		else if (v == NULL && m->state == MOUNT_UP)
			mnt_umount(m, 0); /* its changes stay for later */
		else if (v == NULL)
			mnt_cancel(m);
		else if (v != NULL &&
		    (m->state == MOUNT_GONE || !same_mount(m->volume, v)))
			change(m, v);
		else if (v != NULL) {
			change_policy(m, v);
			if (m->state == MOUNT_RETRY)
				mnt_try_now(m);
		}
	}
	begin_configured(c, 0);
	mnt_set_awake(c->awake);
}
