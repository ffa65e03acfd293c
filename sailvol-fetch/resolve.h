/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * resolve: names to addresses, by the hosts file and the name servers that the
 * parent handed to sailvol-fetch(8).
 */
#ifndef SAILVOL_FETCH_RESOLVE_H
#define SAILVOL_FETCH_RESOLVE_H

#include <stddef.h>

/* The bytes of resolv.conf(5) and hosts(5); replaces what was there. */
void resolve_config(const char *resolv, size_t resolv_len, const char *hosts,
    size_t hosts_len);

struct resolve; /* one question */

/*
 * cb is called once, never before the function has returned, unless
 * resolve_cancel was.  addrs: comma separated, IPv6 in [], or NULL and why.
 * NULL and ENOMEM.
 */
typedef void (*resolve_cb)(const char *addrs, const char *why, void *arg);
struct resolve *resolve_start(const char *host, resolve_cb cb, void *arg);
void resolve_cancel(struct resolve *);

/* Of a hosts file: the addresses of a name, comma separated; 0 none. */
int resolve_hosts(const char *hosts, size_t len, const char *host, char *out,
    size_t size);

#endif
