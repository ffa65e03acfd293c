/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * Claim: the parent registers no file but an overlay file of that mount, that
 * the user of fuse owns, however fuse has filled its folder; no more than so
 * many; and each number has one id until it is given back.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <sys/stat.h>
#include <sys/uio.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <stdio.h>
#include <unistd.h>

#include "lib/log.h"
#include "sailvold/backing.h"
#include "sailvold/privileged.h"

#define FUSE_USER 61999

static char top[] = "/tmp/sail-backing.XXXXXX";
static struct session session;
static struct backings all;
static int works;

/* Stands in for lib/chan.c: keeps the answers. */
static struct backing_res res[BACKING_BATCH];
static uint16_t nres;

int
chan_send_ibuf(struct chan *c, uint32_t type, uint32_t id, int fd,
    struct ibuf *b)
{
	(void)c;
	(void)id;
	(void)fd;
	assert_int_equal(type, IMSG_PARENT_FUSE_BACKING_RES);
	assert_int_equal(backing_res_recv(b, res, &nres), 0);
	ibuf_free(b);
	return 0;
}

/* Answers INIT with passthrough, one file system deep. */
static int
answer_init(void)
{
	const struct fuse_in_header *in = (const void *)session.init;
	const struct fuse_init_in *init =
	    (const void *)(session.init + sizeof(*in));
	struct fuse_out_header h;
	struct fuse_init_out out;
	struct iovec iov[2] = { { &h, sizeof(h) }, { &out, sizeof(out) } };

	if (session.init_len < sizeof(*in) + sizeof(*init) ||
	    !(init->flags2 & 1 << 5))
		return 0;
	memset(&h, 0, sizeof(h));
	memset(&out, 0, sizeof(out));
	h.len = sizeof(h) + sizeof(out);
	h.unique = in->unique;
	out.major = FUSE_KERNEL_VERSION;
	out.minor = 31;
	out.flags = FUSE_INIT_EXT;
	out.flags2 = 1 << 5;
	out.max_write = 4096;
	out.unused[0] = 1;
	return writev(session.fuse_fd, iov, 2) == (ssize_t)h.len;
}

static void
file_name(uint64_t ovl, char *out, size_t size)
{
	snprintf(out, size, "%s/files/%02x/%016llx", top,
	    (unsigned int)(ovl & 0xff), (unsigned long long)ovl);
}

static void
make_file(uint64_t ovl, uid_t uid)
{
	char name[128];
	int fd;

	snprintf(name, sizeof(name), "%s/files/%02x", top,
	    (unsigned int)(ovl & 0xff));
	if (mkdir(name, 0700) == 0)
		assert_int_equal(chown(name, FUSE_USER, FUSE_USER), 0);
	file_name(ovl, name, sizeof(name));
	fd = open(name, O_WRONLY | O_CREAT, 0600);
	assert_int_not_equal(fd, -1);
	assert_int_equal(fchown(fd, uid, uid), 0);
	close(fd);
}

static int
begin(void **state)
{
	char what[512], name[128];

	(void)state;
	log_init("test", 1, 0);
	if (geteuid() != 0 || mkdtemp(top) == NULL)
		return 0;
	works = priv_make_session(&session, "v", 0, what, sizeof(what)) == 0 &&
	    answer_init();
	snprintf(name, sizeof(name), "%s/files", top);
	assert_int_equal(mkdir(name, 0700), 0);
	assert_int_equal(chown(name, FUSE_USER, FUSE_USER), 0);
	assert_int_equal(chown(top, FUSE_USER, FUSE_USER), 0);
	backing_init(FUSE_USER, FUSE_USER);
	all.folder_fd = priv_open_folder(top);
	assert_int_not_equal(all.folder_fd, -1);
	/* Whether what is below can be passed through. */
	make_file(2, FUSE_USER);
	works = works &&
	    priv_backing_open(session.fuse_fd, all.folder_fd, 2, FUSE_USER,
		FUSE_USER) > 0;
	return 0;
}

static int
end(void **state)
{
	char line[128];

	(void)state;
	backing_free(&all);
	if (session.fuse_fd > 0)
		close(session.fuse_fd);
	if (session.mount_fd > 0)
		close(session.mount_fd);
	if (geteuid() != 0)
		return 0;
	snprintf(line, sizeof(line), "rm -rf %s", top);
	return system(line);
}

static void
ask(const uint64_t *ovls, uint16_t n)
{
	uint8_t body[2 + BACKING_BATCH * 8];
	struct ibuf b, *made;
	uint16_t i;

	made = ibuf_dynamic(sizeof(body), sizeof(body));
	assert_int_equal(ibuf_add_n16(made, n), 0);
	for (i = 0; i < n; i++)
		assert_int_equal(ibuf_add_n64(made, ovls[i]), 0);
	memcpy(body, ibuf_data(made), ibuf_size(made));
	ibuf_from_buffer(&b, body, ibuf_size(made));
	ibuf_free(made);
	nres = 0;
	assert_int_equal(backing_ask(&all, session.fuse_fd, NULL, 1, &b), 0);
	assert_int_equal(nres, n);
}

static uint32_t
ask_one(uint64_t ovl)
{
	ask(&ovl, 1);
	return res[0].error;
}

static void
give_back(uint64_t ovl)
{
	uint8_t body[10];
	struct ibuf b, *made = ibuf_dynamic(10, 10);

	assert_int_equal(ibuf_add_n16(made, 1), 0);
	assert_int_equal(ibuf_add_n64(made, ovl), 0);
	memcpy(body, ibuf_data(made), sizeof(body));
	ibuf_free(made);
	ibuf_from_buffer(&b, body, sizeof(body));
	assert_int_equal(backing_close(&all, session.fuse_fd, &b), 0);
}

static void
one_id(void **state)
{
	uint32_t id;

	(void)state;
	if (!works)
		skip();
	make_file(7, FUSE_USER);
	assert_int_equal(ask_one(7), 0);
	id = res[0].id;
	assert_int_equal(ask_one(7), 0);
	assert_int_equal(res[0].id, id);
	assert_int_equal(all.n, 1);
	/* A new fuse is told of it. */
	nres = 0;
	assert_int_equal(backing_tell(&all, NULL), 0);
	assert_int_equal(nres, 1);
	assert_int_equal(res[0].ovl, 7);
	assert_int_equal(res[0].id, id);
	give_back(7);
	give_back(7);
	give_back(8);
	assert_int_equal(all.n, 0);
	/* The parent is root again, with all that it had. */
	assert_int_equal(access("/proc/1/environ", R_OK), 0);
}

static void
nothing_else(void **state)
{
	char secret[128], name[128], dir[128];

	(void)state;
	if (!works)
		skip();
	snprintf(secret, sizeof(secret), "%s/secret", top);
	assert_int_equal(close(open(secret, O_WRONLY | O_CREAT, 0666)), 0);
	/* Of root, in its place. */
	make_file(20, 0);
	assert_int_equal(ask_one(20), EACCES);
	assert_int_equal(chmod(secret, 0666), 0);
	/* A link to it, as root's and as a file with two names. */
	file_name(21, name, sizeof(name));
	make_file(21, FUSE_USER);
	assert_int_equal(unlink(name), 0);
	assert_int_equal(symlink(secret, name), 0);
	assert_int_equal(ask_one(21), ELOOP);
	assert_int_equal(unlink(name), 0);
	assert_int_equal(link(secret, name), 0);
	assert_int_equal(ask_one(21), EPERM);
	assert_int_equal(chown(secret, FUSE_USER, FUSE_USER), 0);
	assert_int_equal(ask_one(21), EPERM);
	/* No regular file. */
	assert_int_equal(unlink(name), 0);
	assert_int_equal(mkfifo(name, 0600), 0);
	assert_int_equal(chown(name, FUSE_USER, FUSE_USER), 0);
	assert_int_equal(ask_one(21), EPERM);
	/* A folder on the way that is a link. */
	file_name(22, name, sizeof(name));
	snprintf(dir, sizeof(dir), "%s/files/16", top);
	assert_int_equal(symlink("/tmp", dir), 0);
	assert_int_equal(ask_one(22), ELOOP);
	assert_int_equal(unlink(dir), 0);
	assert_int_equal(ask_one(0xffffffffffffffff), ENOENT);
	assert_int_equal(all.n, 0);
}

static void
no_more(void **state)
{
	uint64_t ovls[BACKING_BATCH], n = 100, i;

	(void)state;
	if (!works)
		skip();
	while (all.n < BACKING_MAX) {
		for (i = 0; i < BACKING_BATCH; i++) {
			make_file(n, FUSE_USER);
			ovls[i] = n++;
		}
		ask(ovls, BACKING_BATCH);
		assert_int_equal(res[BACKING_BATCH - 1].error, 0);
	}
	make_file(n, FUSE_USER);
	assert_int_equal(ask_one(n), ENOSPC);
	assert_int_equal(ask_one(100), 0); /* it has one */
	give_back(100);
	assert_int_equal(ask_one(n), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_id),
		cmocka_unit_test(nothing_else),
		cmocka_unit_test(no_more),
	};

	return cmocka_run_group_tests(tests, begin, end);
}
