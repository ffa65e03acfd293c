/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * proc_base: the one event base of a process.  In parents and roles.
 */
#include <errno.h>
#include <event.h>
#include <stddef.h>

#include "lib/proc.h"
#include "lib/proc_base.h"

static struct event_base *base;

int
proc_base_init(void)
{
	if ((base = event_init()) == NULL) {
		errno = ENOMEM;
		return -1;
	}
	return 0;
}

struct event_base *
proc_base(void)
{
	return base;
}
