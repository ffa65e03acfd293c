/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * remove: rm: a commit that takes a path out of a volume, without a mount.  In
 * sailvolctl.
 */
#include <sys/mman.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "sailvolctl/fetch.h"
#include "sailvolctl/publish.h"
#include "sailvolctl/requests.h"
#include "sailvolctl/volpath.h"

/* The one operation, as a delta.  -1: failure is set. */
static int
make_delta(const struct volpath *v, const struct hash *commit,
    const struct entry *e, struct failure *f)
{
	struct delta_op op = { .path = (const uint8_t *)v->path,
		.len = v->len,
		.kind = DELTA_DELETE };
	uint32_t ncommits = e->type == ENTRY_DIR;
	struct delta_writer w;
	int fd;

	seen_of(e, &op.seen);
	if (e->type == ENTRY_DIR) {
		op.kind = DELTA_TREE;
		op.has_tree = 1;
		op.tree.path = op.path;
		op.tree.len = op.len;
	}
	fd = memfd_create("delta", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd != -1 &&
	    delta_begin(&w, publish_write, &fd, commit, ncommits, 0, 1) == 0 &&
	    delta_add_op(&w, &op) == 0 && delta_end(&w) == 0)
		return fd;
	failure_set(f, "", "delta", "%s", strerror(errno));
	if (fd != -1)
		close(fd);
	return -1;
}

static int
may_go(const struct invocation *inv, const struct volpath *v,
    const struct entry *e, struct failure *f)
{
	if (e->type != ENTRY_DIR || inv->opt[OPT_READONLY] != NULL)
		return 0;
	failure_set(f, "", "is_a_directory",
	    "%s: a directory: -r removes it with all that is below it",
	    v->path);
	return -1;
}

static json_t *
rm(const struct invocation *inv, const struct volpath *v, struct failure *f)
{
	struct publish p = { .inv = inv, .volume = v->volume };
	struct blob *keep = NULL, *xattrs = NULL;
	struct remote *r;
	json_t *result = NULL;
	struct entry e;
	int fd;

	if ((r = volpath_open(inv, v, f)) != NULL && fetch_interrupts(f) == 0 &&
	    volpath_find(v, r, &e, &keep, f) == 0 &&
	    may_go(inv, v, &e, f) == 0 &&
	    remote_xattrs(r, v->path, v->len, &e, &xattrs, f) == 0) {
		publish_new_session(&p);
		if (publish_begin(&p, f) == 0 &&
		    (fd = make_delta(v, remote_id(r), &e, f)) != -1)
			result = publish_delta(&p, fd, f);
	}
	blob_unref(xattrs);
	blob_unref(keep);
	remote_free(r);
	return result;
}

int
run_rm(const struct invocation *inv)
{
	struct failure f = { .whole = NULL };
	struct volpath v;
	json_t *result;
	int rc;

	rc = volpath_parse(&v, inv->operand[0], &f);
	if (rc == 0)
		rc = volpath_writable(&v, &f);
	if (rc == 0 && v.len == 0) {
		failure_set(&f, "invalid_request", "usage",
		    "%s: the root stays: sailvolctl volume delete deletes a "
		    "volume",
		    inv->operand[0]);
		rc = -1;
	}
	if (rc == -1) {
		volpath_free(&v);
		return misused(inv, &f);
	}
	result = rm(inv, &v, &f);
	volpath_free(&v);
	return api_finish(inv, result, &f);
}
