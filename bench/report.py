"""Turns a file of results into the README's tables and a picture.

    python bench/report.py bench/results/FILE.json          writes both
    python bench/report.py bench/results/FILE.json --check  says whether the README holds what the file says

The tables stand in the README between two comments; nothing else there is touched. The picture lies beside the file.
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
_OURS = ("hand-written JAX", "pn.train, autodiff", "pn.train, backprop", "fit's chunks")


def main(arguments=None):
    """Runs the command and gives its exit status."""
    parser = argparse.ArgumentParser(prog="python bench/report.py", description="Writes the README's figures.")
    parser.add_argument("file", help="results of python -m purenet.bench --json")
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if the README differs")
    parser.add_argument("--readme", default=README, type=pathlib.Path, help="the file with the two comments")
    told = parser.parse_args(arguments)
    try:
        record = read_record(told.file)
        old = told.readme.read_text(encoding="utf-8")
        new = replaced(old, report(record, pathlib.Path(told.file), told.readme))
    except (OSError, ValueError) as error:
        parser.error(str(error))
    if told.check:
        if new != old:
            print(f"{told.readme} does not hold what {told.file} says: run python bench/report.py {told.file}")
        return int(new != old)
    draw(record, picture_of(pathlib.Path(told.file)))
    told.readme.write_text(new, encoding="utf-8")
    print(f"written: {told.readme}, {picture_of(pathlib.Path(told.file))}")
    return 0


def picture_of(file):
    """The picture lies beside the results."""
    return file.with_suffix(".png")


def replaced(text, figures):
    """Puts the figures between the two comments."""
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise ValueError(f"expected the lines {BEGIN!r} and {END!r}, once each. Put them where the figures belong.")
    return f"{text[: text.index(BEGIN) + len(BEGIN)]}\n{figures}\n{text[text.index(END) :]}"


def report(record, file, readme):
    """All tables, as Markdown; those for which there are no rows are left out."""
    rows = [row for row in rows_of_record(record) if row.error is None]
    file = file.resolve().relative_to(readme.resolve().parent)
    parts = [_surroundings(record, file), f"![training steps, and how near the roofline they are]({picture_of(file)})"]
    parts += [_by_hand(rows), _peers(rows), _limits(record, rows), _others(rows)]
    return "\n\n".join(part for part in parts if part)


def of_suites(rows, prefix, *, process=False):
    """The rows of suites with this prefix, by case."""
    cases = {}
    for row in rows:
        if row.suite.startswith(prefix) and row.process == process and row.seconds:
            cases.setdefault(row.case, {})[row.contender] = row
    return cases


def _surroundings(record, file):
    machine = record["machine"]
    quick = " Quick runs, which are noisy." if record["quick"] else ""
    return (
        f"{machine['device']}, {machine['cores']} CPU cores, jax {machine['jax']}, Python {machine['python']}, float32 "
        f"unless said otherwise, Adam. Medians of interleaved rounds; ranges are in [the file]({file}).{quick}"
    )


def _table(headings, rows):
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _by_hand(rows):
    cases = {case: found for case, found in of_suites(rows, "train-").items() if set(_OURS) <= set(found)}
    if not cases:
        return ""
    lines = [
        [case, *(show_time(found[name].median) for name in _OURS), f"{found[_OURS[1]].comparison.ratio:.2f}"]
        for case, found in cases.items()
    ]
    headings = ["time of a step", "by hand", "`train`", '`train`, `gradient="backprop"`', "`fit`'s program"]
    return _table([*headings, "`train` / by hand"], lines)


def _peers(rows):
    cases = of_suites(rows, "train-", process=True)
    if not cases:
        return ""
    names = list(dict.fromkeys(name for found in cases.values() for name in found))
    versions = {
        package: version
        for found in cases.values()
        for row in found.values()
        for package, version in row.versions.items()
    }
    lines = [[name, *(_beside(found, name) for found in cases.values())] for name in names]
    many = max(len(row.seconds) for found in cases.values() for row in found.values())
    said = ", ".join(f"{name} {version}" for name, version in sorted(versions.items()))
    return (
        "Beside other libraries: the same weights, mini-batches, order and constants, and the same loss in the end. "
        f"`pn.train` shuffles and gathers in its time, the others are handed their mini-batches. "
        f"In brackets, how many times as long as `pn.train`. Medians of {many} "
        f"processes each, in turn ({said}):\n\n"
        + _table(["time of a step", *(case.removesuffix(", beside peers") for case in cases)], lines)
    )


def _beside(found, name):
    if name not in found:
        return ""
    ratio = found[name].comparison
    return show_time(found[name].median) + ("" if ratio is None else f" ({ratio.ratio:.3g}x)")


def _limits(record, rows):
    peaks = peaks_of_record(record)
    lines = [
        [case, show_time(row.median), f"{row.rates.flops / 1e9:,.0f}", f"{row.rates.of_limit:.0%}", row.arithmetic]
        for case, found in of_suites(rows, "train-").items()
        for name, row in found.items()
        if name == _OURS[1] and row.rates is not None and "beside" not in case and row.rates.of_limit >= 0.1
    ]
    if peaks is None or not lines:
        return ""
    best = peaks.matmul["float32 default"]
    return (
        f"How near the metal `train` is: this machine multiplies {best.size:,} x {best.size:,} matrices of float32 at "
        f"{best.flops / 1e9:,.0f} GFLOP/s and copies at {peaks.bandwidth / 1e9:.0f} GB/s; the limit is the least time "
        "that these allow a step.\n\n" + _table(["", "a step", "GFLOP/s", "of the limit", "arithmetic"], lines)
    )


def _others(rows):
    lines = []
    for suite in ("shuffle", "compile", "startup"):
        for case, found in of_suites(rows, suite).items():
            first, *others = found.values()
            lines += [
                [f"{suite}: {case}", f"{first.contender}: {show_time(first.median)}", _named(row)] for row in others
            ]
    return _table(["", "", ""], lines) if lines else ""


def _named(row):
    ratio = row.comparison.ratio
    words = f"{1 / ratio:.3g} times as fast" if ratio < 1 else f"{ratio:.3g} times as long"
    return f"{row.contender}: {show_time(row.median)}, {words}"


if __name__ == "__main__":
    sys.exit(main())
