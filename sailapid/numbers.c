/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * numbers: how the numbers of meta come to api: u64 each, little-endian.  In
 * meta and api.
 */
#include "lib/bytes.h"
#include "sailapid/numbers.h"

uint8_t *
meta_numbers_encode(const struct meta_numbers *m, size_t *len)
{
	struct wbuf w;
	uint8_t *out;
	size_t i;

	wbuf_init(&w, sizeof(*m));
	wbuf_u64(&w, m->start_ms);
	wbuf_u64(&w, m->uptime_ms);
	for (i = 0; i < META_NUMBERS_COUNT; i++)
		wbuf_u64(&w, m->n[i]);
	out = wbuf_take(&w, len);
	wbuf_free(&w);
	return out;
}

int
meta_numbers_decode(struct meta_numbers *m, const void *data, size_t len)
{
	struct rbuf r;
	size_t i;

	rbuf_init(&r, data, len);
	m->start_ms = rbuf_u64(&r);
	m->uptime_ms = rbuf_u64(&r);
	for (i = 0; i < META_NUMBERS_COUNT; i++)
		m->n[i] = rbuf_u64(&r);
	return rbuf_end(&r);
}
