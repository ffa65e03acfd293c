/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * roles: the processes of sailapid(8) that are this program run again; each is
 * defined in the file that has its name.
 */
#ifndef SAILAPID_ROLES_H
#define SAILAPID_ROLES_H

#include "lib/proc.h"

extern const struct role_def api_role;
extern const struct role_def meta_role;
extern const struct role_def sign_role;
extern const struct role_def store_role;
extern const struct role_def tls_role;

#endif
