/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * switch: fuse's part of commit and reload: settling, handing files out to be
 * hashed, moving the mount from one base to another.  In fuse.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/memfd.h"
#include "lib/rest.h"
#include "sailvold/change.h"
#include "sailvold/content.h"
#include "sailvold/frontend.h"
#include "sailvold/journal.h"
#include "sailvold/overlay.h"
#include "sailvold/overlay_use.h"
#include "sailvold/passthrough.h"
#include "sailvold/tell.h"
#include "sailvold/worker.h"

static int
answer_offset(struct chan *c, uint32_t type, uint32_t id)
{
	struct ibuf *b;

	if ((b = ibuf_dynamic(8, 64)) == NULL ||
	    ibuf_add_n64(b, journal_end()) == -1)
		fatal("answer");
	if (chan_send_ibuf(c, type, id, -1, b) == -1 && errno != EPIPE)
		fatal("answer to manifest");
	return 0;
}

static int
answer_error(struct chan *c, uint32_t type, uint32_t id, int error)
{
	struct ibuf *b;

	if ((b = ibuf_dynamic(4, 64)) == NULL ||
	    ibuf_add_n32(b, (uint32_t)error) == -1)
		fatal("answer");
	if (chan_send_ibuf(c, type, id, -1, b) == -1 && errno != EPIPE)
		fatal("answer to manifest");
	return 0;
}

static void
no_request(void)
{
	memset(&now, 0, sizeof(now));
}

int
switch_sync(struct chan *c, uint32_t id, struct imsg *imsg, struct ibuf *body)
{
	(void)c;
	(void)imsg;
	(void)body;
	if (!passthrough_let_go(id))
		switch_synced(id);
	return 0;
}

void
switch_synced(uint32_t id)
{
	struct chan *c = frontend_manifest();

	no_request();
	writer_settle_all();
	if (c != NULL)
		answer_offset(c, IMSG_FUSE_MANIFEST_SYNC_RES, id);
}

/* ---- files for the commit ------------------------------------------------------ */

/* Of a file that is not whole: what lacks, first. */
static int
send_rest(struct chan *c, uint32_t id, uint64_t ovl, int fd)
{
	struct stat st;
	int rest;

	if (fstat(fd, &st) == -1)
		return errno;
	if (!(st.st_mode & REST_MODE))
		return 0;
	if ((rest = overlay_rest_open(ovl, O_RDONLY)) == -1)
		return errno == ENOENT ? EIO : errno;
	if (chan_send(c, IMSG_FUSE_MANIFEST_OPEN_REST, id, rest, NULL, 0) == 0)
		return 0;
	close(rest);
	return EIO;
}

int
switch_open(struct chan *c, uint32_t id, struct imsg *imsg, struct ibuf *body)
{
	uint32_t idx, error = 0;
	uint8_t writers;
	struct ibuf *b;
	struct vn *vn;
	uint64_t ovl;
	int fd;

	(void)imsg;
	if (ibuf_get_n64(body, &ovl) == -1)
		return -1;
	no_request();
	idx = inode_by_ovl(ovl);
	writers = idx != 0 && inode_writers(idx) > 0;
	/* From now on a write is a new one: settled, it says so first. */
	if ((vn = view_object(ovl)) != NULL)
		(void)node_refresh(vn);
	if (vn != NULL && (vn->flags & VN_UNSETTLED) &&
	    writer_settle(vn) == 0) {
		vn->flags &= ~VN_UNSETTLED;
		vn->dirty = journal_end();
	}
	/* Who writes then would say nothing. */
	writers |= vn != NULL && (vn->flags & VN_UNSETTLED);
	if ((fd = overlay_open_file(ovl, O_RDONLY)) == -1)
		error = (uint32_t)errno;
	else {
		if (!writers && passthrough_mapped(vn, ovl, fd)) {
			writer_mapped(ovl);
			writers = 1;
		}
		error = (uint32_t)send_rest(c, id, ovl, fd);
	}
	if ((b = ibuf_dynamic(8, 64)) == NULL || ibuf_add_n32(b, error) == -1 ||
	    ibuf_add_n8(b, writers) == -1)
		fatal("answer");
	if (chan_send_ibuf(c, IMSG_FUSE_MANIFEST_OPEN_RES, id, fd, b) == -1) {
		if (errno != EPIPE)
			fatal("answer to manifest");
		if (fd != -1)
			close(fd);
	}
	return 0;
}

static int
get_numbers(struct ibuf *body, uint64_t **out, uint16_t *n)
{
	uint16_t i;

	*out = NULL;
	if (ibuf_get_n16(body, n) == -1 || ibuf_size(body) != (size_t)*n * 8)
		return -1;
	if ((*out = calloc((size_t)*n + 1, sizeof(**out))) == NULL)
		fatal("numbers");
	for (i = 0; i < *n; i++)
		if (ibuf_get_n64(body, &(*out)[i]) == -1) {
			free(*out);
			return -1;
		}
	return 0;
}

static int
get_time(struct ibuf *body, struct timens *t)
{
	uint64_t sec;

	if (ibuf_get_n64(body, &sec) == -1 ||
	    ibuf_get_n32(body, &t->nsec) == -1 || t->nsec > 999999999)
		return -1;
	t->sec = (int64_t)sec;
	return 0;
}

/* What a fuse that died has left unsettled, and nobody writes to. */
int
switch_settle(struct chan *c, uint32_t id, struct imsg *imsg, struct ibuf *body)
{
	struct stat st;
	struct entry e;
	uint64_t ovl;
	uint16_t i, n;
	uint8_t settled;
	int error;

	(void)c;
	(void)id;
	(void)imsg;
	if (ibuf_get_n16(body, &n) == -1 ||
	    ibuf_size(body) != (size_t)n * SETTLE_ITEM_LEN)
		return -1;
	no_request();
	for (i = 0; i < n; i++) {
		memset(&e, 0, sizeof(e));
		if (ibuf_get_n64(body, &ovl) == -1 ||
		    ibuf_get_n64(body, &e.size) == -1 ||
		    get_time(body, &e.mtime) == -1 ||
		    get_time(body, &e.ctime) == -1 ||
		    ibuf_get_n8(body, &settled) == -1)
			return -1;
		if (settled && overlay_stat(ovl, &st) == 0 &&
		    e.size != (uint64_t)st.st_size) {
			log_info("object %llu has %llu bytes, not %llu",
			    (unsigned long long)ovl,
			    (unsigned long long)st.st_size,
			    (unsigned long long)e.size);
			writer_mapped(ovl);
		}
		if (settled)
			continue;
		if ((error = writer_settle_closed(ovl, &e)) != 0)
			log_warnx("object %llu is not settled: %s",
			    (unsigned long long)ovl, strerror(error));
	}
	return 0;
}

struct unlink_work {
	struct work work;
	uint64_t *ovls;
	uint16_t n;
};

static void
unlink_run(struct work *w)
{
	struct unlink_work *u = (struct unlink_work *)w;
	uint16_t i;

	for (i = 0; i < u->n; i++)
		if (overlay_unlink(u->ovls[i]) == -1 && errno != ENOENT)
			w->error = errno;
}

static void
unlink_done(struct work *w)
{
	struct unlink_work *u = (struct unlink_work *)w;

	if (w->error != 0)
		log_warnx("overlay files cannot be removed: %s",
		    strerror(w->error));
	free(u->ovls);
	free(u);
}

int
switch_unlink(struct chan *c, uint32_t id, struct imsg *imsg, struct ibuf *body)
{
	struct unlink_work *u;
	struct vn *vn;
	uint16_t i;

	(void)c;
	(void)id;
	(void)imsg;
	if ((u = calloc(1, sizeof(*u))) == NULL)
		fatal("unlink");
	if (get_numbers(body, &u->ovls, &u->n) == -1) {
		free(u);
		return -1;
	}
	for (i = 0; i < u->n; i++) {
		if ((vn = view_object(u->ovls[i])) != NULL && vn->fd_local)
			overlay_fd_drop(vn);
		passthrough_forget(u->ovls[i]);
		use_unlink(u->ovls[i]);
	}
	u->work.run = unlink_run;
	u->work.done = unlink_done;
	worker_submit(&u->work);
	return 0;
}

static void
drop_unknown(uint64_t ovl)
{
	struct change c;
	struct record r;

	memset(&c, 0, sizeof(c));
	wbuf_init(&c.w, RECORD_MAX_BYTES);
	memset(&r, 0, sizeof(r));
	r.type = RECORD_DROP;
	r.ovl = ovl;
	change_add(&c, &r);
	if (change_commit(&c) != 0)
		log_warnx("object %llu is not dropped",
		    (unsigned long long)ovl);
}

int
switch_let_go(struct chan *c, uint32_t id, struct imsg *imsg, struct ibuf *body)
{
	uint64_t *ovls;
	uint32_t idx;
	uint16_t i, n;
	struct vn *vn;

	(void)c;
	(void)imsg;
	if (get_numbers(body, &ovls, &n) == -1)
		return -1;
	no_request();
	for (i = 0; i < n; i++) {
		vn = view_object(ovls[i]);
		idx = inode_by_ovl(ovls[i]);
		if (id == LET_GO_LEFT && (vn != NULL || idx != 0))
			continue;
		/* linkat(2) has given it another name since. */
		if (vn != NULL && vn->names > 0) {
			vn->links = vn->names;
			continue;
		}
		if (idx != 0 && inode_slot(idx)->name_len != 0)
			continue;
		if (vn != NULL) {
			vn->links = 0;
			vn->flags |= VN_GONE;
		}
		/* Without handles nobody reads what is in it. */
		if (idx != 0 && inode_opens(idx) > 0)
			continue;
		drop_unknown(ovls[i]);
		if (idx != 0)
			inode_make_stale(idx);
		if (vn != NULL) {
			if (vn->slot != 0)
				inode_set_vn(vn->slot, NULL);
			vn->slot = 0;
			vn_set_ovl(vn, 0);
			vn_release(vn);
		}
	}
	free(ovls);
	return 0;
}

/* ---- reload ------------------------------------------------------------------------- */

/* RELOAD or SWITCH, while origins_ask() asks; the newest alone counts. */
static struct {
	uint32_t type, id; /* 0: none */
	int fd;
	void *body; /* of SWITCH */
	size_t len;
} late = { .fd = -1 };

static void
late_clear(void)
{
	if (late.fd != -1)
		close(late.fd);
	free(late.body);
	memset(&late, 0, sizeof(late));
	late.fd = -1;
}

void
switch_manifest_gone(void)
{
	late_clear(); /* the next one begins it anew */
}

static void
late_set(uint32_t type, uint32_t id, int fd, struct ibuf *body)
{
	late.type = type;
	late.id = id;
	late.fd = fd;
	late.len = body != NULL ? ibuf_size(body) : 0;
	if (late.len > 0 && (late.body = malloc(late.len)) == NULL)
		fatal("switch");
	if (late.len > 0)
		memcpy(late.body, ibuf_data(body), late.len);
}

int
switch_reload(struct chan *c, uint32_t id, struct imsg *imsg, struct ibuf *body)
{
	(void)imsg;
	(void)body;
	late_clear();
	no_request();
	change_hold(1);
	writer_settle_all();
	if (!origins_ask(0))
		return answer_offset(c, IMSG_FUSE_MANIFEST_RELOAD_RES, id);
	late_set(IMSG_MANIFEST_FUSE_RELOAD, id, -1, NULL);
	return 0;
}

#define LISTED 32 /* differences come in the order of paths */

struct moving {
	struct tell tell;
	struct hash base;        /* the new one */
	int again;               /* all but telling was done before */
	int other_names;         /* of some node id */
	uint32_t writers;        /* whose file is no longer at its name */
	uint32_t top;            /* directory that goes, and all below it */
	uint32_t listed[LISTED]; /* directories that were told lately */
	unsigned int nlisted;
};

/* The names of a directory as the kernel keeps them are not so any more. */
static void
tell_list(struct moving *m, uint32_t dir)
{
	unsigned int i;

	for (i = 0; i < LISTED; i++)
		if (m->listed[i] == dir)
			return;
	m->listed[m->nlisted++ % LISTED] = dir;
	tell_add(&m->tell, TELL_LIST, dir, "", 0);
}

/* The slot of a directory that the kernel knows, by its path; 0. */
static uint32_t
dir_slot(const uint8_t *path, size_t len)
{
	const uint8_t *slash;
	uint32_t idx = INODE_ROOT;
	size_t at = 0, n;

	while (idx != 0 && at < len) {
		slash = memchr(path + at, '/', len - at);
		n = slash != NULL ? (size_t)(slash - path) - at : len - at;
		idx = inode_by_name(idx, path + at, n);
		at += n + 1;
	}
	return idx;
}

static int
slot_is_below(uint32_t idx, uint32_t top)
{
	int depth;

	for (depth = 0;
	     idx != 0 && idx != INODE_ROOT && depth <= SAIL_DEPTH_MAX;
	     depth++) {
		if (idx == top)
			return 1;
		if (inode_slot(idx)->name_len == 0)
			return 0;
		idx = inode_slot(idx)->parent;
	}
	return 0;
}

/*
 * The origin of a root, or of an object, that a clean file was shown by: a fuse
 * that did not show it has it as it is now.  The root's commit the table knows,
 * and of an object that a reload kept SWITCH says what it was.
 */
static int
old_top(const struct moving *m, uint32_t idx, struct diff_origin *top)
{
	const struct origin *o;
	struct hash old;

	if (origins_was(inode_slot(idx)->ovl, top))
		return 0;
	if (inode_vn(idx) == NULL || (o = inode_vn(idx)->origin) == NULL)
		return -1;
	top->commit = o->commit;
	top->path = o->path;
	top->len = o->len;
	if (inode_base(old.b) == 0 || hash_cmp(&o->commit, &m->base) != 0)
		return 0;
	if (idx != INODE_ROOT && hash_cmp(&old, &m->base) != 0)
		return -1;
	top->commit = old;
	return 0;
}

/* Path of a clean file that is open and not in memory, by what is above it. */
static int
old_origin(const struct moving *m, uint32_t idx, struct hash *commit,
    uint8_t *path, size_t *len)
{
	uint8_t buf[SAIL_PATH_MAX + 1]; /* and the slash in front */
	size_t at = sizeof(buf), n;
	struct diff_origin o;
	const uint8_t *name;
	int depth;

	for (depth = 0; idx != INODE_ROOT; depth++) {
		if (depth > 0 && inode_slot(idx)->kind == INODE_OBJECT)
			break;
		name = inode_name(idx, &n);
		if (depth > SAIL_DEPTH_MAX || n == 0 || n + 1 > at ||
		    (depth > 0 && inode_slot(idx)->kind != INODE_NAMED))
			return -1;
		at -= n;
		memcpy(buf + at, name, n);
		buf[--at] = '/';
		idx = inode_slot(idx)->parent;
	}
	if (old_top(m, idx, &o) == -1)
		return -1;
	*commit = o.commit;
	if (o.len == 0)
		at++;
	if (o.len + sizeof(buf) - at > SAIL_PATH_MAX)
		return -1;
	memcpy(path, o.path, o.len);
	memcpy(path + o.len, buf + at, sizeof(buf) - at);
	*len = o.len + sizeof(buf) - at;
	return 0;
}

/* The node id keeps what it showed for who has it open; its name is another's. */
static void
detach(struct moving *m, uint32_t idx)
{
	struct vn *vn = inode_vn(idx);
	uint8_t path[SAIL_PATH_MAX];
	struct hash commit;
	size_t len;
	int known;

	if (idx < INODE_FIRST || inode_slot(idx)->kind == INODE_STALE ||
	    inode_slot(idx)->kind == INODE_DETACHED)
		return;
	if (inode_opens(idx) == 0) {
		if (vn != NULL) {
			inode_set_vn(idx, NULL);
			vn->slot = 0;
		}
		inode_make_stale(idx);
		return;
	}
	m->writers += inode_writers(idx) > 0;
	if (inode_slot(idx)->kind == INODE_OBJECT) {
		inode_unname(idx);
		/* Of a file LET_GO says whether it goes. */
		if (vn != NULL && vn->type == ENTRY_DIR) {
			vn->flags |= VN_GONE;
			vn->links = 0;
		}
		return;
	}
	known = vn != NULL ? vn_origin(vn, &commit, path, &len)
			   : old_origin(m, idx, &commit, path, &len);
	if (known == -1 || inode_detach(idx, commit.b, path, len) == -1) {
		inode_make_stale(idx);
		return;
	}
	if (vn != NULL) {
		(void)vn_set_origin(vn, &commit, path, len);
		vn->flags |= VN_GONE;
		vn->links = 0;
	}
}

static void
detach_if_below(struct handle *h, void *arg)
{
	struct moving *m = arg;

	if (h->inode != m->top && slot_is_below(h->inode, m->top))
		detach(m, h->inode);
}

/*
 * Whether the kernel may have a node id under several names, of which only one
 * differs.  An object that is not in memory may be a file with several.
 */
static int
has_other_names(uint32_t idx)
{
	const struct vn *vn = inode_vn(idx);

	if (inode_slot(idx)->kind != INODE_OBJECT)
		return 0;
	return vn == NULL || (vn->type != ENTRY_DIR && vn->links > 1);
}

/*
 * A switch that is done again finds what is open without the names that it took
 * away, and that the kernel has it under until it is told.
 */
static int
may_have_lost_name(const struct moving *m, uint32_t idx)
{
	return (m->again || frontend_behind()) &&
	    inode_slot(idx)->kind == INODE_OBJECT &&
	    inode_slot(idx)->name_len == 0;
}

static void
look_for_names(uint32_t idx, void *arg)
{
	struct moving *m = arg;

	m->other_names |= has_other_names(idx) || may_have_lost_name(m, idx);
}

static void
one_difference(struct moving *m, uint8_t kind, const uint8_t *path, size_t len)
{
	uint32_t dir, idx = 0;
	const char *base;
	size_t n = 0;
	int others;

	if (len == 0) {
		tell_add(&m->tell, TELL_ATTR, INODE_ROOT, "", 0);
		return;
	}
	if ((dir = dir_slot(path, path_parent(path, len))) == 0)
		return; /* nothing of it was looked up */
	base = path_base((const char *)path, len, &n);
	idx = inode_by_name(dir, base, n);
	if (kind == DIFF_ATTR) {
		/* Another name of a node id that the table has under one? */
		if (idx != 0)
			tell_add(&m->tell, TELL_ATTR, idx, "", 0);
		else if (m->other_names)
			tell_add(&m->tell, TELL_ENTRY, dir, base, n);
		return;
	}
	tell_list(m, dir);
	tell_add(&m->tell, TELL_ENTRY, dir, base, n);
	if (kind == DIFF_NEW || idx == 0 || m->again)
		return;
	/* Who asks for these again is told to look at the name again. */
	others = has_other_names(idx);
	if (others)
		tell_add(&m->tell, TELL_ATTR, idx, "", 0);
	m->top = idx;
	handle_foreach(detach_if_below, m);
	detach(m, idx);
	if (kind == DIFF_GONE && !others &&
	    inode_slot(idx)->kind == INODE_STALE)
		inode_slot(idx)->flags |= INODE_GONE;
}

/* The name that the kernel may have it under. */
static void
tell_name(struct moving *m, uint32_t idx, const struct vn *vn)
{
	struct inode_slot *s = inode_slot(idx);
	const uint8_t *name;
	size_t len;

	if (s->name_len != 0) {
		name = inode_name(idx, &len);
		tell_add(&m->tell, TELL_ENTRY, s->parent, name, len);
	} else if (vn != NULL && vn->name != NULL && vn->name->dir->slot != 0)
		tell_add(&m->tell, TELL_ENTRY, vn->name->dir->slot,
		    vn->name->name, vn->name->len);
}

/*
 * An object may be none in the new view: it is found by its name there.  The
 * names of a file with several are files of their own in a commit: none of
 * them may go on with the node id, which the kernel has under all of them.
 * Of one whose slot lost its name the kernel has another.  And what is passed
 * through stays the overlay file that it is for who has it open: all that open
 * the node id get that one.  One that is open and not in memory may be any of
 * these.
 */
static void
by_name(uint32_t idx, void *arg)
{
	struct moving *m = arg;
	struct vn *vn = inode_vn(idx);
	int nameless = inode_slot(idx)->name_len == 0;
	int through = inode_slot(idx)->mode == MODE_PASSTHROUGH;

	if (inode_slot(idx)->kind != INODE_OBJECT || inode_writers(idx) > 0)
		return;
	if (idx >= INODE_FIRST &&
	    (vn == NULL ? inode_opens(idx) > 0
			: vn->type != ENTRY_DIR && !(vn->flags & VN_GONE) &&
			(vn->links > 1 || nameless || through))) {
		tell_name(m, idx, vn);
		tell_add(&m->tell, TELL_ATTR, idx, "", 0);
		detach(m, idx);
		return;
	}
	if (nameless)
		return;
	inode_set_named(idx);
	if ((vn = inode_vn(idx)) != NULL) {
		vn->slot = 0;
		inode_set_vn(idx, NULL);
		vn_release(vn);
	}
}

/* Clean ones that are held in memory must not be taken for the new ones. */
static void
forget_clean(uint32_t idx, void *arg)
{
	struct vn *vn;

	(void)arg;
	if (inode_slot(idx)->kind == INODE_NAMED &&
	    (vn = inode_vn(idx)) != NULL) {
		vn->slot = 0;
		inode_set_vn(idx, NULL);
		vn_release(vn);
	}
}

/*
 * A file with a writer that is where it was: its name may be another object's
 * in the new view, so that the kernel looks again.  If it is not, the look-up
 * finds the same node id.
 */
static void
look_again(struct handle *h, void *arg)
{
	struct moving *m = arg;
	struct inode_slot *s = inode_slot(h->inode);
	const uint8_t *name;
	size_t len;

	if (!handle_writes(h) || s->kind != INODE_OBJECT || s->name_len == 0)
		return;
	name = inode_name(h->inode, &len);
	tell_add(&m->tell, TELL_ENTRY, s->parent, name, len);
	inode_unname(h->inode);
}

static void
pin_writer(struct handle *h, void *arg)
{
	struct vn *vn = inode_vn(h->inode);

	if (!handle_writes(h) || vn == NULL)
		return;
	if (*(int *)arg)
		vn_pin(vn);
	else
		vn->pins--;
}

/* Where its content is, is asked for by what its directory was. */
static void
detach_removed(uint32_t idx, void *arg)
{
	if (inode_slot(idx)->kind == INODE_NAMED &&
	    (inode_slot(idx)->flags & INODE_REMOVED))
		detach(arg, idx);
}

static int
move(struct moving *m, const struct start *st, int fd)
{
	struct memfd_view view;
	const uint8_t *path;
	struct rbuf r;
	uint8_t kind;
	size_t len;
	struct hash base;
	int rc, on = 1;

	if (memfd_map(fd, DIFF_MAX_BYTES, &view) == -1)
		return -1;
	/* Its answer was lost, and what is open now is of the new base. */
	m->again = inode_base(base.b) == st->epoch;
	rc = origins_begin(view.data, view.len);
	if (rc == 0 && !m->again)
		inode_foreach(detach_removed, m);
	inode_foreach(look_for_names, m);
	rbuf_init(&r, view.data, view.len);
	while ((rc = diff_decode(&r, &kind, &path, &len)) == 1)
		one_difference(m, kind, path, len);
	origins_end();
	memfd_unmap(&view);
	if (rc == -1)
		return -1;
	if (m->again)
		return 0;
	query_forget_all();
	handle_foreach(look_again, m);
	handle_foreach(pin_writer, &on);
	inode_foreach(by_name, m);
	view_forget_names();
	inode_foreach(forget_clean, NULL);
	on = 0;
	handle_foreach(pin_writer, &on);
	return frontend_set_start(st);
}

static int
do_switch(struct chan *c, uint32_t id, int fd, const struct start *st)
{
	struct moving m;
	struct ibuf *b;
	int rc, tell;

	memset(&m, 0, sizeof(m));
	m.base = st->base;
	tell_begin(&m.tell, TELL_MAX_BYTES);
	if (fd != -1) {
		rc = move(&m, st, fd);
		close(fd);
		if (rc == -1)
			return -1;
	} else if (st->epoch != frontend_start()->epoch)
		return -1;
	frontend_switched();
	if ((errno = m.tell.w.error) != 0)
		fatal("notifications");
	tell = memfd_new("tell", m.tell.w.data, m.tell.w.len);
	wbuf_free(&m.tell.w);
	if (tell == -1 || (b = ibuf_dynamic(4, 64)) == NULL ||
	    ibuf_add_n32(b, m.writers) == -1)
		fatal("switched");
	if (chan_send_ibuf(c, IMSG_FUSE_MANIFEST_SWITCHED, id, tell, b) == -1) {
		if (errno != EPIPE)
			fatal("switched");
		close(tell);
	}
	return 0;
}

int
switch_switch(struct chan *c, uint32_t id, struct imsg *imsg, struct ibuf *body)
{
	struct ibuf whole;
	struct start st;
	int fd = imsg_get_fd(imsg);

	ibuf_from_ibuf(&whole, body);
	if (start_recv(body, &st) == -1)
		return -1;
	late_clear();
	no_request();
	if (fd == -1 || !origins_ask(0))
		return do_switch(c, id, fd, &st);
	/* What is answered from now on is of the new rows. */
	request_pause(1);
	late_set(IMSG_MANIFEST_FUSE_SWITCH, id, fd, &whole);
	return 0;
}

int
switch_go_on(void)
{
	struct chan *c = frontend_manifest();
	struct ibuf body;
	struct start st;
	int fd, rc = 0;

	no_request();
	if (late.type == 0 || c == NULL || origins_ask(1))
		return 0;
	if (late.type == IMSG_MANIFEST_FUSE_RELOAD)
		rc = answer_offset(c, IMSG_FUSE_MANIFEST_RELOAD_RES, late.id);
	else {
		ibuf_from_buffer(&body, late.body, late.len);
		fd = late.fd;
		late.fd = -1;
		rc = start_recv(&body, &st);
		if (rc == 0)
			rc = do_switch(c, late.id, fd, &st);
	}
	late_clear();
	return rc;
}

/* ---- published files to the cache ---------------------------------------------------- */

struct put {
	TAILQ_ENTRY(put) link;
	uint32_t id;       /* of the questions to cache */
	uint32_t asked;    /* of manifest's */
	unsigned int left; /* answers to come */
	int error;         /* the first */
};
static TAILQ_HEAD(, put) pending = TAILQ_HEAD_INITIALIZER(pending);
static uint32_t next_put;

static void
put_end(struct put *p, int error)
{
	struct chan *c = frontend_manifest();

	TAILQ_REMOVE(&pending, p, link);
	if (c != NULL)
		(void)answer_error(c, IMSG_FUSE_MANIFEST_CACHE_PUT_RES,
		    p->asked, error);
	free(p);
}

void
switch_put_done(uint32_t id, int error)
{
	struct put *p;

	TAILQ_FOREACH (p, &pending, link)
		if (p->id == id)
			break;
	if (p == NULL)
		return;
	if (p->error == 0)
		p->error = error;
	if (--p->left == 0)
		put_end(p, p->error);
}

void
switch_cache_gone(void)
{
	while (!TAILQ_EMPTY(&pending))
		put_end(TAILQ_FIRST(&pending), EAGAIN);
}

/* As many questions as cache takes at a time, and this one of its length. */
static int
put_room(const struct chunklist *list)
{
	uint64_t n = chunklist_hashes(list) / CACHE_WANT_MAX + 1;
	struct put *p;

	TAILQ_FOREACH (p, &pending, link)
		n += p->left;
	return n <= CACHE_PUTS_MAX;
}

static int
put_begin(uint32_t id, uint64_t ovl, const struct chunklist *list)
{
	struct put *p;
	int error;

	if (!put_room(list))
		return EAGAIN;
	if ((p = calloc(1, sizeof(*p))) == NULL)
		fatal("cache put");
	p->id = ++next_put;
	p->asked = id;
	TAILQ_INSERT_TAIL(&pending, p, link);
	error = content_put(ovl, p->id, list, &p->left);
	if (p->left == 0)
		put_end(p, error);
	else
		p->error = error;
	return 0;
}

int
switch_cache_put(struct chan *c, uint32_t id, struct imsg *imsg,
    struct ibuf *body)
{
	struct chunklist *list = NULL;
	struct hash content;
	struct rbuf r;
	uint64_t ovl, size;
	uint32_t len, idx;
	int error;

	(void)imsg;
	if (ibuf_get_n64(body, &ovl) == -1 ||
	    ibuf_get(body, content.b, HASH_LEN) == -1 ||
	    ibuf_get_n64(body, &size) == -1 || ibuf_get_n32(body, &len) == -1 ||
	    ibuf_size(body) != len)
		return -1;
	rbuf_init(&r, ibuf_data(body), len);
	if (len > 0 &&
	    ((list = chunklist_decode(&r, len / HASH_LEN)) == NULL ||
		rbuf_end(&r) == -1 || chunklist_size(list) != size)) {
		chunklist_free(list);
		return -1;
	}
	idx = inode_by_ovl(ovl);
	if (idx != 0 && inode_writers(idx) > 0)
		error = EBUSY;
	else if (list == NULL)
		/* Without its chunks it is fetched when somebody wants it. */
		error = EOPNOTSUPP;
	else
		error = put_begin(id, ovl, list);
	chunklist_free(list);
	if (error == 0)
		return 0;
	return answer_error(c, IMSG_FUSE_MANIFEST_CACHE_PUT_RES, id, error);
}
