/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * partial: overlay files that do not have all of their content yet
 * (lib/rest.h): what must be there before a change, and what is there since.
 * In fuse.
 */
#include <sys/stat.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "lib/log.h"
#include "sailvold/content_impl.h"
#include "sailvold/frontend.h"
#include "sailvold/overlay.h"
#include "sailvold/overlay_use.h"

/* What a truncation cut off is not to be had again, whatever came after it. */
static int
rest_cut(struct content *c, uint64_t size)
{
	uint64_t slot = chunk_slots(size, chunklist_shift(c->list));

	for (; slot < c->rest->slots; slot++)
		if (rest_here(c->rest, c->rest_fd, slot) == -1)
			return errno;
	return 0;
}

static int
rest_begin(struct vn *vn, const struct stat *st)
{
	struct content *c;
	struct rest *r;
	int error, fd;

	if ((fd = overlay_rest_open(vn->ovl, O_RDWR)) == -1 ||
	    (r = rest_read(fd)) == NULL) {
		error = errno;
		log_warnx("overlay file %016llx lacks what was before it: %s",
		    (unsigned long long)vn->ovl, strerror(error));
		if (fd != -1)
			close(fd);
		return error == ENOMEM ? ENOMEM : EIO;
	}
	if (vn->content != NULL)
		content_free(vn);
	if ((c = content_new(vn)) == NULL) {
		close(fd);
		rest_free(r);
		return ENOMEM;
	}
	c->rest = r;
	c->rest_fd = fd;
	content_have_list(c, r->list);
	return rest_cut(c, (uint64_t)st->st_size);
}

/* Nothing lacks any more: what was beside the overlay file goes. */
static int
rest_end(struct vn *vn)
{
	int fd;

	if (vn->content->rest->nabsent > 0 || vn->content->busy > 0)
		return 0;
	if ((fd = overlay_fd(vn)) == -1 || fchmod(fd, 0600) == -1)
		return errno;
	vn->flags |= VN_WHOLE;
	content_free(vn);
	if (overlay_rest_unlink(vn->ovl) == -1)
		log_warn("overlay file %016llx: rest",
		    (unsigned long long)vn->ovl);
	return 0;
}

int
content_rest(struct vn *vn, struct rest **rest, int *rest_fd)
{
	struct stat st;
	int error, fd;

	*rest = NULL;
	if (!(vn->flags & VN_LOCAL) || (vn->flags & VN_WHOLE))
		return 0;
	if (vn->content == NULL || vn->content->rest == NULL) {
		if ((fd = overlay_fd(vn)) == -1 || fstat(fd, &st) == -1)
			return errno;
		if (!(st.st_mode & REST_MODE)) {
			vn->flags |= VN_WHOLE;
			return 0;
		}
		/* A process that died may have come that far. */
		if ((error = rest_begin(vn, &st)) != 0 ||
		    (error = rest_end(vn)) != 0 || (vn->flags & VN_WHOLE))
			return error;
	}
	*rest = vn->content->rest;
	*rest_fd = vn->content->rest_fd;
	return 0;
}

void
content_busy(struct vn *vn)
{
	if (vn->content != NULL && vn->content->rest != NULL) {
		vn->content->busy++;
		vn_pin(vn);
	}
}

void
content_idle(struct vn *vn)
{
	struct content *c = vn->content;
	int error;

	if (c == NULL || c->busy == 0)
		return;
	if (--c->busy == 0) {
		waitq_wake(&c->idle, 0);
		/* What was not done while it was busy. */
		if ((error = rest_end(vn)) != 0)
			log_warnx("overlay file %016llx: rest: %s",
			    (unsigned long long)vn->ovl, strerror(error));
	}
	vn_unpin(vn);
}

int
content_written(struct vn *vn, uint64_t off, uint64_t end)
{
	struct rest *r;
	uint64_t slot, to;
	uint8_t shift;
	int error, fd;

	if ((error = content_rest(vn, &r, &fd)) != 0 || r == NULL)
		return error;
	shift = chunklist_shift(r->list);
	for (slot = off >> shift; slot << shift < end; slot++) {
		to = (slot << shift) + chunklist_slot_bytes(r->list, slot);
		if (rest_absent(r, slot) && off <= slot << shift && to <= end &&
		    rest_here(r, fd, slot) == -1)
			return errno;
	}
	return rest_end(vn);
}

int
content_was_cut(struct vn *vn, uint64_t size)
{
	struct rest *r;
	int error, fd;

	if ((error = content_rest(vn, &r, &fd)) != 0 || r == NULL ||
	    (error = rest_cut(vn->content, size)) != 0)
		return error;
	return rest_end(vn);
}

/* A slot of these that must be there before; -1: none. */
static int64_t
rest_needed(const struct rest *r, uint64_t size, uint64_t off, uint64_t end,
    int in_full)
{
	uint8_t shift = chunklist_shift(r->list);
	uint64_t slot, from, to;

	/* Where it grows from: its chunk gets zeros behind. */
	if (end > size && (size & (((uint64_t)1 << shift) - 1)) != 0) {
		slot = size >> shift;
		if (rest_absent(r, slot) && (!in_full || off > slot << shift))
			return (int64_t)slot;
	}
	for (slot = off >> shift; slot << shift < end && slot < r->slots;
	     slot++) {
		from = slot << shift;
		to = from + chunklist_slot_bytes(r->list, slot);
		if (rest_absent(r, slot) &&
		    (!in_full || off > from || end < to))
			return (int64_t)slot;
	}
	return -1;
}

int
content_prepare(struct vn *vn, uint64_t off, uint64_t end, int in_full)
{
	struct rest *r;
	struct stat st;
	uint64_t bytes;
	int64_t slot;
	int error, fd;

	if ((error = content_rest(vn, &r, &fd)) != 0 || r == NULL)
		return error;
	if (now.error != 0)
		return now.error;
	/* One after the other: a chunk must not come over what is new. */
	if (vn->copy != NULL)
		return copyup_wait(vn);
	if (vn->content->busy > 0)
		return wait_on(&vn->content->idle);
	if ((fd = overlay_fd(vn)) == -1 || fstat(fd, &st) == -1)
		return errno;
	slot = rest_needed(r, (uint64_t)st.st_size, off, end, in_full);
	if (slot == -1)
		return 0;
	bytes = chunklist_slot_bytes(r->list, (uint64_t)slot);
	if ((error = overlay_room(bytes)) != 0 ||
	    (error = use_room(bytes)) != 0)
		return error;
	use_touch(vn->ovl);
	return copyup_fill(vn, (uint64_t)slot);
}

int
content_prepare_size(struct vn *vn, uint64_t size)
{
	uint64_t end = size;
	struct rest *r;
	struct stat st;
	int error, fd;

	if ((error = content_rest(vn, &r, &fd)) != 0 || r == NULL)
		return error;
	if ((fd = overlay_fd(vn)) == -1 || fstat(fd, &st) == -1)
		return errno;
	/* Cut: from there to the end of its chunk, which is brought if it stays
	   in part.  Grown: from the end on. */
	if (size < (uint64_t)st.st_size) {
		if (size & (((uint64_t)1 << chunklist_shift(r->list)) - 1))
			end = size + 1;
		return content_prepare(vn, size, end, 0);
	}
	return content_prepare(vn, (uint64_t)st.st_size, size, 0);
}

int
content_is_whole(struct vn *vn)
{
	struct rest *r;
	int fd;

	return (vn->flags & VN_LOCAL) && content_rest(vn, &r, &fd) == 0 &&
	    r == NULL;
}

/* ---- holes ------------------------------------------------------------------------- */

/* Where the next data are of an overlay file; UINT64_MAX: none. */
static uint64_t
local_data(const struct rest *r, int fd, uint64_t off)
{
	off_t here = lseek(fd, (off_t)off, SEEK_DATA);
	uint64_t slot = off >> chunklist_shift(r->list), at;

	while (slot < r->slots && !r->absent[slot])
		slot++;
	at = here == -1 ? UINT64_MAX : (uint64_t)here;
	if (slot >= r->slots || at < slot << chunklist_shift(r->list))
		return at;
	return slot << chunklist_shift(r->list) > off
	    ? slot << chunklist_shift(r->list)
	    : off;
}

/* Of one that is not whole: what lacks is data. */
int
partial_seek(struct vn *vn, const struct rest *r, uint64_t off, int data,
    uint64_t *at)
{
	uint8_t shift = chunklist_shift(r->list);
	struct stat st;
	off_t here;
	int fd;

	if ((fd = overlay_fd(vn)) == -1 || fstat(fd, &st) == -1)
		return errno;
	if (off >= (uint64_t)st.st_size)
		return ENXIO;
	if (data) {
		*at = local_data(r, fd, off);
		return *at < (uint64_t)st.st_size ? 0 : ENXIO;
	}
	for (*at = off; *at < (uint64_t)st.st_size; *at = (uint64_t)here) {
		if (rest_absent(r, *at >> shift)) {
			here = (off_t)(((*at >> shift) + 1) << shift);
			continue;
		}
		if ((here = lseek(fd, (off_t)*at, SEEK_HOLE)) == -1)
			return errno;
		if (!rest_absent(r, (uint64_t)here >> shift)) {
			*at = (uint64_t)here;
			break;
		}
	}
	if (*at > (uint64_t)st.st_size)
		*at = (uint64_t)st.st_size;
	return 0;
}
