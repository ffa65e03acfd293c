# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""Rows, the samples of their variants, and what these must reach."""

import random
import statistics
import time

ROWS = []


class Row:
    def __init__(self, name, title, function, needs):
        self.name, self.title, self.function = name, title, function
        self.needs = needs


def row(name, title, needs=()):
    """Decorator: function(bench, result) measures the row of that name."""

    def add(function):
        ROWS.append(Row(name, title, function, needs))
        return function

    return add


class Result:
    """Of one row: samples by variant in one unit, and checks."""

    def __init__(self, name, title):
        self.name, self.title = name, title
        self.samples = {}       # (work, variant): [values]
        self.units = {}         # work: unit
        self.checks = []
        self.notes = []
        self.memory = {}
        self.load = None
        self.failed = None

    def add(self, work, variant, value, unit="s"):
        self.samples.setdefault((work, variant), []).append(value)
        self.units[work] = unit

    def median(self, work, variant):
        values = self.samples.get((work, variant))
        return statistics.median(values) if values else None

    def ratio(self, work, of, to):
        """How many times as much `of' has as `to'; None if one is missing."""
        a, b = self.median(work, of), self.median(work, to)
        return None if a is None or not b else a / b

    def best(self, work, of, to):
        """The same of the shortest times: what other work on the machine
        disturbed least."""
        a = self.samples.get((work, of))
        b = self.samples.get((work, to))
        return min(a) / min(b) if a and b and min(b) else None

    def check(self, work, text, goal, reached, at_least=True, unit="",
              best=None):
        """A number that must be reached; None: it could not be measured."""
        good = None
        if reached is not None:
            good = reached >= goal if at_least else reached <= goal
        self.checks.append({
            "work": work, "text": text, "goal": goal, "reached": reached,
            "at_least": at_least, "unit": unit, "good": good,
            "best": best})

    def faster(self, work, than, goal, ours="ours", text=None):
        """Our time must be so many times shorter than another's."""
        self.check(work, text or "times as fast as " + than, goal,
                   self.ratio(work, than, ours),
                   best=self.best(work, than, ours))

    def note(self, text):
        self.notes.append(text)

    def as_json(self):
        return {
            "row": self.name, "title": self.title, "failed": self.failed,
            "load": self.load,
            "samples": [
                {"work": w, "variant": v, "unit": self.units[w],
                 "values": values, "median": statistics.median(values)}
                for (w, v), values in self.samples.items()],
            "checks": self.checks, "notes": self.notes,
            "memory_kib": self.memory}


class Order:
    """Variants in another order in each run, the same at every call."""

    def __init__(self, seed=1):
        self.rng = random.Random(seed)

    def of(self, items):
        items = list(items)
        self.rng.shuffle(items)
        return items


def seconds(function, *args, **kwargs):
    start = time.monotonic()
    function(*args, **kwargs)
    return time.monotonic() - start
