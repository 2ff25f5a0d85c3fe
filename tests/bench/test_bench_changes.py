import dataclasses

from purenet.bench.changes import show_changes
from purenet.bench.machine import find_machine
from purenet.bench.records import make_record
from purenet.bench.rows import Row

ROW = Row("train-tiny", "2-16-1 B=4", "pn.train", "step", 10, "last loss", 0.01, arithmetic="float32")
MACHINE = find_machine()


def timed(*seconds, **fields):
    return dataclasses.replace(ROW, seconds=seconds, median=sorted(seconds)[len(seconds) // 2], **fields)


def changes(now, then, machine=MACHINE, quick=False):
    old = make_record(MACHINE, [], None, then, quick=False, finished=True, seconds=1.0)
    return show_changes(now, {**old, "date": "2026-01-01T00:00:00+00:00"}, machine, quick=quick).splitlines()


def test_ranges_that_do_not_meet_are_a_change():
    assert changes([timed(1e-6, 2e-6, 2.5e-6)], [timed(3e-6, 4e-6, 5e-6)]) == [
        "compared with the run of 2026-01-01T00:00:00+00:00",
        "  train-tiny, 2-16-1 B=4, pn.train: 4 µs then, 2 µs now: 2 times as fast",
    ]
    assert changes([timed(3e-6, 4e-6, 5e-6)], [timed(1e-6, 2e-6, 2.5e-6)])[1:] == [
        "  train-tiny, 2-16-1 B=4, pn.train: 2 µs then, 4 µs now: SLOWER: takes 2 times as long",
    ]


def test_ranges_that_meet_are_not():
    assert changes([timed(2e-6, 4e-6, 5e-6)], [timed(1e-6, 2e-6, 2.5e-6)])[1:] == [
        "  train-tiny, 2-16-1 B=4, pn.train: 2 µs then, 4 µs now: no change beyond the ranges (ratio 2)",
    ]


def test_rows_of_one_run_alone_are_named():
    gone = timed(1.0, contender="by hand")
    other_suite = timed(1.0, suite="shuffle")
    refused = dataclasses.replace(ROW, contender="wrong", error="refused: …")
    assert changes([timed(1.0), timed(1.0, case="new"), refused], [timed(1.0), gone, other_suite])[2:] == [
        "  train-tiny, new, pn.train: not in the earlier run",
        "  train-tiny, 2-16-1 B=4, wrong: now refused: …",
        "  train-tiny, 2-16-1 B=4, by hand: only in the earlier run",
    ]


def test_another_arithmetic_is_another_row():
    lines = changes([timed(1.0, arithmetic="bfloat16")], [timed(1.0)])
    assert lines[1] == "  train-tiny, 2-16-1 B=4, pn.train: not in the earlier run"


def test_other_surroundings_are_said():
    lines = changes([timed(1.0)], [timed(1.0)], MACHINE._replace(device="abacus"), quick=True)
    assert lines[1] == (
        "  other surroundings, so that the code is not all that differs: "
        f"device {MACHINE.device!r} then, 'abacus' now; quick False then, True now"
    )


def test_a_row_that_is_refused_now_is_said_beside_what_it_was():
    refused = dataclasses.replace(ROW, error="refused: another loss")
    assert changes([refused], [timed(4e-6)])[1:] == [
        "  train-tiny, 2-16-1 B=4, pn.train: 4 µs then, now refused: another loss"
    ]


def test_other_versions_are_said():
    lines = changes([timed(1.0, versions={"keras": "3.2"})], [timed(1.0, versions={"keras": "3.1"})])
    assert lines[1].endswith("(ratio 1); other versions: keras 3.1 then, keras 3.2 now")
