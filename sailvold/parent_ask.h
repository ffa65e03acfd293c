/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * parent_ask: what the parent is to do for a line of the control socket: mount,
 * umount or restart (sailvol-ctl(5)).  In manifest, for all; and in the parent,
 * for root's (warrant.h).
 */
#ifndef SAILVOLD_PARENT_ASK_H
#define SAILVOLD_PARENT_ASK_H

#include <jansson.h>

#include "sailvold/sailvold_imsg.h"

#define CONTROL_LINE_MAX (64 * 1024)

/* A path, for free(3); NULL: there is none that can be one. */
char *request_path(const json_t *req, const char *key);

/* Nothing is done without what was asked with it: the first option that is not
   known, or not of its type; NULL: all are. */
const char *request_bad_option(const char *request, json_t *req);

/* Each sets all of the request, for mount_req_free(), also when it fails. */
/* 0, or -1: out of memory. */
int parent_ask(struct parent_req *, uint8_t verb, const char *path);
/* NULL, or what is wrong in words. */
const char *parent_ask_mount(struct parent_req *, const json_t *req);
/* A whole line, without its end. */
const char *parent_ask_line(struct parent_req *, const char *line, size_t len);

#endif
