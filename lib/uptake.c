/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * uptake: does the other side of a TCP connection take what is sent to it?
 */
#include <sys/socket.h>
#include <netinet/in.h>
#include <linux/tcp.h>
#include <stddef.h>
#include <string.h>

#include "lib/uptake.h"

#define YEAR_S (365 * 86400)
/* May be on its way to a client that takes little at a time: windows. */
#define UNSEEN ((uint64_t)512 * 1024)

int
uptake_taken(int fd, uint64_t *bytes)
{
	struct tcp_info info;
	socklen_t len = sizeof(info);

	memset(&info, 0, sizeof(info));
	if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) == -1 ||
	    len < offsetof(struct tcp_info, tcpi_bytes_acked) +
		    sizeof(info.tcpi_bytes_acked))
		return -1;
	*bytes = info.tcpi_bytes_acked;
	return 0;
}

monotime_t
uptake_deadline(monotime_t from, uint64_t bytes, uint32_t idle_s, uint32_t rate)
{
	uint64_t s = bytes / rate + idle_s;

	return monotime_add_ms(from, (int64_t)(s < YEAR_S ? s : YEAR_S) * 1000);
}

int
uptake_begin(struct uptake *t, int fd)
{
	if (uptake_taken(fd, &t->from) == -1)
		return -1;
	t->taken = t->from;
	t->since = t->moved = monotime_now();
	return 0;
}

monotime_t
uptake_until(struct uptake *t, int fd, uint32_t idle_s, uint32_t rate)
{
	monotime_t silent, slow;
	uint64_t now;

	if (uptake_taken(fd, &now) == 0 && now != t->taken) {
		t->moved = monotime_now();
		t->taken = now;
	}
	silent = uptake_deadline(t->moved, UNSEEN, idle_s, rate);
	slow = uptake_deadline(t->since, t->taken - t->from + UNSEEN, idle_s,
	    rate);
	return silent.ns < slow.ns ? silent : slow;
}
