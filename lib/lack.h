/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * lack: errors that pass when others have given something back.
 */
#ifndef LIB_LACK_H
#define LIB_LACK_H

#include <errno.h>

/* Of descriptors or memory of this process or machine: 1.  It says nothing of
   what was asked for, which is tried again later. */
static inline int
is_lack(int error)
{
	return error == EMFILE || error == ENFILE || error == ENOMEM;
}

#endif
