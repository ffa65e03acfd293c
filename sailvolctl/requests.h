/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * requests: what each command of sailvolctl(8) does: an exit status each.  In
 * sailvolctl.
 */
#ifndef SAILVOLCTL_REQUESTS_H
#define SAILVOLCTL_REQUESTS_H

struct invocation;

int run_mount(const struct invocation *);
int run_umount(const struct invocation *);
int run_commit(const struct invocation *);
int run_reload(const struct invocation *);
int run_status(const struct invocation *);
int run_log(const struct invocation *);
int run_stash_list(const struct invocation *);
int run_stash_show(const struct invocation *);
int run_stash_restore(const struct invocation *);
int run_stash_drop(const struct invocation *);
int run_volume_create(const struct invocation *);
int run_volume_list(const struct invocation *);
int run_volume_get(const struct invocation *);
int run_volume_delete(const struct invocation *);
int run_key_create(const struct invocation *);
int run_key_list(const struct invocation *);
int run_key_revoke(const struct invocation *);

#endif
