import dataclasses
import json

import pytest

from purenet.bench.canaries import Canary
from purenet.bench.comparing import compare
from purenet.bench.machine import find_machine
from purenet.bench.records import expect_writable, make_record, read_rows, write_record
from purenet.bench.rows import SCHEMA, Row

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
)
REFUSED = dataclasses.replace(ROW, error="refused: …")


def test_a_record_is_read_back_as_it_was_written(tmp_path):
    path = str(tmp_path / "results.json")
    canaries = [Canary("one", 1e-8, 1e-6), Canary("two", None, 1e-6)]
    write_record(path, make_record(find_machine(), canaries, [TIMED, REFUSED], quick=True, finished=False))
    assert read_rows(path) == [TIMED, REFUSED]


def test_the_schema(tmp_path):
    path = tmp_path / "results.json"
    canaries = [Canary("one", 1e-8, 1e-6), Canary("two", None, 1e-6)]
    write_record(str(path), make_record(find_machine(), canaries, [TIMED], quick=False, finished=True))
    record = json.loads(path.read_text(encoding="utf-8"))
    assert set(record) == {"schema", "date", "quick", "finished", "machine", "canaries", "rows"}
    assert (record["schema"], record["quick"], record["finished"]) == (SCHEMA, False, True)
    assert record["date"].endswith("+00:00")
    assert set(record["machine"]) == {
        *("device", "platform", "devices", "cores", "load", "system", "python", "jax", "jaxlib", "xla_flags")
    }
    assert record["canaries"] == [
        {"name": "one", "error": 1e-8, "tolerance": 1e-6, "alive": True},
        {"name": "two", "error": None, "tolerance": 1e-6, "alive": False},
    ]
    (row,) = record["rows"]
    assert set(row) == {field.name for field in dataclasses.fields(Row)}
    assert row["seconds"] == [1.0, 2.0, 3.0]
    assert set(row["comparison"]) == {"to", "ratio", "low", "high", "at_most", "words"}


@pytest.mark.parametrize("text", ['{"schema": 0, "rows": []}', "[]", '{"rows": []}'])
def test_another_schema_is_refused(tmp_path, text):
    path = tmp_path / "old.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=r"expected a record of schema 1 of purenet\.bench"):
        read_rows(str(path))


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
