/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * meta_audit: a line of the log for each change that was answered as done: who,
 * from where, and what.  In meta.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "sailapid/hex.h"
#include "sailapid/meta.h"

#define WORDS_MAX 512

void
req_audit(struct req *req, const char *fmt, ...)
{
	char text[WORDS_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	free(req->audit);
	if ((req->audit = strdup(text)) == NULL)
		log_warn("audit: %s", text);
}

void
req_audit_volume(struct req *req, const char *what, const char *fmt, ...)
{
	char id[2 * DB_ID_LEN + 1], more[WORDS_MAX / 2] = "";
	va_list ap;

	hex_encode(req->vol.public, DB_ID_LEN, id);
	if (fmt != NULL) {
		va_start(ap, fmt);
		vsnprintf(more, sizeof(more), fmt, ap);
		va_end(ap);
	}
	req_audit(req, "%s volume=vol_%s name=%s%s%s", what, id, req->vol.name,
	    fmt != NULL ? " " : "", more);
}

void
audit_log(const struct req *req)
{
	char org[2 * DB_PUBLIC_LEN + 1], key[2 * DB_PUBLIC_LEN + 1];

	if (req->audit == NULL || req->status >= 400)
		return;
	hex_encode(req->key.org.public, DB_PUBLIC_LEN, org);
	hex_encode(req->key.public, DB_PUBLIC_LEN, key);
	log_info("audit: key=key_%s org=org_%s peer=%s %s", key, org,
	    req->peer == NULL ? "-" : req->peer, req->audit);
}
