"""plot.loss_surface: heights are mean losses, directions are normalised by filters, a path lies on its plane."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from refusals import refuses

import purenet as pn
from purenet.plot.contouring import levels_of
from purenet.plot.directions import coordinates, principal_directions, random_direction
from purenet.plot.landscapes import surface

NET, LOSS = pn.serial(pn.dense(3), pn.tanh, pn.dense(2)), pn.losses.half_squared_error
DATA = (np.linspace(-1, 1, 12, dtype=np.float32).reshape(6, 2), np.ones((6, 2), np.float32))
PARAMS = NET.init(jax.random.key(0), pn.spec(2))[0]


class Snapshot(NamedTuple):
    """What fit keeps."""

    params: Any


def moved(params, rng, size):
    return jax.tree.map(lambda leaf: leaf + jnp.asarray(rng.normal(size=leaf.shape) * size, leaf.dtype), params)


def test_heights_are_mean_losses_at_their_places(rng):
    directions = random_direction(PARAMS, rng), random_direction(PARAMS, rng)
    alphas, betas = np.array([-1.0, 0.0, 0.5]), np.array([0.0, 2.0])
    weights = np.arange(1, 7, dtype=np.float32)
    heights = surface(NET, LOSS, PARAMS, (*DATA, weights), None, directions, alphas, betas)
    for i, j in np.ndindex(2, 3):
        there = jax.tree.map(lambda p, a, b: p + alphas[j] * a + betas[i] * b, PARAMS, *directions)  # noqa: B023
        there = jax.tree.map(lambda leaf: leaf.astype(np.float32), there)
        wanted = pn.evaluate(NET, there, (*DATA, weights), loss=LOSS)["loss"]
        assert heights[i, j] == pytest.approx(wanted, rel=1e-5)


def test_filters_of_random_directions_are_as_long_as_the_weights(rng):
    params = {"kernel": rng.normal(size=(3, 3, 2, 4)), "bias": np.ones(4), "dead": np.zeros((2, 2))}
    direction = random_direction(params, rng)
    lengths = [np.linalg.norm(tree["kernel"].reshape(-1, 4), axis=0) for tree in (params, direction)]
    np.testing.assert_allclose(*lengths, rtol=1e-12)
    assert not np.allclose(direction["kernel"], params["kernel"])
    assert not np.any(direction["bias"])
    assert not np.any(direction["dead"])


def test_principal_directions_are_those_of_the_svd(rng):
    path = [moved(PARAMS, rng, 1.0) for _ in range(5)]
    directions, shares = principal_directions(PARAMS, path)
    flat = np.stack([np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(point)]) for point in path])
    _, sizes, rows = np.linalg.svd((flat - flat.mean(axis=0)).astype(np.float64), full_matrices=False)
    np.testing.assert_allclose(shares, (sizes**2 / np.sum(sizes**2))[:2], rtol=1e-5)
    for direction, row in zip(directions, rows, strict=False):
        mine = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(direction)])
        np.testing.assert_allclose(mine, row * np.sign(row @ mine), atol=1e-5)


def test_coordinates_on_a_skew_plane_lead_back(rng):
    directions = {"w": np.array([1.0, 0.0, 0.0])}, {"w": np.array([3.0, 2.0, 0.0])}
    places = np.array([[0.5, -1.0], [2.0, 0.25]])
    path = [{"w": 1 + a * directions[0]["w"] + b * directions[1]["w"] + np.array([0, 0, 5.0])} for a, b in places]
    np.testing.assert_allclose(coordinates({"w": np.ones(3)}, path, directions), places, atol=1e-12)


def test_the_path_is_drawn_with_the_shares_of_its_variance(rng):
    path = [Snapshot(moved(PARAMS, rng, size)) for size in (2.0, 1.0, 0.5)]
    path.append(Snapshot(PARAMS))
    ax = pn.plot.loss_surface(NET, LOSS, PARAMS, DATA, snapshots=path, points=5)
    directions, shares = principal_directions(PARAMS, [snapshot.params for snapshot in path])
    places = coordinates(PARAMS, [snapshot.params for snapshot in path], directions)
    drawn = next(line for line in ax.lines if len(line.get_xdata()) == 4)
    np.testing.assert_allclose(drawn.get_xydata(), places)
    np.testing.assert_allclose(drawn.get_xydata()[-1], 0, atol=1e-12)
    assert ax.get_xlabel() == f"component 1 ({100 * shares[0]:.3g} % of variance)"
    assert ax.get_ylabel() == f"component 2 ({100 * shares[1]:.3g} % of variance)"
    assert ax.get_xlim()[0] < places[:, 0].min() < places[:, 0].max() < ax.get_xlim()[1]
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == ["path of training", "params"]


def test_contours_of_a_random_plane(key):
    ax = pn.plot.loss_surface(NET, LOSS, PARAMS, DATA, key=key, span=((-1, 1), (-2, 2)), points=5)
    middle = float(pn.evaluate(NET, PARAMS, DATA, loss=LOSS)["loss"])
    contours = ax.collections[0]
    assert contours.zmin <= middle <= contours.zmax
    assert (ax.get_xlim(), ax.get_ylim()) == ((-1, 1), (-2, 2))
    (cross,) = [line for line in ax.lines if line.get_label() == "params"]
    assert cross.get_xydata().tolist() == [[0, 0]]
    assert ax.figure.axes[1].get_ylabel() == "mean loss"
    again = pn.plot.loss_surface(NET, LOSS, PARAMS, DATA, key=key, span=((-1, 1), (-2, 2)), points=5)
    assert again.collections[0].levels.tolist() == contours.levels.tolist()


def test_levels_hold_equal_shares_and_any_values():
    values = np.logspace(-3, 6, 10_000)
    levels = levels_of(values)
    shares = np.histogram(values, levels)[0] / len(values)
    assert len(levels) > 8
    assert shares.max() < 0.12
    assert np.all(np.diff(levels_of(np.full(5, 3.0))) > 0)
    assert np.all(np.diff(levels_of(np.array([0.0, np.nan, np.inf]))) > 0)


def flat(*numbers):
    return jax.tree.map(lambda leaf: np.full(leaf.shape, numbers[0], np.float32), PARAMS)


REFUSED = {
    "nothing to go along": (
        {},
        pn.StructureError,
        "expected a key, directions or snapshots, got none of them. For random directions pass key=jax.random.key(0).",
    ),
    "one direction": (
        {"directions": [PARAMS]},
        pn.StructureError,
        "expected two directions, got a list of 1. Pass a pair of trees like params.",
    ),
    "another direction": (
        {"directions": (PARAMS, jax.tree.map(jnp.transpose, PARAMS))},
        pn.StructureError,
        "expected directions[1] like params, got another tree or other shapes. Make it with jax.tree.map from params.",
    ),
    "parallel directions": (
        {"directions": (flat(1.0), flat(2.0))},
        pn.ShapeError,
        "expected two directions that span a plane, got parallel ones or zeros. Choose others.",
    ),
    "two snapshots": (
        {"snapshots": (Snapshot(PARAMS), Snapshot(flat(1.0)))},
        pn.ShapeError,
        "expected snapshots that span a plane, got 2 on a line. Keep more of them, such as pn.fit(…, snapshots=1), or "
        "pass key=… for random directions and leave snapshots out.",
    ),
    "too few points": (
        {"key": jax.random.key(0), "points": 1},
        pn.ShapeError,
        "expected points to be a whole number of 2 or more, got 1. Raise it.",
    ),
    "a number of snapshots": (
        {"snapshots": 3},
        pn.StructureError,
        "expected snapshots to be a list of params, got 3. Such as result.snapshots.",
    ),
    "a snapshot that is not finite": (
        {"snapshots": (Snapshot(PARAMS), Snapshot(flat(np.nan)), Snapshot(flat(1.0)))},
        pn.ShapeError,
        "expected finite params and snapshots, got nan or inf among them. Has training diverged?",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_is_refused(case):
    arguments, kind, message = REFUSED[case]
    with refuses(kind, f"plot.loss_surface: {message}"):
        pn.plot.loss_surface(NET, LOSS, PARAMS, DATA, **arguments)


def test_snapshots_of_another_network_are_refused():
    other = pn.dense(3).init(jax.random.key(0), pn.spec(2))[0]
    with refuses(
        pn.StructureError,
        "plot.loss_surface: expected snapshots[0] like params, got another tree, a dict of 2. Pass those of this "
        "network.",
    ):
        pn.plot.loss_surface(NET, LOSS, PARAMS, DATA, snapshots=[Snapshot(other)])
