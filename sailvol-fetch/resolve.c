/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * resolve: evdns with the settings that were handed over, for there is no
 * /etc in the chroot; a small cache.  In sailvol-fetch.
 */
#include <sys/queue.h>
#include <arpa/inet.h>
#include <errno.h>
#include <event.h>
#include <event2/dns.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "lib/monotime.h"
#include "lib/proc.h"
#include "sailvol-fetch/resolve.h"
#include "sailvol-fetch/url.h"

#define ADDRS_LEN 1024
#define ADDRS_EACH 8 /* of a family */
#define TTL_MAX_S 300
#define TTL_MIN_S 5
#define CACHE_MAX 64
#define LINE_LEN 1024

struct cached {
	TAILQ_ENTRY(cached) entry;
	char host[URL_HOST_MAX];
	char addrs[ADDRS_LEN];
	monotime_t until;
};

struct resolve {
	char host[URL_HOST_MAX];
	char addrs[ADDRS_LEN];
	resolve_cb cb; /* NULL: cancelled */
	void *arg;
	int pending; /* answers that evdns owes us */
	int ttl;
	const char *why;
	struct event later;
};

static struct evdns_base *dns;
static char *hosts;
static size_t hosts_len;
static TAILQ_HEAD(, cached) cache = TAILQ_HEAD_INITIALIZER(cache);
static unsigned int ncached;

/* ---- settings ------------------------------------------------------------ */

/* The next line without its comment; 0 at the end. */
static int
next_line(const char **p, size_t *left, char *line, size_t size)
{
	const char *nl;
	size_t n;

	if (*left == 0)
		return 0;
	nl = memchr(*p, '\n', *left);
	n = nl != NULL ? (size_t)(nl - *p) : *left;
	snprintf(line, size, "%.*s", (int)(n < size ? n : size - 1), *p);
	line[strcspn(line, "#;")] = '\0';
	n += nl != NULL;
	*p += n;
	*left -= n;
	return 1;
}

static void
add_server(const char *addr)
{
	if (addr != NULL && evdns_base_nameserver_ip_add(dns, addr) != 0)
		log_warnx("resolver: name server %s", addr);
}

static void
cache_clear(void)
{
	struct cached *c;

	while ((c = TAILQ_FIRST(&cache)) != NULL) {
		TAILQ_REMOVE(&cache, c, entry);
		free(c);
	}
	ncached = 0;
}

static void
read_resolv(const char *p, size_t len)
{
	char line[LINE_LEN], *rest, *word;
	int search = 0;

	while (next_line(&p, &len, line, sizeof(line))) {
		rest = line;
		if ((word = strtok_r(line, " \t\r", &rest)) == NULL)
			continue;
		if (strcmp(word, "nameserver") == 0) {
			add_server(strtok_r(NULL, " \t\r", &rest));
		} else if (strcmp(word, "search") == 0 ||
		    strcmp(word, "domain") == 0) {
			while ((word = strtok_r(NULL, " \t\r", &rest)) != NULL)
				evdns_base_search_add(dns, word);
			search = 1;
		}
	}
	if (search)
		evdns_base_search_ndots_set(dns, 1);
}

void
resolve_config(const char *resolv, size_t resolv_len, const char *h,
    size_t h_len)
{
	char *copy;

	if ((copy = malloc(h_len + 1)) == NULL)
		fatal("resolver");
	if (h_len > 0)
		memcpy(copy, h, h_len);
	copy[h_len] = '\0';
	free(hosts);
	hosts = copy;
	hosts_len = h_len;
	cache_clear();
	if (dns == NULL) {
		if ((dns = evdns_base_new(proc_base(), 0)) == NULL)
			fatalx("resolver: evdns_base_new");
		evdns_base_set_option(dns, "timeout:", "3");
		evdns_base_set_option(dns, "attempts:", "3");
	} else {
		evdns_base_clear_nameservers_and_suspend(dns);
		evdns_base_search_clear(dns);
	}
	read_resolv(resolv, resolv_len);
	evdns_base_resume(dns);
}

static int
addrs_add(char *out, size_t size, const char *addr)
{
	if (out[0] != '\0' && strlcat(out, ",", size) >= size)
		return -1;
	return strlcat(out, addr, size) < size ? 0 : -1;
}

/* An address as curl wants it, or NULL. */
static const char *
address(const char *text, char *buf, size_t size)
{
	struct in6_addr a6;
	struct in_addr a4;
	char canon[INET6_ADDRSTRLEN];

	if (inet_pton(AF_INET, text, &a4) == 1)
		return inet_ntop(AF_INET, &a4, buf, (socklen_t)size);
	if (inet_pton(AF_INET6, text, &a6) != 1 ||
	    inet_ntop(AF_INET6, &a6, canon, sizeof(canon)) == NULL)
		return NULL;
	snprintf(buf, size, "[%s]", canon);
	return buf;
}

int
resolve_hosts(const char *text, size_t len, const char *host, char *out,
    size_t size)
{
	char line[LINE_LEN], buf[INET6_ADDRSTRLEN + 2], *rest, *word;
	const char *addr;
	int n = 0;

	out[0] = '\0';
	while (next_line(&text, &len, line, sizeof(line))) {
		rest = line;
		if ((word = strtok_r(line, " \t\r", &rest)) == NULL ||
		    (addr = address(word, buf, sizeof(buf))) == NULL)
			continue;
		while ((word = strtok_r(NULL, " \t\r", &rest)) != NULL)
			if (strcasecmp(word, host) == 0) {
				if (addrs_add(out, size, addr) == 0)
					n++;
				break;
			}
	}
	return n;
}

/* ---- questions ----------------------------------------------------------- */

static struct cached *
cache_find(const char *host)
{
	struct cached *c;

	TAILQ_FOREACH (c, &cache, entry)
		if (strcmp(c->host, host) == 0)
			return c;
	return NULL;
}

static void
cache_drop(struct cached *c)
{
	TAILQ_REMOVE(&cache, c, entry);
	ncached--;
	free(c);
}

static void
cache_put(const struct resolve *r)
{
	struct cached *c;
	int ttl = r->ttl;

	if ((c = cache_find(r->host)) != NULL)
		cache_drop(c);
	if (ncached >= CACHE_MAX)
		cache_drop(TAILQ_FIRST(&cache));
	if ((c = calloc(1, sizeof(*c))) == NULL)
		return;
	if (ttl > TTL_MAX_S)
		ttl = TTL_MAX_S;
	if (ttl < TTL_MIN_S)
		ttl = TTL_MIN_S;
	strlcpy(c->host, r->host, sizeof(c->host));
	strlcpy(c->addrs, r->addrs, sizeof(c->addrs));
	c->until = monotime_add_ms(monotime_now(), (int64_t)ttl * 1000);
	TAILQ_INSERT_TAIL(&cache, c, entry);
	ncached++;
}

static void
finish(struct resolve *r)
{
	if (r->cb != NULL) {
		if (r->addrs[0] != '\0')
			r->cb(r->addrs, NULL, r->arg);
		else
			r->cb(NULL, r->why, r->arg);
	}
	free(r);
}

static void
on_later(int fd, short ev, void *arg)
{
	struct resolve *r = arg;

	(void)fd;
	(void)ev;
	/* It is ours alone: none of evdns is pending. */
	finish(r);
}

static void
on_answer(int result, char type, int count, int ttl, void *addresses, void *arg)
{
	struct resolve *r = arg;
	char buf[INET6_ADDRSTRLEN], addr[INET6_ADDRSTRLEN + 2];
	int i;

	if (result == DNS_ERR_NONE && count > 0 &&
	    (type == DNS_IPv4_A || type == DNS_IPv6_AAAA)) {
		for (i = 0; i < count && i < ADDRS_EACH; i++) {
			if (type == DNS_IPv4_A)
				inet_ntop(AF_INET,
				    &((struct in_addr *)addresses)[i], buf,
				    sizeof(buf));
			else
				inet_ntop(AF_INET6,
				    &((struct in6_addr *)addresses)[i], buf,
				    sizeof(buf));
			if (address(buf, addr, sizeof(addr)) != NULL)
				addrs_add(r->addrs, sizeof(r->addrs), addr);
		}
		if (r->ttl == 0 || ttl < r->ttl)
			r->ttl = ttl;
	} else if (result == DNS_ERR_NOTEXIST)
		r->why = "no such host";
	else if (r->why == NULL)
		r->why = "name server does not answer";
	if (--r->pending > 0)
		return;
	if (r->addrs[0] != '\0')
		cache_put(r);
	finish(r);
}

/* 1 when the answer is here already. */
static int
known(struct resolve *r)
{
	struct cached *c;

	if (hosts != NULL &&
	    resolve_hosts(hosts, hosts_len, r->host, r->addrs,
		sizeof(r->addrs)) > 0)
		return 1;
	if ((c = cache_find(r->host)) == NULL)
		return 0;
	if (monotime_reached(c->until)) {
		cache_drop(c);
		return 0;
	}
	strlcpy(r->addrs, c->addrs, sizeof(r->addrs));
	return 1;
}

struct resolve *
resolve_start(const char *host, resolve_cb cb, void *arg)
{
	struct timeval now = { 0, 0 };
	struct resolve *r;

	if ((r = calloc(1, sizeof(*r))) == NULL)
		return NULL;
	strlcpy(r->host, host, sizeof(r->host));
	r->cb = cb;
	r->arg = arg;
	evtimer_set(&r->later, on_later, r);
	if (known(r) || dns == NULL || evdns_base_count_nameservers(dns) == 0) {
		if (r->addrs[0] == '\0')
			r->why = "no name server";
		evtimer_add(&r->later, &now);
		return r;
	}
	/* evdns may call back at once: then not the last. */
	r->pending = 3;
	if (evdns_base_resolve_ipv4(dns, host, 0, on_answer, r) == NULL)
		r->pending--;
	if (evdns_base_resolve_ipv6(dns, host, 0, on_answer, r) == NULL)
		r->pending--;
	if (--r->pending == 0) {
		if (r->why == NULL)
			r->why = "cannot ask a name server";
		evtimer_add(&r->later, &now);
	}
	return r;
}

void
resolve_cancel(struct resolve *r)
{
	if (r == NULL)
		return;
	r->cb = NULL;
	if (r->pending == 0) {
		evtimer_del(&r->later);
		free(r);
	}
}
