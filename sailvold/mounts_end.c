/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * mounts_end: the end of all mounts of sailvold(8): the last commits, who waits
 * for an umount, then all umounts.  In the parent.
 */
#include <event2/event.h>
#include <stddef.h>

#include "lib/log.h"
#include "sailvold/mnt.h"

#define LAST_COMMITS_S 30
#define ENDS_S 3 /* for manifest to hear of the end */

static void (*end_done)(void); /* the last commits run: what comes then */
static struct event *last_timer, *ends_timer;

int
mnt_last_commits(void)
{
	return end_done != NULL;
}

int
mounts_on_ends_res(struct chan *ch, uint32_t id, struct imsg *im,
    struct ibuf *body)
{
	(void)ch;
	(void)id;
	(void)im;
	(void)body;
	if (ends_timer != NULL && evtimer_pending(ends_timer, NULL)) {
		evtimer_del(ends_timer);
		mnt_umount_all();
	}
	return 0;
}

static void
ends_is_late(int fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
	mnt_umount_all();
}

/* Each client that waits for a job keeps its mount in use, and an umount that
   waits for one is asked for: before all are. */
static int
ask_for_umounts(void)
{
	struct proc *manifest = proc_find(ROLE_MANIFEST, 0);
	struct timeval tv = { ENDS_S, 0 };

	if (manifest == NULL || proc_chan(manifest) == NULL ||
	    !proc_ready(manifest))
		return 0;
	if ((ends_timer = evtimer_new(proc_base(), ends_is_late, NULL)) ==
		NULL ||
	    evtimer_add(ends_timer, &tv) == -1 ||
	    chan_send(proc_chan(manifest), IMSG_PARENT_MANIFEST_ENDS, 0, -1,
		NULL, 0) == -1) {
		log_warn("manifest");
		if (ends_timer != NULL)
			evtimer_del(ends_timer);
		return 0;
	}
	return 1;
}

static void
end_all(void (*done)(void))
{
	if (!mnt_ends(done))
		return;
	if (!ask_for_umounts())
		mnt_umount_all();
}

static void
end_now(void)
{
	void (*done)(void) = end_done;

	end_done = NULL;
	evtimer_del(last_timer);
	if (done != NULL)
		end_all(done);
}

static void
last_is_late(int fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
	log_warnx("the last commits are not done after %d seconds: the "
		  "changes stay for the next start",
	    LAST_COMMITS_S);
	end_now();
}

int
mounts_on_last_res(struct chan *ch, uint32_t id, struct imsg *im,
    struct ibuf *body)
{
	(void)ch;
	(void)id;
	(void)im;
	(void)body;
	if (end_done != NULL)
		end_now();
	return 0;
}

/* 1: those that are to be committed at umount are now. */
static int
last_commits(void)
{
	struct proc *manifest = proc_find(ROLE_MANIFEST, 0);
	struct timeval tv = { LAST_COMMITS_S, 0 };
	struct mnt *m;

	TAILQ_FOREACH (m, &mnts_all, link)
		if (m->state == MOUNT_UP && m->volume->policy.commit_on_umount)
			break;
	if (m == NULL)
		return 0;
	if (last_timer == NULL)
		last_timer = evtimer_new(proc_base(), last_is_late, NULL);
	if (last_timer == NULL || evtimer_add(last_timer, &tv) == -1 ||
	    manifest == NULL || proc_chan(manifest) == NULL ||
	    !proc_ready(manifest) ||
	    chan_send(proc_chan(manifest), IMSG_PARENT_MANIFEST_LAST, 0, -1,
		NULL, 0) == -1) {
		if (last_timer != NULL)
			evtimer_del(last_timer);
		log_warnx("nothing is committed before the end: manifest "
			  "is not ready");
		return 0;
	}
	return 1;
}

void
mounts_end_all(void (*done)(void))
{
	if (last_commits())
		end_done = done;
	else
		end_all(done);
}

void
mounts_end_soon(void)
{
	if (end_done == NULL)
		return;
	log_info("the last commits are not waited for");
	end_now();
}
