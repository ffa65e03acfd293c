# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""What tests of open files, of what POSIX promises and of passthrough say holds
as well where no file is passed through."""

import sailtest
from sailtest.again import again

WITHOUT = {"SAIL_PASSTHROUGH": "no"}


@sailtest.deadline(700)
def test_posix(t):
    """What POSIX promises."""
    again(t, WITHOUT, "test_posix", "test_posix")
    t.numbers.clear()  # the same cases


@sailtest.deadline(240)
def test_open_files(t):
    """Handles and mappings over commits and reloads."""
    again(t, WITHOUT, "test_open_files", "test_written_again", "test_mapping",
            "test_reload_under_open_files", "test_copied_over_a_commit")


@sailtest.deadline(240)
def test_passthrough(t):
    """The same files from many processes; bits of set ids; ranges; who dies."""
    again(t, WITHOUT, "test_passthrough", "test_past_us", "test_many",
            "test_set_id_bits", "test_ranges", "test_fuse_dies",
            "test_reload_under_readers")


def test_requests(t):
    """What the kernel asks."""
    again(t, WITHOUT, "test_requests", "test_changes")
