/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * pause: a store that refuses an URL that has just come may refuse the next one,
 * too: before it is asked for there is a pause, longer each time.
 */
#ifndef SAILVOL_FETCH_PAUSE_H
#define SAILVOL_FETCH_PAUSE_H

#include <event.h>

#include "lib/monotime.h"

/* All zero: there is none. */
struct pause {
	struct event timer;
	monotime_t until;
	int set;
};

/* After so many refusals; one that is under way is not made shorter.  When it is
   over, pumps are kicked. */
void pause_begin(struct pause *, unsigned int refused);
/* 1: it is not over. */
int pause_lasts(const struct pause *);
void pause_end(struct pause *);

#endif
