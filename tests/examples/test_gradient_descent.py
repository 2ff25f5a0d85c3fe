"""What the example of gradient descent shows is so: on its curve, with its rates, and by its counts."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

FILE = Path(__file__).parents[2] / "examples" / "gradient_descent.py"


@pytest.fixture(scope="module")
def example():
    spec = importlib.util.spec_from_file_location("example_gradient_descent", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def paths(example):
    return {name: descent.path for name, descent in example.descents().items()}


def settled(path, place):
    """Whether the path ends near a place, and at rest."""
    return abs(path[-1] - place) < 0.05 and np.all(np.abs(np.diff(path[-5:])) < 1e-5)


def test_the_curve_has_two_minima_and_a_hilltop_between_them(example):
    x = np.linspace(-30, 30, 60_001)
    slopes = np.gradient(example.curve(x, np), x)
    turns = x[:-1][np.diff(np.sign(slopes)) != 0]
    np.testing.assert_allclose(turns, [example.LEFT, example.HILLTOP, example.RIGHT], atol=2e-3)
    assert example.curve(example.LEFT, np) < example.curve(example.RIGHT, np) < example.curve(example.HILLTOP, np)
    np.testing.assert_allclose(example.curve(np.float32(1.5)), example.curve(np.float64(1.5), np), rtol=1e-6)


def test_from_0_1_with_the_rate_halved_each_step_it_settles_near_minus_2_5(example, paths):
    assert paths["a"][0] == np.float32(0.1)
    assert abs(paths["a"][-1] + 2.5) < 0.05
    assert settled(paths["a"], example.LEFT)


def test_from_minus_3_5_it_overshoots_and_comes_back_to_that_minimum(example, paths):
    assert paths["b"][0] == -3.5
    assert example.LEFT + 0.5 < paths["b"].max() < example.HILLTOP
    assert settled(paths["b"], example.LEFT)


def test_from_1_it_oscillates_into_another_minimum(example, paths):
    assert paths["c"][0] == 1
    assert example.crossings(paths["c"], example.RIGHT) >= 3
    assert settled(paths["c"], example.RIGHT)


def test_from_minus_3_5_rate_0_05_leaps_over_the_near_minimum_where_0_025_stays(example, paths):
    assert paths["b"][0] == paths["d"][0] == -3.5
    assert example.RUNS["d"].rate == 2 * example.RUNS["b"].rate == 0.05
    assert paths["d"][1] > example.HILLTOP > paths["b"].max()
    assert settled(paths["d"], example.RIGHT)
    # and so it is with constant rates
    small, large = (np.asarray(example.pn.descend(example.curve, -3.5, rate, 200).path) for rate in (0.025, 0.05))
    assert small.max() < example.HILLTOP < large[1]


def test_a_constant_rate_bounces_for_ever_and_never_settles(example, paths):
    path = paths["e"]
    moves = np.abs(np.diff(path))
    assert len(moves) == 1000
    assert np.abs(path).max() < 20
    windows = np.lib.stride_tricks.sliding_window_view(moves, 20)
    assert windows.max(axis=1).min() > 1  # no twenty steps without one longer than 1


def test_the_example_in_short_form(example, tmp_path, capsys):
    facts = example.main(["--budget", "2000", "--plot", str(tmp_path / "descents.png")])
    assert facts["grid"] == {2: 441, 3: 9_261, 5: 4_084_101, 10: 16_679_880_978_201}
    counts = facts["evaluations"]
    found = {name: [n for n in counts[name][2] if n is not None] for name in counts}
    assert all(len(found[name]) >= 3 for name in found)
    assert counts["random search"][10] == [None] * example.SEEDS
    falls = {dimension: np.median(runs) for dimension, runs in counts["descent, rate falls"].items()}
    assert falls[10] < 3 * falls[2]
    assert min(counts["coordinate descent"][10]) > np.median(counts["descent, rate falls"][10])
    printed = capsys.readouterr().out
    assert "16,679,880,978,201" in printed
    assert "more than 2,000" in printed
    assert (tmp_path / "descents.png").read_bytes().startswith(b"\x89PNG")


def test_the_value_that_the_searches_look_for_is_the_least(example):
    values = [example.landscape(np.full(3, x), np) for x in np.linspace(-5, 5, 10_001)]
    goal = example.Evaluations(3, 10).goal
    assert 0.99 * min(values) == pytest.approx(goal, rel=1e-6)
    corners = np.stack(np.meshgrid(*[example.GRID] * 3), axis=-1)
    assert example.landscape(corners, np).min() <= goal  # the grid finds it too
