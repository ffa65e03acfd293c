/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * privileged: every act of sailapid(8) that needs root, but for the start of
 * its roles.  In the parent.  All return -1 after a message.
 */
#ifndef SAILAPID_PRIVILEGED_H
#define SAILAPID_PRIVILEGED_H

#include "sailapid/config.h"
#include "sailapid/credentials.h"

/*
 * The folder path, with mode 0700 and that owner; what is missing above it is
 * made with mode 0711.  No symbolic link is followed.  A folder that is
 * another's is refused, unless it is root's and empty.
 */
int privileged_folder(const char *path, uid_t, gid_t);

/* This process has the folder alone, as long as it lives. */
int privileged_claim(const char *path);

/* A listening socket; the port that it got goes to *port and its port file. */
int privileged_listen(const struct conf_listen *, uint16_t *port);

/*
 * Writes a short text, whole or not at all; readable for all.  The file is
 * locked as long as this process lives: of two servers that would write the
 * same one the second is refused.
 */
int privileged_write(const char *path, const char *text);
/* -1: another process has written and keeps it. */
int privileged_is_free(const char *path);

/*
 * The text of a file that must be root's and closed to others, terminated;
 * size - 1 bytes at most.
 */
int privileged_read_closed(const char *path, char *text, size_t size);

/*
 * The bytes of a file, of max at most, as a memfd behind those that are in it
 * already; closed: it must be root's, and others must not read it.  Links are
 * followed: this is what the renewal of certificates makes.
 */
int privileged_append(int memfd, const char *path, int closed, size_t max,
    size_t *len);

/*
 * The keys of the embedded store from such a file at path; makes them when it
 * is missing.
 */
int privileged_secret(const char *path, struct store_keys *);

/*
 * In a child: into the folder as root directory, and the user, for good.
 * fatal when anything of it fails.
 */
void privileged_become(const char *folder, uid_t, gid_t);

#endif
