/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * status: what is mounted, what is dirty, what runs, as JSON.  In manifest.
 */
#include <string.h>

#include "sailvold/asker.h"

/* Other requests wait while these are counted: some ten ms. */
#define LOOKED_AT 10000

static const char *const passthrough_names[PASSTHROUGH_STATES] = { "off",
	"not here", "on" };

static const char *
kind_name(uint8_t kind)
{
	return kind == JOB_COMMIT ? "commit"
	    : kind == JOB_RELOAD  ? "reload"
				  : "stash restore";
}

/* Of the overlay files, as their entries say. */
static uint64_t
overlay_bytes(struct mount *m, uint64_t *files)
{
	uint64_t *ovls, sum = 0;
	struct obj o;
	size_t n, i;

	*files = 0;
	if (db_obj_list_local(manifest_db, m->row.row, LOOKED_AT, &ovls, &n) ==
	    -1)
		return 0;
	for (i = 0; i < n; i++) {
		if (db_obj_get(manifest_db, m->row.row, ovls[i], &o) == -1)
			continue;
		sum += o.entry->size;
		(*files)++;
		obj_free(&o);
	}
	free(ovls);
	return sum;
}

static json_t *
job_json(struct mount *m)
{
	struct job *j = job_find(m, 0);
	int waiting = 0;
	struct job *k;

	if (j == NULL)
		return json_null();
	TAILQ_FOREACH (k, &m->jobs, link)
		waiting += k != j;
	return json_pack("{s:I,s:s,s:s,s:i,s:I}", "id", (json_int_t)j->id,
	    "kind", kind_name(j->kind), "state",
	    j->state == JOB_PUBLISHING ? "publishing" : "running", "waiting",
	    waiting, "created", (json_int_t)j->created);
}

json_t *
status_of_mount(struct mount *m)
{
	uint64_t names = 0, objects = 0, files, bytes;
	const struct mount_row *r = &m->row;
	json_t *s;

	db_dirty_count_most(manifest_db, r->row, LOOKED_AT, &names, &objects);
	bytes = overlay_bytes(m, &files);
	s = json_pack("{s:s,s:s,s:s,s:o,s:o,s:o,s:I,s:b,s:b,s:b}", "volume",
	    r->volume, "volume_id", r->volume_id, "org", r->org, "path",
	    json_name(r->path, strlen(r->path)), "subpath",
	    json_name(r->subpath, strlen(r->subpath)), "base",
	    json_hash(&r->base), "number", (json_int_t)r->base_number,
	    "read_only", (m->flags & MOUNT_READONLY) != 0 || m->has_commit,
	    "noexec", (m->flags & MOUNT_NOEXEC) != 0, "ready",
	    m->started && m->fuse != NULL && !m->broken);
	if (s == NULL)
		return NULL;
	json_object_set_new(s, "last_commit",
	    r->has_last ? json_hash(&r->last) : json_null());
	json_object_set_new(s, "dirty",
	    json_pack("{s:I,s:I,s:b}", "names", (json_int_t)names, "objects",
		(json_int_t)objects, "more",
		names == LOOKED_AT || objects == LOOKED_AT));
	json_object_set_new(s, "overlay",
	    json_pack("{s:I,s:I,s:b}", "files", (json_int_t)files, "bytes",
		(json_int_t)bytes, "more", files == LOOKED_AT));
	if (m->overlay_limit != 0)
		json_object_update_new(json_object_get(s, "overlay"),
		    json_pack("{s:I,s:I}", "used", (json_int_t)m->overlay_used,
			"limit", (json_int_t)m->overlay_limit));
	json_object_set_new(s, "journal",
	    json_pack("{s:I}", "applied", (json_int_t)r->applied));
	json_object_set_new(s, "passthrough",
	    json_string(passthrough_names[m->passthrough]));
	json_object_set_new(s, "job", job_json(m));
	if (m->ids.count != 0)
		json_object_set_new(s, "uids",
		    json_pack("{s:I,s:I}", "base", (json_int_t)m->ids.base,
			"count", (json_int_t)m->ids.count));
	return s;
}

/* Of the control socket: through ctl the kernel has looked. */
int
mount_permits(struct mount *m, const struct asker *a, int write)
{
	unsigned int bit = write ? 2 : 4, mode;
	struct obj o;
	int ok;

	if (asker_is_root(a))
		return 1;
	/* Owner and mode may have changed a moment ago. */
	journal_now(m);
	if (db_obj_get(manifest_db, m->row.row, OVL_ROOT, &o) == -1)
		return 0;
	mode = o.entry->mode;
	if (idmap_out(&m->ids, o.entry->uid) == a->uid)
		mode >>= 6;
	else if (a->client != NULL &&
	    client_in_group(a->client, idmap_out(&m->ids, o.entry->gid)))
		mode >>= 3;
	ok = (mode & bit) != 0;
	obj_free(&o);
	return ok;
}
