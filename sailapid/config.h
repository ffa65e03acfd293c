/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * config: sailapid.conf(5) as the parent of sailapid(8) has it.
 */
#ifndef SAILAPID_CONFIG_H
#define SAILAPID_CONFIG_H

#include <sys/socket.h>
#include <sys/types.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>

#define CONFIG_DEFAULT SAIL_SYSCONFDIR "/sailapid.conf"
#define CONFIG_LISTEN_MAX 4 /* addresses of the API */
#define CONFIG_BUCKET "sail"
#define CONFIG_REGION "us-east-1"

struct conf_listen {
	union {
		struct sockaddr sa;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
	} addr; /* with the port, 0: the kernel picks */
	socklen_t len;
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
	char *database;
	char *objects; /* folder of the embedded store */
	struct conf_listen store;
	char *users[CONF_ROLES];
	int64_t users_from; /* -1: accounts by name */
	uint32_t url_life_s;
	uint32_t max_connections, per_peer, idle_s;
	uint64_t max_body;
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
    int64_t port);
const char *config_path_problem(const char *);
/* "127.0.0.1 port 80" */
void config_listen_text(const struct conf_listen *, char *, size_t);
uint16_t config_listen_port(const struct conf_listen *);
int config_listen_equal(const struct conf_listen *, const struct conf_listen *);

/* NULL, or why no role can run with that account. */
const char *config_account_problem(const char *name);
/* The user and group of a role; -1 after a message. */
int config_user(const struct config *, enum conf_role, uid_t *, gid_t *);

#endif
