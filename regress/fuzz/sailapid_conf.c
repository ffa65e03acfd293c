/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * The configuration of sailapid.
 */
#include "sailapid/config.h"
#include "regress/fuzz/conf.h"
