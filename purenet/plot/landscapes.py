"""loss_surface: the loss of a network on a plane through its parameters."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from purenet.contract import Layer, Tree, as_layer, spec_of
from purenet.data import check_data
from purenet.errors import ShapeError, StructureError, by, describe, expect_like
from purenet.evaluation import check_values, make_evaluation, plan_pass
from purenet.gradients import as_batch
from purenet.losses.base import Loss, as_loss
from purenet.plot.contouring import draw_contours, draw_path
from purenet.plot.directions import coordinates, principal_directions, random_direction
from purenet.plot.drawn import (
    BLACK,
    VERMILION,
    around,
    axes_for,
    expect_count,
    expect_params,
    halo,
    intervals,
    label,
    legend,
    shades,
)
from purenet.streams import generator_of
from purenet.updates import Plan

_AT_ONCE = 1024  # examples


def loss_surface(
    net: Any,
    loss: Any,
    params: Tree,
    data: Any,
    *,
    state: Tree = None,
    directions: tuple[Tree, Tree] | None = None,
    snapshots: Sequence[Any] = (),
    key: Any = None,
    span: Any = None,
    points: int = 41,
    ax: Any = None,
) -> Any:
    """Draws contours of the mean loss on the plane params + α d₁ + β d₂, a cross at params.

    Without directions, d₁ and d₂ are random with each filter as long as that of params, so that α = 1 means a change
    as large as the weights are. With snapshots they are the two principal components of the path, which is drawn, and
    the labels say which shares of its variance they show.

    Args:
      net: a layer, looked at in inference (`apply`).
      loss: one of `pn.losses`, or a function of one prediction and target.
      params: the middle of the picture.
      data: `(xs, ys)` or `(xs, ys, weights)`; some thousand examples make the same picture as all.
      state: the network's state; a network without needs none.
      directions: two trees like params, instead of random ones or those of the path.
      snapshots: the params of a path, or what holds them in a field `params`, such as those of
        `pn.fit(…, snapshots=1)`.
      key: a JAX random key, for random directions.
      span: (low, high) of α and β, or such a pair for each; left out, (-1, 1), or the path and some room.
      points: how many values of α, and of β, from 2.
      ax: the Matplotlib axes to draw into; left out, a figure is made.

    Returns:
      The axes.

    Raises:
      ImportError: without Matplotlib.
      ShapeError: for directions or snapshots that span no plane, a span that is empty, or no finite loss in it.
      StructureError: for directions or snapshots that are not like params; without key, where one is needed.
      ValueError, TypeError: for data that `pn.data.check_data` refuses.

    References:
      Li, Xu, Taylor, Studer and Goldstein (2018), Visualizing the loss landscape of neural nets.

    Example:
      >>> import jax, numpy as np, purenet as pn
      >>> xs = np.linspace(-1, 1, 8, dtype=np.float32)[:, None]
      >>> params = {"kernel": np.array([[2.0]], np.float32), "bias": np.array([1.0], np.float32)}
      >>> along = ({"kernel": np.ones((1, 1)), "bias": np.zeros(1)}, {"kernel": np.zeros((1, 1)), "bias": np.ones(1)})
      >>> ax = pn.plot.loss_surface(
      ...     pn.dense(1), pn.losses.half_squared_error, params, (xs, 2 * xs + 1), directions=along, points=9
      ... )
      >>> ax.get_xlabel(), float(ax.collections[0].zmin)  # the params fit exactly
      ('α, along direction 1', 0.0)
    """
    ax = axes_for("loss_surface", ax)
    with by("plot.loss_surface"):
        net, loss = as_layer(net), as_loss(loss)
        expect_params(params)
        expect_count("points", points, 2)
        if not isinstance(snapshots, (list, tuple)):
            raise StructureError(
                f"expected snapshots to be a list of params, got {describe(snapshots)}. Such as result.snapshots."
            )
        path = [getattr(snapshot, "params", snapshot) for snapshot in snapshots]
        for number, point in enumerate(path):
            expect_like(f"snapshots[{number}] like params", point, spec_of(params), "Pass those of this network.")
        _expect_finite([params, *path])
        directions, texts = _directions(params, directions, path, key)
        places = coordinates(params, path, directions)
        x_span, y_span = _spans(span, places)
        alphas, betas = np.linspace(*x_span, points), np.linspace(*y_span, points)
        values = surface(net, loss, params, data, state, directions, alphas, betas)
        draw_contours(ax, alphas, betas, values, "mean loss")
        if len(places):
            draw_path(ax, places, shades(VERMILION, len(places)), "o", "path of training")
        ax.plot(
            0, 0, "X", color="white", markeredgecolor=BLACK, markersize=8, zorder=9, label="params",
            path_effects=halo(2.0),
        )  # fmt: skip
        label(ax, *texts)
        legend(ax)
    return ax


def surface(
    net: Layer,
    loss: Loss,
    params: Tree,
    data: Any,
    state: Tree,
    directions: tuple[Tree, Tree],
    alphas: np.ndarray,
    betas: np.ndarray,
) -> np.ndarray:
    """The mean losses at params + α d₁ + β d₂, of shape (len(betas), len(alphas)): one program, one point at a time."""
    batch = as_batch(check_data(data))
    check_values(net, loss, params, state, batch)
    grid = np.stack(np.meshgrid(alphas, betas), axis=-1).reshape(-1, 2)
    first, second = (jax.tree.map(lambda d, p: jnp.asarray(d, p.dtype), d, params) for d in directions)
    program = _program(net, loss, plan_pass(batch.size, _AT_ONCE))
    losses, weights = program(params, state, first, second, jnp.asarray(grid, jnp.float32), batch)
    means = np.sum(np.asarray(losses, np.float64), axis=1) / np.sum(np.asarray(weights, np.float64), axis=1)
    return np.asarray(means.reshape(len(betas), len(alphas)))


@functools.lru_cache(maxsize=16)  # so that the same network on another plane compiles nothing
def _program(net: Layer, loss: Loss, plan: Plan) -> Callable[..., Any]:
    measure = make_evaluation(net, loss, (), plan)

    def run(params: Tree, state: Tree, first: Tree, second: Tree, grid: jax.Array, batch: Any) -> Any:
        def at_point(point: jax.Array) -> Any:
            def move(p: jax.Array, a: jax.Array, b: jax.Array) -> jax.Array:
                return p + point[0].astype(p.dtype) * a + point[1].astype(p.dtype) * b

            losses, weights, _ = measure(jax.tree.map(move, params, first, second), state, batch)
            return losses, weights

        return jax.lax.map(at_point, grid)

    return jax.jit(run)


def _directions(
    params: Tree, given: tuple[Tree, Tree] | None, path: list[Tree], key: Any
) -> tuple[tuple[Tree, Tree], tuple[str, str]]:
    """The directions and what the axes say of them."""
    if given is not None:
        if not isinstance(given, (tuple, list)) or len(given) != 2:
            raise StructureError(f"expected two directions, got {describe(given)}. Pass a pair of trees like params.")
        for number, direction in enumerate(given):
            _expect_shapes(f"directions[{number}]", direction, params)
        return (given[0], given[1]), ("α, along direction 1", "β, along direction 2")
    if path:
        directions, shares = principal_directions(params, path)
        return directions, tuple(  # type: ignore[return-value]
            f"component {i + 1} ({100 * share:.3g} % of variance)" for i, share in enumerate(shares)
        )
    if key is None:
        raise StructureError(
            "expected a key, directions or snapshots, got none of them. For random directions pass "
            "key=jax.random.key(0)."
        )
    rng = generator_of(key)
    return (random_direction(params, rng), random_direction(params, rng)), (
        "α, along a random direction",
        "β, along another",
    )


def _expect_finite(points: list[Tree]) -> None:
    for point in points:
        if not all(np.all(np.isfinite(np.asarray(leaf, np.float64))) for leaf in jax.tree.leaves(point)):
            raise ShapeError("expected finite params and snapshots, got nan or inf among them. Has training diverged?")


def _expect_shapes(what: str, direction: Tree, params: Tree) -> None:
    """A direction's dtype is free: it is rounded to that of params."""
    there, wanted = jax.tree.leaves(direction), jax.tree.leaves(params)
    structure: Any = jax.tree.structure(params)
    is_other = jax.tree.structure(direction) != structure
    if is_other or [np.shape(leaf) for leaf in there] != [np.shape(leaf) for leaf in wanted]:
        raise StructureError(
            f"expected {what} like params, got another tree or other shapes. Make it with jax.tree.map from params."
        )


def _spans(span: Any, places: np.ndarray) -> tuple[tuple[float, float], tuple[float, float]]:
    if span is not None:
        return intervals(span)
    if not len(places):
        return (-1.0, 1.0), (-1.0, 1.0)
    shown = np.concatenate([places, np.zeros((1, 2))])
    return around(shown[:, 0], 0.2), around(shown[:, 1], 0.2)
