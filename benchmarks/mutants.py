"""Whether the tests notice small changes of the code.

Claim: of a sample of at least 400 mutants of `core`, `geometry`, `stats` and `strategies`, the tests notice 85 %.

    make coverage    # which tests execute which line, and how long they take
    python benchmarks/mutants.py 400

A mutant is one small change (`mutations.py`). Mutants are drawn at random, in proportion from each package and kind of
change, in an order such that the first N are a sample for every N. Each is written into a copy of the project, where
the tests that execute its line are run in a forked process, until one fails. A row goes to `results/mutants.csv`; those
that are there are not tried again, except by `--again`, those that survived. `equivalent_mutants.csv` lists mutants
that change no result, and why.

mutmut has no mutants of decorated functions, which all strategies are, nor of what is outside of functions; cosmic-ray
runs all tests on each mutant, in a process that starts anew.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import gc
import hashlib
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import types
from collections import Counter, defaultdict
from functools import cache
from pathlib import Path
from xml.etree import ElementTree

import coverage
import hypothesis
import pytest
from _pytest.runner import runtestprotocol
from mutations import Mutant, changed_functions, mutants

ROOT = Path(__file__).parent.parent
PACKAGES = ("core", "geometry", "stats", "strategies")
RESULTS = ROOT / "benchmarks/results/mutants.csv"
EQUIVALENT = ROOT / "benchmarks/equivalent_mutants.csv"
COLUMNS = ("package", "file", "line", "operator", "before", "after", "outcome", "killed_by", "tests", "seconds")
#: Seconds of the processor until a mutant's tests are stopped, and bytes of memory.
LIMIT = 240
MEMORY = 12 << 30
QUIET = ("-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-W", "ignore::pytest.PytestAssertRewriteWarning")


def main():
    args = _arguments()
    sample = _drawn(args.count)
    outcomes = _read()
    sample = [each for each in sample if each.file.split("/")[1] in args.packages.split(",")]
    todo = [each for each in sample if each.key not in outcomes or (args.again and outcomes[each.key] == "survived")]
    tests = Tests(args.coverage, args.times, args.enough)
    hypothesis.settings.register_profile(
        "mutants",
        database=None,
        derandomize=True,
        phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
    )
    hypothesis.settings.load_profile("mutants")
    with tempfile.TemporaryDirectory(prefix="mutants-", ignore_cleanup_errors=True) as folder:
        copy = _copied(Path(folder))
        os.chdir(copy)
        os.environ["PYTHONPATH"] = str(copy)
        outside = (ROOT, ROOT / "benchmarks")
        sys.path[:] = [str(copy), *(each for each in sys.path if Path(each).resolve() not in outside)]
        files = sorted({file for each in todo for file in (name.partition("::")[0] for name in tests.of(each)[0])})
        pytest.main([*files, *QUIET], [Forks(copy, todo, tests, 60 * args.minutes)])
        report(args.count)


def _arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("count", type=int, help="number of mutants")
    parser.add_argument("--packages", default=",".join(PACKAGES), help="those of the sample in these, with commas")
    parser.add_argument("--minutes", type=float, default=600.0)
    parser.add_argument("--enough", type=float, default=60.0, help="seconds of tests that a mutant must survive")
    parser.add_argument("--again", action="store_true", help="try those that survived once more")
    parser.add_argument("--coverage", type=Path, default=ROOT / "build/coverage")
    parser.add_argument("--times", type=Path, default=ROOT / "build/tests.xml")
    return parser.parse_args()


def _drawn(count, seed=0):
    """The first mutants of a random order in which each stratum, a package and an operator, is spread evenly.

    The order goes by hashes, so that a change of the code leaves the other mutants where they are.
    """
    strata = defaultdict(list)
    for file in sorted(path for name in PACKAGES for path in (ROOT / "initpools_cli" / name).rglob("*.py")):
        name, counts = file.relative_to(ROOT).as_posix(), Counter()
        for each in mutants(name, file.read_bytes()):
            same = name, each.operator, each.before, each.after
            counts[same] += 1
            strata[name.split("/")[1], each.operator].append((_hash(seed, *same, counts[same]), each))
    ranks = []
    for stratum, members in strata.items():
        members.sort(key=lambda pair: pair[0])
        first = _hash(seed, *stratum)
        ranks += [((rank + first) / len(members), each.key, each) for rank, (_, each) in enumerate(members)]
    return [mutant for *_, mutant in sorted(ranks, key=lambda triple: triple[:2])[:count]]


def _hash(*parts):
    """A number in [0, 1)."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:7]) / 2**56


class Tests:
    """Which tests execute a line, and how long they take."""

    def __init__(self, data, times, enough):
        self.enough = enough
        self.data = coverage.CoverageData(str(data))
        self.data.read()
        self.lines = cache(self.data.contexts_by_lineno)
        self.files = Counter(
            name for file in self.data.measured_files() for name in _names(self.lines(file), self.lines(file))
        )
        self.seconds = {}
        for case in ElementTree.parse(times).iter("testcase"):
            file = case.get("classname").replace(".", "/") + ".py"
            self.seconds[f"{file}::{case.get('name')}"] = float(case.get("time"))

    def of(self, mutant: Mutant):
        """Tests of a mutant, and whether its line is executed by imports, too.

        Those that execute few files come first, and those of the same function with other parameters last.
        """
        lines = self.lines(mutant.file)
        first, last = mutant.statement
        inside = first <= mutant.line <= last
        names = (_names(lines, [mutant.line]) if inside else ()) or _names(lines, range(first, last + 1))
        if not first:
            # Executed by whichever test imports the file; those that depend on it execute other lines.
            names = _names(lines, lines)
        counts, order = Counter(), []
        for name in sorted(names, key=lambda name: (self.files[name], self.seconds.get(name, 1.0), name)):
            function = name.partition("[")[0]
            order.append((counts[function], len(order), name))
            counts[function] += 1
        selection, total = [], 0.0
        for *_, name in sorted(order):
            total += self.seconds.get(name, 1.0)
            if selection and total > self.enough:
                continue
            selection.append(name)
        return selection, "" in lines.get(mutant.line, ())


def _names(lines, numbers):
    return {context.rpartition("|")[0] for number in numbers for context in lines.get(number, ()) if context}


def _copied(folder):
    """A copy of the files that git has or would have."""
    git = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, check=True
    )
    for name in git.stdout.decode().split("\n"):
        if name and (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    return folder


class Forks:
    """A plugin of pytest that runs no tests: once they are collected, it tries mutants in forked processes."""

    def __init__(self, copy, todo, tests, seconds):
        self.copy, self.todo, self.tests, self.end = copy, todo, tests, time.monotonic() + seconds

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session):
        self.items = {item.nodeid: item for item in session.items}
        gc.unfreeze()
        self.functions = [each for each in gc.get_objects() if type(each) is types.FunctionType]
        gc.freeze()
        with session.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
            self._try_all()
        return True

    def _try_all(self):
        for number, each in enumerate(self.todo):
            if time.monotonic() > self.end:
                print("the time is up: run the same command again to go on")
                break
            row = self._tried(each, number)
            _write(row)
            print(f"{number + 1}/{len(self.todo)}", *(row[name] for name in COLUMNS[1:]), flush=True)
        killers = sorted({row["killed_by"] for row in _rows()} & self.items.keys())
        _, failure = self._forked(lambda: _failed([self.items[name] for name in killers]), 10 * LIMIT)
        print(f"without a mutant fails {failure}" if failure else "without mutants pass all tests that killed one")

    def _tried(self, mutant, number):
        """The row of a mutant."""
        names, is_import = self.tests.of(mutant)
        file = self.copy / mutant.file
        source, start = file.read_bytes(), time.perf_counter()
        file.write_bytes(mutant.of(source))
        # Compiled modules are recognized by their time in whole seconds and their size.
        os.utime(file, (number + 1, number + 1))

        def work():
            functions = None if is_import else changed_functions(source, mutant.of(source), str(file))
            if not _is_imported(file) or (functions and self._swapped(functions)):
                return _failed([self.items[name] for name in names if name in self.items])
            return _failed_anew(self.copy, names)

        try:
            outcome, killer = self._forked(work, LIMIT) if names else ("survived", "")
        finally:
            shutil.copy2(ROOT / mutant.file, file)
        return {
            "package": mutant.file.split("/")[1],
            **{name: getattr(mutant, name) for name in ("file", "line", "operator", "before", "after")},
            "outcome": outcome,
            "killed_by": killer,
            "tests": len(names),
            "seconds": round(time.perf_counter() - start, 1),
        }

    def _swapped(self, changes):
        """Give the functions that exist their new code; False where one has none, or can't have it."""
        for old, new in changes:
            place = old.co_filename, old.co_qualname, old.co_firstlineno
            functions = [
                each
                for each in self.functions
                if (each.__code__.co_filename, each.__code__.co_qualname, each.__code__.co_firstlineno) == place
            ]
            is_nested = "<locals>" in old.co_qualname or old.co_name.startswith("<")
            if (not functions and not is_nested) or any(
                len(each.__code__.co_freevars) != len(new.co_freevars) for each in functions
            ):
                return False
            for each in functions:
                each.__code__ = new
        return True

    def _forked(self, work, limit):
        """Do work in a forked process: "killed" and the test that failed, "survived", or "timeout"."""
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            code = 1
            try:
                os.close(reading)
                _confine(self.copy / "output.txt", limit)
                os.write(writing, f"done {work()}".encode())
                code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code)
        os.close(writing)
        _, status = os.waitpid(child, 0)
        # What the tests started, too.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
        with os.fdopen(reading) as stream:
            answer = stream.read()
        if answer:
            killer = answer.partition(" ")[2]
            return ("killed" if killer else "survived"), killer
        is_timeout = os.WIFSIGNALED(status) and os.WTERMSIG(status) in (signal.SIGXCPU, signal.SIGALRM, signal.SIGKILL)
        return ("timeout", "") if is_timeout else ("killed", "the process ended")


def _is_imported(file):
    return any(str(getattr(module, "__file__", None)) == str(file) for module in list(sys.modules.values()))


def _confine(output, limit):
    """Limit this process, and write what it prints to a file."""
    os.setsid()
    resource.setrlimit(resource.RLIMIT_CPU, (limit, limit + 5))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    signal.alarm(10 * limit)
    file = os.open(output, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    for stream in range(3):
        os.dup2(file, stream)


def _failed(items):
    """The first of the tests that fails."""
    for item, following in zip(items, [*items[1:], None], strict=True):
        if any(each.failed for each in runtestprotocol(item, log=False, nextitem=following)):
            return item.nodeid
    return ""


def _failed_anew(copy, names):
    """The same after the package and the tests were imported anew, for what is done by imports; or "import"."""
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None) or "").startswith(str(copy)):
            del sys.modules[name]
    plugin = Chosen(names)
    files = sorted({name.partition("::")[0] for name in names})
    code = pytest.main([*files, "-x", *QUIET], [plugin])
    return plugin.failed or ("" if code == pytest.ExitCode.OK else "import")


class Chosen:
    """A plugin of pytest: these tests alone, in this order, and which of them fails."""

    def __init__(self, tests):
        self.places = {name: place for place, name in enumerate(tests)}
        self.failed = ""

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items):
        selection = [item for item in items if item.nodeid in self.places]
        items[:] = sorted(selection, key=lambda item: self.places[item.nodeid])

    def pytest_runtest_logreport(self, report):
        if report.failed:
            self.failed = self.failed or report.nodeid


def _rows():
    if not RESULTS.exists():
        return []
    with RESULTS.open(newline="") as stream:
        rows = {_key(row): row for row in csv.DictReader(stream)}
    return list(rows.values())


def _key(row):
    return tuple(row[name] for name in ("file", "line", "operator", "before", "after"))


def _read():
    return {_key(row): row["outcome"] for row in _rows()}


def _write(row):
    new = not RESULTS.exists()
    with RESULTS.open("a", newline="") as stream:
        writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerow(row)


def _equivalent():
    """Mutants that change no result: the file, the line of code, and the change."""
    with EQUIVALENT.open(newline="") as stream:
        return {tuple(row[name] for name in ("file", "code", "before", "after")) for row in csv.DictReader(stream)}


def report(count):
    """Tidy the table, and print what survived and the share that was killed, of each package and of all."""
    from initpools_cli.stats.proportions import share_interval

    counts = {name: Counter() for name in (*PACKAGES, "all")}
    rows = _tidy(count)
    for row in rows:
        if row["outcome"] == "survived":
            print(f"{row['file']}:{row['line']}: {row['before']} -> {row['after']} ({row['tests']} tests)")
        for name in (row["package"], "all"):
            counts[name][row["outcome"]] += 1
    for name, each in counts.items():
        kills, count = each["killed"] + each["timeout"], each.total() - each["equivalent"]
        low, high = share_interval(kills, count)
        print(f"{name:10} {kills} of {count} killed, {low:.1%} to {high:.1%}; {each['equivalent']} equivalent")


def _tidy(count):
    """Rows of the sample, the newest of each, in the order of the sample; name those equivalent."""
    equivalent, rows = _equivalent(), {_key(row): row for row in _rows()}
    sample_rows = [rows[each.key] for each in _drawn(count) if each.key in rows]
    for row in sample_rows:
        if row["outcome"] in ("survived", "equivalent"):
            code = (ROOT / row["file"]).read_text().splitlines()[int(row["line"]) - 1].strip()
            same = (row["file"], code, row["before"], row["after"]) in equivalent
            row["outcome"] = "equivalent" if same else "survived"
    RESULTS.unlink(missing_ok=True)
    for row in sample_rows:
        _write(row)
    return sample_rows


if __name__ == "__main__":
    main()
