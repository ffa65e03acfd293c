/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * view: things and names in memory.  In fuse.
 */
#include <sys/stat.h>
#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/log.h"
#include "sailvold/inode.h"
#include "sailvold/overlay.h"
#include "sailvold/view.h"
#include "sailvold/view_names.h"

#define OVL_BUCKETS 65536

static struct vn *objects[OVL_BUCKETS];
static struct vn *root;
static uint64_t bytes, limit;

TAILQ_HEAD(dir_lru, vdir);
static struct dir_lru lru = TAILQ_HEAD_INITIALIZER(lru);
static size_t listed;  /* in lru */
static size_t in_vain; /* looked at since one of them went */

/* With malloc's own word in front. */
static uint64_t
heap_bytes(void *piece)
{
	if (piece == NULL)
		return 0;
	return malloc_usable_size(piece) + sizeof(size_t);
}

void
view_came(void *piece)
{
	bytes += heap_bytes(piece);
}

void
view_goes(void *piece)
{
	bytes -= heap_bytes(piece);
}

uint64_t
view_bytes(void)
{
	return bytes;
}

struct vn *
view_root(void)
{
	return root;
}

mode_t
vn_ifmt(uint8_t type)
{
	switch (type) {
	case ENTRY_DIR:
		return S_IFDIR;
	case ENTRY_SYMLINK:
		return S_IFLNK;
	case ENTRY_FIFO:
		return S_IFIFO;
	case ENTRY_SOCKET:
		return S_IFSOCK;
	default:
		return S_IFREG;
	}
}

/* ---- objects by number ------------------------------------------------------ */

static struct vn **
bucket(uint64_t ovl)
{
	return &objects[(ovl * 0x9e3779b97f4a7c15ULL >> 40) % OVL_BUCKETS];
}

struct vn *
view_object(uint64_t ovl)
{
	struct vn *vn;

	for (vn = *bucket(ovl); vn != NULL; vn = vn->next_ovl)
		if (vn->ovl == ovl)
			return vn;
	return NULL;
}

static void
objects_remove(struct vn *vn)
{
	struct vn **p;

	if (vn->ovl == 0)
		return;
	for (p = bucket(vn->ovl); *p != NULL; p = &(*p)->next_ovl)
		if (*p == vn) {
			*p = vn->next_ovl;
			vn->next_ovl = NULL;
			return;
		}
}

void
vn_keep_atime(struct vn *vn)
{
	if (vn->flags & VN_ATIME)
		return;
	vn->atime = vn->mtime;
	vn->flags |= VN_ATIME;
}

void
vn_set_ovl(struct vn *vn, uint64_t ovl)
{
	objects_remove(vn);
	vn->ovl = ovl;
	if (ovl == 0)
		return;
	vn->next_ovl = *bucket(ovl);
	*bucket(ovl) = vn;
}

/* ---- things ---------------------------------------------------------------- */

void (*vn_content_free)(struct vn *);

struct vn *
vn_new(uint8_t type)
{
	struct vn *vn;

	if ((vn = calloc(1, sizeof(*vn))) == NULL)
		return NULL;
	vn->type = type;
	vn->fd = -1;
	vn->links = 1;
	view_came(vn);
	return vn;
}

static int
copy_bytes(uint8_t **out, uint32_t *out_len, const uint8_t *p, size_t len)
{
	uint8_t *copy = NULL;

	if (len != 0) {
		if ((copy = malloc(len)) == NULL)
			return -1;
		memcpy(copy, p, len);
	}
	view_came(copy);
	view_goes(*out);
	free(*out);
	*out = copy;
	*out_len = (uint32_t)len;
	return 0;
}

int
vn_set_xattrs(struct vn *vn, const uint8_t *p, size_t len)
{
	return copy_bytes(&vn->xattrs, &vn->xattrs_len, p, len);
}

int
vn_set_target(struct vn *vn, const void *target, size_t len)
{
	char *copy;

	if ((copy = strndup(target, len)) == NULL)
		return -1;
	view_came(copy);
	view_goes(vn->target);
	free(vn->target);
	vn->target = copy;
	vn->size = len;
	return 0;
}

void
vn_drop_clean(struct vn *vn)
{
	if (vn->content != NULL)
		vn_content_free(vn);
	(void)copy_bytes(&vn->enc, &vn->enc_len, NULL, 0);
}

int
vn_set_origin(struct vn *vn, const struct hash *commit, const void *path,
    size_t len)
{
	struct origin *o;

	if ((o = malloc(sizeof(*o) + len)) == NULL)
		return -1;
	o->commit = *commit;
	o->len = (uint32_t)len;
	if (len > 0)
		memcpy(o->path, path, len);
	view_came(o);
	view_goes(vn->origin);
	free(vn->origin);
	vn->origin = o;
	return 0;
}

int
vn_keep_origin(struct vn *vn)
{
	uint8_t path[SAIL_PATH_MAX];
	struct hash commit;
	size_t len;

	if (vn->origin != NULL || vn_origin(vn, &commit, path, &len) == -1)
		return 0;
	return vn_set_origin(vn, &commit, path, len);
}

/* Takes what an item says; vn has none of it yet, or it is renewed. */
static int
take_item(struct vn *vn, const struct item *it)
{
	const struct entry *e = &it->entry;
	struct entry bare;
	struct wbuf w;

	vn->type = e->type;
	vn->mode = e->mode;
	vn->uid = e->uid;
	vn->gid = e->gid;
	vn->mtime = e->mtime;
	vn->ctime = e->ctime;
	vn->fileid = e->fileid;
	vn->size = e->type == ENTRY_FILE ? e->size : 0;
	vn->links = it->links;
	vn->flags = 0;
	if (it->flags & ITEM_LOCAL)
		vn->flags |= VN_LOCAL;
	if (it->flags & ITEM_UNSETTLED)
		vn->flags |= VN_UNSETTLED;
	if (it->flags & ITEM_CLEAN)
		vn->flags |= VN_CLEAN;
	if (vn_set_xattrs(vn, e->xattrs, e->xattrs_len) == -1)
		return -1;
	if (it->ovl != 0 && it->has_origin &&
	    vn_set_origin(vn, &it->origin_commit, it->origin_path,
		it->origin_path_len) == -1)
		return -1;
	if (e->type == ENTRY_SYMLINK)
		return vn_set_target(vn, e->target, e->target_len);
	if (vn->flags & VN_LOCAL)
		return 0;
	bare = *e;
	bare.xattrs = NULL;
	bare.xattrs_len = 0;
	wbuf_init(&w, RECORD_MAX_BYTES);
	record_entry_encode(&w, &bare);
	if (w.error != 0 ||
	    copy_bytes(&vn->enc, &vn->enc_len, w.data, w.len) == -1) {
		wbuf_free(&w);
		return -1;
	}
	wbuf_free(&w);
	return 0;
}

struct vn *
vn_from_item(const struct item *it)
{
	struct vn *vn;
	uint32_t idx;

	if ((vn = vn_new(it->entry.type)) == NULL)
		return NULL;
	if (take_item(vn, it) == -1) {
		vn_free(vn);
		return NULL;
	}
	if (it->ovl == 0)
		return vn;
	vn_set_ovl(vn, it->ovl);
	if (vn->links == 0)
		vn->flags |= VN_GONE;
	if ((idx = inode_by_ovl(it->ovl)) != 0 && inode_vn(idx) == NULL) {
		inode_set_vn(idx, vn);
		vn->slot = idx;
		/* Settled for a commit, and written to since. */
		if ((vn->flags & VN_LOCAL) && inode_writers(idx) > 0)
			vn->flags |= VN_UNSETTLED;
	}
	return vn;
}

int
view_set_root(const struct item *it)
{
	if (it->ovl != OVL_ROOT || it->entry.type != ENTRY_DIR) {
		errno = EBADMSG;
		return -1;
	}
	if (root == NULL) {
		if ((root = vn_from_item(it)) == NULL)
			return -1;
		root->pins = 1;
		root->slot = INODE_ROOT;
		inode_set_vn(INODE_ROOT, root);
		return 0;
	}
	return take_item(root, it);
}

void
vn_free(struct vn *vn)
{
	if (vn == NULL)
		return;
	objects_remove(vn);
	if (vn->dir != NULL)
		view_dir_free(vn);
	if (vn->slot != 0 && inode_vn(vn->slot) == vn) {
		inode_set_vn(vn->slot, NULL);
		inode_try_free(vn->slot);
	}
	overlay_fd_drop(vn);
	if (vn->content != NULL)
		vn_content_free(vn);
	view_goes(vn->origin);
	view_goes(vn->enc);
	view_goes(vn->xattrs);
	view_goes(vn->target);
	view_goes(vn);
	free(vn->origin);
	free(vn->enc);
	free(vn->xattrs);
	free(vn->target);
	free(vn);
}

void
vn_pin(struct vn *vn)
{
	vn->pins++;
}

void
vn_unpin(struct vn *vn)
{
	vn->pins--;
	/* One that the kernel has stays until memory is short. */
	if (vn->slot == 0 ||
	    (inode_slot(vn->slot)->nlookup == 0 && inode_opens(vn->slot) == 0))
		vn_release(vn);
}

/*
 * Without a name in memory it goes, unless it is one that lost its name while
 * the kernel has it: that is known here alone.
 */
void
vn_release(struct vn *vn)
{
	if (vn->pins != 0 || vn->names != 0 || vn == root)
		return;
	if (vn->slot != 0 &&
	    (inode_slot(vn->slot)->nlookup != 0 ||
		inode_opens(vn->slot) != 0) &&
	    (vn->flags & VN_GONE))
		return;
	vn_free(vn);
}

int
vn_entry(const struct vn *vn, struct entry *e)
{
	struct rbuf r;

	memset(e, 0, sizeof(*e));
	if (vn->enc != NULL) {
		rbuf_init(&r, vn->enc, vn->enc_len);
		if (record_entry_decode(&r, e) == -1) {
			errno = EIO;
			return -1;
		}
	}
	e->type = vn->type;
	e->mode = vn->mode;
	e->uid = vn->uid;
	e->gid = vn->gid;
	e->mtime = vn->mtime;
	e->ctime = vn->ctime;
	e->fileid = vn->fileid;
	if (vn->type == ENTRY_FILE)
		e->size = vn->size;
	if (vn->type == ENTRY_FILE && vn->enc == NULL)
		e->chunk_shift = chunk_shift_for(vn->size);
	if (vn->type == ENTRY_SYMLINK) {
		e->target = (const uint8_t *)vn->target;
		e->target_len = strlen(vn->target);
	}
	if (vn->xattrs != NULL) {
		e->xattrs = vn->xattrs;
		e->xattrs_len = vn->xattrs_len;
		memset(&e->xattr_node, 0, sizeof(e->xattr_node));
	}
	return 0;
}

/* From the thing up to the next object, written from the end. */
int
vn_origin(const struct vn *vn, struct hash *commit, uint8_t path[SAIL_PATH_MAX],
    size_t *len)
{
	uint8_t buf[SAIL_PATH_MAX + 1]; /* and the slash in front */
	size_t at = sizeof(buf);
	int depth;

	for (depth = 0; vn->origin == NULL; depth++) {
		if (vn->ovl != 0 || vn->name == NULL ||
		    depth > SAIL_DEPTH_MAX) {
			errno = ENOENT;
			return -1;
		}
		if (vn->name->len + (size_t)1 > at) {
			errno = ENAMETOOLONG;
			return -1;
		}
		at -= vn->name->len;
		memcpy(buf + at, vn->name->name, vn->name->len);
		buf[--at] = '/';
		vn = vn->name->dir;
	}
	if (vn->origin->len == 0 && at < sizeof(buf))
		at++;
	if (vn->origin->len + sizeof(buf) - at > SAIL_PATH_MAX) {
		errno = ENAMETOOLONG;
		return -1;
	}
	*commit = vn->origin->commit;
	memcpy(path, vn->origin->path, vn->origin->len);
	memcpy(path + vn->origin->len, buf + at, sizeof(buf) - at);
	*len = vn->origin->len + sizeof(buf) - at;
	return 0;
}

/* ---- memory ---------------------------------------------------------------- */

void
view_init(uint64_t limit_bytes)
{
	limit = limit_bytes;
}

void
view_dir_listed(struct vdir *d)
{
	TAILQ_INSERT_HEAD(&lru, d, lru);
	listed++;
}

void
view_dir_touched(struct vdir *d)
{
	if (TAILQ_FIRST(&lru) == d)
		return;
	TAILQ_REMOVE(&lru, d, lru);
	TAILQ_INSERT_HEAD(&lru, d, lru);
}

void
view_dir_unlisted(struct vdir *d)
{
	TAILQ_REMOVE(&lru, d, lru);
	listed--;
}

#define EVICT_LOOK 64 /* directories looked at in one go */

int
view_evict(uint64_t safe)
{
	struct vdir *d, *prev;
	struct vn *vn;
	int n = 0;

	for (d = TAILQ_LAST(&lru, dir_lru); d != NULL && bytes > limit;
	     d = prev) {
		prev = TAILQ_PREV(d, dir_lru, lru);
		/* All of them in vain: until one goes there is no hurry. */
		if (++n > EVICT_LOOK)
			return in_vain < listed;
		if (!view_dir_evictable(d, safe)) {
			/* Not in the way of the next try. */
			view_dir_touched(d);
			in_vain++;
			continue;
		}
		in_vain = 0;
		vn = d->vn;
		view_dir_free(vn);
		vn_release(vn);
	}
	return 0;
}

void
view_forget_names(void)
{
	struct vdir *d;
	struct vn *vn;

	while ((d = TAILQ_LAST(&lru, dir_lru)) != NULL) {
		vn = d->vn;
		vn_pin(vn);
		view_dir_free(vn);
		vn_unpin(vn);
	}
}
