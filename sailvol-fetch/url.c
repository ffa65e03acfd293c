/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * url: checks the URLs and headers that the server announced.  In
 * sailvol-fetch.
 */
#include <arpa/inet.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include <curl/curl.h>

#include "sailvol-fetch/url.h"

#define URL_LEN_MAX 16384

/* What comes from an API server may not reach for other parts of a request. */
static const char *const headers_allowed[] = { "content-md5", "content-type",
	"if-none-match", "range" };

/* RFC 6761 6.3, as libcurl has it: no name server is asked. */
static int
is_localhost(const char *host)
{
	static const char below[] = ".localhost";
	size_t len = strlen(host);

	return strcmp(host, below + 1) == 0 ||
	    (len >= sizeof(below) &&
		strcmp(host + len - (sizeof(below) - 1), below) == 0);
}

static int
is_loopback(const char *host)
{
	struct in6_addr a6;
	struct in_addr a4;

	if (is_localhost(host))
		return 1;
	if (inet_pton(AF_INET, host, &a4) == 1)
		return (ntohl(a4.s_addr) >> 24) == 127;
	if (inet_pton(AF_INET6, host, &a6) == 1)
		return IN6_IS_ADDR_LOOPBACK(&a6);
	return 0;
}

static int
is_literal(const char *host)
{
	struct in6_addr a6;
	struct in_addr a4;

	return is_localhost(host) || inet_pton(AF_INET, host, &a4) == 1 ||
	    inet_pton(AF_INET6, host, &a6) == 1;
}

/* Copies a part in lower case, without the brackets of an IPv6 address. */
static int
copy_host(char *out, size_t size, const char *in)
{
	size_t i, len = strlen(in);

	if (len >= 2 && in[0] == '[' && in[len - 1] == ']') {
		in++;
		len -= 2;
	}
	if (len == 0 || len >= size)
		return -1;
	for (i = 0; i < len; i++)
		out[i] = (char)tolower((unsigned char)in[i]);
	out[len] = '\0';
	return 0;
}

static const char *
check_parts(CURLU *u, struct url_host *h)
{
	char *scheme = NULL, *host = NULL, *port = NULL, *fragment = NULL;
	const char *why = "not a URL";

	if (curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) != CURLUE_OK ||
	    curl_url_get(u, CURLUPART_HOST, &host, 0) != CURLUE_OK ||
	    curl_url_get(u, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) !=
		CURLUE_OK)
		goto end;
	if (curl_url_get(u, CURLUPART_FRAGMENT, &fragment, 0) == CURLUE_OK)
		goto end;
	why = "neither https nor http";
	if (strcmp(scheme, "https") == 0)
		h->https = 1;
	else if (strcmp(scheme, "http") != 0)
		goto end;
	why = "host is too long";
	if (copy_host(h->host, sizeof(h->host), host) == -1 ||
	    strlcpy(h->port, port, sizeof(h->port)) >= sizeof(h->port))
		goto end;
	why = "plain HTTP to a host that is not loopback";
	if (!h->https && !is_loopback(h->host))
		goto end;
	h->literal = is_literal(h->host);
	why = NULL;
end:
	curl_free(scheme);
	curl_free(host);
	curl_free(port);
	curl_free(fragment);
	return why;
}

const char *
url_check(const char *url, size_t len, struct url_host *h)
{
	const char *why = "not a URL";
	char *copy;
	CURLU *u;
	size_t i;

	memset(h, 0, sizeof(*h));
	if (len == 0 || len > URL_LEN_MAX)
		return "too long, or empty";
	for (i = 0; i < len; i++)
		if (url[i] <= 0x20 || url[i] > 0x7e || url[i] == '\\')
			return "not printable";
	if ((copy = strndup(url, len)) == NULL)
		return "out of memory";
	if ((u = curl_url()) != NULL &&
	    curl_url_set(u, CURLUPART_URL, copy,
		CURLU_DISALLOW_USER | CURLU_PATH_AS_IS) == CURLUE_OK)
		why = check_parts(u, h);
	curl_url_cleanup(u);
	free(copy);
	return why;
}

static int
name_allowed(const char *name, size_t len)
{
	size_t i;

	if (len > 6 && strncasecmp(name, "x-amz-", 6) == 0)
		return 1;
	for (i = 0; i < sizeof(headers_allowed) / sizeof(headers_allowed[0]);
	     i++)
		if (strlen(headers_allowed[i]) == len &&
		    strncasecmp(name, headers_allowed[i], len) == 0)
			return 1;
	return 0;
}

const char *
url_header_check(const char *line, size_t len)
{
	const char *colon = memchr(line, ':', len);
	size_t i, name;

	if (colon == NULL || colon == line)
		return "not a header";
	name = (size_t)(colon - line);
	for (i = 0; i < name; i++)
		if (!isalnum((unsigned char)line[i]) && line[i] != '-')
			return "not a header";
	for (; i < len; i++)
		if (line[i] < 0x20 || line[i] > 0x7e)
			return "not printable";
	return name_allowed(line, name) ? NULL : "header is not allowed";
}

int
url_plain(const char *s, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++)
		if (!isalnum((unsigned char)s[i]) && s[i] != '.' &&
		    s[i] != '_' && s[i] != '-')
			return 0;
	return len > 0 && s[0] != '.';
}
