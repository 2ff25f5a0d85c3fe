import dataclasses
import pathlib
import re
import subprocess
import sys

import pytest

from purenet.bench.comparing import compare
from purenet.bench.machine import find_machine
from purenet.bench.peaks import Peak, Peaks
from purenet.bench.records import make_record, read_record, write_record
from purenet.bench.rows import Rates, Row

ROOT = pathlib.Path(__file__).parents[2]
MARKS = "<!-- figures: written by bench/report.py -->", "<!-- end of figures -->"
ROW = Row("train-tiny", "2-16-1 B=4", "hand-written JAX", "step", 10, "last loss", 0.01, arithmetic="float32")
RATES = Rates(2e6, 3e9, 1e9, "matmul", 1e-6, 0.5)


def timed(seconds, **fields):
    first = fields.get("contender", ROW.contender) in (ROW.contender, "jax.random.permutation")
    comparison = (
        None
        if first or (fields.get("process") and fields["contender"] == "pn.train")
        else compare([seconds], [2e-6], "x")
    )
    return dataclasses.replace(
        ROW, seconds=(seconds,), median=seconds, low=seconds, high=seconds, rates=RATES, comparison=comparison, **fields
    )


ROWS = [
    timed(2e-6),
    *(timed(1.9e-6, contender=name) for name in ("pn.train, autodiff", "pn.train, backprop", "fit's chunks")),
    timed(2e-6, contender="pn.train", case="2-16-1 B=4, beside peers", process=True, versions={"jax": "0.12"}),
    timed(1e-4, contender="Keras fit", case="2-16-1 B=4, beside peers", process=True, versions={"keras": "3"}),
    dataclasses.replace(ROW, contender="refused", error="refused: …"),
    dataclasses.replace(timed(1e-2, suite="shuffle", case="n=9", contender="jax.random.permutation"), rates=None),
    dataclasses.replace(timed(2e-4, suite="shuffle", case="n=9", contender="pn.shuffle"), rates=None),
]


@pytest.fixture
def results(tmp_path):
    """A file of results and a README that waits for its figures."""
    peaks = Peaks({"float32 default": Peak("float32 default", 2e11, 1024)}, 3e10, 1e-5, 1e-2)
    write_record(str(tmp_path / "here.json"), make_record(find_machine(), [], peaks, ROWS, quick=False, finished=True))
    (tmp_path / "README.md").write_text("before\n{}\nold\n{}\nafter\n".format(*MARKS), encoding="utf-8")
    return tmp_path


def report(folder, *arguments):
    command = [sys.executable, "bench/report.py", *arguments, "--readme", str(folder / "README.md")]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_the_figures_stand_between_the_comments_and_nothing_else_is_touched(results):
    done = report(results, str(results / "here.json"))
    assert done.returncode == 0, done.stderr
    text = (results / "README.md").read_text(encoding="utf-8")
    assert text.startswith(f"before\n{MARKS[0]}\n")
    assert text.endswith(f"\n{MARKS[1]}\nafter\n")
    assert "old" not in text
    for line in (
        "| 2-16-1 B=4 | 2 µs | 1.9 µs | 1.9 µs | 1.9 µs | 0.95 |",
        "| pn.train | 2 µs |",
        "| Keras fit | 100 µs (50x) |",
        "| 2-16-1 B=4 | 1.9 µs | 3 | 50% | float32 |",
        "| shuffle: n=9 | jax.random.permutation: 10 ms | pn.shuffle: 200 µs, 100 times as long |",
        "processes each, in turn (jax 0.12, keras 3):",
    ):
        assert line in text
    assert "refused" not in text
    assert (results / "here.png").read_bytes().startswith(b"\x89PNG")


def test_check_tells_whether_readme_and_file_agree(results):
    path = str(results / "here.json")
    assert report(results, path, "--check").returncode == 1
    report(results, path)
    assert report(results, path, "--check").returncode == 0


@pytest.mark.parametrize("text", ["nothing", f"{MARKS[1]}\n{MARKS[0]}", f"{MARKS[0]}\n{MARKS[0]}\n{MARKS[1]}"])
def test_a_readme_without_its_place_is_refused(results, text):
    (results / "README.md").write_text(text, encoding="utf-8")
    done = report(results, str(results / "here.json"))
    assert done.returncode == 2
    assert "once each. Put them where the figures belong." in done.stderr
    assert (results / "README.md").read_text(encoding="utf-8") == text


def test_a_bad_file_is_refused(results):
    (results / "bad.json").write_text("{", encoding="utf-8")
    done = report(results, str(results / "bad.json"))
    assert done.returncode == 2
    assert "expected JSON" in done.stderr


def test_the_readme_holds_what_its_file_says():
    (file,) = set(re.findall(r"\(bench/results/([\w.-]+\.json)\)", (ROOT / "README.md").read_text(encoding="utf-8")))
    path = ROOT / "bench" / "results" / file
    assert path.with_suffix(".png").is_file()
    record = read_record(str(path))
    assert (record["quick"], record["finished"]) == (False, True)
    done = subprocess.run([sys.executable, "bench/report.py", str(path), "--check"], cwd=ROOT, check=False)
    assert done.returncode == 0
