/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * mounts_kept: mounts that outlive the parent of sailvold(8): each hands over
 * its session with the kernel, its inode table and a record (kept.h), and the
 * next parent goes on with them.  In the parent.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/handover.h"
#include "lib/log.h"
#include "lib/supervisor.h"
#include "sailvold/mnt.h"

/*
 * Of names: one of these and the mount's key, which is that by which it came, or 8
 * digits by chance.  They are short: an environment has room for those of some
 * thousand mounts.
 */
#define RECORD "record-"
#define SESSION "session-"
#define TABLE "table-"

static void
name_of(const struct mnt *m, const char *prefix, char name[HANDOVER_NAME_MAX])
{
	snprintf(name, HANDOVER_NAME_MAX, "%s%s", prefix, m->key);
}

static int
is_key_of_another(const struct mnt *m)
{
	const struct mnt *other;

	TAILQ_FOREACH (other, &mnts_all, link)
		if (other != m && strcmp(other->key, m->key) == 0)
			return 1;
	return 0;
}

static void
make_key(struct mnt *m)
{
	do
		snprintf(m->key, sizeof(m->key), "%08x", arc4random());
	while (is_key_of_another(m));
}

void
mnt_record(struct mnt *m, uid_t fuse_uid)
{
	struct kept *k;

	if ((k = kept_new(&m->record_fd)) == NULL) {
		log_warn("mount %s: its record", m->volume->path);
		return;
	}
	if (kept_set_volume(k, m->volume) == -1) {
		log_warn("mount %s: its record", m->volume->path);
		kept_free(k);
		close(m->record_fd);
		m->record_fd = -1;
		return;
	}
	k->uid = m->uid;
	k->fuse_uid = fuse_uid;
	k->passthrough = m->passthrough != 0;
	strlcpy(k->volume_id, m->volume_id, sizeof(k->volume_id));
	strlcpy(k->folder, m->folder, sizeof(k->folder));
	m->backings.kept = k->backings;
	make_key(m);
	m->record = k;
}

static int
keep(struct mnt *m, const char *prefix, int fd)
{
	char name[HANDOVER_NAME_MAX];

	name_of(m, prefix, name);
	return handover_keep(name, fd, HANDOVER_STORE);
}

static void
drop(struct mnt *m, const char *prefix)
{
	char name[HANDOVER_NAME_MAX];

	name_of(m, prefix, name);
	handover_drop(name);
}

/* The record last: who finds it finds the others. */
void
mnt_keep(struct mnt *m)
{
	if (m->record == NULL)
		return;
	kept_set_session(m->record, &m->session);
	if (keep(m, SESSION, m->session.fuse_fd) == -1 ||
	    keep(m, TABLE, m->table_fd) == -1 ||
	    keep(m, RECORD, m->record_fd) == -1)
		fatal("mount %s: its record", m->volume->path);
}

void
mnt_unkeep(struct mnt *m)
{
	if (m->record == NULL)
		return;
	drop(m, RECORD);
	drop(m, TABLE);
	drop(m, SESSION);
	m->backings.kept = NULL;
	kept_free(m->record);
	close(m->record_fd);
	m->record = NULL;
	m->record_fd = -1;
}

/* ---- in the next parent -------------------------------------------------- */

static int
take(struct mnt *m, const char *prefix)
{
	char name[HANDOVER_NAME_MAX];

	name_of(m, prefix, name);
	return handover_take(name);
}

/* NULL, or why nothing can be done with it. */
static const char *
go_on(struct mnt *m, uid_t fuse_uid)
{
	const struct kept *k = m->record;

	kept_session(k, &m->session);
	m->session.fuse_fd = take(m, SESSION);
	m->table_fd = take(m, TABLE);
	if (m->session.fuse_fd == -1 || m->table_fd == -1)
		return "its session did not come with its record";
	if (!mnt_is_table(m->table_fd))
		return "its table is not one of this program";
	if (strcmp(k->folder, m->folder) != 0)
		return "it is of another state folder";
	if (k->fuse_uid != fuse_uid)
		return "its files belong to another user of fuse";
	strlcpy(m->volume_id, k->volume_id, sizeof(m->volume_id));
	m->passthrough = k->passthrough != 0;
	m->answered = 1;
	if (k->gone)
		m->kept = 0; /* it was unmounted for good */
	m->backings.folder_fd = priv_open_folder(m->folder);
	m->backings.kept = m->record->backings;
	if (m->backings.folder_fd == -1)
		return "its folder cannot be opened";
	if (backing_adopt(&m->backings) == -1)
		return "its record is damaged";
	m->state = k->gone ? MOUNT_GONE : MOUNT_UP;
	if (mnt_start_fuse(m) == -1)
		return "its fuse cannot be started";
	mnt_keep(m);
	return NULL;
}

/* Else it would stay open there, and nobody would serve it. */
static void
tell_ends(const struct mnt *m)
{
	static const char *const parts[] = { RECORD, TABLE, SESSION };
	char name[HANDOVER_NAME_MAX];
	size_t i;

	for (i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		name_of(m, parts[i], name);
		supervisor_drop(name);
	}
}

static int
adopt(int fd, const char *key, uid_t fuse_uid)
{
	struct conf_volume *v = NULL;
	struct kept *k;
	const char *why;
	struct mnt *m;

	if ((k = kept_open(fd)) == NULL || (v = kept_volume(k)) == NULL) {
		log_warn("a mount that was handed over");
		kept_free(k);
		close(fd);
		return 0;
	}
	if (mnt_by_path(v->path) != NULL) {
		log_warnx("mount %s was handed over twice", v->path);
		kept_free(k);
		close(fd);
		conf_volume_free(v);
		return 0;
	}
	m = mnt_new(v, (uid_t)k->uid);
	conf_volume_free(v);
	m->record = k;
	m->record_fd = fd;
	strlcpy(m->key, key, sizeof(m->key));
	if ((why = go_on(m, fuse_uid)) == NULL) {
		log_info("volume %s on %s: its session goes on",
		    m->volume->name, m->volume->path);
		return 1;
	}
	log_warnx("mount %s was handed over, and ends: %s", m->volume->path,
	    why);
	tell_ends(m);
	mnt_free(m);
	return 0;
}

int
mounts_came(void)
{
	char name[HANDOVER_NAME_MAX];

	return handover_next(RECORD, name);
}

int
mnt_adopt_all(uid_t fuse_uid)
{
	char name[HANDOVER_NAME_MAX];
	int n = 0, one;

	while (handover_next(RECORD, name)) {
		one =
		    adopt(handover_take(name), name + strlen(RECORD), fuse_uid);
		if (!one)
			supervisor_drop(name);
		n += one;
	}
	return n > 0;
}
