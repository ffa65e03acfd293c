/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * config: sailapid.conf(5) as the parent of sailapid(8) has it.
 */
#ifndef SAILAPID_CONFIG_H
#define SAILAPID_CONFIG_H

#include <sys/types.h>
#include <stdint.h>
#include <stdio.h>

#include "lib/inaddr.h"

#define CONFIG_DEFAULT SAIL_SYSCONFDIR "/sailapid.conf"
#define CONFIG_LISTEN_MAX 4 /* addresses of the API */
#define CONFIG_BUCKET "sail"
#define CONFIG_REGION "us-east-1"
#define CONFIG_SURVEY_LEAST 60 /* seconds */
#define CONFIG_SURVEY_MOST (366 * 86400)

struct conf_listen {
	struct inaddr at; /* len 0: none */
	int any;          /* "*": all addresses of both families */
	int tls;
	char *port_file; /* NULL, or where the port is written */
};

/* Numbers of conf.user, in the order in which `users from' counts. */
enum conf_role {
	CONF_TLS = 0,
	CONF_API,
	CONF_META,
	CONF_SIGN,
	CONF_FETCH,
	CONF_STORE,
	CONF_ROLES
};
extern const char *const conf_role_names[CONF_ROLES];

struct config {
	struct conf_listen api[CONFIG_LISTEN_MAX];
	size_t napi;
	struct conf_listen metrics; /* none: nobody is told any */
	char *database;
	char *objects; /* folder of the embedded store */
	struct conf_listen store;
	/* The store is S3 when s3_url is not NULL; then the three above are of
	   no use. */
	char *s3_url, *s3_bucket, *s3_region;
	char *s3_credentials; /* NULL: the environment */
	char *s3_ca_file;     /* NULL: the system's */
	int s3_virtual;       /* the bucket is part of the host's name */
	char *tls_certificate, *tls_key; /* files; NULL: no TLS here */
	char *users[CONF_ROLES];
	int64_t users_from; /* -1: accounts by name */
	uint32_t url_life_s;
	uint32_t survey_s; /* between surveys of the store; 0: none */
	uint32_t max_connections, per_peer, idle_s, handshake_s;
	uint32_t requests, requests_per_peer; /* that meta has at a time */
	uint32_t header_size, rate;           /* bytes, bytes a second */
	uint64_t max_body, max_answers;
	int debug;
	char *pid_file; /* NULL: none */
};

/*
 * Reads the file; NULL after messages.  All of it has been checked, but for
 * what only the machine can tell (users, folders, addresses in use).
 */
struct config *config_parse(const char *path);
void config_free(struct config *);
/* In a form that config_parse() reads back equal. */
void config_print(const struct config *, FILE *);

/* For the grammar: 0, or a constant string that says what is wrong. */
const char *config_listen_set(struct conf_listen *, const char *address,
    int tls, int64_t port);
const char *config_path_problem(const char *);
const char *config_bucket_problem(const char *);
const char *config_region_problem(const char *);
/* A bucket and an address do not make a name, nor two labels what one names. */
const char *config_virtual_problem(const char *url, const char *bucket);
/* All addresses, where the machine has no IPv6. */
void config_listen_any4(struct conf_listen *);
/* "127.0.0.1 tls port 80" */
void config_listen_text(const struct conf_listen *, char *, size_t);
/* "http://127.0.0.1:80", with that port. */
void config_listen_url(const struct conf_listen *, uint16_t port, char *,
    size_t);
uint16_t config_listen_port(const struct conf_listen *);
/* The same socket serves both, whether by TLS or not. */
int config_listen_equal(const struct conf_listen *, const struct conf_listen *);

/* NULL, or why no role can run with that account. */
const char *config_account_problem(const char *name);
/* The user and group of a role; -1 after a message. */
int config_user(const struct config *, enum conf_role, uid_t *, gid_t *);

#endif
