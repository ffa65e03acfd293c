/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * certificate: reads the certificate and key of sailapid(8) as root, and has
 * them looked at by somebody who is not.  In the parent.
 */
#include <sys/mman.h>
#include <sys/wait.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/memfd.h"
#include "sailapid/certificate.h"
#include "sailapid/privileged.h"
#include "sailapid/tls.h"

#define FILE_MAX ((size_t)256 * 1024)

/* What the child has to say. */
struct opinion {
	int64_t from, until;
	char why[256]; /* "": good */
};

static _Noreturn void
look(const struct certificate *cert, uid_t uid, gid_t gid, int out)
{
	struct opinion o = { 0 };
	struct memfd_view v;

	privileged_become("/", uid, gid);
	if (memfd_map(cert->fd, 2 * FILE_MAX, &v) == -1)
		strlcpy(o.why, strerror(errno), sizeof(o.why));
	else if (tls_init() == -1)
		strlcpy(o.why, "libtls does not start", sizeof(o.why));
	else if (pair_new(v.data, cert->cert_len, v.len, o.why,
		     sizeof(o.why)) != NULL &&
	    pair_times(v.data, cert->cert_len, &o.from, &o.until) == -1)
		strlcpy(o.why, "not a certificate", sizeof(o.why));
	_exit(write(out, &o, sizeof(o)) == (ssize_t)sizeof(o) ? 0 : 1);
}

/* In a child: what is in the files is not for root to make sense of. */
static int
ask(struct certificate *cert, const char *cert_file, const char *key_file,
    uid_t uid, gid_t gid)
{
	struct opinion o = { .why = "its check ended without a word" };
	int fds[2], status, good;
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC) == -1) {
		log_warn("pipe");
		return -1;
	}
	if ((pid = fork()) == -1) {
		log_warn("fork");
		close(fds[0]);
		close(fds[1]);
		return -1;
	}
	if (pid == 0)
		look(cert, uid, gid, fds[1]);
	close(fds[1]);
	good = read(fds[0], &o, sizeof(o)) == (ssize_t)sizeof(o);
	close(fds[0]);
	while (waitpid(pid, &status, 0) == -1 && errno == EINTR)
		;
	if (!good)
		strlcpy(o.why, "its check ended without a word", sizeof(o.why));
	o.why[sizeof(o.why) - 1] = '\0';
	if (o.why[0] != '\0') {
		log_warnx("certificate %s, key %s: %s", cert_file, key_file,
		    o.why);
		return -1;
	}
	cert->from = o.from;
	cert->until = o.until;
	return 0;
}

int
certificate_read(const char *cert_file, const char *key_file, uid_t uid,
    gid_t gid, struct certificate *out)
{
	struct certificate c = { .fd = -1 };
	size_t len;

	out->fd = -1;
	c.fd = memfd_create("certificate", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (c.fd == -1) {
		log_warn("memfd");
		return -1;
	}
	if (privileged_append(c.fd, cert_file, 0, FILE_MAX, &len) == -1)
		goto fail;
	c.cert_len = (uint32_t)len;
	if (privileged_append(c.fd, key_file, 1, FILE_MAX, &len) == -1)
		goto fail;
	if (fcntl(c.fd, F_ADD_SEALS,
		F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) ==
	    -1) {
		log_warn("memfd");
		goto fail;
	}
	if (ask(&c, cert_file, key_file, uid, gid) == -1)
		goto fail;
	*out = c;
	return 0;

fail:
	close(c.fd);
	return -1;
}

void
certificate_close(struct certificate *c)
{
	if (c->fd != -1)
		close(c->fd);
	c->fd = -1;
}

int
certificate_equal(const struct certificate *a, const struct certificate *b)
{
	struct memfd_view va, vb;
	int equal = 0;

	if (memfd_map(a->fd, 2 * FILE_MAX, &va) == -1)
		return 0;
	if (memfd_map(b->fd, 2 * FILE_MAX, &vb) == 0) {
		equal = a->cert_len == b->cert_len && va.len == vb.len &&
		    memcmp(va.data, vb.data, va.len) == 0;
		memfd_unmap(&vb);
	}
	memfd_unmap(&va);
	return equal;
}

int
certificate_is_current(const struct certificate *c, const char *cert_file)
{
	int64_t now = (int64_t)time(NULL);
	time_t when = (time_t)(now < c->from ? c->from : c->until);
	char text[32] = "?";
	struct tm tm;

	if (now >= c->from && now <= c->until)
		return 1;
	if (gmtime_r(&when, &tm) != NULL)
		strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S UTC", &tm);
	log_warnx("certificate %s: %s %s", cert_file,
	    now < c->from ? "is not good before" : "has expired on", text);
	return 0;
}
