# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""The table that people read."""

import statistics


def figure(value, unit=""):
    if value is None:
        return "-"
    if unit == "s":
        if value < 1e-3:
            return "%.1f us" % (value * 1e6)
        if value < 1:
            return "%.1f ms" % (value * 1e3)
        return "%.2f s" % value
    text = "%d" % value if abs(value) >= 1000 or value == int(value) \
        else "%.3g" % value
    return text + (" " + unit if unit else "")


def lines(result):
    yield "== %s: %s" % (result.name, result.title)
    if result.failed:
        yield "   FAILED: " + result.failed.splitlines()[-1]
    works = {}
    for (work, variant), values in result.samples.items():
        works.setdefault(work, []).append((variant, values))
    for work, variants in works.items():
        unit = result.units[work]
        yield "   %-22s %s" % (work, ", ".join(
            "%s %s%s" % (v, figure(statistics.median(values), unit),
                         spread(values, unit)) for v, values in variants))
    for c in result.checks:
        yield "   %-22s %-44s %s %-9s %-10s %-12s %s" % (
            c["work"], c["text"], ">=" if c["at_least"] else "<=",
            figure(c["goal"], c["unit"]), figure(c["reached"], c["unit"]),
            {True: "yes", False: "NO", None: "not measured"}[c["good"]],
            "" if c["best"] is None else "(of the shortest times: %s)" %
            figure(c["best"]))
    for note in result.notes:
        yield "   " + note
    if result.memory:
        yield "   peak KiB               " + ", ".join(
            "%s %d" % item for item in sorted(result.memory.items()))


def spread(values, unit):
    if len(values) < 2:
        return ""
    return " (%s-%s)" % (figure(min(values), unit), figure(max(values), unit))


def summary(results):
    checks = [c for r in results for c in r.checks]
    good = sum(c["good"] is True for c in checks)
    failed = [r.name for r in results if r.failed]
    return "%d of %d numbers reached%s" % (
        good, len(checks),
        "; failed: " + ", ".join(failed) if failed else "")
