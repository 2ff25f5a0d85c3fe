import dataclasses
import json

import pytest

from purenet.bench.canaries import Canary
from purenet.bench.comparing import compare
from purenet.bench.machine import find_machine
from purenet.bench.peaks import Peak, Peaks
from purenet.bench.records import (
    expect_writable,
    make_record,
    peaks_of_record,
    read_record,
    rows_of_record,
    write_record,
)
from purenet.bench.rows import SCHEMA, Rates, Row

PEAKS = Peaks({"float32 default": Peak("float32 default", 1e11, 512)}, 1e10, 1e-5, 1e-2)

ROW = Row(
    suite="core", case="2-16-1 B=4", contender="by hand", per="step", per_call=10, agreement="last loss", tolerance=0.01
)
TIMED = dataclasses.replace(
    ROW,
    contender="pn.train",
    compile_seconds=0.5,
    seconds=(1.0, 2.0, 3.0),
    median=2.0,
    low=1.0,
    high=3.0,
    result=0.25,
    comparison=compare([1.0, 2.0, 3.0], [1.0, 1.0, 1.0], "by hand", 1.05),
    rates=Rates(10.0, 1e9, 1e8, "matmul", 0.5, 0.25),
    arithmetic="float32",
    process=True,
    versions={"jax": "1"},
)
REFUSED = dataclasses.replace(ROW, error="refused: …")


def test_a_record_is_read_back_as_it_was_written(tmp_path):
    path = str(tmp_path / "results.json")
    canaries = [Canary("one", 1e-8, 1e-6), Canary("two", None, 1e-6)]
    write_record(
        path, make_record(find_machine(), canaries, PEAKS, [TIMED, REFUSED], quick=True, finished=False, seconds=2.5)
    )
    record = read_record(path)
    assert rows_of_record(record) == [TIMED, REFUSED]
    assert peaks_of_record(record) == PEAKS


def test_an_interrupted_run_may_have_no_peaks(tmp_path):
    path = str(tmp_path / "results.json")
    write_record(path, make_record(find_machine(), [], None, [], quick=True, finished=False, seconds=2.5))
    assert peaks_of_record(read_record(path)) is None


def test_the_schema(tmp_path):
    path = tmp_path / "results.json"
    canaries = [Canary("one", 1e-8, 1e-6), Canary("two", None, 1e-6)]
    write_record(
        str(path), make_record(find_machine(), canaries, PEAKS, [TIMED], quick=False, finished=True, seconds=2.5)
    )
    record = json.loads(path.read_text(encoding="utf-8"))
    assert set(record) == {"schema", "date", "quick", "finished", "seconds", "machine", "canaries", "peaks", "rows"}
    assert (record["schema"], record["quick"], record["finished"], record["seconds"]) == (SCHEMA, False, True, 2.5)
    assert record["date"].endswith("+00:00")
    assert set(record["machine"]) == {
        *(
            "device",
            "platform",
            "devices",
            "cores",
            "load",
            "system",
            "python",
            "jax",
            "jaxlib",
            "optax",
            "purenet",
            "settings",
            "xla_flags",
        )
    }
    assert record["canaries"] == [
        {"name": "one", "error": 1e-8, "tolerance": 1e-6, "alive": True},
        {"name": "two", "error": None, "tolerance": 1e-6, "alive": False},
    ]
    (row,) = record["rows"]
    assert set(row) == {field.name for field in dataclasses.fields(Row)}
    assert row["seconds"] == [1.0, 2.0, 3.0]
    assert set(row["comparison"]) == {"to", "ratio", "low", "high", "at_most", "at_least", "words"}


def test_asking_whether_a_file_can_be_written_leaves_nothing_behind(tmp_path):
    expect_writable(str(tmp_path / "new.json"))
    assert list(tmp_path.iterdir()) == []
    old = tmp_path / "old.json"
    old.write_text("kept", encoding="utf-8")
    expect_writable(str(old))
    assert old.read_text(encoding="utf-8") == "kept"
    for bad in (tmp_path, tmp_path / "missing" / "new.json", old / "new.json"):
        with pytest.raises(OSError):  # noqa: PT011 (which one depends on the system)
            expect_writable(str(bad))
