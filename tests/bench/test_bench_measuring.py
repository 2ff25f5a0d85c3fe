import math

from purenet.bench.contests import Contender, Contest, Cost
from purenet.bench.measuring import measure
from purenet.bench.peaks import Peak, Peaks
from purenet.bench.rating import rate


def contest(*results, tolerance=0.01):
    """Contenders that answer the same number at every call; an exception is raised."""

    def call(result):
        if isinstance(result, Exception):
            raise result
        return result

    contenders = [Contender(f"c{i}", lambda r=r: call(r), lambda output: output) for i, r in enumerate(results)]
    return Contest("case", "step", 10, "last loss", tolerance, contenders)


def test_all_who_agree_are_timed():
    rows = measure("suite", contest(1.0, 1.005), rounds=3)
    assert [row.contender for row in rows] == ["c0", "c1"]
    for row in rows:
        assert (row.suite, row.case, row.per, row.per_call, row.error) == ("suite", "case", "step", 10, None)
        assert len(row.seconds) == 3
        assert row.low <= row.median <= row.high
        assert row.compile_seconds >= 0
    assert rows[0].comparison is None
    assert rows[1].comparison.to == "c0"
    assert math.isclose(rows[1].comparison.ratio, rows[1].median / rows[0].median)


def test_another_loss_is_refused():
    rows = measure("suite", contest(2.0, 2.03, 2.0), rounds=1)
    assert [row.error for row in rows] == [
        None,
        "refused: its last loss is 2.03, that of c0 2 (tolerance 0.01, relative)",
        None,
    ]
    assert (rows[1].seconds, rows[1].median, rows[1].comparison, rows[1].result) == ((), None, None, 2.03)


def test_no_number_is_refused():
    rows = measure("suite", contest(2.0, math.nan, math.inf), rounds=1)
    assert [row.error is None for row in rows] == [True, False, False]
    assert [row.result for row in rows] == [2.0, None, None]
    assert all(row.error for row in measure("suite", contest(math.nan, math.nan), rounds=1))


def test_a_contender_that_raises_does_not_stop_the_others():
    rows = measure("suite", contest(1.0, RuntimeError("out of memory\nlong story"), 1.0), rounds=1)
    assert [row.error for row in rows] == [None, "RuntimeError: out of memory", None]


def test_without_the_first_there_is_nothing_to_compare_with():
    rows = measure("suite", contest(ValueError("no"), 1.0), rounds=1)
    assert [row.error for row in rows] == ["ValueError: no", "nothing to compare with: c0 failed"]


def test_what_has_nothing_to_agree_on_is_timed():
    contenders = [Contender(name, lambda: None, None) for name in "ab"]
    rows = measure("suite", Contest("case", "program", 1, None, 0.0, contenders, compiles=False), rounds=3)
    assert [(row.error, row.result, row.compile_seconds, len(row.seconds)) for row in rows] == [
        (None, None, None, 3)
    ] * 2


def test_slow_contests_get_fewer_rounds():
    for slowness, rounds in ((1, 6), (3, 2), (100, 1)):
        rows = measure("suite", contest(1.0)._replace(slowness=slowness), rounds=6)
        assert len(rows[0].seconds) == rounds


def test_times_are_held_against_the_limit():
    peaks = Peaks({"float32 default": Peak("float32 default", 1e12, 512)}, 1e11, 1e-5, 1e-2)
    (row,) = measure("suite", contest(1.0)._replace(cost=Cost(4, 10**6, 10)), rounds=1, peaks=peaks)
    assert row.rates == rate(row.median, Cost(4, 10**6, 10), "float32 default", peaks)
    assert measure("suite", contest(1.0), rounds=1, peaks=peaks)[0].rates is None


def test_contenders_take_turns_and_begin_in_turn(monkeypatch):
    monkeypatch.setattr("purenet.bench.measuring._SAMPLE_SECONDS", 0.0)
    order = []
    contenders = [Contender(name, lambda name=name: order.append(name) or 1.0, float) for name in "ab"]
    measure("suite", Contest("case", "step", 1, "loss", 0.0, contenders), rounds=3)
    assert "".join(order) == "aabb" + "ab" + "ba" + "ab"  # first call and warm-up, then three rounds


def test_short_calls_are_timed_many_in_a_row():
    calls = []
    one = Contender("a", lambda: calls.append(1) or 1.0, float)
    measure("suite", Contest("case", "step", 1, "loss", 0.0, [one]), rounds=1)
    assert len(calls) > 100


def test_one_that_raises_late_gets_an_error_and_does_not_stop_the_others():
    calls = []

    def tired():
        calls.append(1)
        if len(calls) > 3:
            raise RuntimeError("RESOURCE_EXHAUSTED: Out of memory")
        return 1.0

    patient = Contender("a", lambda: 1.0, float)
    for contenders in ([patient, Contender("b", tired, float)], [Contender("b", tired, float), patient]):
        calls.clear()
        rows = measure("suite", Contest("case", "step", 1, "loss", 0.0, contenders), rounds=5)
        errors = {row.contender: row.error for row in rows}
        assert errors["b"] == "RuntimeError: RESOURCE_EXHAUSTED: Out of memory"
        assert errors["a"] == (None if contenders[0] is patient else "nothing to compare with: b failed")
        assert all(len(row.seconds) == 5 for row in rows if row.error is None)


def test_what_takes_too_long_ends_after_the_least_rounds(monkeypatch):
    monkeypatch.setattr("purenet.bench.measuring._MOST_SECONDS", 0.0)
    (row,) = measure("suite", contest(1.0), rounds=25)
    assert len(row.seconds) == 5
