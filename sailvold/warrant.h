/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * warrant: in whose name manifest asks for a mount, umount or restart: it shows
 * the client's socket.  In the parent.
 *
 * Of manifest nothing is believed that would help one that is compromised:
 *  - The uid is what SO_PEERCRED says of that socket, also when the client has
 *    gone meanwhile; but for root's, which then wants nothing any more.
 *  - The socket is one that the control socket has accepted.  Of others the
 *    kernel may say root, too: of the channel between manifest and its parent,
 *    which root made, and of what somebody, helping from outside, has connected
 *    to a service of root's and passed on.  Its name proves nothing either:
 *    anybody can give that to a socket of his own, in a root directory of his
 *    own.  So manifest gets a ticket with each client: a MAC of the number that
 *    the kernel gives a socket once (SO_COOKIE), with a key that this process
 *    alone has.
 *  - Who has waited for a client of root's (one comes with each boot) has such
 *    a socket, and may keep it.  So what root asks for the parent reads itself,
 *    from that socket: nobody but the client can put anything there, and what is
 *    read is gone.  Nothing else is done, and it is done once, and while that
 *    client has the other end: a line of one that has gone, believing that it
 *    was done, is not kept to be done later.  manifest may
 *    have taken the begin of a line away: what is left is no request then.  At
 *    the begin of an inner object a brace is too much; in a string what follows
 *    is read with text for strings and strings for text, and what stands
 *    between strings is never the word request.
 *
 * What others ask for is manifest's to read: what they wrote is not parsed by a
 * process of root's.  One that is compromised can ask for anything in the name
 * of a user who has been connected: what that user may, at most.
 */
#ifndef SAILVOLD_WARRANT_H
#define SAILVOLD_WARRANT_H

#include "sailvold/sailvold_imsg.h"

/* Of a client that was just accepted; 0, or -1 and errno. */
int warrant_ticket(int fd, struct hash *ticket);
/*
 * fd: what came with the request, or -1.  0: whose it is; of root's, it is what
 * root has written now.  Else -1, errno for manifest, and why in words:
 * PARENT_REFUSED, and nothing was read; or EPERM.
 */
int warrant_check(int fd, struct parent_req *, uid_t *uid, const char **why);

#endif
