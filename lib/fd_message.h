/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * fd_message: a message of a unix(7) socket that carries one descriptor, where
 * imsg is not what the other side speaks.
 */
#ifndef LIB_FD_MESSAGE_H
#define LIB_FD_MESSAGE_H

#include <sys/socket.h>

/* Where the kernel takes it from: aligned as cmsg(3) asks for. */
union fd_message {
	struct cmsghdr hdr;
	char buf[CMSG_SPACE(sizeof(int))];
};

/*
 * Lets msg carry fd: SCM_RIGHTS of unix(7).  u must live until sendmsg(2) has
 * returned; fd stays the caller's.
 */
void fd_message(struct msghdr *msg, union fd_message *u, int fd);

#endif
