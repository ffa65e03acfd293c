/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * config: the parts of sailapid.conf(5) that the grammar does not do itself,
 * and its printing.  In the parent.
 */
#include <arpa/inet.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>

#include "lib/conf_lex.h"
#include "lib/log.h"
#include "sailapid/config.h"

const char *const conf_role_names[CONF_ROLES] = { "tls", "api", "meta", "sign",
	"fetch", "store" };

void
config_free(struct config *c)
{
	size_t i;

	if (c == NULL)
		return;
	for (i = 0; i < CONFIG_LISTEN_MAX; i++)
		free(c->api[i].port_file);
	for (i = 0; i < CONF_ROLES; i++)
		free(c->users[i]);
	free(c->store.port_file);
	free(c->database);
	free(c->objects);
	free(c->pid_file);
	free(c);
}

/* Without TLS nothing but this machine may hear what is said. */
const char *
config_listen_set(struct conf_listen *l, const char *address, int64_t port)
{
	if (strcmp(address, "localhost") == 0)
		address = "127.0.0.1";
	if (port < 0 || port > 65535)
		return "port is not 0 to 65535";
	memset(&l->addr, 0, sizeof(l->addr));
	if (inet_pton(AF_INET, address, &l->addr.in.sin_addr) == 1) {
		l->addr.in.sin_family = AF_INET;
		l->addr.in.sin_port = htons((uint16_t)port);
		l->len = sizeof(l->addr.in);
		if (ntohl(l->addr.in.sin_addr.s_addr) >> 24 == 127)
			return NULL;
	} else if (inet_pton(AF_INET6, address, &l->addr.in6.sin6_addr) == 1) {
		l->addr.in6.sin6_family = AF_INET6;
		l->addr.in6.sin6_port = htons((uint16_t)port);
		l->len = sizeof(l->addr.in6);
		if (IN6_IS_ADDR_LOOPBACK(&l->addr.in6.sin6_addr))
			return NULL;
	} else if (strcmp(address, "*") != 0)
		return "not an address";
	return "plain HTTP is for loopback addresses only (127.0.0.1, ::1)";
}

uint16_t
config_listen_port(const struct conf_listen *l)
{
	return ntohs(l->addr.sa.sa_family == AF_INET6 ? l->addr.in6.sin6_port
						      : l->addr.in.sin_port);
}

void
config_listen_text(const struct conf_listen *l, char *out, size_t size)
{
	char a[INET6_ADDRSTRLEN] = "?";

	if (l->addr.sa.sa_family == AF_INET6)
		inet_ntop(AF_INET6, &l->addr.in6.sin6_addr, a, sizeof(a));
	else
		inet_ntop(AF_INET, &l->addr.in.sin_addr, a, sizeof(a));
	snprintf(out, size, "%s port %u", a, config_listen_port(l));
}

int
config_listen_equal(const struct conf_listen *a, const struct conf_listen *b)
{
	const char *pa = a->port_file == NULL ? "" : a->port_file;
	const char *pb = b->port_file == NULL ? "" : b->port_file;

	return a->len == b->len && memcmp(&a->addr, &b->addr, a->len) == 0 &&
	    strcmp(pa, pb) == 0;
}

/* What is made as root has a place that does not depend on where from. */
const char *
config_path_problem(const char *p)
{
	size_t len, seen = 0;

	if (*p != '/')
		return "path does not begin with /";
	if (strlen(p) > 1024)
		return "path is longer than 1024 bytes";
	for (; *p != '\0'; p += len) {
		p += strspn(p, "/");
		len = strcspn(p, "/");
		if ((len == 1 && *p == '.') ||
		    (len == 2 && memcmp(p, "..", 2) == 0))
			return "path has . or ..";
		if (len > 255)
			return "path has a name of more than 255 bytes";
		seen += len;
	}
	return seen == 0 ? "path is /" : NULL;
}

const char *
config_account_problem(const char *name)
{
	const struct passwd *pw = getpwnam(name);

	if (pw == NULL)
		return "there is no such account";
	return pw->pw_uid == 0 || pw->pw_gid == 0 ? "it is root" : NULL;
}

int
config_user(const struct config *c, enum conf_role role, uid_t *uid, gid_t *gid)
{
	struct passwd *pw;
	const char *why;

	if (c->users_from != -1) {
		*uid = (uid_t)(c->users_from + (int)role);
		*gid = (gid_t)*uid;
		return 0;
	}
	if ((why = config_account_problem(c->users[role])) != NULL ||
	    (pw = getpwnam(c->users[role])) == NULL) {
		log_warnx("user %s for %s: %s (see \"users from\" in "
			  "sailapid.conf(5))",
		    c->users[role], conf_role_names[role],
		    why != NULL ? why : "it went away");
		return -1;
	}
	*uid = pw->pw_uid;
	*gid = pw->pw_gid;
	return 0;
}

static void
print_listen(const struct conf_listen *l, FILE *f)
{
	char text[128];

	config_listen_text(l, text, sizeof(text));
	fprintf(f, "listen on %s", text);
	if (l->port_file != NULL) {
		fprintf(f, " port file ");
		conf_print_string(f, l->port_file);
	}
	fprintf(f, "\n");
}

static void
print_string(FILE *f, const char *what, const char *s)
{
	fprintf(f, "%s ", what);
	conf_print_string(f, s);
	fprintf(f, "\n");
}

void
config_print(const struct config *c, FILE *f)
{
	size_t i;

	for (i = 0; i < c->napi; i++)
		print_listen(&c->api[i], f);
	print_string(f, "database", c->database);
	fprintf(f, "store ");
	conf_print_string(f, c->objects);
	fprintf(f, " ");
	print_listen(&c->store, f);
	if (c->users_from != -1)
		fprintf(f, "users from %" PRId64 "\n", c->users_from);
	else
		for (i = 0; i < CONF_ROLES; i++) {
			fprintf(f, "user %s ", conf_role_names[i]);
			conf_print_string(f, c->users[i]);
			fprintf(f, "\n");
		}
	fprintf(f, "url life %us\n", c->url_life_s);
	fprintf(f,
	    "limits {\n\tconnections %u per peer %u\n"
	    "\tbody size %" PRIu64 "\n\tidle %us\n}\n",
	    c->max_connections, c->per_peer, c->max_body, c->idle_s);
	fprintf(f, "log %s\n", c->debug ? "debug" : "info");
	if (c->pid_file != NULL)
		print_string(f, "pid file", c->pid_file);
}
