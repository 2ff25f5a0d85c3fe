"""Turns files of results into the README's tables and a picture.

    python bench/report.py bench/results/FILE.json …          writes both
    python bench/report.py bench/results/FILE.json … --check  says whether the README holds what the files say

Of a contest that several files hold, the last one's rows are taken. The tables stand in the README between two
comments; nothing else there is touched. The picture lies beside the first file.
"""

import argparse
import pathlib
import sys

from picture import draw

from purenet.bench.records import peaks_of_record, read_record, rows_of_record
from purenet.bench.tables import show_time

BEGIN, END = "<!-- figures: written by bench/report.py -->", "<!-- end of figures -->"
README = pathlib.Path(__file__).parents[1] / "README.md"

# Columns of the first table, by the contenders' names.
_COLUMNS = ("hand-written JAX", "pn.train, autodiff", "pn.train, backprop", "fit's chunks")

# Suites whose contests are many ways of one piece of work, and whose races have a table of their own.
_NETWORKS = ("conv", "recurrent", "attention")


def main(arguments=None):
    """Runs the command and gives its exit status."""
    parser = argparse.ArgumentParser(prog="python bench/report.py", description="Writes the README's figures.")
    parser.add_argument("files", nargs="+", help="results of python -m purenet.bench --json")
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if the README differs")
    parser.add_argument("--readme", default=README, type=pathlib.Path, help="the file with the two comments")
    told = parser.parse_args(arguments)
    files = [pathlib.Path(file) for file in told.files]
    picture = files[0].with_suffix(".png")
    try:
        records = [_trusted(file) for file in files]
        rows = joined(records)
        old = told.readme.read_text(encoding="utf-8")
        new = replaced(old, report(records, rows, files, picture, told.readme.resolve().parent))
    except (OSError, ValueError) as error:
        parser.error(str(error))
    if told.check:
        if new != old:
            print(f"{told.readme} does not hold what the files say: run python bench/report.py {' '.join(told.files)}")
        return int(new != old)
    draw(records[0], rows, picture)
    told.readme.write_text(new, encoding="utf-8")
    print(f"written: {told.readme}, {picture}")
    return 0


def _trusted(file):
    """Reads a record that may be published."""
    record = read_record(str(file))
    if not record["finished"] or not all(canary["alive"] for canary in record["canaries"]):
        raise ValueError(f"{file}: expected a whole run with living canaries, got another. Run it again.")
    return record


def joined(records):
    """The rows of all records; of a contest that is in several, those of the last."""
    contests = {}
    for record in records:
        fresh = {}
        for row in rows_of_record(record):
            fresh.setdefault((row.suite, row.case), []).append(row)
        contests |= fresh
    return [row for contest in contests.values() for row in contest]


def replaced(text, figures):
    """Puts the figures between the two comments."""
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise ValueError(f"expected the lines {BEGIN!r} and {END!r}, once each. Put them where the figures belong.")
    return f"{text[: text.index(BEGIN) + len(BEGIN)]}\n{figures}\n{text[text.index(END) :]}"


def report(records, rows, files, picture, root):
    """All tables, as Markdown; those for which there are no rows are left out."""
    where = [file.resolve().relative_to(root) for file in files]
    parts = [
        _surroundings(records, where),
        f"![training steps, and how near the roofline they are]({picture.resolve().relative_to(root)})",
        _by_hand(rows),
        _peers(rows, "train-"),
        _peers(rows, _NETWORKS),
        _limits(records[0], rows),
        _others(rows),
    ]
    return "\n\n".join(part for part in parts if part)


def of_suites(rows, prefix, process=None):
    """The rows of suites with this prefix, or one of these, by case; those of own processes, of one process, or all."""
    cases = {}
    for row in rows:
        if row.suite.startswith(prefix) and process in (None, row.process):
            cases.setdefault(row.case, {})[row.contender] = row
    return cases


def _surroundings(records, where):
    machine = records[0]["machine"]
    quick = " Quick runs, which are noisy." if any(record["quick"] for record in records) else ""
    links = " and ".join(f"[{file.stem}]({file})" for file in where)
    return (
        f"{machine['device']}, {machine['cores']} CPU cores, jax {machine['jax']}, Python {machine['python']}, float32 "
        f"unless said otherwise, Adam. Medians of interleaved rounds; ranges are in {links}.{quick}"
    )


def _table(headings, rows):
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _by_hand(rows):
    cases = {case: found for case, found in of_suites(rows, "train-", False).items() if _COLUMNS[0] in found}
    if not cases:
        return ""
    lines = [[case, *(_cell(found.get(name)) for name in _COLUMNS)] for case, found in cases.items()]
    headings = ["time of a step", "by hand", "`train`", '`train`, `gradient="backprop"`', "`fit`'s program"]
    return "In brackets, how many times as long as by hand.\n\n" + _table(headings, lines)


def _peers(rows, suites):
    cases = of_suites(rows, suites, process=True)
    if not cases:
        return ""
    names = list(dict.fromkeys(name for found in cases.values() for name in found))
    versions = {
        package: version
        for found in cases.values()
        for row in found.values()
        for package, version in row.versions.items()
    }
    lines = [[name, *(_cell(found.get(name)) for found in cases.values())] for name in names]
    many = max(len(row.seconds) for found in cases.values() for row in found.values())
    said = ", ".join(f"{name} {version}" for name, version in sorted(versions.items()))
    what = "Larger networks beside" if suites == _NETWORKS else "Beside"
    return (
        f"{what} other libraries: the same weights, mini-batches, order and constants, and the same loss in the end. "
        f"`pn.train` shuffles and gathers in its time, the others are handed their mini-batches. "
        f"In brackets, how many times as long as `pn.train`. Medians of {many} "
        f"processes each, in turn ({said}):\n\n"
        + _table(["time of a step", *(case.removesuffix(", beside peers") for case in cases)], lines)
    )


def _cell(row):
    """A time, and how many times as long as the contest's first row's it is."""
    if row is None or row.error is not None:
        return "" if row is None else "refused"
    if row.comparison is None:
        return show_time(row.median)
    ratio = row.comparison.ratio
    return f"{show_time(row.median)} ({f'{ratio:.3g}' if ratio < 999 else f'{ratio:,.0f}'})"


def _limits(record, rows):
    peaks = peaks_of_record(record)
    lines = [
        [case, show_time(row.median), f"{row.rates.flops / 1e9:,.3g}", f"{row.rates.of_limit:.2g}", row.arithmetic]
        for case, found in of_suites(rows, "train-", False).items()
        for name, row in found.items()
        if name == _COLUMNS[1] and row.rates is not None and "beside" not in case
    ]
    if peaks is None or not lines:
        return ""
    best = ", ".join(
        f"{peak.flops / 1e9:,.0f} GFLOP/s in {name.removesuffix(' default')}"
        for name, peak in peaks.matmul.items()
        if name in ("float32 default", "bfloat16")
    )
    return (
        f"How near the metal `train` is: this machine multiplies square matrices at {best}, and copies at "
        f"{peaks.bandwidth / 1e9:.0f} GB/s; the limit is the least time that these allow a step. What a small network "
        "takes is the calling of its operations.\n\n"
        + _table(["`train`", "a step", "GFLOP/s", "share of the limit", "arithmetic"], lines)
    )


def _others(rows):
    lines = []
    for suite in (*_NETWORKS, "shuffle", "compile", "startup"):
        for case, found in of_suites(rows, suite, None if suite not in _NETWORKS else False).items():
            first, *others = found.values()
            lines += [
                [f"{suite}: {case}", f"{first.contender}: {show_time(first.median)}", _named(row)]
                for row in others
                if first.error is None
            ]
    return _table(["work", "one way", "another"], lines) if lines else ""


def _named(row):
    if row.error is not None:
        return f"{row.contender}: refused"
    ratio = row.comparison.ratio
    words = f"{1 / ratio:.3g} times as fast" if ratio < 1 else f"{ratio:.3g} times as long"
    return f"{row.contender}: {show_time(row.median)}, {words}"


if __name__ == "__main__":
    sys.exit(main())
