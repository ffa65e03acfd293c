/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * store_file: objects as regular files below one folder.  Runs in store, in
 * its loop and in its workers.
 *
 * A key is cut at '/' into components.  A component is the name of a folder,
 * with '%' behind it, or, the last one, of a file; so that "a" and "a/b" can
 * both be objects.  In it '%' and control characters are "%25" and the like,
 * an empty one is "%0"; one of more than 240 bytes is cut, and all but its
 * last piece are folders with "%+" behind them.  "%tmp" holds what is being
 * written.
 */
#ifndef SAILAPID_STORE_FILE_H
#define SAILAPID_STORE_FILE_H

#include <sys/stat.h>
#include <sys/types.h>
#include <stddef.h>
#include <stdint.h>

#define STORE_KEY_MAX 1024
#define STORE_DEPTH_MAX 64 /* '/' in a key */

/* NULL when it can be a key, else why not. */
const char *store_key_problem(const char *key, size_t len);

/*
 * Makes the folder of temporary files, and removes what a crash left there.
 * root stays the caller's; all functions take it.
 */
int store_setup(int root);

/* A new object in the making: a file without a name that counts. */
struct store_put {
	int fd; /* -1: none */
	char tmp[32];
};
int store_put_begin(int root, struct store_put *);
int store_put_write(struct store_put *, const void *, size_t);
/*
 * Syncs the file, gives it its name, syncs the folders that changed.
 * exclusive: EEXIST when the key is there already, for good.  The put is over in
 * every case.  May block: for a worker.
 */
int store_put_commit(int root, struct store_put *, const char *key, size_t len,
    int exclusive, struct stat *);
void store_put_abort(int root, struct store_put *);

/* Open for reading; ENOENT. */
int store_get(int root, const char *key, size_t len, struct stat *);
/* 0 when the key is there, and will be after a loss of power.  May block. */
int store_there(int root, const char *key, size_t len);
/* Removed, or not there: 0. */
int store_delete(int root, const char *key, size_t len);

/*
 * Calls f for each key that begins with prefix and is greater than after, in
 * the order of memcmp(3).  f returns STORE_LIST_STOP, STORE_LIST_NEXT, or the
 * number of first bytes of the key that those to come must not begin with.
 */
#define STORE_LIST_STOP (-1)
#define STORE_LIST_NEXT 0
int store_list(int root, const char *prefix, size_t prefix_len,
    const char *after, size_t after_len,
    int (*f)(void *arg, const char *key, size_t len, const struct stat *),
    void *arg);

#endif
