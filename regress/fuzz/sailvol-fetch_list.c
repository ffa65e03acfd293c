/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * A page of a bucket: the XML of a hostile store, and the bytes of a hostile
 * sailvol-fetch.  What is taken is in order and within its bounds, and is the
 * same after it was written and read again.
 */
#include "regress/fuzz/fuzz.h"
#include "sailvol-fetch/list.h"

static void
page(const uint8_t *p, size_t len)
{
	struct fetch_list *l = fetch_list_decode(p, len);
	uint8_t *again;
	size_t n, i;

	if (l == NULL)
		return;
	fuzz_check(l->n <= FETCH_LIST_KEYS && (l->n > 0 || !l->more));
	for (i = 0; i < l->n; i++)
		fuzz_check(
		    l->keys[i].len > 0 && l->keys[i].len <= FETCH_LIST_KEY_MAX);
	again = fetch_list_encode(l, &n);
	fuzz_check(again != NULL && n == len && memcmp(again, p, n) == 0);
	free(again);
	fetch_list_free(l);
}

static void
listing(const uint8_t *p, size_t len)
{
	static struct list l;
	uint8_t *data;
	size_t n;

	if (list_parse(&l, p, len) == NULL &&
	    (data = fetch_list_encode(&l.page, &n)) != NULL) {
		fuzz_check(n <= FETCH_LIST_PAGE_MAX);
		page(data, n);
		free(data);
	}
	list_end(&l);
}

static void
fuzz_one(const uint8_t *p, size_t len)
{
	if (len == 0)
		return;
	if (p[0] == 0)
		listing(p + 1, len - 1);
	else
		page(p + 1, len - 1);
}
