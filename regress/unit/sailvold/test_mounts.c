/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * Claim: a mount that a command makes stands in the file of mounts before anybody
 * can see it; one that is tried again can be unmounted whatever it waits for, and
 * hinders no restart; a restart that cannot be ends nothing; and what does not
 * answer holds up neither umount nor the end.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <sys/resource.h>
#include <sys/wait.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "lib/handover.h"
#include "lib/log.h"
#include "lib/proc_base.h"
#include "sailvold/mnt.h"

static char dir[] = "/tmp/test_mounts.XXXXXX";
static char point[] = "/mnt/x";
static unsigned int gone, started, attached, dirty_asked;
static int listed_at_attach, attach_error;

/* ---- in place of lib/proc: manifest, which is ready, and one fuse -------------- */

struct proc {
	struct proc_spec spec;
	int ready;
	unsigned int stopped;
};

static struct proc manifest = { .ready = 1 }, fuse;

struct proc *
proc_find(uint8_t role, uint32_t instance)
{
	(void)instance;
	return role == ROLE_MANIFEST ? &manifest : NULL;
}

struct chan *
proc_chan(struct proc *p)
{
	return (struct chan *)p;
}

void *
chan_arg(const struct chan *c)
{
	return (void *)(uintptr_t)c;
}

void *
proc_arg(const struct proc *p)
{
	return p->spec.arg;
}

uint32_t
proc_instance(const struct proc *p)
{
	return p->spec.instance;
}

int
proc_ready(const struct proc *p)
{
	return p->ready;
}

int
proc_floods(struct proc *p)
{
	(void)p;
	return 0;
}

int
proc_connect(struct proc *a, struct proc *b)
{
	(void)a;
	(void)b;
	return 0;
}

struct proc *
proc_start(const struct proc_spec *spec)
{
	assert_int_equal(spec->role, ROLE_FUSE);
	started++;
	memset(&fuse, 0, sizeof(fuse));
	fuse.spec = *spec;
	return &fuse;
}

void
proc_stop(struct proc *p, int grace_ms)
{
	(void)grace_ms;
	p->stopped++;
}

int
chan_send(struct chan *c, uint32_t type, uint32_t id, int fd, const void *data,
    size_t len)
{
	(void)id;
	(void)data;
	(void)len;
	assert_ptr_equal(c, &manifest);
	assert_int_equal(fd, -1);
	gone += type == IMSG_PARENT_MANIFEST_GONE;
	dirty_asked += type == IMSG_PARENT_MANIFEST_DIRTY;
	return 0;
}

int
chan_send_ibuf(struct chan *c, uint32_t type, uint32_t id, int fd,
    struct ibuf *b)
{
	(void)c;
	(void)type;
	(void)id;
	if (fd != -1)
		close(fd);
	ibuf_free(b);
	return 0;
}

/* ---- in place of privileged.c ---------------------------------------------------- */

static point_cb point_done;
static umount_cb umount_done;
static void *point_arg, *umount_arg;

static int
is_listed(void)
{
	char path[128], text[4096] = "";
	FILE *f;
	size_t n;

	snprintf(path, sizeof(path), "%s/mounts.conf", dir);
	if ((f = fopen(path, "r")) == NULL)
		return 0;
	n = fread(text, 1, sizeof(text) - 1, f);
	text[n] = '\0';
	fclose(f);
	return strstr(text, point) != NULL;
}

int
priv_open_point(const char *path, uid_t uid, point_cb done, void *arg)
{
	(void)uid;
	assert_string_equal(path, point);
	point_done = done;
	point_arg = arg;
	return 0;
}

int
priv_make_session(struct session *s, const char *volume, int flags, char *what,
    size_t size)
{
	(void)volume;
	(void)flags;
	(void)what;
	(void)size;
	memset(s, 0, sizeof(*s));
	s->fuse_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	s->mount_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	return 0;
}

int
priv_attach(struct session *s, int point_fd)
{
	assert_int_not_equal(point_fd, -1);
	attached++;
	listed_at_attach = is_listed();
	if ((errno = attach_error) != 0)
		return -1;
	close(s->mount_fd);
	s->mount_fd = -1;
	return 0;
}

int
priv_umount(const char *path, uint64_t id, int detach, umount_cb done,
    void *arg)
{
	(void)id;
	(void)detach;
	assert_string_equal(path, point);
	umount_done = done;
	umount_arg = arg;
	return 0;
}

int
priv_make_folder(const char *path, uid_t uid, gid_t gid, mode_t mode)
{
	(void)path;
	(void)uid;
	(void)gid;
	(void)mode;
	return 0;
}

int
priv_open_folder(const char *path)
{
	(void)path;
	return open("/", O_PATH | O_CLOEXEC);
}

/* A fuse that ends with 0 says what is so. */
int
priv_session_is_over(const struct session *s)
{
	(void)s;
	return 1;
}

int
priv_open_latency(void)
{
	return -1;
}

int32_t
priv_backing_open(int fuse_fd, int folder_fd, uint64_t ovl, uid_t uid,
    gid_t gid)
{
	(void)fuse_fd;
	(void)folder_fd;
	(void)ovl;
	(void)uid;
	(void)gid;
	errno = ENOSYS;
	return -1;
}

int
priv_backing_close(int fuse_fd, uint32_t id)
{
	(void)fuse_fd;
	(void)id;
	return 0;
}

/* ---- steps of a mount -------------------------------------------------------------- */

static unsigned int answers;
static int answer;

static void
told(void *arg, int error, const char *what, const char *warning,
    uint32_t instance)
{
	(void)arg;
	(void)what;
	(void)warning;
	(void)instance;
	answers++;
	answer = error;
}

static void
add(uint32_t flags, mounts_cb done)
{
	char name[] = "x", sub[] = "";
	struct conf_volume v = { .name = name, .path = point, .subpath = sub };

	v.flags = flags;
	answers = gone = started = attached = 0;
	listed_at_attach = attach_error = 0;
	mounts_add(&v, 0, done, NULL);
}

static void
point_is(int error)
{
	point_cb done = point_done;
	struct point p;

	memset(&p, 0, sizeof(p));
	p.fd = error == 0 ? open("/", O_PATH | O_CLOEXEC) : -1;
	p.error = error;
	assert_non_null(done);
	point_done = NULL;
	done(point_arg, &p);
}

static struct mnt *
here(void)
{
	return mnt_by_path(point);
}

static int
manifest_names(int error, const char *id)
{
	struct ibuf *b = ibuf_dynamic(64, 1024);
	int rc;

	assert_int_equal(ibuf_add_n32(b, (uint32_t)error), 0);
	assert_int_equal(ibuf_add_n16(b, 0), 0);
	assert_int_equal(ibuf_add_n16(b, strlen(id)), 0);
	assert_int_equal(ibuf_add(b, id, strlen(id)), 0);
	rc = mounts_on_mount_res(proc_chan(&manifest),
	    here() != NULL ? here()->instance : 0, NULL, b);
	ibuf_free(b);
	return rc;
}

static void
manifest_says(int error)
{
	assert_int_equal(manifest_names(error, error == 0 ? "vol_" : ""), 0);
}

static void
manifest_started(void)
{
	struct ibuf *b = ibuf_dynamic(64, 1024);

	assert_int_equal(ibuf_add_n32(b, 0), 0);
	assert_int_equal(ibuf_add_n16(b, 0), 0);
	assert_int_equal(mounts_on_start_res(proc_chan(&manifest),
			     here()->instance, NULL, b),
	    0);
	ibuf_free(b);
}

static void
fuse_starts(void)
{
	fuse.ready = 1;
	fuse.spec.on_ready(&fuse, fuse.spec.arg);
	manifest_started();
}

static void
fuse_ends(void)
{
	assert_int_equal(fuse.spec.on_death(&fuse, 0, fuse.spec.arg), 0);
}

static void
go_to(enum mount_state state, mounts_cb done)
{
	add(MOUNT_BACK, done);
	assert_int_equal(here()->state, MOUNT_POINT);
	if (state == MOUNT_RETRY)
		point_is(ENOENT);
	else if (state > MOUNT_POINT)
		point_is(0);
	if (state == MOUNT_FUSE || state == MOUNT_UP)
		manifest_says(0);
	if (state == MOUNT_UP)
		fuse_starts();
	assert_int_equal(here()->state, state);
}

static void
leave_up(void)
{
	mounts_remove(point, 0, 0, told, NULL);
	umount_done(umount_arg, 0);
	fuse_ends();
	assert_null(here());
}

/* ---- tests --------------------------------------------------------------------------- */

static int fsync_fails;

int
fsync(int fd)
{
	(void)fd;
	if (!fsync_fails)
		return 0;
	errno = EIO;
	return -1;
}

static int
begin(void **state)
{
	struct config c;

	(void)state;
	log_init("test", 1, 0);
	if (mkdtemp(dir) == NULL || proc_base_init() == -1)
		return -1;
	memset(&c, 0, sizeof(c));
	c.users_from = 5000;
	c.state = dir;
	return mounts_init(&c);
}

static int
end(void **state)
{
	char path[128];

	(void)state;
	snprintf(path, sizeof(path), "%s/mounts.conf", dir);
	unlink(path);
	return rmdir(dir);
}

/* What cache would break off for, at each of its starts. */
static void
ids_of_volumes(void **state)
{
	static const char *const bad[] = { "", "a/b", "..", "-", "a b", "a\nb",
		"\xff" };
	size_t i;

	(void)state;
	add(MOUNT_BACK, told);
	point_is(0);
	assert_int_equal(here()->state, MOUNT_MANIFEST);
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(manifest_names(0, bad[i]), -1);
		assert_int_equal(here()->state, MOUNT_MANIFEST);
		assert_string_equal(here()->volume_id, "");
	}
	manifest_says(0);
	assert_string_equal(here()->volume_id, "vol_");
	fuse_starts();
	leave_up();
}

static void
listed_first(void **state)
{
	(void)state;
	add(0, told);
	point_is(0);
	manifest_says(0);
	assert_false(is_listed());
	fuse_starts();
	assert_int_equal(attached, 1);
	assert_true(listed_at_attach);
	assert_int_equal(answers, 1);
	assert_int_equal(answer, 0);
	assert_true(is_listed());
	leave_up();
	assert_false(is_listed());
	/* One that cannot be. */
	add(0, told);
	point_is(0);
	manifest_says(0);
	attach_error = ENOENT;
	fuse_starts();
	assert_int_equal(attached, 1);
	assert_int_equal(fuse.stopped, 1);
	assert_false(is_listed());
	fuse_ends();
	assert_int_equal(answers, 1);
	assert_int_equal(answer, ENOENT);
	assert_null(here());
	assert_false(is_listed());
}

static void
unmounted(unsigned int times)
{
	assert_int_equal(answers, times);
	if (times == 0)
		return;
	assert_int_equal(answer, 0);
	assert_null(here());
	assert_false(is_listed());
	assert_int_equal(attached, 0);
}

/* What cannot be written is written later; what cannot be read just now is neither
   put aside nor written over. */
static void
listed_later(void **state)
{
	struct rlimit old, none;
	struct config c;
	char cmd[256];
	int i;

	(void)state;
	add(0, told);
	point_is(0);
	manifest_says(0);
	fsync_fails = 1;
	fuse_starts();
	assert_int_equal(attached, 1);
	assert_false(is_listed());
	fsync_fails = 0;
	for (i = 0; i < 100 && !is_listed(); i++)
		event_base_loop(proc_base(), EVLOOP_ONCE);
	assert_true(is_listed());
	snprintf(cmd, sizeof(cmd), "cd %s; cp mounts.conf kept", dir);
	assert_int_equal(system(cmd), 0);
	leave_up();
	assert_false(is_listed());
	snprintf(cmd, sizeof(cmd), "cd %s; mv kept mounts.conf", dir);
	assert_int_equal(system(cmd), 0);

	memset(&c, 0, sizeof(c));
	TAILQ_INIT(&c.volumes);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	none = old;
	none.rlim_cur = 3;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	mounts_begin_all(&c);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	assert_null(here());
	mnt_file_write();
	assert_true(is_listed());
	for (i = 0; i < 100 && here() == NULL; i++)
		event_base_loop(proc_base(), EVLOOP_ONCE);
	assert_non_null(here());
	assert_true(is_listed());
	answers = attached = 0;
	mounts_remove(point, 0, 1, told, NULL);
	unmounted(1);
}

static void
umount_of_tried(void **state)
{
	int force;

	(void)state;
	for (force = 0; force < 2; force++) {
		go_to(MOUNT_POINT, NULL);
		mounts_remove(point, 1000, force, told, NULL);
		assert_int_equal(answer, EPERM);
		answers = 0;
		/* Its folder may hang. */
		mounts_remove(point, 0, force, told, NULL);
		unmounted(1);
		point_is(0); /* too late */
		unmounted(1);
		assert_int_equal(started, 0);

		go_to(MOUNT_POINT, NULL);
		mounts_remove(point, 0, force, told, NULL);
		point_is(ENOENT);
		unmounted(1);

		go_to(MOUNT_MANIFEST, NULL);
		mounts_remove(point, 0, force, told, NULL);
		unmounted(1);
		assert_int_equal(gone, 1);
		manifest_says(0); /* too late */
		assert_int_equal(started, 0);

		go_to(MOUNT_FUSE, NULL);
		mounts_remove(point, 0, force, told, NULL);
		assert_int_equal(fuse.stopped, 1);
		fuse_starts();
		unmounted(0);
		fuse_ends();
		unmounted(1);
		assert_int_equal(gone, 1);

		go_to(MOUNT_RETRY, NULL);
		mounts_remove(point, 0, force, told, NULL);
		unmounted(1);
	}
	/* What manifest knows nothing of. */
	go_to(MOUNT_MANIFEST, NULL);
	mounts_forget(point, 0, told, NULL);
	unmounted(1);
}

/* What it lies in does not answer. */
static void
umount_hangs(void **state)
{
	(void)state;
	go_to(MOUNT_UP, told);
	mounts_remove(point, 0, 0, told, NULL);
	umount_done(umount_arg, ETIMEDOUT);
	assert_int_equal(answers, 2);
	assert_int_equal(answer, ETIMEDOUT);
	assert_int_equal(here()->state, MOUNT_UP);
	/* It was unmounted all the same, when that answered again. */
	fuse_ends();
	assert_null(here());
	assert_int_equal(gone, 1);
	assert_false(is_listed());
	go_to(MOUNT_UP, told);
	leave_up();
}

static unsigned int ended;

static void
all_end(void)
{
	ended++;
}

/* In a child: 0, or where it went wrong. */
static int
end_of(enum mount_state state)
{
	ended = 0;
	if (mnt_ends(all_end) == 0)
		return 1;
	mnt_umount_all();
	if (state != MOUNT_UP)
		return ended == 1 ? 0 : 2;
	/* Nobody asked for it; then somebody does. */
	mounts_remove(point, 0, 0, told, NULL);
	answers = 0;
	umount_done(umount_arg, ETIMEDOUT);
	if (answers != 1 || answer != ETIMEDOUT || ended != 0)
		return 3;
	if (fuse.stopped != 1)
		return 4;
	fuse_ends();
	return ended != 1 ? 5 : !is_listed() ? 6 : 0;
}

static void
end_hangs(void **state)
{
	static const enum mount_state states[] = { MOUNT_POINT, MOUNT_MANIFEST,
		MOUNT_UP };
	int status;
	size_t i;
	pid_t pid;

	(void)state;
	for (i = 0; i < sizeof(states) / sizeof(states[0]); i++) {
		go_to(states[i], NULL);
		mnt_file_write();
		if ((pid = fork()) == 0) {
			event_reinit(proc_base());
			_exit(end_of(states[i]));
		}
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_int_equal(status, 0);
		if (states[i] == MOUNT_UP)
			leave_up();
		else
			mounts_remove(point, 0, 0, told, NULL);
		assert_null(here());
	}
}

static void
is_clean(void)
{
	struct ibuf *b = ibuf_dynamic(5, 5);

	assert_int_equal(ibuf_add_n32(b, here()->instance), 0);
	assert_int_equal(ibuf_add_n8(b, 0), 0);
	assert_int_equal(mounts_on_dirty_res(proc_chan(&manifest), 0, NULL, b),
	    0);
	ibuf_free(b);
}

/* SIGHUP: it is read-only from now on. */
static void
is_changed(void)
{
	static char name[] = "x", sub[] = "";
	static struct conf_volume v = { .name = name, .subpath = sub };
	static struct config c;

	v.path = point;
	v.flags = MOUNT_READONLY;
	TAILQ_INIT(&c.volumes);
	TAILQ_INSERT_TAIL(&c.volumes, &v, link);
	mounts_reconfigure(&c);
}

/* A manifest that dies is asked again when it is there; an umount ends it. */
static void
changed_mount(void **state)
{
	(void)state;
	go_to(MOUNT_UP, NULL);
	here()->volume->flags |= MOUNT_CONFIGURED;
	dirty_asked = 0;
	manifest_started();
	assert_int_equal(dirty_asked, 0);
	is_changed();
	assert_int_equal(dirty_asked, 1);
	manifest_started();
	assert_int_equal(dirty_asked, 2);
	is_clean();
	assert_int_equal(here()->state, MOUNT_UMOUNT);
	manifest_started();
	assert_int_equal(dirty_asked, 2);
	umount_done(umount_arg, 0);
	fuse_ends();
	assert_int_equal(here()->state, MOUNT_POINT);
	assert_true(here()->volume->flags & MOUNT_READONLY);
	mounts_remove(point, 0, 0, told, NULL);
	assert_null(here());

	go_to(MOUNT_UP, NULL);
	here()->volume->flags |= MOUNT_CONFIGURED;
	is_changed();
	leave_up();
}

/* Its command waits for it. */
static void
umount_of_new(void **state)
{
	(void)state;
	add(0, told);
	mounts_remove(point, 0, 1, told, NULL);
	assert_int_equal(answers, 1);
	assert_int_equal(answer, EBUSY);
	point_is(ENOENT);
	assert_int_equal(answers, 2);
	assert_int_equal(answer, ENOENT);
	assert_null(here());
}

static void
run_timers(void)
{
	event_base_loop(proc_base(), EVLOOP_ONCE);
}

/* In a child, for it is the end of this parent: 0, or where it went wrong. */
static int
handed_over(enum mount_state state)
{
	char what[1024] = "";

	if (mounts_hand_over(what, sizeof(what)) == -1)
		return 1;
	if (!mounts_are_handed_over())
		return 2;
	attached = started = 0;
	if (state == MOUNT_POINT)
		point_is(0);
	if (state == MOUNT_MANIFEST)
		manifest_says(0);
	if (state == MOUNT_FUSE) {
		fuse_starts();
		fuse_ends();
	}
	if (state == MOUNT_RETRY)
		run_timers();
	if (point_done != NULL && state != MOUNT_POINT)
		return 3; /* begun again */
	return attached + started != 0 ? 4 : !is_listed() ? 5 : 0;
}

static void
restart_of_tried(void **state)
{
	static const enum mount_state states[] = { MOUNT_POINT, MOUNT_MANIFEST,
		MOUNT_FUSE, MOUNT_RETRY, MOUNT_UP };
	int status;
	size_t i;
	pid_t pid;

	(void)state;
	for (i = 0; i < sizeof(states) / sizeof(states[0]); i++) {
		go_to(states[i], NULL);
		mnt_file_write();
		if ((pid = fork()) == 0) {
			event_reinit(proc_base());
			_exit(handed_over(states[i]));
		}
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_int_equal(status, 0);
		if (states[i] == MOUNT_UP)
			leave_up();
		else
			mounts_remove(point, 0, 0, told, NULL);
		if (states[i] == MOUNT_POINT)
			point_is(0);
		if (states[i] == MOUNT_FUSE)
			fuse_ends();
		assert_null(here());
	}
}

static void
restart_refused(void **state)
{
	struct rlimit rl, few;
	char what[1024] = "";
	int status;
	pid_t pid;

	(void)state;
	go_to(MOUNT_UP, NULL);
	/* One of those whose numbers are taken by others then. */
	assert_int_equal(handover_keep("low", 0, HANDOVER_EXEC), 0);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &rl), 0);
	few = rl;
	few.rlim_cur = 5;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
	assert_int_equal(mounts_hand_over(what, sizeof(what)), -1);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &rl), 0);
	assert_non_null(strstr(what, "cannot be handed over (Too many open"));
	assert_non_null(strstr(what, "nothing was changed"));
	assert_false(mounts_are_handed_over());
	assert_int_equal(here()->state, MOUNT_UP);
	/* Later it can. */
	if ((pid = fork()) == 0)
		_exit(handed_over(MOUNT_UP));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	handover_drop("low");
	leave_up();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ids_of_volumes),
		cmocka_unit_test(listed_first),
		cmocka_unit_test(listed_later),
		cmocka_unit_test(umount_of_tried),
		cmocka_unit_test(umount_hangs),
		cmocka_unit_test(changed_mount),
		cmocka_unit_test(umount_of_new),
		cmocka_unit_test(restart_of_tried),
		cmocka_unit_test(restart_refused),
		cmocka_unit_test(end_hangs),
	};

	return cmocka_run_group_tests(tests, begin, end);
}
