/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * config: the parts of sailapid.conf(5) that the grammar does not do itself,
 * and its printing.  In the parent.
 */
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
	free(c->metrics.port_file);
	free(c->database);
	free(c->objects);
	free(c->s3_url);
	free(c->s3_bucket);
	free(c->s3_region);
	free(c->s3_credentials);
	free(c->s3_ca_file);
	free(c->tls_certificate);
	free(c->tls_key);
	free(c->pid_file);
	free(c);
}

/* Without TLS nothing but this machine may hear what is said. */
const char *
config_listen_set(struct conf_listen *l, const char *address, int tls,
    int64_t port)
{
	const char *why;

	l->tls = tls;
	l->any = strcmp(address, "*") == 0;
	if ((why = inaddr_set(&l->at, l->any ? "::" : address, port)) != NULL)
		return why;
	return tls || inaddr_is_loopback(&l->at)
	    ? NULL
	    : "plain HTTP is for loopback addresses only (127.0.0.1, ::1)";
}

void
config_listen_any4(struct conf_listen *l)
{
	inaddr_set_any4(&l->at, inaddr_port(&l->at));
}

uint16_t
config_listen_port(const struct conf_listen *l)
{
	return inaddr_port(&l->at);
}

void
config_listen_text(const struct conf_listen *l, char *out, size_t size)
{
	char host[INET6_ADDRSTRLEN];

	inaddr_host(&l->at, host, sizeof(host));
	snprintf(out, size, "%s%s port %u", l->any ? "*" : host,
	    l->tls ? " tls" : "", inaddr_port(&l->at));
}

void
config_listen_url(const struct conf_listen *l, uint16_t port, char *out,
    size_t size)
{
	char host[INET6_ADDRSTRLEN];

	inaddr_host(&l->at, host, sizeof(host));
	snprintf(out, size,
	    inaddr_is_six(&l->at) ? "http://[%s]:%u" : "http://%s:%u", host,
	    port);
}

int
config_listen_equal(const struct conf_listen *a, const struct conf_listen *b)
{
	const char *pa = a->port_file == NULL ? "" : a->port_file;
	const char *pb = b->port_file == NULL ? "" : b->port_file;

	return a->any == b->any && inaddr_equal(&a->at, &b->at) &&
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

static int
only(const char *s, const char *extra)
{
	return strspn(s, extra) == strlen(s);
}

#define LOWER "abcdefghijklmnopqrstuvwxyz"
#define UPPER "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGIT "0123456789"

/* What any store takes; more than one of them is stricter. */
const char *
config_bucket_problem(const char *s)
{
	size_t len = strlen(s);

	if (len < 1 || len > 63)
		return "not 1 to 63 characters";
	if (!only(s, LOWER UPPER DIGIT ".-_") || *s == '.' || *s == '-' ||
	    s[len - 1] == '.' || s[len - 1] == '-')
		return "not the name of a bucket";
	return NULL;
}

const char *
config_region_problem(const char *s)
{
	if (*s == '\0' || strlen(s) > 64 || !only(s, LOWER UPPER DIGIT "-_"))
		return "not the name of a region";
	return NULL;
}

const char *
config_virtual_problem(const char *url, const char *bucket)
{
	const char *host = strstr(url, "://") + 3;

	if (*host == '[' || only(host, DIGIT ".:"))
		return "a bucket cannot stand before an address, use style "
		       "path";
	if (!only(bucket, LOWER DIGIT "-"))
		return "the bucket's name cannot be a label of a host's name, "
		       "use style path";
	return NULL;
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

static void
print_s3(const struct config *c, FILE *f)
{
	fprintf(f, "store s3 ");
	conf_print_string(f, c->s3_url);
	fprintf(f, " {\n");
	print_string(f, "\tbucket", c->s3_bucket);
	print_string(f, "\tregion", c->s3_region);
	fprintf(f, "\tstyle %s\n", c->s3_virtual ? "virtual" : "path");
	if (c->s3_credentials != NULL)
		print_string(f, "\tcredentials file", c->s3_credentials);
	if (c->s3_ca_file != NULL)
		print_string(f, "\tca file", c->s3_ca_file);
	fprintf(f, "}\n");
}

void
config_print(const struct config *c, FILE *f)
{
	size_t i;

	for (i = 0; i < c->napi; i++)
		print_listen(&c->api[i], f);
	if (c->metrics.at.len != 0) {
		fprintf(f, "metrics ");
		print_listen(&c->metrics, f);
	}
	print_string(f, "database", c->database);
	if (c->s3_url != NULL)
		print_s3(c, f);
	else {
		fprintf(f, "store ");
		conf_print_string(f, c->objects);
		fprintf(f, " ");
		print_listen(&c->store, f);
	}
	if (c->tls_certificate != NULL) {
		fprintf(f, "tls {\n");
		print_string(f, "\tcertificate file", c->tls_certificate);
		print_string(f, "\tkey file", c->tls_key);
		fprintf(f, "}\n");
	}
	if (c->users_from != -1)
		fprintf(f, "users from %" PRId64 "\n", c->users_from);
	else
		for (i = 0; i < CONF_ROLES; i++) {
			fprintf(f, "user %s ", conf_role_names[i]);
			conf_print_string(f, c->users[i]);
			fprintf(f, "\n");
		}
	fprintf(f, "url life %us\n", c->url_life_s);
	if (c->survey_s == 0)
		fprintf(f, "survey never\n");
	else
		fprintf(f, "survey every %us\n", c->survey_s);
	fprintf(f,
	    "limits {\n\tconnections %u per peer %u\n"
	    "\trequests %u per peer %u\n"
	    "\theader size %u\n\tbody size %" PRIu64 "\n"
	    "\tanswers size %" PRIu64 "\n"
	    "\tidle %us\n\trate %u\n\thandshake %us\n}\n",
	    c->max_connections, c->per_peer, c->requests, c->requests_per_peer,
	    c->header_size, c->max_body, c->max_answers, c->idle_s, c->rate,
	    c->handshake_s);
	fprintf(f, "log %s\n", c->debug ? "debug" : "info");
	if (c->pid_file != NULL)
		print_string(f, "pid file", c->pid_file);
}
