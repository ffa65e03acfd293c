/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * roles: the processes of sailvold(8) that are this program run again; each is
 * defined in the file that has its name.
 */
#ifndef SAILVOLD_ROLES_H
#define SAILVOLD_ROLES_H

#include "lib/proc.h"

extern const struct role_def fuse_role;
extern const struct role_def notify_role;
extern const struct role_def manifest_role;
extern const struct role_def cache_role;
extern const struct role_def metrics_role;

#endif
