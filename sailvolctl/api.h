/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * api: requests of volume, key and log to the API server (sailapi(7)): through
 * the running sailvold(8), or through a sailvol-fetch(8) of our own.  In
 * sailvolctl.
 */
#ifndef SAILVOLCTL_API_H
#define SAILVOLCTL_API_H

#include <jansson.h>

#include "sailvolctl/commands.h"
#include "sailvolctl/output.h"

/*
 * One request.  method: FETCH_METHOD_*; retry: it may be repeated when an
 * answer was lost; body: NULL or an object.  The answer's body (an empty
 * object when it has none), for json_decref(); NULL with failure set.
 */
json_t *api_request(const struct invocation *, uint8_t method, int retry,
    const char *target, const json_t *body, struct failure *);
/* Ends the sailvol-fetch, if there is one. */
void api_end(void);

#endif
