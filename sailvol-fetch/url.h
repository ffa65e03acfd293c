/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * url: which URLs and headers sailvol-fetch(8) will use.
 */
#ifndef SAILVOL_FETCH_URL_H
#define SAILVOL_FETCH_URL_H

#include <stddef.h>

#define URL_HOST_MAX 256

struct url_host {
	char host[URL_HOST_MAX]; /* lower case; an IPv6 address without [] */
	char port[8];
	int https;
	/* An address, or localhost: nothing to be resolved. */
	int literal;
};

/*
 * NULL when it may be used, else why not: https, or http to loopback; no user,
 * password or fragment; printable.
 */
const char *url_check(const char *url, size_t len, struct url_host *);
/* NULL when a server may have us send that line "Name: value" to a store. */
const char *url_header_check(const char *line, size_t len);
/* 1 when all are of [A-Za-z0-9._-]: part of a path as it stands. */
int url_plain(const char *, size_t len);

#endif
