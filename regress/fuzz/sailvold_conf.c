/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * The configuration of sailvold.
 */
#include "sailvold/config.h"
#include "regress/fuzz/conf.h"
