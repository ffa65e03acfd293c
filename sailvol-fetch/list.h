/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * list: a page of a bucket, as the store answers ListObjectsV2.
 */
#ifndef SAILVOL_FETCH_LIST_H
#define SAILVOL_FETCH_LIST_H

#include "lib/fetch_imsg.h"

/*
 * The page in these bytes of XML: NULL, or what is wrong with it, a constant
 * string.  The keys are in what list_end() frees, also after an error.
 */
struct list {
	struct fetch_list page;
	char *text[FETCH_LIST_KEYS];
};
const char *list_parse(struct list *, const void *xml, size_t len);
void list_end(struct list *);

#endif
