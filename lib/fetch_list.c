/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * fetch_list: a page of the object store's bucket, on its way from sailvol-fetch
 * to meta of sailapid(8).  In both.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/bytes.h"
#include "lib/fetch_imsg.h"

int
fetch_list_send(struct chan *c, uint32_t id, const char *url, size_t len,
    uint32_t deadline_ms)
{
	struct ibuf *b;

	if (len == 0 || len > FETCH_LIST_URL_MAX) {
		errno = ERANGE;
		return -1;
	}
	if ((b = ibuf_dynamic(64, 8 + FETCH_LIST_URL_MAX)) == NULL)
		return -1;
	if (ibuf_add_n16(b, len) == -1 || ibuf_add(b, url, len) == -1 ||
	    ibuf_add_n32(b, deadline_ms) == -1) {
		ibuf_free(b);
		return -1;
	}
	return chan_send_ibuf(c, IMSG_FETCH_LIST, id, -1, b);
}

int
fetch_list_recv(struct ibuf *b, const char **url, size_t *len,
    uint32_t *deadline_ms)
{
	uint16_t n;

	if (ibuf_get_n16(b, &n) == -1)
		return -1;
	*url = ibuf_data(b);
	*len = n;
	if (n == 0 || n > FETCH_LIST_URL_MAX || ibuf_skip(b, n) == -1 ||
	    ibuf_get_n32(b, deadline_ms) == -1 || ibuf_size(b) != 0) {
		errno = EBADMSG;
		return -1;
	}
	return 0;
}

int
fetch_key_cmp(const char *a, size_t alen, const char *b, size_t blen)
{
	size_t n = alen < blen ? alen : blen;
	int c = n == 0 ? 0 : memcmp(a, b, n);

	if (c != 0)
		return c;
	return alen < blen ? -1 : alen > blen;
}

/* Who is told of more asks for what is behind the last key. */
static int
page_ok(const struct fetch_list *l)
{
	const struct fetch_listed *k;
	uint16_t i;

	for (i = 0; i < l->n; i++) {
		k = &l->keys[i];
		if (k->len == 0 || k->len > FETCH_LIST_KEY_MAX ||
		    k->bytes > INT64_MAX ||
		    (i > 0 &&
			fetch_key_cmp(k[-1].key, k[-1].len, k->key, k->len) >=
			    0))
			return 0;
	}
	return l->n > 0 || !l->more;
}

uint8_t *
fetch_list_encode(const struct fetch_list *l, size_t *len)
{
	struct wbuf w;
	uint8_t *out;
	uint16_t i;

	if (l->n > FETCH_LIST_KEYS || !page_ok(l)) {
		errno = EBADMSG;
		return NULL;
	}
	wbuf_init(&w, FETCH_LIST_PAGE_MAX);
	wbuf_u8(&w, l->more != 0);
	wbuf_u16(&w, l->n);
	for (i = 0; i < l->n; i++) {
		wbuf_str16(&w, l->keys[i].key, l->keys[i].len);
		wbuf_u64(&w, l->keys[i].bytes);
		wbuf_i64(&w, l->keys[i].written_s);
	}
	out = wbuf_take(&w, len);
	wbuf_free(&w);
	return out;
}

struct fetch_list *
fetch_list_decode(const uint8_t *data, size_t len)
{
	struct fetch_list *l;
	struct rbuf r;
	uint8_t more;
	uint16_t i;

	if ((l = calloc(1, sizeof(*l))) == NULL ||
	    (l->data = malloc(len + 1)) == NULL) {
		free(l);
		return NULL;
	}
	if (len > 0)
		memcpy(l->data, data, len);
	rbuf_init(&r, l->data, len);
	more = rbuf_u8(&r);
	l->more = more;
	l->n = rbuf_u16(&r);
	if (more > 1 || l->n > FETCH_LIST_KEYS) {
		rbuf_fail(&r, "no page");
		l->n = 0;
	}
	for (i = 0; i < l->n; i++) {
		l->keys[i].key = (const char *)rbuf_str16(&r,
		    FETCH_LIST_KEY_MAX, &l->keys[i].len);
		l->keys[i].bytes = rbuf_u64(&r);
		l->keys[i].written_s = rbuf_i64(&r);
	}
	if (rbuf_end(&r) == 0 && page_ok(l))
		return l;
	fetch_list_free(l);
	errno = EBADMSG;
	return NULL;
}

void
fetch_list_free(struct fetch_list *l)
{
	if (l == NULL)
		return;
	free(l->data);
	free(l);
}
