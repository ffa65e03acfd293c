# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""Fuzzers (*.c, fuzz.h says how one is written), their seeds and who runs them."""
