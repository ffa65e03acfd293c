# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""Tests that are run once more where something else is given."""

import importlib.util
import os


def again(t, environment, module, *names):
    """Runs those functions of a module of system tests, each in a folder of its
    own, with these variables in the environment."""
    path = os.path.join(t.repo, "regress", "system", module + ".py")
    spec = importlib.util.spec_from_file_location(module, path)
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    os.environ.update(environment)
    where = t.dir
    for name in names:
        t.dir = os.path.join(where, name)
        os.mkdir(t.dir, 0o755)
        getattr(loaded, name)(t)
    t.dir = where
