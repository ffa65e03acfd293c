/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * mounts_status: what is said of the mounts, to who asks for the status and to
 * metrics.  In the parent of sailvold(8).
 */
#include <string.h>

#include "lib/json_name.h"
#include "lib/log.h"
#include "sailvold/metrics_imsg.h"
#include "sailvold/mnt.h"
#include "sailvold/tally.h"

uint32_t
mounts_numbers(struct wbuf *w)
{
	struct metrics_mount one;
	uint32_t n = 0;
	struct mnt *m;

	TAILQ_FOREACH (m, &mnts_all, link) {
		memset(&one, 0, sizeof(one));
		one.instance = m->instance;
		one.up = m->state == MOUNT_UP;
		if (m->table_fd != -1 &&
		    tally_read(m->table_fd, &one.tally) == -1)
			log_warn("mount %s: its numbers", m->volume->path);
		metrics_mount_encode(w, &one);
		n++;
	}
	return n;
}

json_t *
mounts_status(void)
{
	static const char *const names[] = { "starting", "starting", "starting",
		"mounted", "unmounting", "unmounting", "waiting" };
	json_t *list = json_array(), *one;
	struct mnt *m;

	TAILQ_FOREACH (m, &mnts_all, link) {
		one = json_pack("{s:i, s:s, s:o, s:s, s:I}", "instance",
		    (int)m->instance, "volume", m->volume->name, "path",
		    json_name(m->volume->path, strlen(m->volume->path)),
		    "state", names[m->state], "uid", (json_int_t)m->uid);
		if (m->said[0] != '\0')
			json_object_set_new(one, "failed", json_text(m->said));
		if (m->table_fd != -1)
			json_object_update_new(one, tally_json(m->table_fd));
		json_array_append_new(list, one);
	}
	return list;
}
