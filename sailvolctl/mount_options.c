/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * mount_options: what mount.sailvol(8) makes of the options of mount(8) and of a
 * line in fstab(5).  In sailvolctl.
 */
#include <stdio.h>
#include <string.h>

#include "sailvolctl/mount_helper.h"

enum option_kind {
	OPTION_PASSED,  /* means nothing to us; perhaps with a value */
	OPTION_SET,     /* an int is 1 */
	OPTION_CLEARED, /* it is 0 */
	OPTION_VALUE,   /* a string follows = */
	OPTION_REFUSED, /* why */
};

#define SELF_NO \
	"a mount is always nosuid and nodev; only suid in sailvold.conf(5)"
#define NEW_NO "unmount it, and mount it again"
#define SYNC_NO "fsync(2) and commits are what makes things durable"
#define FIELD(f) offsetof(struct mount_options, f)

static const struct option {
	const char *name;
	enum option_kind kind;
	size_t field;
	const char *why;
} options[] = {
	{ "_netdev", OPTION_SET, FIELD(netdev), NULL },
	{ "async", OPTION_PASSED, 0, NULL },
	{ "atime", OPTION_PASSED, 0, NULL },
	{ "auto", OPTION_PASSED, 0, NULL },
	{ "comment", OPTION_PASSED, 0, NULL },
	{ "commit", OPTION_VALUE, FIELD(commit), NULL },
	{ "commit-on-umount", OPTION_SET, FIELD(commit_on_umount), NULL },
	{ "create", OPTION_SET, FIELD(create), NULL },
	{ "defaults", OPTION_PASSED, 0, NULL },
	{ "dev", OPTION_REFUSED, 0, SELF_NO },
	{ "dirsync", OPTION_REFUSED, 0, SYNC_NO },
	{ "exec", OPTION_CLEARED, FIELD(noexec), NULL },
	{ "group", OPTION_PASSED, 0, NULL },
	{ "helper", OPTION_PASSED, 0, NULL },
	{ "noatime", OPTION_PASSED, 0, NULL },
	{ "noauto", OPTION_PASSED, 0, NULL },
	{ "nodev", OPTION_PASSED, 0, NULL },
	{ "nodiratime", OPTION_PASSED, 0, NULL },
	{ "noexec", OPTION_SET, FIELD(noexec), NULL },
	{ "nofail", OPTION_PASSED, 0, NULL },
	{ "nogroup", OPTION_PASSED, 0, NULL },
	{ "noowner", OPTION_PASSED, 0, NULL },
	{ "nosuid", OPTION_PASSED, 0, NULL },
	{ "nouser", OPTION_PASSED, 0, NULL },
	{ "nousers", OPTION_PASSED, 0, NULL },
	{ "owner", OPTION_PASSED, 0, NULL },
	{ "relatime", OPTION_PASSED, 0, NULL },
	{ "remount", OPTION_REFUSED, 0, NEW_NO },
	{ "ro", OPTION_SET, FIELD(readonly), NULL },
	{ "rw", OPTION_CLEARED, FIELD(readonly), NULL },
	{ "socket", OPTION_VALUE, FIELD(socket), NULL },
	{ "suid", OPTION_REFUSED, 0, SELF_NO },
	{ "sync", OPTION_REFUSED, 0, SYNC_NO },
	{ "uhelper", OPTION_PASSED, 0, NULL },
	{ "uids", OPTION_VALUE, FIELD(uids), NULL },
	{ "user", OPTION_PASSED, 0, NULL },
	{ "users", OPTION_PASSED, 0, NULL },
};

static const struct option *
option_find(const char *name)
{
	size_t i;

	for (i = 0; i < sizeof(options) / sizeof(options[0]); i++)
		if (strcmp(options[i].name, name) == 0)
			return &options[i];
	return NULL;
}

/* Those of mount(8) and systemd.mount(5) themselves. */
static int
is_for_others(const char *name)
{
	return strncmp(name, "x-", 2) == 0 || strncmp(name, "X-", 2) == 0;
}

static int
option_take(struct mount_options *m, const struct option *o, const char *value,
    char *why, size_t size)
{
	char *at = (char *)m + o->field;

	switch (o->kind) {
	case OPTION_REFUSED:
		snprintf(why, size, "option %s: %s", o->name, o->why);
		return -1;
	case OPTION_VALUE:
		if (value == NULL || *value == '\0') {
			snprintf(why, size,
			    "option %s: a value is needed: %s=", o->name,
			    o->name);
			return -1;
		}
		memcpy(at, &value, sizeof(value));
		return 0;
	case OPTION_SET:
	case OPTION_CLEARED:
		if (value != NULL) {
			snprintf(why, size, "option %s: it takes no value",
			    o->name);
			return -1;
		}
		*(int *)(void *)at = o->kind == OPTION_SET;
		return 0;
	case OPTION_PASSED:
		break;
	}
	return 0;
}

static int
options_agree(const struct mount_options *m, char *why, size_t size)
{
	const char *what = NULL;

	if (m->commit != NULL && m->create)
		what = "commit and create: a new volume has no commits";
	else if (m->commit_on_umount && (m->readonly || m->commit != NULL))
		what = "commit-on-umount: it is read only";
	if (what != NULL)
		snprintf(why, size, "%s", what);
	return what == NULL ? 0 : -1;
}

int
mount_options_parse(struct mount_options *m, char *text, int sloppy, char *why,
    size_t size)
{
	const struct option *o;
	char *name, *value;

	while ((name = strsep(&text, ",")) != NULL) {
		if (*name == '\0' || is_for_others(name))
			continue;
		if ((value = strchr(name, '=')) != NULL)
			*value++ = '\0';
		if ((o = option_find(name)) != NULL) {
			if (option_take(m, o, value, why, size) == -1)
				return -1;
		} else if (!sloppy) {
			snprintf(why, size,
			    "unknown option: %s (mount -s passes over it)",
			    name);
			return -1;
		}
	}
	return options_agree(m, why, size);
}
