/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/* api_url: what can be the URL of an API server. */
#ifndef LIB_API_URL_H
#define LIB_API_URL_H

/*
 * NULL, or why not: https, or http to loopback; a host and perhaps a port, and
 * nothing behind them.  sailvol-fetch(8) looks again, by its own means.
 */
const char *api_url_problem(const char *);

/* A host as it stands in a URL ("[::1]", "localhost"): is it this machine? */
int api_url_loopback(const char *host);

#endif
