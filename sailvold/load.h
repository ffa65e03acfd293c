/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * load: the handlers of fuse's questions, for the rules table of manifest.c.
 */
#ifndef SAILVOLD_LOAD_H
#define SAILVOLD_LOAD_H

#include "sailvold/manifest.h"

int load_dir(struct chan *, uint32_t, struct imsg *, struct ibuf *);
int load_object(struct chan *, uint32_t, struct imsg *, struct ibuf *);
int load_chunks(struct chan *, uint32_t, struct imsg *, struct ibuf *);
/* Its questions need no answer any more. */
void load_fuse_down(struct chan *);

#endif
