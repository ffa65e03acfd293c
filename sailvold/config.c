/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * config: the parts of sailvold.conf(5) that the grammar does not do itself,
 * and its printing.  In the parent.
 */
#include <inttypes.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>

#include "lib/conf_lex.h"
#include "lib/log.h"
#include "sailvold/config.h"
#include "sailvold/sailvold_imsg.h"

const char *const conf_role_names[CONF_ROLES] = { "fuse", "manifest", "cache",
	"fetch", "metrics" };

void
conf_volume_free(struct conf_volume *v)
{
	if (v == NULL)
		return;
	free(v->name);
	free(v->path);
	free(v->subpath);
	free(v);
}

void
config_free(struct config *c)
{
	struct conf_volume *v;
	size_t i;

	if (c == NULL)
		return;
	while ((v = TAILQ_FIRST(&c->volumes)) != NULL) {
		TAILQ_REMOVE(&c->volumes, v, link);
		conf_volume_free(v);
	}
	for (i = 0; i < CONF_ROLES; i++)
		free(c->users[i]);
	free(c->api_url);
	free(c->key_file);
	free(c->ca_file);
	free(c->state);
	free(c->cache);
	free(c->control);
	free(c->control_owner);
	free(c->control_group);
	free(c->pid_file);
	free(c->metrics_port_file);
	explicit_bzero(c->key, sizeof(c->key));
	free(c);
}

const char *
config_path_problem(const char *path)
{
	const char *p = path;
	size_t n;

	if (*path != '/')
		return "not an absolute path";
	if (strlen(path) >= MOUNT_POINT_MAX)
		return "too long";
	while (*p != '\0') {
		p += strspn(p, "/");
		n = strcspn(p, "/");
		if ((n == 1 && p[0] == '.') ||
		    (n == 2 && p[0] == '.' && p[1] == '.'))
			return "has a component . or ..";
		p += n;
	}
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
		*uid = (uid_t)(c->users_from + (int64_t)role);
		*gid = (gid_t)*uid;
		return 0;
	}
	if ((why = config_account_problem(c->users[role])) != NULL ||
	    (pw = getpwnam(c->users[role])) == NULL) {
		log_warnx("user %s of role %s: %s (systemd-sysusers makes "
			  "them; or set \"user %s\")",
		    c->users[role], conf_role_names[role],
		    why != NULL ? why : "it went away", conf_role_names[role]);
		return -1;
	}
	*uid = pw->pw_uid;
	*gid = pw->pw_gid;
	return 0;
}

static int
differ(const char *a, const char *b)
{
	if (a == NULL || b == NULL)
		return a != b;
	return strcmp(a, b) != 0;
}

int
config_needs_restart(const struct config *a, const struct config *b)
{
	size_t i;

	for (i = 0; i < CONF_ROLES; i++)
		if (differ(a->users[i], b->users[i]))
			return 1;
	return differ(a->state, b->state) || differ(a->cache, b->cache) ||
	    differ(a->control, b->control) ||
	    differ(a->control_owner, b->control_owner) ||
	    differ(a->control_group, b->control_group) ||
	    a->control_mode != b->control_mode ||
	    a->users_from != b->users_from || a->fetchers != b->fetchers ||
	    a->transfers != b->transfers ||
	    a->transfer_memory != b->transfer_memory ||
	    a->stash_size != b->stash_size ||
	    a->stash_total != b->stash_total || a->stash_days != b->stash_days;
}

/* ---- printing ------------------------------------------------------------------- */

static void
print_line(FILE *f, const char *word, const char *s, const char *end)
{
	fprintf(f, "%s ", word);
	conf_print_string(f, s);
	fputs(end, f);
}

void
config_print_volume(const struct conf_volume *v, FILE *f)
{
	print_line(f, "volume", v->name, " {\n");
	print_line(f, "\tmount", v->path, "\n");
	if (*v->subpath != '\0')
		print_line(f, "\tsubpath", v->subpath, "\n");
	if (v->owner != 0)
		fprintf(f, "\towner %u\n", (unsigned int)v->owner);
	if (v->ids.count != 0)
		fprintf(f, "\tuids %" PRIu32 " %" PRIu32 "\n", v->ids.base,
		    v->ids.count);
	if (v->policy.commit_every != 0)
		fprintf(f, "\tcommit every %" PRIu32 "s\n",
		    v->policy.commit_every);
	if (v->policy.overlay_limit != 0)
		fprintf(f, "\toverlay size %" PRIu64 "\n",
		    v->policy.overlay_limit);
	if (v->policy.commit_on_umount)
		fputs("\tcommit on umount\n", f);
	if (v->flags & MOUNT_CREATE)
		fputs("\tcreate\n", f);
	if (v->flags & MOUNT_SUID)
		fputs("\tsuid\n", f);
	if (v->flags & MOUNT_NOEXEC)
		fputs("\tnoexec\n", f);
	if (v->has_commit)
		print_line(f, "\tcommit", v->commit, "\n");
	else if (v->flags & MOUNT_READONLY)
		fputs("\tread only\n", f);
	fputs("}\n", f);
}

static void
print_control(const struct config *c, FILE *f)
{
	print_line(f, "control", c->control, "");
	if (c->control_owner != NULL)
		print_line(f, " owner", c->control_owner, "");
	if (c->control_group != NULL)
		print_line(f, " group", c->control_group, "");
	if (c->control_mode != -1)
		fprintf(f, " mode %o", (unsigned int)c->control_mode);
	fputc('\n', f);
}

static void
print_metrics(const struct config *c, FILE *f)
{
	char at[128];

	if (!c->metrics)
		return;
	inaddr_text(&c->metrics_at, at, sizeof(at));
	fprintf(f, "metrics listen on %s", at);
	if (c->metrics_port_file != NULL)
		print_line(f, " port file", c->metrics_port_file, "");
	fputc('\n', f);
}

void
config_print(const struct config *c, FILE *f)
{
	const struct conf_volume *v;
	size_t i;

	print_line(f, "api", c->api_url, " {\n");
	print_line(f, "\tkey file", c->key_file, "\n");
	if (c->ca_file != NULL)
		print_line(f, "\tca", c->ca_file, "\n");
	fputs("}\n", f);
	print_line(f, "state", c->state, "\n");
	print_line(f, "cache", c->cache, "");
	fprintf(f, " size %" PRIu64, c->cache_size);
	if (c->cache_keep_free != 0)
		fprintf(f, " keep free %" PRIu64, c->cache_keep_free);
	fputc('\n', f);
	print_control(c, f);
	if (c->users_from != -1)
		fprintf(f, "users from %" PRId64 "\n", c->users_from);
	for (i = 0; i < CONF_ROLES; i++) {
		fprintf(f, "user %s", conf_role_names[i]);
		print_line(f, "", c->users[i], "\n");
	}
	fprintf(f, "fetchers %" PRIu32 "\n", c->fetchers);
	fprintf(f, "transfers %" PRIu32 "\n", c->transfers);
	fprintf(f, "transfer memory %" PRIu64 "\n", c->transfer_memory);
	fprintf(f, "processors awake %s\n", c->awake ? "yes" : "no");
	fprintf(f, "stash size %" PRIu64 "\n", c->stash_size);
	if (c->stash_total != 0)
		fprintf(f, "stash total %" PRIu64 "\n", c->stash_total);
	fprintf(f, "stash keep %" PRIu32 "d\n", c->stash_days);
	fprintf(f, "passthrough %s\n", c->passthrough ? "yes" : "no");
	fprintf(f, "log %s\n", c->debug ? "debug" : "info");
	if (c->pid_file != NULL)
		print_line(f, "pid file", c->pid_file, "\n");
	print_metrics(c, f);
	TAILQ_FOREACH (v, &c->volumes, link)
		config_print_volume(v, f);
}
