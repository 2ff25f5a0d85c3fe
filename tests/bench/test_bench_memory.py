import pytest

from purenet.bench.contests import Contender, Contest
from purenet.bench.memory import is_out_of_memory, shrinking
from purenet.bench.problems import Case

CASE = Case((256,) * 9, 64, 128, 1)
FULL = RuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 4294967296 bytes.")


def maker(room, made):
    """Makes contests of cases that are no wider than `room`."""

    def make(case):
        made.append(case.widths[0])
        if case.widths[0] > room:
            raise FULL
        return Contest(case.name, "step", 1, None, 0.0, [Contender("a", lambda: 1.0, None)])

    return make


@pytest.mark.parametrize(
    ("message", "is_it"),
    [
        ("JaxRuntimeError: RESOURCE_EXHAUSTED: Out of memory allocating 4096 bytes.", True),
        ("MemoryError: Unable to allocate 1.00 TiB for an array", True),
        ("XlaRuntimeError: INTERNAL: CUDA_ERROR_OUT_OF_MEMORY: out of memory", True),
        ("ValueError: shapes do not fit", False),
        (None, False),
    ],
)
def test_errors_about_memory_are_told_from_others(message, is_it):
    assert is_out_of_memory(message) is is_it


def test_what_fits_is_made_as_it_is():
    made = []
    contest = shrinking(maker(256, made), CASE)
    assert (made, contest.case, contest.note) == ([256], "8x256 B=64", "")


def test_what_does_not_fit_is_halved_and_said():
    made = []
    contest = shrinking(maker(64, made), CASE)
    assert made == [256, 128, 64]
    assert (contest.case, contest.note) == ("8x64 B=64", "8x128 B=64 ran out of memory: half the width")


def test_what_runs_out_later_can_still_be_halved():
    contest = shrinking(maker(256, []), CASE)
    smaller = contest.smaller()
    assert (smaller.case, smaller.note) == ("8x128 B=64", "8x256 B=64 ran out of memory: half the width")


def test_halving_ends_with_the_error():
    made = []
    with pytest.raises(RuntimeError, match="RESOURCE_EXHAUSTED"):
        shrinking(maker(1, made), CASE)
    assert made == [256, 128, 64, 32]
    assert shrinking(maker(32, []), CASE._replace(widths=(32,) * 9)).smaller is None


def test_other_errors_are_not_swallowed():
    def make(case):
        raise ValueError("shapes do not fit")

    with pytest.raises(ValueError, match="shapes do not fit"):
        shrinking(make, CASE)
