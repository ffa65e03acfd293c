/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * mount_helper: what mount(8) and umount(8) run for a volume.  In sailvolctl.
 */
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <errno.h>
#include <mntent.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "lib/hash.h"
#include "sailvolctl/client.h"
#include "sailvolctl/commands.h"
#include "sailvolctl/history.h"
#include "sailvolctl/mount_helper.h"
#include "sailvolctl/requests.h"

#define STARTING_MS 30000 /* for a sailvold that has just been started */
#define BEGUN_MS 60000    /* for a mount that somebody else began */
#define NAP_MS 100
#define SILENT_S 60 /* without a word of it an umount goes on alone */

#define FSTAB "/etc/fstab"

struct helper {
	const char *name; /* mount.sailvol: what messages begin with */
	int umount;
	int fake, lazy, sloppy;
	const char *what, *where, *namespace;
	struct mount_options o;
};

static void say(const struct helper *, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

static void
say(const struct helper *h, const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "%s: ", h->name);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
}

static int
say_failure(const struct helper *h, struct failure *f)
{
	int status = MOUNT_EX_FAIL;

	say(h, "%s: %s", h->where, f->message);
	if (strcmp(f->type, "permission") == 0 ||
	    strcmp(f->type, "invalid_request") == 0)
		status = MOUNT_EX_USAGE;
	else if (strcmp(f->code, "memory") == 0)
		status = MOUNT_EX_SYSERR;
	failure_clear(f);
	return status;
}

static void
nap(void)
{
	static const struct timespec ts = { 0, NAP_MS * 1000 * 1000L };

	nanosleep(&ts, NULL);
}

/* ---- sailvold --------------------------------------------------------------- */

static void
no_progress(const json_t *progress)
{
	(void)progress;
}

static const struct output quiet = { .progress = no_progress };

/* 1: what it mounts is not seen here; where that cannot be known it is. */
static int
is_elsewhere(int fd)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);
	struct stat here, there;
	char path[64];

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) == -1)
		return 0;
	snprintf(path, sizeof(path), "/proc/%ld/ns/mnt", (long)cred.pid);
	if (stat(path, &there) == -1 || stat("/proc/self/ns/mnt", &here) == -1)
		return 0;
	return here.st_ino != there.st_ino || here.st_dev != there.st_dev;
}

/* NULL with failure set. */
static json_t *
ask_once(const struct helper *h, const json_t *request, struct failure *f)
{
	const struct timeval silent = { SILENT_S, 0 };
	json_t *result = NULL;
	int fd;

	if ((fd = client_open_socket(h->o.socket, f)) == -1)
		return NULL;
	if (is_elsewhere(fd))
		failure_set(f, "", "elsewhere",
		    "sailvold runs in another mount namespace: what it mounts "
		    "is not seen here");
	else if (h->umount &&
	    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &silent, sizeof(silent)) ==
		-1)
		failure_set(f, "", "socket", "%s", strerror(errno));
	else
		result = client_ask(fd, request, &quiet, f);
	close(fd);
	return result;
}

/* One that has just been started is waited for. */
static json_t *
ask(const struct helper *h, const json_t *request, struct failure *f)
{
	json_t *result;
	int ms;

	for (ms = 0;; ms += NAP_MS) {
		result = ask_once(h, request, f);
		if (result != NULL || strcmp(f->code, "starting") != 0 ||
		    ms >= STARTING_MS)
			return result;
		failure_clear(f);
		nap();
	}
}

/* ---- mount ------------------------------------------------------------------ */

/* Of a list, the object about the request's path. */
static const json_t *
at_path(const json_t *list, const json_t *request)
{
	const json_t *path = json_object_get(request, "path"), *one;
	size_t i;

	json_array_foreach(list, i,
	    one) if (json_equal(json_object_get(one, "path"), path)) return one;
	return NULL;
}

static int
same_string(const json_t *a, const json_t *b, const char *name)
{
	const char *x = json_string_value(json_object_get(a, name));
	const char *y = json_string_value(json_object_get(b, name));

	return strcmp(x != NULL ? x : "", y != NULL ? y : "") == 0;
}

/* The ids of a mount are what a request asks for: [base, count]. */
static int
same_ids(const json_t *mount, const json_t *request)
{
	const json_t *has = json_object_get(mount, "uids");
	const json_t *asked = json_object_get(request, "uids");

	if (has == NULL || asked == NULL)
		return has == asked;
	return json_integer_value(json_object_get(has, "base")) ==
	    json_integer_value(json_array_get(asked, 0)) &&
	    json_integer_value(json_object_get(has, "count")) ==
	    json_integer_value(json_array_get(asked, 1));
}

static int
is_wanted(const json_t *mount, const json_t *request)
{
	const char *commit =
	    json_string_value(json_object_get(request, "commit"));
	const char *base = json_string_value(json_object_get(mount, "base"));

	return mount != NULL && same_string(mount, request, "volume") &&
	    same_string(mount, request, "subpath") &&
	    json_is_true(json_object_get(mount, "read_only")) ==
	    json_is_true(json_object_get(request, "readonly")) &&
	    json_is_true(json_object_get(mount, "noexec")) ==
	    json_is_true(json_object_get(request, "noexec")) &&
	    same_ids(mount, request) &&
	    (commit == NULL || (base != NULL && strcmp(commit, base) == 0));
}

/*
 * What sailvold mounts by itself, because its configuration names it or it was
 * there before, fstab may name too.  1: the volume is mounted as it was asked
 * for; failure says why not.
 */
static int
is_mounted(const struct helper *h, const json_t *request, struct failure *f)
{
	json_t *status = json_pack("{s:s}", "request", "status"), *all = NULL;
	const char *state = "starting";
	const json_t *one;
	struct failure other = { .whole = NULL };
	int ms, found = 0;

	for (ms = 0; status != NULL && ms < BEGUN_MS; ms += NAP_MS) {
		if ((all = ask(h, status, &other)) == NULL)
			break;
		one = at_path(json_object_get(json_object_get(all, "daemon"),
				  "mounts"),
		    request);
		state = json_string_value(json_object_get(one, "state"));
		if (state == NULL || strcmp(state, "unmounting") == 0)
			break;
		if (strcmp(state, "mounted") == 0) {
			found =
			    is_wanted(at_path(json_object_get(all, "mounts"),
					  request),
				request);
			if (!found)
				failure_set(f, "conflict", "mounted",
				    "another volume is mounted there, or not "
				    "as it is asked for");
			break;
		}
		json_decref(all);
		all = NULL;
		nap();
	}
	failure_clear(&other);
	json_decref(all);
	json_decref(status);
	return found;
}

/* The whole id of what commit= names, in the request. */
static int
add_commit(const struct helper *h, json_t *request, struct failure *f)
{
	struct invocation inv = { .out = &output_text };
	const char *volume =
	    json_string_value(json_object_get(request, "volume"));
	char hex[HASH_HEX_LEN + 1];
	struct hash id;

	if (h->o.commit == NULL)
		return 0;
	inv.opt[OPT_SOCKET] = h->o.socket;
	if (hash_parse(&id, h->o.commit, strlen(h->o.commit)) == -1 &&
	    (h->fake ||
		history_resolve(&inv, volume, h->o.commit, &id, f) == -1))
		return h->fake ? 0 : -1;
	hash_hex(&id, hex);
	return json_object_set_new(request, "commit", json_string(hex));
}

static json_t *
request_of(const struct helper *h, struct failure *f)
{
	json_t *request, *ids = NULL;

	if (h->o.uids != NULL && (ids = request_uids(h->o.uids)) == NULL) {
		failure_set(f, "invalid_request", "bad_uids",
		    "uids=%s: two numbers are needed, as in 100000:65536",
		    h->o.uids);
		return NULL;
	}
	request = json_pack("{s:s, s:b, s:b, s:b, s:b, s:o*}", "request",
	    "mount", "readonly", h->o.readonly || h->o.commit != NULL, "noexec",
	    h->o.noexec, "create", h->o.create, "commit_on_umount",
	    h->o.commit_on_umount, "uids", ids);
	if (request == NULL)
		failure_memory(f);
	else if (request_add_volume(request, h->what, f) == 0 &&
	    request_add_path(request, client_real_path(h->where, f), f) == 0 &&
	    add_commit(h, request, f) == 0)
		return request;
	json_decref(request);
	return NULL;
}

static int
run_helper_mount(const struct helper *h)
{
	struct failure f = { .whole = NULL };
	json_t *request, *result = NULL;
	const char *warning;
	int status = 0;

	if ((request = request_of(h, &f)) == NULL)
		return say_failure(h, &f);
	if (!h->fake && (result = ask(h, request, &f)) == NULL) {
		if (strcmp(f.type, "conflict") == 0 &&
		    is_mounted(h, request, &f))
			failure_clear(&f);
		else
			status = say_failure(h, &f);
	}
	warning = json_string_value(json_object_get(result, "warning"));
	if (warning != NULL)
		say(h, "warning: %s", warning);
	/* umount(8) of util-linux 2.38 looks for umount.fuse otherwise. */
	if (status == 0 && h->o.commit_on_umount && !h->o.netdev)
		say(h,
		    "warning: without _netdev umount(8) asks nobody, and "
		    "commits nothing");
	json_decref(result);
	json_decref(request);
	return status;
}

/* ---- umount ----------------------------------------------------------------- */

/*
 * The kernel's part alone: the sailvold of it, if it runs, sees that.  One that
 * was asked and ended meanwhile may have done it.
 */
static int
umount_alone(const struct helper *h, const char *path, int asked)
{
	if (umount2(path, UMOUNT_NOFOLLOW | (h->lazy ? MNT_DETACH : 0)) == 0 ||
	    (asked && errno == EINVAL))
		return 0;
	say(h, "%s: %s", path, strerror(errno));
	return errno == EPERM || errno == EACCES ? MOUNT_EX_USAGE
						 : MOUNT_EX_FAIL;
}

/* What fstab(5) says to the mount is not said to the umount. */
static void
add_fstab(struct helper *h, const char *path)
{
	static char *socket_of; /* what h->o.socket points into */
	struct mount_options o;
	struct mntent *e;
	char why[256], *text;
	FILE *f = setmntent(FSTAB, "re");

	if (f == NULL)
		return;
	while ((e = getmntent(f)) != NULL) {
		if (strcmp(e->mnt_dir, path) != 0 ||
		    strcmp(e->mnt_type, "sailvol") != 0 ||
		    (text = strdup(e->mnt_opts)) == NULL)
			continue;
		memset(&o, 0, sizeof(o));
		(void)mount_options_parse(&o, text, 1, why, sizeof(why));
		if (o.socket != NULL) {
			h->o.socket = o.socket;
			free(socket_of);
			socket_of = text;
		} else
			free(text);
	}
	endmntent(f);
}

/* 1: it knows nothing of the mount, or does not answer. */
static int
is_not_its(const struct failure *f)
{
	return strcmp(f->type, "not_found") == 0 ||
	    strcmp(f->type, "unavailable") == 0 ||
	    strcmp(f->code, "elsewhere") == 0 || strcmp(f->code, "socket") == 0;
}

static int
run_helper_umount(struct helper *h)
{
	struct failure f = { .whole = NULL };
	json_t *request, *result;
	const char *text;
	char *path;
	int status = 0;

	if ((path = client_mount_point(h->where, &f)) == NULL)
		return say_failure(h, &f);
	if (getenv("SAILVOLD_SOCKET") == NULL)
		add_fstab(h, path);
	request = json_pack("{s:s, s:b}", "request", "umount",
	    h->lazy ? "force" : "keep", 1);
	if (request == NULL ||
	    request_add_path(request, strdup(path), &f) == -1) {
		failure_memory(&f);
		result = NULL;
	} else
		result = ask(h, request, &f);
	if (result == NULL && is_not_its(&f)) {
		status =
		    umount_alone(h, path, strcmp(f.type, "unavailable") == 0);
		failure_clear(&f);
	} else if (result == NULL)
		status = say_failure(h, &f);
	if ((text = json_string_value(json_object_get(result, "note"))) != NULL)
		say(h, "%s: %s", path, text);
	if ((text = json_string_value(json_object_get(result, "kept"))) != NULL)
		say(h, "%s: %s", path, text);
	text = json_string_value(json_object_get(result, "warning"));
	if (text != NULL)
		say(h, "warning: %s", text);
	json_decref(result);
	json_decref(request);
	free(path);
	return status;
}

/* ---- arguments -------------------------------------------------------------- */

static const char *
base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash != NULL ? slash + 1 : path;
}

int
mount_helper_named(const char *path)
{
	const char *name = path != NULL ? base_name(path) : "";

	return strncmp(name, "mount.", 6) == 0 ||
	    strncmp(name, "umount.", 7) == 0;
}

static int
usage(const struct helper *h)
{
	if (h->umount)
		fprintf(stderr,
		    "usage: %s dir [-flnrv] [-N namespace] "
		    "[-t type]\n",
		    h->name);
	else
		fprintf(stderr,
		    "usage: %s volume[:/subpath] dir [-fnsv] [-N namespace] "
		    "[-o options] [-t type]\n",
		    h->name);
	return MOUNT_EX_USAGE;
}

/* 0, or -1 when it was said what is wrong. */
static int
option_of(struct helper *h, int ch)
{
	char why[256];

	switch (ch) {
	case 1:
		if (!h->umount && h->what == NULL)
			h->what = optarg;
		else if (h->where == NULL)
			h->where = optarg;
		else
			return usage(h), -1;
		return 0;
	case 'f':
		*(h->umount ? &h->lazy : &h->fake) = 1;
		return 0;
	case 'l':
		h->lazy = 1;
		return 0;
	case 's':
		h->sloppy = 1;
		return 0;
	case 'N':
		h->namespace = optarg;
		return 0;
	case 'o':
		if (mount_options_parse(&h->o, optarg, h->sloppy, why,
			sizeof(why)) == 0)
			return 0;
		say(h, "%s", why);
		return -1;
	case '?':
	case ':':
		return usage(h), -1;
	default: /* -n, -r, -t, -v: nothing of it is ours */
		return 0;
	}
}

int
mount_helper(int argc, char **argv)
{
	struct helper h = { .name = base_name(argv[0]) };
	int ch, i;

	h.umount = *h.name == 'u';
	/* mount(8) puts -o before -s. */
	for (i = 1; i < argc; i++)
		if (!h.umount && argv[i][0] == '-' && argv[i][1] != 'o' &&
		    argv[i][1] != 'N' && strchr(argv[i], 's') != NULL)
			h.sloppy = 1;
	while ((ch = getopt(argc, argv,
		    h.umount ? "-flnrvN:t:" : "-fnsvN:o:t:")) != -1)
		if (option_of(&h, ch) == -1)
			return MOUNT_EX_USAGE;
	if (h.where == NULL || optind != argc)
		return usage(&h);
	if (h.namespace != NULL && !h.umount) {
		say(&h,
		    "-N: sailvold mounts in its own mount namespace, and not "
		    "in another");
		return MOUNT_EX_USAGE;
	}
	return h.umount ? run_helper_umount(&h) : run_helper_mount(&h);
}
