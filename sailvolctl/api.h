/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * api: requests to the API server (sailapi(7)): through
 * the running sailvold(8), or through a sailvol-fetch(8) of our own.  In
 * sailvolctl.
 */
#ifndef SAILVOLCTL_API_H
#define SAILVOLCTL_API_H

#include <jansson.h>

#include "lib/memfd.h"
#include "sailvolctl/commands.h"
#include "sailvolctl/output.h"

/*
 * One request.  method: FETCH_METHOD_*; retry: it may be repeated when an
 * answer was lost; body: NULL or an object.  The answer's body (an empty
 * object when it has none), for json_decref(); NULL with failure set.
 */
json_t *api_request(const struct invocation *, uint8_t method, int retry,
    const char *target, const json_t *body, struct failure *);
/*
 * A sailvol-fetch of our own, for what needs one (api_post, and the chunks of
 * files: fetch.h): with the server and key of the options or the environment,
 * or, for root, those that the running sailvold was configured with.
 */
int api_direct(const struct invocation *, struct failure *);
/* After that: a binary request that may be repeated; *out is for
   memfd_unmap(). */
int api_post(const char *target, const void *body, size_t len,
    struct memfd_view *out, struct failure *);
/* The same with a sealed memfd, which it takes; deadline_ms 0: as always.  doubt
   (or NULL): it failed, and may have been done all the same. */
int api_post_file(const char *target, int fd, uint32_t deadline_ms,
    struct memfd_view *out, int *doubt, struct failure *);
/* Sets failure by an answer that is no success. */
void api_refused(int status, json_t *body, struct failure *);
/* Ends the sailvol-fetch, if there is one. */
void api_end(void);

#endif
