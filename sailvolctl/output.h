/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * output: how results, errors and progress are shown: as words, or as JSON.  In
 * sailvolctl.
 */
#ifndef SAILVOLCTL_OUTPUT_H
#define SAILVOLCTL_OUTPUT_H

#include <jansson.h>
#include <stdio.h>

struct invocation;

/* Why something was not done. */
struct failure {
	char message[1024];
	char type[32]; /* as in sailapi(7); "" of our own making */
	char code[64];
	json_t *whole; /* the answer that it came in, or NULL */
};
/* The code of what main() says in the end. */
#define FAILURE_OUTPUT "output"
void failure_set(struct failure *, const char *type, const char *code,
    const char *fmt, ...) __attribute__((format(printf, 4, 5)));
/* There is no memory: -1. */
int failure_memory(struct failure *);
/*
 * Takes {"error":{"message","type","code"}, ..}; whole is kept by reference
 * count.  -1 when it is no such object.
 */
int failure_from_json(struct failure *, json_t *);
void failure_clear(struct failure *);

struct output {
	void (*result)(const struct invocation *, const json_t *);
	/* Returns the exit status that says so. */
	int (*error)(const struct failure *);
	void (*note)(const char *message); /* words about what goes on */
	void (*progress)(const json_t *);  /* the object behind "progress" */
};
extern const struct output output_text, output_json;
int failure_status(const struct failure *);

/* Results of the commands as text (struct command's text). */
void text_mount(const json_t *);
void text_umount(const json_t *);
void text_commit(const json_t *);
void text_reload(const json_t *);
void text_status(const json_t *);
void text_log(const json_t *);
/* Before its changes. */
void text_commit_shown(const json_t *);
void text_stash_list(const json_t *);
void text_stash_show(const json_t *);
void text_stash_done(const json_t *);
void text_id(const json_t *);
void text_tree(const json_t *);
void text_nothing(const json_t *);
void text_volume_list(const json_t *);
void text_key(const json_t *);
void text_key_list(const json_t *);

#endif
