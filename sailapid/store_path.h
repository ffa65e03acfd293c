/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * store_path: the names on disk of a key's components; between store_file.c
 * and store_list.c, in store.
 */
#ifndef SAILAPID_STORE_PATH_H
#define SAILAPID_STORE_PATH_H

#include <stddef.h>

#include "sailapid/store_file.h"

#define STORE_PIECE_MAX 240

struct store_path {
	const char *key; /* what is left of it; NULL: nothing */
	size_t left;
	char enc[3 * STORE_KEY_MAX]; /* the component under way */
	size_t enc_len, enc_pos;
	char name[STORE_PIECE_MAX + 4]; /* of the folder or file */
	int last;                       /* it is the file */
};
void store_path_init(struct store_path *, const char *key, size_t len);
/* 1: name and last are set; 0: the end. */
int store_path_next(struct store_path *);

/* Calls f for each name in the folder but . and ..; dirfd stays open. */
int store_each_name(int dirfd, void (*f)(void *, const char *), void *arg);

#endif
