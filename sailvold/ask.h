/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * ask: the handlers of fuse's and notify's answers, for the rules table of
 * manifest.c; the questions are in manifest.h.
 */
#ifndef SAILVOLD_ASK_H
#define SAILVOLD_ASK_H

#include "sailvold/manifest.h"

int ask_sync_res(struct chan *, uint32_t, struct imsg *, struct ibuf *);
int ask_reload_res(struct chan *, uint32_t, struct imsg *, struct ibuf *);
int ask_open_rest(struct chan *, uint32_t, struct imsg *, struct ibuf *);
int ask_open_res(struct chan *, uint32_t, struct imsg *, struct ibuf *);
int ask_switched(struct chan *, uint32_t, struct imsg *, struct ibuf *);
int ask_cache_put_res(struct chan *, uint32_t, struct imsg *, struct ibuf *);
int ask_told(struct chan *, uint32_t, struct imsg *, struct ibuf *);

void ask_fuse_started(struct mount *);
void ask_notify_up(struct mount *);
void ask_notify_down(struct mount *);
void ask_mount_gone(struct mount *);
/* Asks the parent for a notify of this mount (manifest.c). */
int parent_start_notify(struct mount *);

#endif
