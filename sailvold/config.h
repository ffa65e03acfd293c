/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * config: sailvold.conf(5) as the parent of sailvold(8) has it.
 */
#ifndef SAILVOLD_CONFIG_H
#define SAILVOLD_CONFIG_H

#include <sys/queue.h>
#include <sys/types.h>
#include <stdint.h>
#include <stdio.h>

#include "lib/inaddr.h"
#include "lib/path.h"
#include "sailvold/idmap.h"
#include "sailvold/policy.h"

#define CONFIG_DEFAULT SAIL_SYSCONFDIR "/sailvold.conf"
#define CONFIG_CONTROL "/run/sailvold.sock"
#define CONFIG_GROUP "sailvol"
#define CONFIG_KEY_MAX 68 /* bytes of a key, with its NUL */

/* Numbers of conf.user, in the order in which `users from' counts. */
enum conf_role {
	CONF_FUSE = 0,
	CONF_MANIFEST,
	CONF_CACHE,
	CONF_FETCH,
	CONF_METRICS,
	CONF_ROLES
};
extern const char *const conf_role_names[CONF_ROLES];

struct conf_volume {
	TAILQ_ENTRY(conf_volume) link;
	char *name;
	char *path;     /* mount point */
	char *subpath;  /* "" or a path in the volume */
	uint32_t flags; /* MOUNT_* of sailvold_imsg.h */
	int has_commit;
	char commit[65];
	uid_t owner; /* who mounted it by a command; 0 in sailvold.conf */
	struct idmap ids;
	struct mount_policy policy;
};
TAILQ_HEAD(conf_volumes, conf_volume);

struct config {
	char *api_url, *key_file, *ca_file; /* ca_file NULL: the system's */
	char key[80];                       /* read from key_file */
	char *state;
	char *cache;
	uint64_t cache_size, cache_keep_free; /* keep 0: max(2 %, 1 GiB) */
	char *control, *control_owner, *control_group;
	int control_mode; /* -1: 0660 when there is a group, else 0600 */
	char *users[CONF_ROLES];
	int64_t users_from; /* -1: accounts by name */
	uint32_t fetchers;
	uint32_t transfers;       /* of each of them at a time */
	uint64_t transfer_memory; /* bytes; the same */
	uint64_t stash_size;
	uint64_t stash_total; /* of all mounts; 0: no limit */
	uint32_t stash_days;
	int awake; /* processors are kept awake during bursts of requests */
	int passthrough; /* files of the overlay, where the kernel can */
	int debug;
	char *pid_file;
	int metrics; /* they are served, there: */
	struct inaddr metrics_at;
	char *metrics_port_file; /* NULL, or where the port is written */
	struct conf_volumes volumes;
};

/*
 * Reads the file and the key's file; NULL after messages.  All of it has been
 * checked, but for what only the machine can tell (users, folders).
 */
struct config *config_parse(const char *path);
/* The volumes alone of a file that config_print_volume() wrote. */
struct config *config_parse_volumes(const char *path);
void config_free(struct config *);
/* In a form that config_parse() reads back equal. */
void config_print(const struct config *, FILE *);
void config_print_volume(const struct conf_volume *, FILE *);
void conf_volume_free(struct conf_volume *);

/* For the grammar: NULL, or a constant string that says what is wrong. */
const char *config_path_problem(const char *);
/* NULL, or why no role can run with that account. */
const char *config_account_problem(const char *name);
/* The user and group of a role; -1 after a message. */
int config_user(const struct config *, enum conf_role, uid_t *, gid_t *);
/* 1 when what needs a new start of the daemon differs. */
int config_needs_restart(const struct config *, const struct config *);

#endif
