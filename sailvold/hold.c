/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * hold: which overlay files are needed though they have no name: those of a
 * running commit and of stashes.  In manifest.
 */
#include "sailvold/job.h"

int
ovl_is_held(struct mount *m, uint64_t ovl)
{
	struct job *j = job_find(m, 0);

	if (j != NULL && j->running && j->kind == JOB_COMMIT &&
	    commit_holds(j, ovl))
		return 1;
	return db_ovl_is_held(manifest_db, m->row.id, m->row.row, ovl);
}
