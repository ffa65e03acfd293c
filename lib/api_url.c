/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * api_url: looks at the URL of an API server where a person wrote it, so that
 * the error is said there.  In the parent of sailvold, and in sailvolctl.
 */
#include <arpa/inet.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "lib/api_url.h"

#define URL_MAX 1024
#define HOST_MAX 256

/* The length of a host with its brackets, and the host without; 0: none. */
static size_t
take_host(const char *p, char host[HOST_MAX])
{
	int six = *p == '[';
	size_t n = six ? strcspn(++p, "]") : strcspn(p, ":/");

	if (n == 0 || n >= HOST_MAX || (six && p[n] != ']'))
		return (0);
	memcpy(host, p, n);
	host[n] = '\0';
	return (six ? n + 2 : n);
}

static int
is_loopback(const char *host)
{
	struct in6_addr a6;
	struct in_addr a4;

	if (inet_pton(AF_INET, host, &a4) == 1)
		return (ntohl(a4.s_addr) >> 24 == 127);
	if (inet_pton(AF_INET6, host, &a6) == 1)
		return (IN6_IS_ADDR_LOOPBACK(&a6));
	return (strcmp(host, "localhost") == 0);
}

int
api_url_loopback(const char *host)
{
	char bare[HOST_MAX];
	size_t n = take_host(host, bare);

	return (n != 0 && host[n] == '\0' && is_loopback(bare));
}

const char *
api_url_problem(const char *url)
{
	const char *p = url;
	char host[HOST_MAX];
	int plain = 0;
	long port;
	size_t n;

	if (strlen(url) >= URL_MAX)
		return ("too long");
	for (; *p != '\0'; p++)
		if (*p <= 0x20 || *p > 0x7e || strchr("\"<>@\\", *p) != NULL)
			return ("not a URL");
	if (strncmp(url, "https://", 8) == 0)
		p = url + 8;
	else if (strncmp(url, "http://", 7) == 0) {
		p = url + 7;
		plain = 1;
	} else
		return ("neither http:// nor https://");
	if ((n = take_host(p, host)) == 0)
		return ("no host");
	if (plain && !is_loopback(host))
		return ("plain http is for loopback only");
	p += n;
	if (*p == ':') {
		n = strspn(++p, "0123456789");
		port = strtol(p, NULL, 10);
		if (n == 0 || n > 5 || port < 1 || port > UINT16_MAX)
			return ("the port is not 1 to 65535");
		p += n;
	}
	if (*p == '/')
		p++;
	return (*p != '\0' ? "a path behind the host" : NULL);
}
