/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * meta_ask: the questions of requests to sign and sailvol-fetch.
 */
#ifndef SAILAPID_META_ASK_H
#define SAILAPID_META_ASK_H

#include "sailapid/meta.h"

void ask_init(const struct meta_backend *, const struct meta_settings *);
void ask_fini(void);
/* For all objects of the request; req->pending counts. -1 and errno. */
int ask_sign(struct req *);
int ask_fetch(struct req *);
/* Forgets those of a request. */
void ask_drop(struct req *);

#endif
