/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * requests: what comes to the parent of sailvold(8) from clients through
 * manifest: who may connect, mount, umount, status.
 */
#ifndef SAILVOLD_REQUESTS_H
#define SAILVOLD_REQUESTS_H

#include "lib/proc.h"

struct config;

/* What status says of the server from now on; kept. */
void requests_configure(const struct config *);
/* Clients are taken from the control socket from now on; -1. */
int requests_listen(int fd);
/* No more. */
void requests_end(void);
int requests_on_do(struct chan *, uint32_t, struct imsg *, struct ibuf *);
int requests_on_status(struct chan *, uint32_t, struct imsg *, struct ibuf *);
int requests_on_cache_status(struct chan *, uint32_t, struct imsg *,
    struct ibuf *);

#endif
