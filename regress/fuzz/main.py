#!/usr/bin/python3
# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""Runs the fuzzers, each so many seconds, and keeps what they find.

usage: main.py [-t PATTERN] [--obj OBJ] [--out FOLDER] [--seconds N] [--keep]

Of each there is FOLDER/NAME: corpus (what it has come to know, from which the
next run goes on), log, and the inputs that it failed with.  --keep: those of corpus
that reach what the seeds do not become part of the repository, where they are small.
"""

import argparse
import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile

REGRESS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
REPO = os.path.dirname(REGRESS)
sys.path.insert(0, REGRESS)
sys.dont_write_bytecode = True

from fuzz import seeds  # noqa: E402

# Executions in make check, which are to take a second or two: of those that run
# in the fuzzer's process, of the slow ones of them, and of those that are a
# process each.
RUNS, SLOW_RUNS, FORKED_RUNS = 5000, 300, 40
CHECK_SEEDS = 30        # of a process each, at most
NEW_RUNS = 10           # behind what a run begins with, at least
KEEP_MAX = 2048         # bytes of an input in the repository
# Of each fuzzer there, and of one whose inputs are a process each: what it does not
# keep is found again by make fuzz.
KEEP_FILES, KEEP_FORKED = 64, 24
ALONE = 6               # inputs that show that a corpus is good for something
FORKING = ("role.h", "parent.h")
FINDINGS = ("crash-*", "leak-*", "timeout-*", "oom-*")


def programs(obj):
    """(name, program) of each, whether it was built or not."""
    for src in sorted(glob.glob(os.path.join(REGRESS, "fuzz", "*.c"))):
        name = os.path.basename(src)[:-2]
        yield name, os.path.join(REPO, obj, "regress", "fuzz", name)


def runs(name):
    if forks(name):
        return FORKED_RUNS
    return SLOW_RUNS if name.endswith("_conf") else RUNS


def forks(name):
    with open(os.path.join(REGRESS, "fuzz", name + ".c"),
              encoding="utf-8") as f:
        text = f.read()
    return any('"regress/fuzz/%s"' % h in text for h in FORKING)


def command(name, program, corpus, directory, *options, seeds_max=None):
    """corpus: where new inputs go; directory: for its seeds and findings."""
    first = seeds.of(name)
    if seeds_max is not None and forks(name):
        first = first[::1 + (len(first) - 1) // seeds_max]
    made = os.path.join(directory, "seeds")
    shutil.rmtree(made, ignore_errors=True)
    os.makedirs(made)
    for i, data in enumerate(first):
        with open(os.path.join(made, "%03d" % i), "wb") as f:
            f.write(data)
    args = [program, "-seed=1", "-rss_limit_mb=2048", "-malloc_limit_mb=512",
            "-timeout=60", "-print_final_stats=1", "-max_len=65536",
            "-len_control=20", "-artifact_prefix=%s/" % directory]
    words = os.path.join(directory, "dict")
    if seeds.dictionary(name):
        with open(words, "w", encoding="utf-8") as f:
            f.write("".join('"%s"\n' % w.replace("\\", "\\\\").replace(
                '"', '\\"') for w in seeds.dictionary(name)))
        args.append("-dict=" + words)
    kept = os.path.join(REGRESS, "fuzz", "corpus", name)
    return args + list(options) + [corpus, made] + (
        [kept] if os.path.isdir(kept) else [])


def environment():
    return dict(os.environ, ASAN_OPTIONS="handle_abort=1:symbolize=1",
                UBSAN_OPTIONS="print_stacktrace=1")


def symbolize(output):
    """A process in an empty folder cannot name its functions itself."""
    def name(m):
        p = subprocess.run(
            ["llvm-symbolizer", "--obj=" + m[1], "--output-style=GNU",
             "--pretty-print", m[2]], stdout=subprocess.PIPE, check=False)
        return p.stdout.decode().strip().replace("\n", " ") or m[0]
    return re.sub(r"^.* \((/\S+)\+(0x[0-9a-f]+)\).*$",
                  lambda m: "    " + name(m), output, flags=re.M)


def some(names, most):
    """So many of them, evenly, always the same."""
    names = sorted(names)
    if len(names) <= most:
        return names
    return [names[i * len(names) // most] for i in range(max(0, most))]


def corpus_of(name):
    """The inputs of a fuzzer that the repository has."""
    return sorted(glob.glob(os.path.join(REGRESS, "fuzz", "corpus", name, "*")))


def covered(program, inputs):
    """How many places the inputs reach, and no others but the empty one."""
    with tempfile.TemporaryDirectory(prefix="sail-fuzz.") as directory:
        for f in inputs:
            shutil.copy(f, directory)
        p = subprocess.run(
            [program, "-seed=1", "-runs=0", directory],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, env=environment(), check=False)
    m = re.findall(r" cov: (\d+)", p.stdout.decode(errors="backslashreplace"))
    return int(m[-1]) if m and p.returncode == 0 else 0


def keep(name, program, out):
    """How many inputs were added to the corpus of the repository."""
    corpus = os.path.join(os.path.abspath(out), name, "corpus")
    kept = os.path.join(REGRESS, "fuzz", "corpus", name)
    with tempfile.TemporaryDirectory(prefix="sail-fuzz.") as directory:
        merged = os.path.join(directory, "merged")
        os.mkdir(merged)
        args = command(name, program, corpus, directory, "-merge=1")
        made = os.path.join(directory, "seeds")
        # What the first has stays; of the others it gets what it lacks.
        for known in [made, kept]:
            for f in glob.glob(known + "/*"):
                shutil.copy(f, merged)
        before = set(os.listdir(merged))
        subprocess.run(
            [a for a in args if a not in (corpus, made, kept)] +
            [merged, corpus], stdin=subprocess.DEVNULL, check=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env=environment())
        os.makedirs(kept, exist_ok=True)
        new = some([f for f in set(os.listdir(merged)) - before
                    if os.path.getsize(os.path.join(merged, f)) <= KEEP_MAX],
                   (KEEP_FORKED if forks(name) else KEEP_FILES) -
                   len(os.listdir(kept)))
        for f in new:
            shutil.copy(os.path.join(merged, f), kept)
    return len(new)


def executions(output):
    m = re.findall(r"^stat::number_of_executed_units: (\d+)", output, re.M)
    return int(m[-1]) if m else 0


def begins_with(args):
    """How many inputs there are in the folders of a command."""
    return sum(os.path.getsize(f) > 0 for d in args if os.path.isdir(d)
               for f in glob.glob(d + "/*"))


def corpus_alone(name, program):
    """Places that nothing reaches, and that a few inputs of the corpus do."""
    return covered(program, []), covered(program, some(corpus_of(name), ALONE))


def check(name, program):
    """A short run, always the same, of seeds, what is kept in the repository, and
    some of its own; what is kept is good for something without the seeds: (whether
    it was good, executions, output)."""
    directory = tempfile.mkdtemp(prefix="sail-fuzz.")
    try:
        corpus = os.path.join(directory, "corpus")
        os.mkdir(corpus)
        args = command(name, program, corpus, directory,
                       seeds_max=CHECK_SEEDS)
        want = max(runs(name), begins_with(args) + NEW_RUNS)
        p = subprocess.run(
            args + ["-runs=%d" % want],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, env=environment(), check=False)
        output = p.stdout.decode(errors="backslashreplace")
        for found in sorted(sum((glob.glob(directory + "/" + g)
                                 for g in FINDINGS), [])):
            with open(found, "rb") as f:
                output += "\ninput: %s\n" % f.read(4096).hex()
        if p.returncode != 0:
            output = symbolize(output)
        done = executions(output)
        if p.returncode == 0 and done < want:
            output += "\nexecutions: expected %d, actual %d\n" % (want, done)
        nothing, alone = corpus_alone(name, program)
        if alone <= nothing or nothing == 0:
            output += "\ncorpus of %s alone: expected more than %d places, " \
                "actual %d\n" % (name, nothing, alone)
        return (p.returncode == 0 and done >= want and alone > nothing > 0,
                done, output)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def long_run(name, program, out, seconds):
    """The findings, after that time."""
    directory = os.path.join(os.path.abspath(out), name)
    corpus = os.path.join(directory, "corpus")
    os.makedirs(corpus, exist_ok=True)
    log = os.path.join(directory, "log")
    with open(log, "wb") as f:
        subprocess.run(
            command(name, program, corpus, directory,
                    "-max_total_time=%d" % seconds),
            stdin=subprocess.DEVNULL, stdout=f, stderr=f, env=environment(),
            check=False)
    with open(log, encoding="utf-8", errors="backslashreplace") as f:
        text = f.read()
    if any(g[:-1] in text for g in FINDINGS):
        text = symbolize(text)
        with open(log, "w", encoding="utf-8") as f:
            f.write(text)
    found = sorted(sum((glob.glob(directory + "/" + g) for g in FINDINGS), []))
    covered = re.findall(r" cov: (\d+)", text)
    print("%s %s: %d executions, %s places covered%s" % (
        "FAIL" if found else "ok  ", name, executions(text),
        covered[-1] if covered else "?",
        ", see %s" % log if found else ""), flush=True)
    for f in found:
        print("     %s" % os.path.relpath(f, REPO), flush=True)
    return executions(text), found


def main():
    p = argparse.ArgumentParser(prog="main.py")
    p.add_argument("-t", default="", help="those whose name has this in it")
    p.add_argument("--obj", default="obj-fuzz", help="folder of the build")
    p.add_argument("--out", default="obj/fuzz", help="what is kept")
    p.add_argument("--keep", action="store_true",
                   help="add to the corpus of the repository")
    p.add_argument("--seconds", type=int, default=60, help="of each")
    args = p.parse_args()
    total, found = 0, []
    for name, program in programs(args.obj):
        if args.t in name:
            if args.keep:
                print("%s: %d kept" % (name, keep(name, program, args.out)))
                continue
            n, f = long_run(name, program, args.out, args.seconds)
            total += n
            found += f
    if args.keep:
        return 0
    print("%d executions, %d findings" % (total, len(found)))
    return 1 if found or total == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
