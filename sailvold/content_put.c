/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * content_put: hands what was published to the cache.  In fuse.
 */
#include <sys/stat.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "lib/rest.h"
#include "sailvold/content.h"
#include "sailvold/frontend.h"
#include "sailvold/overlay.h"

/* A published file goes to the cache, so that nobody fetches it again. */
int
content_put(uint64_t ovl, uint32_t id, const struct chunklist *list,
    unsigned int *n)
{
	static struct cache_want w;
	struct chan *chan = frontend_cache();
	uint64_t slot = 0;
	struct stat st;
	int fd;

	*n = 0;
	if (chan == NULL)
		return EAGAIN;
	w.commit = frontend_start()->base;
	w.path = (const uint8_t *)"";
	w.path_len = 0;
	w.shift = chunklist_shift(list);
	for (;;) {
		for (w.n = 0; w.n < CACHE_WANT_MAX &&
		     chunklist_next(list, slot, &slot, &w.chunks[w.n].hash);
		     slot++, w.n++) {
			w.chunks[w.n].slot = slot;
			w.chunks[w.n].bytes = chunklist_slot_bytes(list, slot);
		}
		if (w.n == 0)
			return 0;
		if ((fd = overlay_open_file(ovl, O_RDONLY)) == -1)
			return errno;
		/* What it has may be had where it was; so may the rest. */
		if (fstat(fd, &st) == -1 || (st.st_mode & REST_MODE)) {
			close(fd);
			return EBUSY;
		}
		if (cache_want_send(chan, IMSG_FUSE_CACHE_PUT, id, &w, fd) ==
		    -1) {
			close(fd);
			return errno;
		}
		(*n)++;
	}
}

int
content_rules_put(struct chan *chan, uint32_t id, struct imsg *imsg,
    struct ibuf *body)
{
	uint32_t error;

	(void)chan;
	(void)imsg;
	if (ibuf_get_n32(body, &error) == -1 || ibuf_size(body) != 0)
		return -1;
	switch_put_done(id, (int)error);
	return 0;
}
