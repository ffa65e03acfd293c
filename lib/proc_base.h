/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * proc_base: between both sides of proc.  In parents and roles.
 */
#ifndef LIB_PROC_BASE_H
#define LIB_PROC_BASE_H

/* Makes the event base of the process.  0, or -1 and errno. */
int proc_base_init(void);

#endif
