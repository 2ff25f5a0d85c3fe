import math

import pytest

from purenet.bench.comparing import compare, quartiles


def test_the_ratio_is_that_of_the_medians():
    one = compare([2.0, 9.0, 4.0], [1.0, 2.0, 3.0], "by hand")
    assert (one.to, one.ratio, one.at_most) == ("by hand", 2.0, None)
    assert (one.low, one.high) == quartiles([2.0, 4.5, 4 / 3])


@pytest.mark.parametrize(
    ("values", "expected"),
    [([7.0], (7.0, 7.0)), ([1.0, 2.0], (1.25, 1.75)), ([5.0, 1.0, 4.0, 2.0, 3.0], (2.0, 4.0))],
)
def test_quartiles_are_interpolated(values, expected):
    assert quartiles(values) == expected


STEADY = [1.0, 1.0, 1.0, 1.0, 1.0]


@pytest.mark.parametrize(
    ("seconds", "at_most", "words"),
    [
        (STEADY, None, "equal within the noise"),
        ([0.96, 0.98, 1.0, 1.02, 1.04], None, "equal within the noise"),
        ([0.8, 1.2, 0.9, 1.1, 1.02], None, "noise too large to rank them"),
        ([1.03, 1.04, 1.02, 1.03, 0.5], None, "3.0% slower"),
        ([0.97, 0.96, 0.98, 0.97, 2.0], None, "3.0% faster"),
        ([2.5, 2.5, 2.5, 2.4, 2.6], None, "takes 2.5 times as long"),
        ([0.05, 0.04, 0.06, 0.05, 0.05], None, "20 times as fast"),
        ([1.02, 1.02, 1.02, 1.03, 1.01], 1.05, "2.0% slower; wanted ratio <= 1.05: met"),
        ([1.1, 1.1, 1.1, 1.1, 1.1], 1.05, "10.0% slower; wanted ratio <= 1.05: MISSED"),
        ([1.06, 1.02, 1.06, 1.03, 1.07], 1.05, "6.0% slower; wanted ratio <= 1.05: MISSED, but within the noise"),
        ([1.04, 1.02, 1.06, 1.03, 1.07], 1.05, "4.0% slower; wanted ratio <= 1.05: met, but within the noise"),
        ([0.025] * 5, 1 / 20, "40 times as fast; wanted 20 times as fast: met"),
        ([0.1] * 5, 1 / 20, "10 times as fast; wanted 20 times as fast: MISSED"),
    ],
)
def test_words_on_given_numbers(seconds, at_most, words):
    assert compare(seconds, STEADY, "by hand", at_most).words == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        ([50.0] * 5, "takes 50 times as long; wanted ratio >= 40: met"),
        ([30.0] * 5, "takes 30 times as long; wanted ratio >= 40: MISSED"),
        ([30.0, 41.0, 41.0, 42.0, 30.0], "takes 41 times as long; wanted ratio >= 40: met, but within the noise"),
    ],
)
def test_a_peer_may_be_wanted_to_be_slower(seconds, words):
    one = compare(seconds, STEADY, "pn.train", at_least=40)
    assert (one.words, one.at_least) == (words, 40)


def test_one_or_two_rounds_rank_nothing():
    assert compare([2.0], [1.0], "by hand").words == "1 round, too few to rank them"
    assert compare([2.0, 2.0], [1.0, 1.0], "by hand", 1.05).words == "2 rounds, too few to rank them"


def test_what_slows_the_whole_machine_drops_out():
    weather = [1.0, 3.0, 1.5, 2.0, 1.2]
    one = compare([1.1 * w for w in weather], weather, "by hand")
    assert math.isclose(one.low, 1.1)
    assert math.isclose(one.high, 1.1)


def test_medians_that_contradict_the_rounds_rank_nothing():
    one = compare([1.1, 2.2, 0.3, 110.0, 220.0], [1.0, 2.0, 3.0, 100.0, 200.0], "by hand")
    assert one.ratio < 1 < one.low
    assert one.words == "noise too large to rank them"


def test_rounds_must_pair():
    for seconds, others in [([], []), ([1.0], [1.0, 2.0])]:
        with pytest.raises(ValueError, match="as many rounds of each"):
            compare(seconds, others, "by hand")
