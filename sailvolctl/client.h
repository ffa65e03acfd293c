/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * client: a line of JSON to a running sailvold(8), and lines back
 * (sailvol-ctl(5)).  In sailvolctl.
 */
#ifndef SAILVOLCTL_CLIENT_H
#define SAILVOLCTL_CLIENT_H

#include <jansson.h>

#include "sailvolctl/output.h"

#define CLIENT_SOCKET "/run/sailvold.sock"

/*
 * The door for a request (NULL: there was no memory) about the mount that path
 * lies in: its .sailvol/ctl, open for reading and writing.  It is believed only
 * on a file system of type FUSE, of the subtype of sailvold where the kernel's
 * list of mounts can be read, and when ctl and volume.json have the device of
 * the mount.  Where the mount is read-only it is the control socket, and "path"
 * is added to the request.  -1 with failure set.
 */
int client_open_mount(const char *path, const char *socket_path,
    json_t *request, struct failure *);
/* The root of the mount that path lies in, O_PATH, believed likewise. */
int client_open_root(const char *path, struct failure *);
/* The control socket; NULL: SAILVOLD_SOCKET or the default.  -1 likewise. */
int client_open_socket(const char *socket_path, struct failure *);
/*
 * Sends the request and reads to its answer: the object behind "result", for
 * json_decref(), or NULL with failure set.  Progress goes to out.
 */
json_t *client_ask(int fd, const json_t *request, const struct output *out,
    struct failure *);
/*
 * The mount point that path lies in, or is, which is found without a question
 * to any file system: a dead mount can be unmounted.  Absolute, for free(3).  What is in no mount
 * of ours comes back absolute.  NULL with failure set.
 */
char *client_mount_point(const char *path, struct failure *);
/* An absolute path without links, of a directory that need not be alive. */
char *client_real_path(const char *path, struct failure *);

#endif
