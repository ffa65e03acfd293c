/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * numbers: what sailvol-fetch(8) counts of its requests, for who asks its
 * parent how it goes.
 */
#ifndef SAILVOL_FETCH_NUMBERS_H
#define SAILVOL_FETCH_NUMBERS_H

#include "lib/fetch_imsg.h"

/* Where to count; api: 1 for the API, 0 for objects. */
extern struct fetch_numbers numbers;
#define NUMBERS_OF(api) (&numbers.of[(api) ? FETCH_REQUESTS : FETCH_OBJECTS])
/* A try of a request to the API has ended: with the answer of a server that
   works, or not. */
void numbers_api(int answered);
int op_numbers(struct chan *, uint32_t, struct imsg *, struct ibuf *);

/* http.c: those of a class that have a place, or wait for one. */
void http_count(int api, uint64_t *running, uint64_t *waiting);

#endif
