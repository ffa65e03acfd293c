/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * reload: a mount moves to the newest commit, or gets a stash back: fuse is
 * parked, the rows change in one transaction, fuse switches, the kernel is told
 * (sailvold(8), RELOAD).  In manifest.
 */
#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/commit.h"
#include "lib/log.h"
#include "lib/monotime.h"
#include "lib/wire.h"
#include "sailvold/collect.h"
#include "sailvold/reload_after.h"
#include "sailvold/stash.h"

#define ATTEMPTS 20000
#define HEAD_BUDGET (4 * 1024 * 1024)
#define HEAD_ANSWER_MAX (WIRE_BUDGET_MAX + 1024 * 1024)
#define HEAD_TRIES 2 /* of half a minute each: sailvol-fetch(8) repeats it */
#define SLICE_MS 20  /* of comparing, between other mounts' requests */
#define SLICE_NAMES 500

struct reload_run {
	struct job *job;
	unsigned int refs; /* callbacks that will come */
	int dead;
	int restore, keep, if_clean;
	int stash; /* to a stash only, and the base stays: before an umount */
	int64_t stash_id; /* to be restored */
	struct hash base; /* the new one */
	uint64_t number;
	uint32_t request;
	unsigned int tries, attempt, answers;
	int parked;
	uint64_t fuses; /* the one that is (mount->fuses) */
	void (*again)(struct reload_run *);
	struct snap_cmp *cmp; /* of the bases, while programs go on */
	struct event *slice;  /* its next step */
	struct snap_diff bases, diff;
	int has_bases, has_diff;
	struct collect_first first;    /* while programs are parked */
	struct collecting *collecting; /* then */
	struct delta_set set;          /* what is not kept; or nothing */
	struct rebase_gone gone;
	int64_t stashed;
	uint64_t stashed_files;
	uint32_t open_writers;
	int changed;
};

static void ask_head(struct reload_run *);
static void park(struct reload_run *);

/* ---- life ------------------------------------------------------------------------- */

static void
release(struct reload_run *r)
{
	if (!r->dead || r->refs > 0)
		return;
	snap_cmp_free(r->cmp);
	collect_drop(&r->set);
	if (r->has_bases)
		snap_diff_free(&r->bases);
	if (r->has_diff)
		snap_diff_free(&r->diff);
	free(r->gone.ovls);
	wbuf_free(&r->gone.origins);
	json_decref(r->gone.sockets);
	free(r);
}

static void
reload_stop(struct job *j)
{
	struct reload_run *r = j->run;

	j->run = NULL;
	r->dead = 1;
	if (r->request != 0)
		server_cancel(r->request);
	if (r->slice != NULL)
		event_free(r->slice);
	r->slice = NULL;
	collect_stop(r->collecting);
	collect_first_end(&r->first);
	release(r);
}

static int
may_cancel(const struct job *j)
{
	const struct reload_run *r = j->run;

	return r != NULL && !r->parked;
}

/* A callback came: 1 when nobody waits for it any more. */
static int
came(struct reload_run *r)
{
	r->refs--;
	if (!r->dead)
		return 0;
	release(r);
	return 1;
}

/* The reload is over for fuse: what was parked goes on. */
static void
unparked(struct mount *m, void *arg, int error, uint32_t writers, int fd)
{
	(void)m;
	(void)arg;
	(void)error;
	(void)writers;
	if (fd != -1)
		close(fd);
}

static void
unpark(struct reload_run *r)
{
	struct mount *m = r->job->m;

	if (r->parked && ask_switch(m, -1, unparked, NULL) == -1)
		log_warn("mount %s: programs stand", m->row.path);
	r->parked = 0;
	collect_first_end(&r->first);
}

static void
fail(struct reload_run *r, const char *type, const char *code, const char *what)
{
	unpark(r);
	job_error(r->job, type, code, "%s", what);
}

static void
node_came(void *arg, int error)
{
	struct reload_run *r = arg;

	if (came(r))
		return;
	r->answers++;
	if (error != 0)
		fail(r, "unavailable", "nodes", strerror(error));
	else
		r->again(r);
}

static void
reload_progress(struct reload_run *r, const char *phase)
{
	if (job_progress_due(r->job))
		job_progress(r->job,
		    json_pack("{s:s,s:I}", "phase", phase, "answers",
			(json_int_t)r->answers));
}

/* Asks for what misses, then f again.  miss is freed. */
static void
want(struct reload_run *r, struct node_miss *miss,
    void (*f)(struct reload_run *))
{
	int rc = -1;

	r->again = f;
	if (miss->path != NULL && r->attempt++ < ATTEMPTS) {
		r->refs++;
		rc = nodes_want(r->job->m->row.volume_id, &miss->commit, NULL,
		    miss->path, miss->path_len, miss->first, miss->first_len,
		    node_came, r);
		if (rc == -1)
			r->refs--;
		else
			reload_progress(r, "nodes");
	}
	node_miss_free(miss);
	if (rc == -1)
		fail(r, "unavailable", "nodes", "nodes cannot be had");
}

/* The same while programs are parked: the network may not answer for long. */
static void
want_parked(struct reload_run *r, struct node_miss *miss)
{
	unpark(r);
	want(r, miss, park);
}

/* ---- its end ---------------------------------------------------------------------- */

static json_t *
answer_of(const struct reload_run *r)
{
	const struct mount_row *row = &r->job->m->row;
	json_t *stash = json_null(), *answer;
	uint64_t items = 0;

	if (r->stashed != 0) {
		(void)db_stash_item_count(manifest_db, r->stashed, &items);
		stash = json_pack("{s:I,s:I,s:I,s:o}", "id",
		    (json_int_t)r->stashed, "changes", (json_int_t)items,
		    "files", (json_int_t)r->stashed_files, "path",
		    json_name(row->path, strlen(row->path)));
	}
	answer = json_pack("{s:{s:o,s:I,s:b,s:o,s:I,s:o}}", "result", "commit",
	    json_hash(&row->base), "number", (json_int_t)row->base_number,
	    "changed", r->changed, "stash", stash, "open_writers",
	    (json_int_t)r->open_writers, "not_kept",
	    r->gone.sockets != NULL ? json_incref(r->gone.sockets)
				    : json_array());
	if (r->restore)
		json_object_set_new(json_object_get(answer, "result"),
		    "restored", json_integer((json_int_t)r->stash_id));
	return answer;
}

static void
refuse_dirty(struct reload_run *r)
{
	const struct mount_row *row = &r->job->m->row;
	uint64_t names = 0, objects = 0;
	char what[1024];

	(void)db_dirty_count(manifest_db, row->row, &names, &objects);
	snprintf(what, sizeof(what),
	    "%.512s has changes that are not published: %llu names, %llu "
	    "files; %s",
	    row->path, (unsigned long long)names, (unsigned long long)objects,
	    r->restore
		? "commit them, or put them into a stash too, by reload"
		: "commit them, or reload without --if-clean, which puts them "
		  "into a stash, or with --keep, which leaves them in view");
	fail(r, "refused", "dirty", what);
}

static void
refuse_stash(struct reload_run *r)
{
	char what[512];

	stash_full_text(what, sizeof(what));
	fail(r, "refused", "stash_full", what);
}

/* What changed is more than fuse and the kernel are told of. */
static void
refuse_large(struct reload_run *r)
{
	char what[1024];

	snprintf(what, sizeof(what),
	    "%.512s differs from what it would show at more than %zu names, or "
	    "their paths take more than %zu MiB: umount it, and mount it again",
	    r->job->m->row.path, DIFF_MAX_NAMES, DIFF_MAX_BYTES >> 20);
	fail(r, "too_large", "reload_too_large", what);
}

static void
finish(struct reload_run *r)
{
	struct mount *m = r->job->m;

	log_info("mount %s: shows commit number %llu", m->row.path,
	    (unsigned long long)m->row.base_number);
	if (stash_trim(manifest_db) == -1)
		log_warn("stashes: keeping within their limits");
	lease_renew(m);
	reload_after(m, &r->diff, &r->gone);
	job_done(r->job, answer_of(r), 0);
}

static void
told(struct mount *m, void *arg, int error)
{
	struct reload_run *r = arg;

	(void)m;
	if (came(r) || error == ENODEV)
		return;
	finish(r);
}

static void
switched(struct mount *m, void *arg, int error, uint32_t writers, int tell_fd)
{
	struct reload_run *r = arg;

	if (came(r) || error != 0) {
		if (tell_fd != -1)
			close(tell_fd);
		return; /* the mount goes */
	}
	r->parked = 0;
	collect_first_end(&r->first);
	r->open_writers = writers;
	if (tell_fd == -1) {
		finish(r);
		return;
	}
	r->refs++;
	if (ask_tell(m, tell_fd, told, r) == -1) {
		r->refs--;
		log_warn("mount %s: telling the kernel", m->row.path);
		finish(r);
	}
}

/* ---- the switch ------------------------------------------------------------------------------ */

/* Nothing is kept, or, where nothing else could be lost, the sockets. */
static int
drop_rows(struct reload_run *r, struct mount_row *row, struct node_miss *miss)
{
	const struct delta_set *set = &r->set;
	size_t i;

	if (r->if_clean && set->nnot_kept > 0)
		return rebase_keep(manifest_db, row, &r->base, r->number, 1,
		    r->attempt, &r->gone, miss);
	if (rebase_drop(manifest_db, row, &r->base, r->number, &r->gone,
		miss) == -1 ||
	    (r->gone.sockets = json_array()) == NULL)
		return -1;
	for (i = 0; i < set->nnot_kept; i++)
		if (json_array_append_new(r->gone.sockets,
			json_name(set->not_kept[i].path,
			    set->not_kept[i].len)) == -1)
			return -1;
	return 0;
}

static int
change_rows(struct reload_run *r, struct mount_row *row, struct node_miss *miss)
{
	if (r->keep)
		return rebase_keep(manifest_db, row, &r->base, r->number, 0,
		    r->attempt, &r->gone, miss);
	if (r->restore)
		return stash_restore(manifest_db, row, r->stash_id, miss);
	if (stash_put(manifest_db, row, &r->set, &r->stashed,
		&r->stashed_files) == -1)
		return -1;
	return drop_rows(r, row, miss);
}

static void
send_switch(struct reload_run *r)
{
	struct mount *m = r->job->m;
	int fd;

	fd = memfd_new("differences",
	    r->diff.out.data != NULL ? (const void *)r->diff.out.data : "",
	    r->diff.out.len);
	if (fd == -1)
		fatal("differences of a reload");
	r->refs++;
	if (ask_switch(m, fd, switched, r) == -1)
		fatal("mount %s: the switch of a reload", m->row.path);
}

/* Should manifest die now, the switch is made by the next one. */
static int
save_switch(struct reload_run *r)
{
	char *sockets = NULL;
	struct wbuf w;
	int rc = -1;

	if (r->gone.sockets != NULL &&
	    (sockets = json_dumps(r->gone.sockets, JSON_COMPACT)) == NULL)
		return -1;
	wbuf_init(&w, 64);
	wbuf_u64(&w, (uint64_t)r->stashed);
	wbuf_u64(&w, r->stashed_files);
	wbuf_u8(&w, (uint8_t)r->changed);
	if (w.error == 0 &&
	    db_job_item_put(manifest_db, r->job->id, 0, 0, w.data, w.len) ==
		0 &&
	    db_job_item_put(manifest_db, r->job->id, 1, 0, r->diff.out.data,
		r->diff.out.len) == 0 &&
	    (sockets == NULL ||
		db_job_item_put(manifest_db, r->job->id, 2, 0, sockets,
		    strlen(sockets)) == 0))
		rc =
		    db_job_state(manifest_db, r->job->id, JOB_PUBLISHING, NULL);
	wbuf_free(&w);
	free(sockets);
	return rc;
}

static int
load_switch(struct reload_run *r)
{
	uint8_t *data, *diff;
	struct rbuf b;
	size_t len, diff_len;

	if (db_job_item_get(manifest_db, r->job->id, 0, &data, &len) == -1)
		return -1;
	rbuf_init(&b, data, len);
	r->stashed = (int64_t)rbuf_u64(&b);
	r->stashed_files = rbuf_u64(&b);
	r->changed = rbuf_u8(&b);
	free(data);
	if (rbuf_end(&b) == -1) {
		errno = EBADMSG;
		return -1;
	}
	if (db_job_item_get(manifest_db, r->job->id, 1, &diff, &diff_len) == -1)
		return -1;
	memset(&r->diff, 0, sizeof(r->diff));
	wbuf_init(&r->diff.out, diff_len + 1);
	wbuf_bytes(&r->diff.out, diff, diff_len);
	free(diff);
	r->has_diff = 1;
	if ((errno = r->diff.out.error) != 0)
		return -1;
	if (db_job_item_get(manifest_db, r->job->id, 2, &data, &len) == 0) {
		r->gone.sockets = json_loadb((char *)data, len, 0, NULL);
		free(data);
	}
	return reload_gone_load(r->job->m, &r->gone);
}

/*
 * In one step, inside of the transaction; what is as in the bases, which were
 * compared before, is not compared again.
 */
static int
compare_rows(struct reload_run *r, struct snap *before, struct snap *after,
    struct node_miss *miss)
{
	struct snap_cmp *c;
	int rc;

	c = snap_cmp_begin(before, after, r->has_bases ? &r->bases : NULL);
	if (c == NULL)
		return -1;
	while ((rc = snap_cmp_step(c, SIZE_MAX, miss)) == 1)
		;
	if (rc == -1) {
		snap_cmp_free(c);
		return -1;
	}
	snap_cmp_take(c, &r->diff);
	r->has_diff = 1;
	return rebase_origins(&r->gone, &r->diff.out);
}

/* Why it did not come about. */
static void
refuse_switch(struct reload_run *r, int error, const struct node_miss *where)
{
	char what[640];

	if (error == EDQUOT)
		refuse_stash(r);
	else if (error == EFBIG && where->path != NULL) {
		seen_too_many(where, what, sizeof(what));
		fail(r, "too_large", "too_many_seen", what);
	} else if (error == EFBIG)
		refuse_large(r);
	else if (error == ENOENT)
		fail(r, "not_found", "switch",
		    r->restore
			? "no such stash"
			: "the newest commit does not have this directory");
	else if (error == EBUSY)
		fail(r, "unavailable", "busy",
		    "its changes are looked at in vain: ask again");
	else
		fail(r, "internal", "switch", strerror(error));
}

/*
 * All in one transaction; where a node is missing it is taken back, and done
 * again when it came.
 */
static void
switch_rows(struct reload_run *r)
{
	struct mount *m = r->job->m;
	struct mount_row saved = m->row;
	struct snap *before, *after;
	struct node_miss miss;
	int rc = -1, error;

	memset(&miss, 0, sizeof(miss));
	/* One that came while changes were collected or waited for knows of no
	   reload. */
	if (!m->started || m->fuses != r->fuses) {
		collect_drop(&r->set);
		if (m->broken)
			fail(r, "unavailable", "journal", JOURNAL_BROKEN);
		else
			park(r);
		return;
	}
	if ((before = snap_take(manifest_db, &m->row, &miss)) == NULL ||
	    db_begin_durable(manifest_db) == -1)
		goto done;
	if (change_rows(r, &m->row, &miss) == -1)
		goto rollback;
	if ((after = snap_take(manifest_db, &m->row, &miss)) == NULL)
		goto rollback;
	rc = compare_rows(r, before, after, &miss);
	before = NULL;
	if (rc == -1)
		goto rollback;
	rc = -1;
	r->changed = hash_cmp(&saved.base, &m->row.base) != 0;
	if (save_switch(r) == 0 && db_commit(manifest_db) == 0)
		rc = 0;
rollback:
	if (rc == -1) {
		error = errno;
		db_rollback(manifest_db);
		errno = error;
	}
done:
	error = errno;
	snap_free(before);
	collect_drop(&r->set);
	if (rc == 0) {
		m->rows_changed++;
		r->job->state = JOB_PUBLISHING;
		node_miss_free(&miss);
		if (r->has_bases)
			snap_diff_free(&r->bases);
		r->has_bases = 0;
		send_switch(r);
		return;
	}
	/* Strings are not changed: the numbers of before are. */
	m->row = saved;
	if (r->has_diff)
		snap_diff_free(&r->diff);
	r->has_diff = 0;
	free(r->gone.ovls);
	wbuf_free(&r->gone.origins);
	json_decref(r->gone.sockets);
	memset(&r->gone, 0, sizeof(r->gone));
	r->stashed = 0;
	if (error == ENODATA)
		want_parked(r, &miss);
	else {
		refuse_switch(r, error, &miss);
		node_miss_free(&miss);
	}
}

/* 1: there is something that must not be overwritten. */
static int
is_refused(const struct reload_run *r)
{
	const struct delta_item *it;
	size_t i;

	for (i = 0; (r->if_clean || r->restore) && i < r->set.n; i++) {
		it = &r->set.items[i];
		/* What a mapping has stored into a suspect one, restore would
		   lose. */
		if (it->kind != 0 || it->hash == HASH_NEEDED ||
		    (r->restore && it->hash == HASH_SUSPECT))
			return 1;
	}
	return 0;
}

static void
collected(void *arg, int error, struct delta_set *set, struct node_miss *miss)
{
	struct reload_run *r = arg;

	r->set = *set;
	if (error == ENODATA) {
		want_parked(r, miss);
		return;
	}
	if (error != 0)
		refuse_switch(r, error, miss);
	else if (is_refused(r))
		refuse_dirty(r);
	else
		switch_rows(r);
	node_miss_free(miss);
}

/* Programs are parked, and all that they did is in the rows: nothing changes
   them until switch_rows(). */
static void
collect_rows(struct reload_run *r)
{
	if (r->keep)
		switch_rows(r);
	else if (collect_begin_first(&r->first, &r->collecting, r->attempt,
		     collected, r) == -1)
		fail(r, "internal", "memory", "out of memory");
}

static void
applied(struct mount *m, void *arg)
{
	struct reload_run *r = arg;

	(void)m;
	if (!came(r))
		collect_rows(r);
}

/* Rows will never be as fuse has them. */
static void
never_applied(struct mount *m, void *arg)
{
	struct reload_run *r = arg;

	(void)m;
	if (!came(r))
		fail(r, "unavailable", "journal", JOURNAL_BROKEN);
}

static void
wait_applied(struct mount *m, struct reload_run *r, uint64_t offset,
    applied_cb f)
{
	r->refs++;
	if (applied_wait_or(m, offset, f, never_applied, r) == 0)
		return;
	if (errno == EIO)
		never_applied(m, r);
	else if (!came(r))
		fail(r, "internal", "journal", strerror(errno));
}

static void
parked(struct mount *m, void *arg, int error, uint64_t offset)
{
	struct reload_run *r = arg;

	if (came(r))
		return;
	if (error == ENODEV)
		return;
	if (error != 0) {
		fail(r, "internal", "fuse", strerror(error));
		return;
	}
	r->fuses = m->fuses;
	wait_applied(m, r, offset, applied);
}

static void
park(struct reload_run *r)
{
	r->refs++;
	r->parked = 1;
	collect_first(&r->first, r->job->m);
	if (ask_reload(r->job->m, parked, r) == -1) {
		r->refs--;
		r->parked = 0;
		fail(r, "internal", "fuse", strerror(errno));
	}
}

/* ---- what is needed before it ---------------------------------------------------------------------- */

static int
overlay_empty(const struct mount *m)
{
	struct name_row *rows;
	struct obj o;
	size_t n;
	int dirty;

	if (db_names_of_dir(manifest_db, m->row.row, OVL_ROOT, "", 0, 0, 1,
		&rows, &n) == -1)
		return 0;
	free(rows);
	if (n > 0 || db_obj_get(manifest_db, m->row.row, OVL_ROOT, &o) == -1)
		return 0;
	dirty = o.changed_attr != 0 || o.changed_content != 0;
	obj_free(&o);
	return !dirty;
}

static void compare_bases(struct reload_run *);

static void
slice_due(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	compare_bases(arg);
}

static void
refuse_base(struct reload_run *r, int error)
{
	if (error == EFBIG)
		refuse_large(r);
	else if (error == ENOENT || error == ENOTDIR)
		fail(r, "not_found", "base",
		    "the newest commit does not have this directory");
	else
		fail(r, "internal", "base", strerror(error));
}

/*
 * While programs go on: all nodes of the difference between both bases.  A
 * slice of it; what is too much is refused before anything has changed.
 */
static void
compare_bases(struct reload_run *r)
{
	struct timeval now = { 0, 0 };
	monotime_t until = monotime_add_ms(monotime_now(), SLICE_MS);
	struct node_miss miss;
	int rc, error;

	memset(&miss, 0, sizeof(miss));
	while ((rc = snap_cmp_step(r->cmp, SLICE_NAMES, &miss)) == 1 &&
	    !monotime_reached(until))
		;
	if (rc == -1 && errno == ENODATA) {
		want(r, &miss, compare_bases);
		return;
	}
	error = errno;
	node_miss_free(&miss);
	if (rc == -1)
		refuse_base(r, error);
	else if (rc == 0) {
		snap_cmp_take(r->cmp, &r->bases);
		r->cmp = NULL;
		r->has_bases = 1;
		park(r);
	} else {
		if (r->slice == NULL)
			r->slice = evtimer_new(proc_base(), slice_due, r);
		if (r->slice == NULL || evtimer_add(r->slice, &now) == -1)
			refuse_base(r, ENOMEM);
	}
}

static void
prefetch(struct reload_run *r)
{
	struct mount_row *row = &r->job->m->row;
	struct snap *before = NULL, *after = NULL;
	struct node_miss miss;
	struct entry *root;

	memset(&miss, 0, sizeof(miss));
	if (place_entry(&r->base, row->subpath, strlen(row->subpath), &root,
		&miss) == -1)
		goto fail;
	free(root);
	if ((before = snap_of_base(row, &row->base, &miss)) == NULL ||
	    (after = snap_of_base(row, &r->base, &miss)) == NULL)
		goto fail;
	node_miss_free(&miss);
	if ((r->cmp = snap_cmp_begin(before, after, NULL)) == NULL)
		refuse_base(r, errno);
	else
		compare_bases(r);
	return;
fail:
	snap_free(before);
	if (errno == ENODATA)
		want(r, &miss, prefetch);
	else {
		node_miss_free(&miss);
		refuse_base(r, errno);
	}
}

/* ---- the head is the base: is there anything to do? ----------------------------------------- */

static void
looked(struct mount *m, void *arg)
{
	struct reload_run *r = arg;

	if (came(r))
		return;
	if (overlay_empty(m))
		job_done(r->job, answer_of(r), 0);
	else
		prefetch(r);
}

static void
look_from(struct mount *m, void *arg, int error, uint64_t offset)
{
	struct reload_run *r = arg;

	if (came(r) || error == ENODEV)
		return;
	if (error != 0) {
		fail(r, "internal", "fuse", strerror(error));
		return;
	}
	wait_applied(m, r, offset, looked);
}

/* The rows tell once the journal is applied to where fuse is. */
static void
look(struct reload_run *r)
{
	r->refs++;
	if (ask_sync(r->job->m, look_from, r) == -1) {
		r->refs--;
		fail(r, "internal", "fuse", strerror(errno));
	}
}

static int
number_of(const struct hash *commit, uint64_t *number)
{
	const char *why;
	struct commit c;
	struct blob *b;

	if ((b = db_commit_get(manifest_db, commit)) == NULL)
		return -1;
	if ((why = commit_decode(b->data, b->len, &c)) == NULL)
		*number = c.number;
	blob_unref(b);
	errno = EBADMSG;
	return why == NULL ? 0 : -1;
}

static void
head_came(void *arg, const struct server_answer *a)
{
	struct reload_run *r = arg;
	struct mount *m = r->job->m;
	char what[512], code[64];
	const char *why;
	int complete;

	r->request = 0;
	if (a->status != 200) {
		server_error(a, what, sizeof(what), code, sizeof(code));
		if (((a->status == 0 && !a->untrusted) || a->status >= 500) &&
		    ++r->tries < HEAD_TRIES) {
			log_warnx("mount %s: reload: %s, try %u of %d",
			    m->row.path, what, r->tries, HEAD_TRIES);
			ask_head(r);
		} else
			fail(r, server_error_type(a->status), code, what);
		return;
	}
	if ((why = nodes_take_bundle(m->row.volume_id, a->data, a->len,
		 &r->base, &complete)) != NULL) {
		fail(r, "unavailable", "bad_answer", why);
		return;
	}
	if (number_of(&r->base, &r->number) == -1) {
		fail(r, "unavailable", "bad_answer",
		    "a head without its commit");
		return;
	}
	if (*m->row.subpath == '\0' && !nodes_commit_whole(&r->base)) {
		fail(r, "permission", "key_limited",
		    "the key sees a part of the volume alone");
		return;
	}
	if (hash_cmp(&r->base, &m->row.base) != 0)
		prefetch(r);
	else if (r->keep)
		job_done(r->job, answer_of(r), 0);
	else
		look(r);
}

static void
ask_head(struct reload_run *r)
{
	struct mount *m = r->job->m;
	char target[256], have[HASH_HEX_LEN + 1];

	hash_hex(&m->row.base, have);
	snprintf(target, sizeof(target),
	    "/v1/volumes/%s/head?have=%s&budget=%d&depth=64", m->row.volume_id,
	    have, HEAD_BUDGET);
	r->request = server_request(1, target, NULL, -1, 1, HEAD_ANSWER_MAX,
	    head_came, r);
	if (r->request == 0)
		fail(r, "unavailable", "no_answer",
		    "sailvol-fetch cannot be asked");
	else
		reload_progress(r, "head");
}

static struct reload_run *
run_new(struct job *j)
{
	struct reload_run *r;

	if ((r = calloc(1, sizeof(*r))) == NULL) {
		job_error(j, "internal", "memory", "out of memory");
		return NULL;
	}
	r->job = j;
	j->run = r;
	j->stop = reload_stop;
	j->may_cancel = may_cancel;
	return r;
}

/* The rows moved before a restart, and fuse does not know yet. 1: it goes on. */
static int
resume(struct reload_run *r)
{
	if (r->job->state != JOB_PUBLISHING)
		return 0;
	r->parked = 1;
	if (load_switch(r) == -1) {
		/* Of what cannot be had now the next manifest tells fuse. */
		if (errno != ENOENT && errno != EBADMSG)
			fatal("mount %s: an interrupted reload",
			    r->job->m->row.path);
		fail(r, "internal", "database", "an interrupted reload");
		return 1;
	}
	send_switch(r);
	return 1;
}

void
reload_start(struct job *j)
{
	struct reload_run *r;

	if (j->m->has_commit) {
		job_error(j, "refused", "fixed_commit",
		    "the mount shows one commit for good");
		return;
	}
	if ((r = run_new(j)) == NULL)
		return;
	if (resume(r))
		return;
	r->keep = json_is_true(json_object_get(j->request, "keep"));
	r->if_clean = json_is_true(json_object_get(j->request, "if_clean"));
	r->stash = json_is_true(json_object_get(j->request, "stash"));
	if (r->stash) {
		/* Nothing of that needs the server. */
		r->base = j->m->row.base;
		r->number = j->m->row.base_number;
		look(r);
	} else
		ask_head(r);
}

void
restore_go_on(struct reload_run *r)
{
	if (!came(r))
		park(r);
}

void
restore_start(struct job *j)
{
	struct reload_run *r;

	if ((j->m->flags & MOUNT_READONLY) || j->m->has_commit) {
		job_error(j, "refused", "read_only", "the mount is read-only");
		return;
	}
	if ((r = run_new(j)) == NULL)
		return;
	if (resume(r))
		return;
	r->restore = 1;
	r->stash_id = json_integer_value(json_object_get(j->request, "id"));
	if (j->m->letting_go == 0) {
		park(r);
		return;
	}
	/* What it brings back may be among what fuse is told to let go. */
	r->refs++;
	j->m->restores = r;
}
