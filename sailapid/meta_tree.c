/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * meta_tree: commits of the volume of a request, as its key may see them.  In
 * meta.
 */
#include <errno.h>

#include "sailapid/meta.h"

void
req_view(struct req *req, struct view *v)
{
	view_init(v, meta_db(), &req->vol, req->grant);
}

void
meta_commit_failed(struct req *req)
{
	if (errno == ENOENT)
		req_error(req, 404, "commit_not_found",
		    "the volume has no such commit");
	else
		req_errno(req, "commit");
}

void
meta_path_failed(struct req *req)
{
	if (errno == ENOENT)
		req_error(req, 404, "path_not_found",
		    "the commit has no such path");
	else
		req_errno(req, "path");
}
