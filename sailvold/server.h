/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * server: the handlers of sailvol-fetch's answers, for the rules table of
 * manifest.c; the questions are in manifest.h.
 */
#ifndef SAILVOLD_SERVER_H
#define SAILVOLD_SERVER_H

#include "lib/chan.h"

int server_api_res(struct chan *, uint32_t, struct imsg *, struct ibuf *);
int server_hash_res(struct chan *, uint32_t, struct imsg *, struct ibuf *);
int server_hash_progress(struct chan *, uint32_t, struct imsg *, struct ibuf *);
int server_hash_chunks(struct chan *, uint32_t, struct imsg *, struct ibuf *);
int server_upload_progress(struct chan *, uint32_t, struct imsg *,
    struct ibuf *);
int server_upload_res(struct chan *, uint32_t, struct imsg *, struct ibuf *);
/* A sailvol-fetch came or went: what waited is asked again. */
void server_fetch_up(struct chan *);
void server_fetch_down(struct chan *);

#endif
