/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * The role fuse: hostile manifest and cache, while a kernel that is none sends
 * requests (0xe0: u8 operation, u8 node or handle, u16 length and name).
 */
#include <linux/fuse.h>

#include "regress/fuzz/role.h"
#include "sailvold/roles.h"
#include "sailvold/sailvold_imsg.h"

#define SLOTS 4096
#define NODES 16

static int kernel; /* the other end of what fuse takes for /dev/fuse */
static uint64_t nodes[NODES] = { 1 }, handles[NODES], unique = 10;
static unsigned int nnodes = 1, nhandles;

static size_t
request(uint8_t *out, uint32_t opcode, uint64_t node, const void *body,
    size_t len, const void *tail, size_t tail_len)
{
	struct fuse_in_header h = { .opcode = opcode, .nodeid = node };

	h.len = (uint32_t)(sizeof(h) + len + tail_len);
	h.unique = unique += 2;
	memcpy(out, &h, sizeof(h));
	if (len > 0)
		memcpy(out + sizeof(h), body, len);
	if (tail_len > 0)
		memcpy(out + sizeof(h) + len, tail, tail_len);
	return h.len;
}

static void
configure(struct chan *parent_end)
{
	struct fuse_config conf = { .view_bytes = 1 << 20, .volume = "v" };
	struct fuse_init_in init_in = { .major = 7,
		.minor = 38,
		.max_readahead = 65536,
		.flags = 0xfffffff };
	uint8_t body[17 + 256] = { 0 },
			  slots[8] = { 0, 0, 0, 0, 0, 0, SLOTS >> 8, 0 };
	size_t n;
	int sv[2], table;

	no_sockets(sv, SOCK_SEQPACKET);
	kernel = sv[0];
	fcntl(kernel, F_SETFL, O_NONBLOCK);
	table = memfd_create("inodes", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (table == -1 || ftruncate(table, 16 << 20) == -1)
		abort();
	n = request(body + 17, FUSE_INIT, 0, &init_in, sizeof(init_in), NULL,
	    0);
	if (fuse_config_send(parent_end, &conf) == -1 ||
	    chan_send(parent_end, IMSG_PARENT_FUSE_TABLE, 0, table, slots,
		sizeof(slots)) == -1 ||
	    chan_send(parent_end, IMSG_PARENT_FUSE_SESSION, 0, sv[1], body,
		17 + n) == -1)
		abort();
}

static void
greet(void)
{
	struct item root = { .flags = 0,
		.ovl = 1,
		.links = 1,
		.has_origin = 1 };
	struct start st = { .epoch = 1,
		.next = 2,
		.volume_version = 1,
		.volume_id = "vol_00000000000000000000000000000000",
		.volume = "v",
		.org = "o" };
	struct wbuf w;

	root.origin_path = root.name = (const uint8_t *)"";
	root.origin_commit.b[0] = st.base.b[0] = 1;
	root.entry.type = ENTRY_DIR;
	root.entry.mode = 0755;
	root.entry.fileid = 5;
	root.entry.root.b[0] = 9;
	wbuf_init(&w, 65536);
	item_encode(&w, &root);
	fuzz_check(w.error == 0);
	st.root = w.data;
	st.root_len = w.len;
	if (start_send(far_of(ROLE_MANIFEST)->chan, IMSG_MANIFEST_FUSE_START, 0,
		&st, -1) == -1)
		abort();
	wbuf_free(&w);
	role_pump();
}

/* Node ids and handles of what was answered. */
static void
answers(void)
{
	uint8_t buf[65536];
	struct fuse_out_header h;
	uint64_t id;
	ssize_t n;

	while ((n = recv(kernel, buf, sizeof(buf), 0)) > 0) {
		if ((size_t)n < sizeof(h))
			continue;
		memcpy(&h, buf, sizeof(h));
		if (h.error != 0 || (size_t)n < sizeof(h) + 16)
			continue;
		memcpy(&id, buf + sizeof(h), sizeof(id));
		if ((size_t)n >= sizeof(h) + sizeof(struct fuse_entry_out)) {
			nodes[nnodes++ % NODES] = id;
			nnodes = nnodes > NODES ? NODES : nnodes;
		} else {
			handles[nhandles++ % NODES] = id;
			nhandles = nhandles > NODES ? NODES : nhandles;
		}
	}
}

static void
from_kernel(struct fuzz_in *in)
{
	static const uint32_t ops[] = { FUSE_LOOKUP, FUSE_GETATTR, FUSE_OPENDIR,
		FUSE_READDIRPLUS, FUSE_OPEN, FUSE_READ, FUSE_MKDIR, FUSE_UNLINK,
		FUSE_CREATE, FUSE_WRITE, FUSE_RMDIR, FUSE_LISTXATTR };
	uint8_t buf[8192], op = fuzz_u8(in) % 12, which = fuzz_u8(in);
	union {
		struct fuse_getattr_in attr;
		struct fuse_open_in open;
		struct fuse_read_in read;
		struct fuse_mkdir_in mkdir;
		struct fuse_create_in create;
		struct fuse_write_in write;
		struct fuse_getxattr_in xattr;
	} u;
	static const size_t sizes[] = { 0, sizeof(u.attr), sizeof(u.open),
		sizeof(u.read), sizeof(u.open), sizeof(u.read), sizeof(u.mkdir),
		0, sizeof(u.create), sizeof(u.write), 0, sizeof(u.xattr) };
	const uint8_t *p;
	char *name, *exact;
	size_t n, len;

	answers();
	memset(&u, 0, sizeof(u));
	p = fuzz_bytes(in, 255, &len);
	name = fuzz_string(p, len);
	n = strcspn(name, "/"); /* the kernel looks one name up */
	name[n] = '\0';
	if (n == 0)
		name[n++] = 'b';
	if (ops[op] == FUSE_READ || ops[op] == FUSE_READDIRPLUS) {
		u.read.size = 4096;
		u.read.fh = nhandles > 0 ? handles[which % nhandles] : 0;
	} else if (ops[op] == FUSE_WRITE) {
		u.write.size = (uint32_t)n;
		u.write.fh = nhandles > 0 ? handles[which % nhandles] : 0;
	} else if (ops[op] == FUSE_CREATE) {
		u.create.flags = O_RDWR | O_CREAT;
		u.create.mode = S_IFREG | 0644;
	} else if (ops[op] == FUSE_MKDIR)
		u.mkdir.mode = 0755;
	else if (ops[op] == FUSE_LISTXATTR)
		u.xattr.size = 4096;
	if ((ops[op] == FUSE_READ || ops[op] == FUSE_READDIRPLUS ||
		ops[op] == FUSE_WRITE) &&
	    nhandles == 0) {
		free(name);
		return;
	}
	exact = fuzz_string((const uint8_t *)name, n);
	free(name);
	n = request(buf, ops[op], nodes[which % nnodes], &u, sizes[op], exact,
	    n + 1);
	free(exact);
	(void)send(kernel, buf, n, 0);
	role_pump();
	answers();
}

static const struct fuzz_role fuzz_role = {
	.def = &fuse_role,
	.peers = { ROLE_MANIFEST, ROLE_CACHE },
	.configure = configure,
	.greet = greet,
	.other = from_kernel,
};

static void
fuzz_one(const uint8_t *p, size_t len)
{
	(void)role_fuzz(p, len);
}
