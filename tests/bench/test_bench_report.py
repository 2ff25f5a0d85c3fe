import dataclasses
import importlib
import pathlib
import re
from typing import NamedTuple

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


def timed(seconds, beside=None, **fields):
    return dataclasses.replace(
        ROW,
        seconds=(seconds,),
        median=seconds,
        low=seconds,
        high=seconds,
        rates=RATES,
        comparison=None if beside is None else compare([seconds], [beside], "the first"),
        **fields,
    )


RACE = {"case": "2-16-1 B=4, beside peers", "process": True}
SHUFFLE = {"suite": "shuffle", "case": "n=9"}
ROWS = [
    timed(2e-6),
    *(timed(1.9e-6, 2e-6, contender=name) for name in ("pn.train, autodiff", "pn.train, backprop")),
    dataclasses.replace(ROW, contender="fit's chunks", error="refused: …"),
    timed(2e-6, contender="pn.train", versions={"jax": "0.12"}, **RACE),
    timed(1e-4, 2e-6, contender="Keras fit", versions={"keras": "3"}, **RACE),
    timed(1e-2, contender="jax.random.permutation", **SHUFFLE),
    timed(2e-4, 1e-2, contender="pn.shuffle", **SHUFFLE),
    timed(1e-2, suite="conv", case="CNN B=128", contender="hand-written JAX, jit per step"),
    timed(5e-3, 1e-2, suite="conv", case="CNN B=128", contender="pn.train, autodiff"),
    timed(
        4e-3, suite="conv", case="CNN B=128, beside peers", contender="pn.train", process=True, versions={"jax": "1"}
    ),
    timed(8e-3, 4e-3, suite="conv", case="CNN B=128, beside peers", contender="PyTorch", process=True, versions={}),
    timed(2.0, suite="startup", case="first update", contender="hand-written JAX", process=True),
    timed(3.0, 2.0, suite="startup", case="first update", contender="purenet", process=True),
]


@pytest.fixture
def results(tmp_path):
    """A file of results and a README that waits for its figures."""
    peaks = Peaks({"float32 default": Peak("float32 default", 2e11, 1024)}, 3e10, 1e-5, 1e-2)
    write_record(
        str(tmp_path / "here.json"),
        make_record(find_machine(), [], peaks, ROWS, quick=False, finished=True, seconds=1.0),
    )
    (tmp_path / "README.md").write_text("before\n{}\nold\n{}\nafter\n".format(*MARKS), encoding="utf-8")
    return tmp_path


class Done(NamedTuple):
    returncode: int
    stderr: str


@pytest.fixture
def report(monkeypatch, capsys):
    """Runs bench/report.py in this process."""
    monkeypatch.syspath_prepend(ROOT / "bench")
    module = importlib.import_module("report")

    def run(folder, *arguments):
        readme = [] if folder is None else ["--readme", str(folder / "README.md")]
        try:
            code = module.main([*arguments, *readme])
        except SystemExit as stopped:
            code = stopped.code
        return Done(code, capsys.readouterr().err)

    return run


def test_the_figures_stand_between_the_comments_and_nothing_else_is_touched(report, results):
    done = report(results, str(results / "here.json"))
    assert done.returncode == 0, done.stderr
    text = (results / "README.md").read_text(encoding="utf-8")
    assert text.startswith(f"before\n{MARKS[0]}\n")
    assert text.endswith(f"\n{MARKS[1]}\nafter\n")
    assert "old" not in text
    for line in (
        "| 2-16-1 B=4 | 2 µs | 1.9 µs (0.95) | 1.9 µs (0.95) | refused |",
        "| pn.train | 2 µs |",
        "| Keras fit | 100 µs (50) |",
        "| 2-16-1 B=4 | 1.9 µs | 3 | 0.5 | float32 |",
        "| conv: CNN B=128 | hand-written JAX, jit per step: 10 ms | pn.train, autodiff: 5 ms, 2 times as fast |",
        "Larger networks beside other libraries:",
        "| time of a step | CNN B=128 |",
        "| PyTorch | 8 ms (2) |",
        "| shuffle: n=9 | jax.random.permutation: 10 ms | pn.shuffle: 200 µs, 50 times as fast |",
        "| startup: first update | hand-written JAX: 2 s | purenet: 3 s, 1.5 times as long |",
        "processes each, in turn (jax 0.12, keras 3):",
    ):
        assert line in text
    assert (results / "here.png").read_bytes().startswith(b"\x89PNG")


def test_check_tells_whether_readme_and_file_agree(report, results):
    path = str(results / "here.json")
    assert report(results, path, "--check").returncode == 1
    report(results, path)
    assert report(results, path, "--check").returncode == 0


def test_of_a_contest_in_several_files_the_last_counts(report, results):
    again = [timed(9e-6), timed(3e-6, 9e-6, contender="pn.train, autodiff")]
    record = make_record(find_machine(), [], None, again, quick=False, finished=True, seconds=1.0)
    write_record(str(results / "again.json"), record)
    assert report(results, str(results / "here.json"), str(results / "again.json")).returncode == 0
    text = (results / "README.md").read_text(encoding="utf-8")
    assert "| 2-16-1 B=4 | 9 µs | 3 µs (0.333) |  |  |" in text
    assert "| Keras fit | 100 µs (50) |" in text
    assert "[here](here.json) and [again](again.json)" in text


@pytest.mark.parametrize("told", [{"finished": False}, {"canaries": [{"name": "x", "alive": False}]}])
def test_what_may_not_be_published_is_refused(report, results, told):
    record = {**read_record(str(results / "here.json")), **told}
    write_record(str(results / "bad.json"), record)
    done = report(results, str(results / "bad.json"))
    assert done.returncode == 2
    assert "expected a whole run with living canaries" in done.stderr


@pytest.mark.parametrize("text", ["nothing", f"{MARKS[1]}\n{MARKS[0]}", f"{MARKS[0]}\n{MARKS[0]}\n{MARKS[1]}"])
def test_a_readme_without_its_place_is_refused(report, results, text):
    (results / "README.md").write_text(text, encoding="utf-8")
    done = report(results, str(results / "here.json"))
    assert done.returncode == 2
    assert "once each. Put them where the figures belong." in done.stderr
    assert (results / "README.md").read_text(encoding="utf-8") == text


def test_a_bad_file_is_refused(report, results):
    (results / "bad.json").write_text("{", encoding="utf-8")
    done = report(results, str(results / "bad.json"))
    assert done.returncode == 2
    assert "expected JSON" in done.stderr


def test_the_readme_holds_what_its_files_say(report, monkeypatch):
    files = re.findall(r"\((bench/results/[\w.-]+\.json)\)", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert files
    assert (ROOT / files[0]).with_suffix(".png").is_file()
    assert not any(read_record(str(ROOT / file))["quick"] for file in files)
    monkeypatch.chdir(ROOT)
    assert report(None, *files, "--check").returncode == 0
