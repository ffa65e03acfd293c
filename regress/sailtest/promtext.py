# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""A strict reader of the text form of Prometheus, version 0.0.4."""

import re

TYPE = "text/plain; version=0.0.4; charset=utf-8"
NAME = r"[a-zA-Z_][a-zA-Z0-9_]*"
LABEL = r'(%s)="((?:[^"\\\n]|\\["\\n])*)"' % NAME
SAMPLE = re.compile(r"(%s)(?:\{(%s(?:,%s)*)\})? "
                    r"([0-9]+(?:\.[0-9]+)?)\Z" % (NAME, LABEL, LABEL))


class Families:
    """What a text says: {name: type}, and {(name, labels): number}."""

    def __init__(self, t, text):
        self.t, self.text = t, text
        self.types, self.samples = {}, {}
        t.true(text.endswith("\n"), "the last line has its end")
        lines = text.split("\n")[:-1]
        family, helped = None, None
        for line in lines:
            words = line.split(" ", 3)
            if line.startswith("# HELP "):
                t.true(len(words) == 4 and words[3] != "", line)
                t.true(helped is None, "TYPE comes after HELP: " + line)
                t.true(re.fullmatch(r"(?:[^\\]|\\[\\n])*", words[3]), line)
                helped = words[2]
            elif line.startswith("# TYPE "):
                family = words[2]
                t.equal(helped, family, line)
                helped = None
                t.true(re.fullmatch(NAME, family), line)
                t.true(family not in self.types, "twice: " + line)
                t.true(words[3:] in (["counter"], ["gauge"]), line)
                t.equal(words[3] == "counter", family.endswith("_total"),
                        line)
                self.types[family] = words[3]
            else:
                self.sample(line, family)
        t.equal(None, helped, "the last HELP")

    def sample(self, line, family):
        t, found = self.t, SAMPLE.match(line)
        t.true(found, "no sample: %r" % line)
        t.equal(family, found.group(1), "it is among others: " + line)
        labels = re.findall(LABEL, found.group(2) or "")
        t.equal(len(labels), len(dict(labels)), "a label twice: " + line)
        key = (family, frozenset(labels))
        t.true(key not in self.samples, "twice: " + line)
        value = found.group(found.lastindex)
        self.samples[key] = float(value) if "." in value else int(value)

    def get(self, name, **labels):
        """The number; None when there is no such sample."""
        return self.samples.get((name, frozenset(labels.items())))

    def sum(self, name, **labels):
        """Of all that have these labels."""
        return sum(value for (family, has), value in self.samples.items()
                   if family == name and has >= frozenset(labels.items()))

    def labels(self, name):
        return [dict(has) for family, has in self.samples if family == name]
