# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""The completions that sailvolctl makes from its table work in the shells
themselves; help and errors say what to type."""

import json
import os
import shutil


def program(t):
    return os.path.join(t.repo, "sailvolctl", "sailvolctl")


def ctl(t, *args, ok=True):
    return t.run([program(t)] + list(args), ok=ok)


def script(t, shell):
    return t.write("completion." + shell, ctl(t, "completion",
                                              shell).stdout)


def need(t, shell):
    if shutil.which(shell) is None:
        t.skip("this machine has no " + shell)


FIRST = ("mount umount commit reload status log diff show restore stash volume "
         "key completion help").split()
# What is typed, and what some of the answers are; none of the second list.
CASES = (
    ("", FIRST, ["create"]),
    ("com", ["commit", "completion"], ["mount"]),
    ("volume ", ["create", "fork", "restore"], ["mount", "drop"]),
    ("-j stash dr", ["drop"], ["list"]),
    ("commit --if", ["--if-unchanged"], ["--if-clean"]),
    ("reload --", ["--keep", "--if-clean"], ["--create"]),
    ("volume create --m", ["--mint-if-missing"], []),
    ("volume list --d", ["--deleted"], []),
)


def check(t, ask):
    for typed, want, others in CASES:
        have = ask(typed)
        t.equal([], [w for w in want if w not in have],
                "%r: lacks, of %s" % (typed, have))
        t.equal([], [w for w in others if w in have], "%r: too much" % typed)


def test_bash(t):
    """bash: commands, options of a command, files, also with spaces."""
    need(t, "bash")
    path = script(t, "bash")
    t.run(["bash", "-n", path])
    t.write("a file", "")
    t.write("another", "")

    def ask(typed):
        words = (["sailvolctl"] + typed.split(" "))
        code = ("source %s\nCOMP_WORDS=(%s)\nCOMP_CWORD=%d\n_sailvolctl\n"
                "printf '%%s\\n' \"${COMPREPLY[@]}\"\n" % (
                    path, " ".join("'%s'" % w for w in words),
                    len(words) - 1))
        return t.run(["bash", "--norc", "-c", code],
                     cwd=t.dir).stdout.splitlines()

    check(t, ask)
    t.equal(["a file", "another"], sorted(ask("commit a")), "files")
    t.equal(["a file", "another"], sorted(ask("volume list -k a")), "a key")
    t.equal([""], ask("commit -m a"), "a message is nobody's guess")
    t.equal(["drop"], ask("-s another stash d"), "behind an option")


def test_fish(t):
    """fish: the same by its own complete."""
    need(t, "fish")
    path = script(t, "fish")
    t.run(["fish", "--no-execute", path])

    def ask(typed):
        out = t.run(["fish", "--no-config", "-c", "source %s\n"
                     "complete -C 'sailvolctl %s'" % (path, typed)],
                    cwd=t.dir, env={"HOME": t.dir}).stdout
        return [line.split("\t")[0] for line in out.splitlines()]

    check(t, ask)


def test_zsh(t):
    """zsh: the same through its bashcompinit."""
    need(t, "zsh")
    path = script(t, "zsh")
    t.run(["zsh", "-n", path])

    def ask(typed):
        words = (["sailvolctl"] + typed.split(" "))
        code = ("compdef() { : }\nsource %s\n"
                "emulate ksh\nCOMP_WORDS=(%s)\nCOMP_CWORD=%d\n_sailvolctl\n"
                "printf '%%s\\n' \"${COMPREPLY[@]}\"\n" % (
                    path, " ".join("'%s'" % w for w in words),
                    len(words) - 1))
        have = t.run(["zsh", "-f", "-c", code], cwd=t.dir,
                     env={"HOME": t.dir}).stdout.splitlines()
        # What of it begins as was typed zsh looks at later.
        return [w for w in have if w.startswith(words[-1])]

    check(t, ask)


def test_help(t):
    """help prints usage; what is wrong is said with what was meant."""
    everything = ctl(t, "help").stdout
    t.true(everything.startswith("usage: sailvolctl"), everything)
    t.true(ctl(t, "help", "stash").stdout.count("stash") == 4, "of a word")
    one = ctl(t, "help", "volume", "fork").stdout
    t.true("volume fork [-c commit]" in one and "create" not in one, one)
    for words, says in (
            (("comit", "x"), "was sailvolctl commit meant?"),
            (("volume", "lsit"), "was sailvolctl volume list meant?"),
            (("stahs", "list"), "was sailvolctl stash list meant?"),
            (("xyzzy",), "see sailvolctl help"),
            (("volume",), "See sailvolctl help volume"),
            (("help", "mout"), "was mount meant?"),
            (("commit", "--if-unchnged", "."), "was --if-unchanged meant?"),
            (("commit",), "commit: too few operands: path"),
            (("volume", "list", "x"), "too many operands: there are none"),
            (("completion", "tcsh"), "bash, fish or zsh")):
        r = ctl(t, *words, ok=2)
        t.true(says in r.stderr, "%s: %s" % (words, r.stderr))
    # Of a command that is known its own usage alone.
    r = ctl(t, "commit", ok=2)
    t.equal(2, len(r.stderr.splitlines()), r.stderr)
    r = ctl(t, "-j", "comit", ok=2)
    t.true("commit meant" in json.loads(r.stdout)["error"]["message"],
           r.stdout)
