/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * role_name: the names of the roles, for logs and for -R.  In every process.
 */
#include "lib/proc.h"

static const char *const names[ROLE_MAX] = {
	[ROLE_PARENT] = "parent",
	[ROLE_FUSE] = "fuse",
	[ROLE_NOTIFY] = "notify",
	[ROLE_MANIFEST] = "manifest",
	[ROLE_CACHE] = "cache",
	[ROLE_FETCH] = "fetch",
	[ROLE_METRICS] = "metrics",
	[ROLE_TLS] = "tls",
	[ROLE_API] = "api",
	[ROLE_META] = "meta",
	[ROLE_SIGN] = "sign",
	[ROLE_STORE] = "store",
	[ROLE_CTL] = "ctl",
	[ROLE_CLIENT] = "client",
};

const char *
role_name(uint8_t role)
{
	return role < ROLE_MAX ? names[role] : "?";
}
