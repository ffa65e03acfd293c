/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * Claim: what manifest asks for a reload waits for the origins of what is open,
 * and is done then; what a manifest that died asked for is not.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "lib/log.h"
#include "sailvold/change.h"
#include "sailvold/frontend.h"
#include "sailvold/journal.h"
#include "sailvold/overlay_use.h"
#include "sailvold/passthrough.h"

static int first, next; /* in whose place they are told apart */
static struct chan *manifest;
static int waits; /* for an origin */
static unsigned int answers;
static uint32_t answer_id;

/* ---- stand-ins ------------------------------------------------------------------ */

struct chan *__wrap_frontend_manifest(void);
struct chan *
__wrap_frontend_manifest(void)
{
	return manifest;
}

int __wrap_origins_ask(int again);
int
__wrap_origins_ask(int again)
{
	(void)again;
	return waits;
}

int __wrap_chan_send_ibuf(struct chan *c, uint32_t type, uint32_t id, int fd,
    struct ibuf *b);
int
__wrap_chan_send_ibuf(struct chan *c, uint32_t type, uint32_t id, int fd,
    struct ibuf *b)
{
	assert_ptr_equal(c, manifest);
	assert_int_equal(type, IMSG_FUSE_MANIFEST_RELOAD_RES);
	assert_int_equal(fd, -1);
	answers++;
	answer_id = id;
	ibuf_free(b);
	return 0;
}

uint64_t __wrap_journal_end(void);
uint64_t
__wrap_journal_end(void)
{
	return 4096;
}

void __wrap_change_hold(int on);
void
__wrap_change_hold(int on)
{
	(void)on;
}

void __wrap_writer_settle_all(void);
void
__wrap_writer_settle_all(void)
{
}

/* ---- tests ---------------------------------------------------------------------- */

static void
reload(uint32_t id)
{
	answers = 0;
	assert_int_equal(switch_reload(manifest, id, NULL, NULL), 0);
}

static void
answered_later(void **state)
{
	(void)state;
	manifest = (struct chan *)&first;
	waits = 0;
	reload(1);
	assert_int_equal(answers, 1);
	assert_int_equal(answer_id, 1);
	waits = 1;
	reload(2);
	assert_int_equal(switch_go_on(), 0);
	assert_int_equal(answers, 0);
	waits = 0;
	assert_int_equal(switch_go_on(), 0);
	assert_int_equal(answers, 1);
	assert_int_equal(answer_id, 2);
	assert_int_equal(switch_go_on(), 0);
	assert_int_equal(answers, 1);
}

static void
manifest_dies(void **state)
{
	(void)state;
	manifest = (struct chan *)&first;
	waits = 1;
	reload(3);
	manifest = NULL;
	switch_manifest_gone();
	waits = 0;
	assert_int_equal(switch_go_on(), 0);
	manifest = (struct chan *)&next;
	assert_int_equal(switch_go_on(), 0);
	assert_int_equal(answers, 0);
	reload(4);
	assert_int_equal(answers, 1);
	assert_int_equal(answer_id, 4);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(answered_later),
		cmocka_unit_test(manifest_dies),
	};

	log_init("test", 1, 0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
