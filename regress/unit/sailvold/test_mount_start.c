/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * Claim: a mount begins at the head, at a commit or where it was, and says why
 * when it cannot; its fuse gets START once, and not before its journal is
 * applied; and what is not published survives an umount.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sys/wait.h>
#include <fcntl.h>

#include "lib/wire.h"
#include "regress/unit/sailvold/manifest_harness.h"
#include "sailvold/ask.h"
#include "sailvold/mount_start.h"

#define BOOT "5c3d8b5e-2d3f-4a67-9c1e-00000000000"
#define OTHER_ID "vol_22222222222222222222222222222222"

/* ---- stand-ins ------------------------------------------------------------------ */

static server_cb asked_f;
static void *asked_arg;
static char asked_target[256];
static unsigned int asked, answers, starts, settles;
static uint32_t answer_error, answer_id, start_error;
static unsigned int start_answers;
static char start_what[600];
static char answer_what[600], answer_volume[64];
static struct mount *ready;
static struct start last_start;
static ask_offset_cb looked_f;
static void *looked_arg;
static int send_error; /* of SETTLE */
static int start_send_error;

static int find_error; /* of the row of a mount */

int __real_db_mount_find(struct db *, const uint8_t id[16], struct mount_row *);
int __wrap_db_mount_find(struct db *, const uint8_t id[16], struct mount_row *);
int
__wrap_db_mount_find(struct db *db, const uint8_t id[16], struct mount_row *m)
{
	if ((errno = find_error) != 0)
		return -1;
	return __real_db_mount_find(db, id, m);
}

uint32_t
server_request(uint8_t method, const char *target, const char *type, int fd,
    int retry, uint64_t max, server_cb f, void *arg)
{
	(void)method;
	(void)type;
	(void)retry;
	(void)max;
	if (fd != -1)
		close(fd);
	snprintf(asked_target, sizeof(asked_target), "%s", target);
	asked_f = f;
	asked_arg = arg;
	return ++asked;
}

void
server_error(const struct server_answer *a, char *out, size_t size, char *code,
    size_t code_size)
{
	snprintf(out, size, "status %u", a->status);
	snprintf(code, code_size, "c");
}

void
server_cancel(uint32_t number)
{
	assert_int_equal(number, asked);
	asked_f = NULL;
}

int
ovl_is_held(struct mount *m, uint64_t ovl)
{
	(void)m;
	(void)ovl;
	return 0;
}

void
tell_unlink(struct mount *m, const uint64_t *ovls, size_t n)
{
	(void)m;
	(void)ovls;
	(void)n;
}

int
ask_sync(struct mount *m, ask_offset_cb f, void *arg)
{
	(void)m;
	assert_null(looked_f);
	looked_f = f;
	looked_arg = arg;
	return 0;
}

void
ask_cancel(struct mount *m, const void *arg)
{
	(void)m;
	if (arg == looked_arg)
		looked_f = NULL;
}

void
ask_fuse_started(struct mount *m)
{
	assert_true(m->started);
}

struct mount *
mount_new(void)
{
	struct mount *m = calloc(1, sizeof(*m));

	assert_non_null(m);
	TAILQ_INIT(&m->waits);
	TAILQ_INIT(&m->asks);
	TAILQ_INIT(&m->jobs);
	return m;
}

void
mount_free(struct mount *m)
{
	journal_free(m);
	mount_start_free(m);
	mount_row_free(&m->row);
	free(m);
}

void
mount_ready(struct mount *m)
{
	assert_null(ready);
	ready = m;
}

void
mount_started(struct mount *m)
{
	(void)m;
}

struct chan *
role_parent(void)
{
	return NULL;
}

int
chan_send(struct chan *ch, uint32_t type, uint32_t id, int fd, const void *data,
    size_t len)
{
	(void)ch;
	(void)type;
	(void)id;
	(void)fd;
	(void)data;
	(void)len;
	fail_msg("chan_send");
	return -1;
}

static void
take_string(struct ibuf *b, char *out, size_t size)
{
	uint16_t len;

	assert_int_equal(ibuf_get_n16(b, &len), 0);
	assert_true(len < size);
	assert_int_equal(ibuf_get(b, out, len), 0);
	out[len] = '\0';
}

int
chan_send_ibuf(struct chan *ch, uint32_t type, uint32_t id, int fd,
    struct ibuf *b)
{
	(void)ch;
	(void)fd;
	if (type == IMSG_MANIFEST_FUSE_SETTLE && send_error != 0) {
		ibuf_free(b);
		errno = send_error;
		return -1;
	}
	if (type == IMSG_MANIFEST_FUSE_START && start_send_error != 0) {
		ibuf_free(b);
		errno = start_send_error;
		return -1;
	}
	if (type == IMSG_MANIFEST_FUSE_START) {
		starts++;
		assert_int_equal(start_recv(b, &last_start), 0);
	} else if (type == IMSG_MANIFEST_PARENT_MOUNT_RES) {
		answers++;
		answer_id = id;
		assert_int_equal(ibuf_get_n32(b, &answer_error), 0);
		take_string(b, answer_what, sizeof(answer_what));
		take_string(b, answer_volume, sizeof(answer_volume));
		assert_int_equal(ibuf_size(b), 0);
	} else if (type == IMSG_MANIFEST_PARENT_START_RES) {
		start_answers++;
		assert_int_equal(id, 7);
		assert_int_equal(ibuf_get_n32(b, &start_error), 0);
		take_string(b, start_what, sizeof(start_what));
		assert_int_equal(ibuf_size(b), 0);
	} else if (type == IMSG_MANIFEST_FUSE_SETTLE) {
		settles++;
		assert_int_equal(ibuf_size(b), 2 + SETTLE_ITEM_LEN);
		/* It is settled. */
		assert_int_equal(((uint8_t *)ibuf_data(b))[SETTLE_ITEM_LEN + 1],
		    1);
	} else
		assert_int_equal(type, IMSG_MANIFEST_FUSE_APPLIED);
	ibuf_free(b);
	return 0;
}

/* ---- a server -------------------------------------------------------------------------- */

static struct hash head, old, others; /* the last is of another volume */

/* Two commits, as they come from the server: root with a (file) and d/. */
static void
make_commits(void)
{
	struct entry file = h_entry(ENTRY_FILE), d = h_dir(NULL, 0), root;
	struct tree_edit in[2];

	in[0] = h_edit("a", &file);
	in[1] = h_edit("d", &d);
	root = h_dir(in, 1);
	old = h_commit(&root, 3);
	root = h_dir(in, 2);
	head = h_commit(&root, 4);
	others = h_commit_of(0x22, &root, 5);
}

static int
setup(void **state)
{
	(void)state;
	h_open();
	make_commits();
	asked = answers = starts = settles = start_answers = 0;
	asked_f = NULL;
	looked_f = NULL;
	looked_arg = NULL;
	send_error = start_send_error = 0;
	mount_boot(BOOT "1");
	ready = NULL;
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	if (ready != NULL)
		mount_free(ready);
	ready = NULL;
	db_close(manifest_db);
	event_base_free(h_base);
	return 0;
}

static void
server_says(uint16_t status, const void *data, size_t len)
{
	struct server_answer a;
	server_cb f = asked_f;
	char none[] = "nobody answers";

	assert_non_null(f);
	memset(&a, 0, sizeof(a));
	a.status = status;
	a.type = 1;
	a.data = data;
	a.len = len;
	a.what = none;
	asked_f = NULL;
	f(asked_arg, &a);
}

static void
volume_is_called(const char *id, const char *name, unsigned int must_know)
{
	char json[512];
	int n;

	n = snprintf(json, sizeof(json),
	    "{\"id\":\"%s\",\"name\":\"%s\","
	    "\"org\":{\"name\":\"o\"},\"format\":{\"must_know\":%u}}",
	    id, name, must_know);
	server_says(200, json, (size_t)n);
}

static void
volume_is(const char *id, unsigned int must_know)
{
	volume_is_called(id, "x", must_know);
}

/* The commit alone: its nodes are here. */
static void
bundle_of(const struct hash *id)
{
	struct wire_bundle_writer w;
	struct blob *b = db_commit_get(manifest_db, id);
	uint8_t *data;
	size_t len;

	assert_non_null(b);
	wire_bundle_begin(&w, id, b->data, b->len);
	data = wire_bundle_end(&w, 1, &len);
	assert_non_null(data);
	server_says(200, data, len);
	free(data);
	blob_unref(b);
}

static void
begin(const char *subpath, uint32_t flags, const struct hash *commit)
{
	struct mount_req req;

	memset(&req, 0, sizeof(req));
	req.instance = 7;
	memset(req.mount, 0x22, sizeof(req.mount));
	req.flags = flags;
	snprintf(req.volume, sizeof(req.volume), "x");
	req.subpath = strdup(subpath);
	req.path = strdup("/mnt/x");
	if (commit != NULL) {
		req.has_commit = 1;
		req.commit = *commit;
	}
	answers = 0;
	assert_int_equal(mount_begin(9, &req), 0);
}

static void
begin_at_head(void)
{
	begin("", 0, NULL);
	assert_string_equal(asked_target, "/v1/volumes/x");
	volume_is(H_VOLUME_ID, 0);
	assert_true(strstr(asked_target, "/head") != NULL);
	bundle_of(&head);
	assert_int_equal(answers, 1);
	assert_int_equal(answer_error, 0);
	assert_non_null(ready);
}

/* As manifest.c does it. */
static void
end(void)
{
	ready->gone = 1;
	if (journal_drain(ready) == 0)
		mount_reset(ready);
	mount_free(ready);
	ready = NULL;
}

static void
assert_failed(uint32_t error)
{
	assert_int_equal(answers, 1);
	assert_int_equal(answer_id, 9);
	assert_int_equal(answer_error, error);
	assert_true(strncmp(answer_what, "volume x: ", 10) == 0);
	assert_string_equal(answer_volume, "");
	assert_null(ready);
}

/* ---- tests ----------------------------------------------------------------------------- */

static void
test_new(void **state)
{
	uint8_t wrong[16] = { 0 };

	(void)state;
	begin_at_head();
	assert_string_equal(answer_volume, H_VOLUME_ID);
	assert_int_equal(hash_cmp(&ready->row.base, &head), 0);
	assert_int_equal(ready->row.base_number, 4);
	assert_int_equal(ready->row.next, OVL_ROOT + 1);
	ready->fuse = (struct chan *)&starts;
	assert_int_equal(mount_hello(ready, wrong, 0), -1);
	assert_int_equal(mount_hello(ready, ready->row.id, 0), 0);
	assert_int_equal(starts, 1);
	assert_int_equal(start_answers, 1);
	assert_int_equal(start_error, 0);
	assert_true(ready->started);
	assert_int_equal(mount_hello(ready, ready->row.id, 0), -1);
}

static void
row_is_of(const char *volume_id)
{
	struct mount_row row;
	uint8_t id[16];

	memset(id, 0x22, sizeof(id));
	memset(&row, 0, sizeof(row));
	assert_int_equal(db_mount_find(manifest_db, id, &row), 0);
	free(row.volume_id);
	assert_non_null(row.volume_id = strdup(volume_id));
	assert_int_equal(db_mount_update(manifest_db, &row), 0);
	mount_row_free(&row);
}

static void
test_taken_up(void **state)
{
	(void)state;
	begin_at_head();
	mount_free(ready); /* all die */
	ready = NULL;
	asked = 0;
	begin("", MOUNT_AGAIN, NULL);
	assert_int_equal(asked, 0);
	assert_int_equal(answers, 1);
	mount_free(ready);
	ready = NULL;
	/* The parent is not told what is no id. */
	row_is_of("a/b");
	begin("", MOUNT_AGAIN, NULL);
	assert_failed(EIO);
	row_is_of(H_VOLUME_ID);
	/* The server says that it is the same volume, or nothing. */
	begin("", 0, NULL);
	assert_int_equal(asked, 1);
	assert_string_equal(asked_target, "/v1/volumes/" H_VOLUME_ID);
	assert_int_equal(answers, 0);
	server_says(0, "", 0);
	assert_int_equal(answers, 1);
	assert_int_equal(answer_error, 0);
	mount_free(ready);
	ready = NULL;
	/* It has none of them. */
	begin("", 0, NULL);
	server_says(404, "", 0);
	assert_string_equal(asked_target, "/v1/volumes/x");
	server_says(404, "", 0);
	assert_int_equal(answers, 1);
	assert_int_equal(answer_error, 0);
	mount_free(ready);
	ready = NULL;
	/* It has another one of that name. */
	begin("", 0, NULL);
	server_says(404, "", 0);
	volume_is(OTHER_ID, 0);
	assert_failed(ESTALE);
	assert_non_null(strstr(answer_what, "deleted and made again"));
	/* The old one is taken up as it was. */
	begin("", 0, NULL);
	volume_is(H_VOLUME_ID, 0);
	assert_int_equal(answers, 1);
	assert_int_equal(answer_error, 0);
	assert_string_equal(answer_volume, H_VOLUME_ID);
	assert_int_equal(hash_cmp(&ready->row.base, &head), 0);
}

/* One that lives has nobody else who would try again. */
static void
test_no_row(void **state)
{
	pid_t pid;
	int status;

	(void)state;
	find_error = EIO;
	begin("", 0, NULL);
	assert_failed(EIO);
	if ((pid = fork()) == 0) {
		begin("", MOUNT_AGAIN, NULL);
		_exit(0);
	}
	find_error = 0;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) != 0);
}

/* The volume has another name by now: who types the old one means the one that
   has it; what was there before the daemon began goes on. */
static void
test_renamed(void **state)
{
	(void)state;
	begin_at_head();
	mount_free(ready); /* all die */
	ready = NULL;
	begin("", MOUNT_BACK, NULL);
	volume_is_called(H_VOLUME_ID, "y", 0);
	assert_int_equal(answers, 1);
	assert_int_equal(answer_error, 0);
	assert_string_equal(answer_volume, H_VOLUME_ID);
	assert_int_equal(hash_cmp(&ready->row.base, &head), 0);
	mount_free(ready);
	ready = NULL;
	begin("", 0, NULL);
	volume_is_called(H_VOLUME_ID, "y", 0);
	assert_string_equal(asked_target, "/v1/volumes/x");
	volume_is(OTHER_ID, 0);
	assert_failed(ESTALE);
	assert_non_null(strstr(answer_what, "renamed"));
	/* The old name is nobody's. */
	begin("", 0, NULL);
	volume_is_called(H_VOLUME_ID, "y", 0);
	server_says(404, "", 0);
	assert_int_equal(answers, 1);
	assert_int_equal(answer_error, 0);
	assert_string_equal(answer_volume, H_VOLUME_ID);
	mount_free(ready);
	ready = NULL;
	/* One that was deleted is not taken for another, not after a start. */
	begin("", MOUNT_BACK, NULL);
	server_says(404, "", 0);
	volume_is(OTHER_ID, 0);
	assert_failed(ESTALE);
	assert_non_null(strstr(answer_what, "deleted and made again"));
}

static void
test_failures(void **state)
{
	(void)state;
	begin("", 0, NULL);
	server_says(404, "", 0);
	assert_failed(ENOENT);
	begin("", 0, NULL);
	server_says(403, "", 0);
	assert_failed(EACCES);
	begin("", 0, NULL);
	server_says(0, "", 0);
	assert_failed(EIO);
	begin("", 0, NULL);
	server_says(200, "{}", 2);
	assert_failed(EIO);
	begin("", 0, NULL);
	volume_is("../../etc", 0);
	assert_failed(EIO);
	begin("", 0, NULL);
	volume_is(H_VOLUME_ID, 4);
	assert_failed(EPROTONOSUPPORT);
	begin("", 0, NULL);
	volume_is(H_VOLUME_ID, 0);
	server_says(200, "nonsense", 8);
	assert_failed(EIO);
	begin("", 0, NULL);
	volume_is(H_VOLUME_ID, 0);
	server_says(404, "", 0);
	assert_failed(ENOENT);
	begin("a", 0, NULL);
	volume_is(H_VOLUME_ID, 0);
	bundle_of(&head);
	assert_failed(ENOTDIR);
	begin("no", 0, NULL);
	volume_is(H_VOLUME_ID, 0);
	bundle_of(&head);
	assert_failed(ENOENT);
	/* Nothing of all that is in the way of a mount. */
	begin("d", 0, NULL);
	volume_is(H_VOLUME_ID, 0);
	bundle_of(&head);
	assert_int_equal(answer_error, 0);
}

static void
test_commit(void **state)
{
	(void)state;
	begin("", MOUNT_READONLY, &old);
	volume_is(H_VOLUME_ID, 0);
	assert_true(strstr(asked_target, "/nodes") != NULL);
	bundle_of(&old);
	assert_int_equal(answer_error, 0);
	assert_int_equal(hash_cmp(&ready->row.base, &old), 0);
	mount_free(ready); /* all die */
	ready = NULL;
	asked = 0;
	begin("", MOUNT_READONLY, &old);
	assert_int_equal(asked, 1); /* the same volume? */
	volume_is(H_VOLUME_ID, 0);
	assert_int_equal(asked, 1);
	assert_int_equal(answer_error, 0);
	mount_free(ready);
	ready = NULL;
	/* Without a commit it is not what was there before. */
	begin_at_head();
	assert_int_equal(hash_cmp(&ready->row.base, &head), 0);
	mount_free(ready);
	ready = NULL;
	/* There may be changes above the head: no other base below them. */
	begin("", MOUNT_READONLY, &old);
	assert_failed(EBUSY);
	begin("", MOUNT_READONLY, &head);
	volume_is(H_VOLUME_ID, 0);
	assert_int_equal(answer_error, 0);
}

static void
test_commit_missing(void **state)
{
	struct hash none = head;

	(void)state;
	none.b[0] ^= 1;
	begin("", MOUNT_READONLY, &none);
	volume_is(H_VOLUME_ID, 0);
	server_says(404, "", 0);
	assert_failed(ENOENT);
	/* One of another volume's, or what else it says. */
	begin("", MOUNT_READONLY, &none);
	volume_is(H_VOLUME_ID, 0);
	bundle_of(&head);
	assert_failed(EIO);
	begin("", 0, NULL);
	volume_is(H_VOLUME_ID, 0);
	bundle_of(&others);
	assert_failed(EIO);
}

static void
test_gone_meanwhile(void **state)
{
	struct mount_row row;
	uint8_t id[16];

	(void)state;
	begin("", 0, NULL);
	mount_begin_gone(7);
	volume_is(H_VOLUME_ID, 0);
	bundle_of(&head);
	assert_failed(ECANCELED);
	/* Nor is it in the way of the next mount there. */
	memset(id, 0x22, sizeof(id));
	memset(&row, 0, sizeof(row));
	assert_int_equal(db_mount_find(manifest_db, id, &row), -1);
	assert_int_equal(errno, ENOENT);
}

/* A new file in the overlay, as a record of a journal that is not read yet. */
static int
journal_of_one(uint64_t *offset)
{
	struct segment_header h;
	uint8_t b[SEGMENT_HEADER_LEN];
	struct record r;
	struct wbuf w;
	int fd;

	memset(&h, 0, sizeof(h));
	memset(h.mount, 0x22, sizeof(h.mount));
	segment_header_encode(b, &h);
	wbuf_init(&w, 1 << 20);
	wbuf_bytes(&w, b, sizeof(b));
	r = h_alloc(100);
	record_encode(&w, &r);
	r = h_make(OVL_ROOT, "new", 10, ENTRY_FILE);
	record_encode(&w, &r);
	*offset = w.len - sizeof(b);
	fd = memfd_new("segment", w.data, w.len);
	wbuf_free(&w);
	assert_true(fd != -1);
	return fd;
}

static void
turn(int ms)
{
	struct timeval tv = { ms / 1000, ms % 1000 * 1000 };

	event_base_loopexit(h_base, &tv);
	event_base_dispatch(h_base);
}

static void
test_hello_waits(void **state)
{
	uint64_t offset;
	int fd;

	(void)state;
	begin_at_head();
	ready->fuse = (struct chan *)&starts;
	fd = journal_of_one(&offset);
	assert_int_equal(mount_hello(ready, ready->row.id, offset), 0);
	assert_int_equal(starts, 0);
	/* It dies; the next one has its segments, and no HELLO yet. */
	mount_fuse_down(ready);
	journal_forget(ready);
	assert_int_equal(journal_segment(ready, 0, fd), 0);
	turn(60);
	assert_int_equal(ready->row.applied, offset);
	assert_int_equal(starts, 0);
	assert_int_equal(mount_hello(ready, ready->row.id, offset), 0);
	assert_int_equal(starts, 1);
	assert_int_equal(last_start.applied, offset);
	assert_int_equal(last_start.next, 100);
}

static void
hello(uint64_t offset)
{
	ready->fuse = (struct chan *)&starts;
	ready->started = 0;
	settles = 0;
	assert_int_equal(mount_hello(ready, ready->row.id, offset), 0);
}

/* All die, and the mount comes back. */
static void
comes_back(uint64_t offset)
{
	mount_free(ready);
	ready = NULL;
	looked_f = NULL;
	begin("", MOUNT_BACK, NULL);
	server_says(0, "", 0);
	assert_non_null(ready);
	hello(offset);
}

static void
looked_at_all(void)
{
	ask_offset_cb f = looked_f;

	assert_non_null(f);
	looked_f = NULL;
	f(ready, looked_arg, 0, 0);
}

/* Files that are not published are looked at once after each start of the machine,
   whose power may have been lost; whoever dies before they all were. */
static void
test_shortened(void **state)
{
	uint64_t offset;

	(void)state;
	begin_at_head();
	assert_int_equal(journal_segment(ready, 0, journal_of_one(&offset)), 0);
	turn(60);
	hello(offset);
	assert_int_equal(settles, 1);
	hello(offset); /* fuse died */
	assert_int_equal(settles, 1);
	comes_back(offset);
	assert_int_equal(settles, 1);
	looked_at_all();
	hello(offset);
	assert_int_equal(settles, 0);
	comes_back(offset);
	assert_int_equal(settles, 0);
	mount_boot(BOOT "2");
	comes_back(offset);
	assert_int_equal(settles, 1);
	looked_at_all();
	comes_back(offset);
	assert_int_equal(settles, 0);
	/* A kernel that has no name for itself. */
	mount_boot("");
	comes_back(offset);
	assert_int_equal(settles, 1);
	assert_null(looked_f);
}

/* No memory for it: later.  No fuse: the next one. */
static void
test_settled_later(void **state)
{
	uint64_t offset;

	(void)state;
	begin_at_head();
	assert_int_equal(journal_segment(ready, 0, journal_of_one(&offset)), 0);
	turn(60);
	send_error = EPIPE;
	hello(offset);
	assert_null(ready->settle_again);
	send_error = ENOMEM;
	hello(offset);
	assert_null(looked_f);
	assert_int_equal(settles, 0);
	send_error = 0;
	turn(100);
	assert_int_equal(settles, 0);
	turn(1500);
	assert_int_equal(settles, 1);
	looked_at_all();
}

/* A mount that lives has nobody else who would start it again; who mounts is
   told. */
static void
test_started_later(void **state)
{
	(void)state;
	begin_at_head();
	start_send_error = EPIPE; /* the next fuse says HELLO */
	hello(0);
	assert_int_equal(start_answers, 0);
	start_send_error = ENOMEM;
	hello(0);
	assert_int_equal(start_answers, 1);
	assert_int_equal(start_error, EBADMSG);
	start_send_error = 0;
	hello(0);
	assert_int_equal(starts, 1);
	start_send_error = ENOMEM; /* fuse died */
	hello(0);
	assert_int_equal(start_answers, 2);
	assert_false(ready->started);
	start_send_error = 0;
	turn(1500);
	assert_int_equal(starts, 2);
	assert_true(ready->started);
	assert_int_equal(start_answers, 3);
	assert_int_equal(start_error, 0);
	start_send_error = ENOMEM; /* and dies again before it is tried */
	hello(0);
	mount_fuse_down(ready);
	ready->fuse = NULL;
	start_send_error = 0;
	turn(1500);
	assert_int_equal(starts, 2);
}

/* A journal that is broken stops the start, and not the process. */
static void
test_hello_broken(void **state)
{
	(void)state;
	begin_at_head();
	ready->fuse = (struct chan *)&starts;
	assert_int_equal(journal_segment(ready, 0, memfd_new("x", "xx", 2)), 0);
	assert_int_equal(mount_hello(ready, ready->row.id, 5), 0);
	assert_int_equal(starts, 0);
	/* The parent hears of it, once. */
	assert_int_equal(start_answers, 1);
	assert_int_equal(start_error, EBADMSG);
	assert_non_null(strstr(start_what, "its journal is broken"));
}

/* Its end is still to come when HELLO was heard, and cannot be applied. */
static void
test_hello_broken_later(void **state)
{
	uint64_t offset;
	int fd;

	(void)state;
	begin_at_head();
	ready->fuse = (struct chan *)&starts;
	fd = journal_of_one(&offset);
	assert_int_equal(journal_segment(ready, 0, fd), 0);
	assert_int_equal(mount_hello(ready, ready->row.id, offset + 1), 0);
	assert_int_equal(start_answers, 0);
	assert_int_equal(journal_segment(ready, offset,
			     memfd_new("x", "xx", 2)),
	    0);
	assert_int_equal(starts, 0);
	assert_int_equal(start_answers, 1);
	assert_int_equal(start_error, EBADMSG);
	/* One that goes while it waits is nobody's concern. */
	end();
	assert_int_equal(start_answers, 1);
}

static void
test_clean_umount(void **state)
{
	(void)state;
	begin_at_head();
	ready->fuse = (struct chan *)&starts;
	assert_int_equal(mount_hello(ready, ready->row.id, 0), 0);
	end();
	/* At the head again, of whatever has the name now. */
	begin("", 0, NULL);
	volume_is(OTHER_ID, 0);
	bundle_of(&others);
	assert_int_equal(answer_error, 0);
	assert_string_equal(answer_volume, OTHER_ID);
	assert_int_equal(hash_cmp(&ready->row.base, &others), 0);
}

/* The last changes were not read when it went: they count. */
static void
test_dirty_umount(void **state)
{
	uint64_t offset;
	int fd;

	(void)state;
	begin_at_head();
	ready->fuse = (struct chan *)&starts;
	assert_int_equal(mount_hello(ready, ready->row.id, 0), 0);
	fd = journal_of_one(&offset);
	assert_int_equal(journal_segment(ready, 0, fd), 0);
	end();
	asked = 0;
	begin("", 0, NULL);
	assert_int_equal(asked, 1); /* the same volume? */
	volume_is(H_VOLUME_ID, 0);
	assert_int_equal(asked, 1);
	assert_int_equal(answer_error, 0);
	assert_int_equal(hash_cmp(&ready->row.base, &head), 0);
	assert_int_equal(ready->row.applied, offset);
}

/* Its fuse never came so far as to show its journal: nothing is known. */
static void
test_unknown_umount(void **state)
{
	(void)state;
	begin_at_head();
	end();
	asked = 0;
	begin("", 0, NULL);
	assert_int_equal(asked, 1); /* the same volume? */
	volume_is(H_VOLUME_ID, 0);
	assert_int_equal(asked, 1);
	assert_int_equal(answer_error, 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_new),
		T(test_taken_up),
		T(test_no_row),
		T(test_renamed),
		T(test_failures),
		T(test_commit),
		T(test_commit_missing),
		T(test_gone_meanwhile),
		T(test_hello_waits),
		T(test_shortened),
		T(test_settled_later),
		T(test_started_later),
		T(test_hello_broken),
		T(test_hello_broken_later),
		T(test_clean_umount),
		T(test_dirty_umount),
		T(test_unknown_umount),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
