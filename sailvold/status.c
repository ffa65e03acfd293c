/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * status: what is mounted, what is dirty, what runs, as JSON.  In manifest.
 */
#include <jansson.h>
#include <string.h>

#include "lib/log.h"
#include "sailvold/asker.h"

static json_t *
describe(struct mount *m)
{
	static const char *const kinds[] = { "", "commit", "reload",
		"stash restore" };
	uint64_t names = 0, objects = 0;
	struct job *j = job_find(m, 0);
	json_t *o;

	db_dirty_count(manifest_db, m->row.row, &names, &objects);
	o = json_pack("{s:s, s:s, s:s, s:s, s:s, s:o, s:I, s:b, s:b}", "volume",
	    m->row.volume, "volume_id", m->row.volume_id, "org", m->row.org,
	    "path", m->row.path, "subpath", m->row.subpath, "base",
	    json_hash(&m->row.base), "base_number",
	    (json_int_t)m->row.base_number, "read_only",
	    (m->flags & MOUNT_READONLY) != 0, "fuse_runs", m->started);
	if (o == NULL)
		return NULL;
	if (m->row.has_last)
		json_object_set_new(o, "last_commit", json_hash(&m->row.last));
	json_object_set_new(o, "dirty", json_pack("{s:I, s:I}", "names",
	    (json_int_t)names, "files", (json_int_t)objects));
	json_object_set_new(o, "journal", json_pack("{s:I, s:b}", "applied",
	    (json_int_t)m->row.applied, "broken", m->broken));
	if (j != NULL)
		json_object_set_new(o, "job", json_pack("{s:I, s:s}", "id",
		    (json_int_t)j->id, "kind", kinds[j->kind <= JOB_RESTORE ?
		    j->kind : 0]));
	return o;
}

json_t *
status_of_mount(struct mount *m)
{
	return json_pack("{s:o}", "result", describe(m));
}

/* Who may read the root directory may know what is mounted there. */
static int
may_read(struct mount *m, uint32_t uid, uint32_t gid)
{
	struct obj o;
	int may;

	if (uid == 0)
		return 1;
	if (db_obj_get(manifest_db, m->row.row, OVL_ROOT, &o) == -1)
		return 0;
	may = (o.entry->mode & 04) != 0 ||
	    (o.entry->uid == uid && (o.entry->mode & 0400)) ||
	    (o.entry->gid == gid && (o.entry->mode & 040));
	obj_free(&o);
	return may;
}

struct all {
	json_t *list;
	uint32_t uid, gid;
};

static void
add_mount(struct mount *m, void *arg)
{
	struct all *all = arg;

	if (may_read(m, all->uid, all->gid))
		json_array_append_new(all->list, describe(m));
}

json_t *
status_of_all(uint32_t uid, uint32_t gid, const char *parent, size_t len)
{
	struct all all = { json_array(), uid, gid };
	json_t *o;

	mount_foreach(add_mount, &all);
	o = json_pack("{s:o}", "mounts", all.list);
	/* Processes, cache and sandbox concern the machine: root's. */
	if (uid == 0)
		json_object_set_new(o, "daemon", json_loadb(parent, len, 0,
		    NULL));
	return json_pack("{s:o}", "result", o);
}
