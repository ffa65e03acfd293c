/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * requests: what each command of sailvolctl(8) does: an exit status each.  In
 * sailvolctl.
 */
#ifndef SAILVOLCTL_REQUESTS_H
#define SAILVOLCTL_REQUESTS_H

#include <jansson.h>

struct failure;
struct invocation;

/* Ends the sailvol-fetch, shows result (taken; NULL: failure is set), and gives
   the exit status. */
int api_finish(const struct invocation *, json_t *result, struct failure *);
/* The same of what was shown while it came; rc -1: failure is set. */
int api_finish_shown(const struct invocation *, int rc, struct failure *);
/* Of what was typed wrongly: says so, and gives the exit status. */
int misused(const struct invocation *, struct failure *);
/* -1 with failure set: the word cannot be the name or id of a volume. */
int check_volume(const char *, struct failure *);

/* VOLUME[:/SUBPATH] into a request; -1 with failure set. */
int request_add_volume(json_t *request, const char *arg, struct failure *);
/* "path": taken; NULL: failure is set.  -1 likewise. */
int request_add_path(json_t *request, char *path, struct failure *);
/* BASE:COUNT as [base, count]; NULL: it is not that. */
json_t *request_uids(const char *arg);

int run_mount(const struct invocation *);
int run_umount(const struct invocation *);
int run_commit(const struct invocation *);
int run_reload(const struct invocation *);
int run_restart(const struct invocation *);
int run_status(const struct invocation *);
int run_log(const struct invocation *);
int run_diff(const struct invocation *);
int run_show(const struct invocation *);
int run_restore(const struct invocation *);
int run_ls(const struct invocation *);
int run_get(const struct invocation *);
int run_rm(const struct invocation *);
int run_put(const struct invocation *);
int run_stash_list(const struct invocation *);
int run_stash_show(const struct invocation *);
int run_stash_restore(const struct invocation *);
int run_stash_drop(const struct invocation *);
int run_volume_create(const struct invocation *);
int run_volume_list(const struct invocation *);
int run_volume_get(const struct invocation *);
int run_volume_delete(const struct invocation *);
int run_volume_rename(const struct invocation *);
int run_volume_fork(const struct invocation *);
int run_volume_restore(const struct invocation *);
int run_key_create(const struct invocation *);
int run_key_list(const struct invocation *);
int run_key_revoke(const struct invocation *);
int run_completion(const struct invocation *);
int run_help(const struct invocation *);

#endif
