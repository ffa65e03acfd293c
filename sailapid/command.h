/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * command: what an administrator types on the server itself, "init" and
 * "key".  In a process of its own that has become meta's user.
 */
#ifndef SAILAPID_COMMAND_H
#define SAILAPID_COMMAND_H

#include "sailapid/config.h"

/* The synopsis of each, a line, for usage(). */
extern const char *const command_usage[];

/* 1 when the words are a command, with the right number of operands, and with a
   life (or 0) if that has one. */
int command_known(int argc, char **argv, int64_t life_s);
/* Runs it: the exit status. */
int command_run(const struct config *, int argc, char **argv, int64_t life_s);

#endif
