/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * merge_all: the server's merge, for tests of who makes deltas: the archive of
 * sailapid is not linked with tests of sailvold. 
 */
#ifndef MERGE_ALL_H
#define MERGE_ALL_H

#include "sailapid/merge.c"
#include "sailapid/merge_walk.c"
#include "sailapid/merge_report.c"

#endif
