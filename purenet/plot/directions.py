"""Directions in the space of parameters that a loss surface is cut along: random ones, and those of a path."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from purenet.contract import Tree
from purenet.errors import ShapeError

# A path is flat where its second direction holds less of the variance than this: rounding of float32, squared.
_FLAT = 1e-9


def random_direction(params: Tree, rng: np.random.Generator) -> Tree:
    """A direction with normal entries, each filter as long as the params' own.

    d ← d / |d| · |w|, filter by filter; a filter is what belongs to one output, an entry of the last axis. Entries of
    biases, scales and all else without a second axis are 0. The scale of a layer's weights then drops out, which
    rectifiers and normalisation let one choose at will.

    Args:
      params: where the surface is to be drawn.
      rng: where the numbers come from.

    Returns:
      A tree like params, of NumPy arrays in float64.

    References:
      Li, Xu, Taylor, Studer and Goldstein (2018), Visualizing the loss landscape of neural nets, section 4.

    Example:
      >>> direction = random_direction({"kernel": np.array([[3.0, 0.0], [4.0, 1.0]])}, np.random.default_rng(0))
      >>> np.linalg.norm(direction["kernel"], axis=0).round(6).tolist()
      [5.0, 1.0]
    """

    def draw(leaf: Any) -> np.ndarray:
        weights = np.asarray(leaf, np.float64)
        if weights.ndim < 2:
            return np.zeros(weights.shape)
        numbers, axes = rng.normal(size=weights.shape), tuple(range(weights.ndim - 1))
        own, wanted = (np.sqrt(np.sum(a * a, axis=axes, keepdims=True)) for a in (numbers, weights))
        return np.asarray(numbers * (wanted / np.maximum(own, np.finfo(np.float64).tiny)))

    return jax.tree.map(draw, params)


def principal_directions(params: Tree, path: Sequence[Tree]) -> tuple[tuple[Tree, Tree], tuple[float, float]]:
    """The two directions in which a path of params spreads most, of length 1, and their shares of its variance.

    Those of the n by n matrix of scalar products, as the params are many and the points of the path few.

    Args:
      params: the end of the path.
      path: three trees like params or more.

    Returns:
      Two directions, like params in float64, and two shares.

    Raises:
      ShapeError: if the path does not leave a straight line.

    References:
      Li, Xu, Taylor, Studer and Goldstein (2018), Visualizing the loss landscape of neural nets, section 7.

    Example:
      >>> path = [np.array([0.0, 0.0, 5.0]), np.array([3.0, 1.0, 5.0]), np.array([6.0, 0.0, 5.0])]
      >>> directions, shares = principal_directions(path[-1], path)
      >>> abs(directions[0]).round(6).tolist(), [round(share, 3) for share in shares]
      ([1.0, 0.0, 0.0], [0.964, 0.036])
    """
    leaves = [np.stack([np.asarray(leaf, np.float64).ravel() for leaf in column]) for column in _columns(path)]
    centred = [rows - rows.mean(axis=0, keepdims=True) for rows in leaves]
    products = sum((rows @ rows.T for rows in centred), np.zeros((len(path), len(path))))
    variances, vectors = np.linalg.eigh(products)
    if len(path) < 3 or not variances[-2] > _FLAT * variances[-1]:
        raise ShapeError(
            f"expected snapshots that span a plane, got {len(path)} on a line. Keep more of them, such as "
            "pn.fit(…, snapshots=1), or pass key=… for random directions and leave snapshots out."
        )
    found = []
    for number in (-1, -2):
        parts = [vectors[:, number] @ rows / np.sqrt(variances[number]) for rows in centred]
        parts = [part * _sign(parts) for part in parts]
        shaped = [part.reshape(np.shape(leaf)) for part, leaf in zip(parts, jax.tree.leaves(params), strict=True)]
        found.append(jax.tree.unflatten(jax.tree.structure(params), shaped))
    whole = float(np.sum(np.maximum(variances, 0)))
    return (found[0], found[1]), (float(variances[-1]) / whole, float(variances[-2]) / whole)


def coordinates(params: Tree, path: Sequence[Tree], directions: tuple[Tree, Tree]) -> np.ndarray:
    """Where on the plane through params the points of a path lie, or their nearest ones: shape (n, 2).

    Raises:
      ShapeError: if the directions are parallel or one of them is 0.
    """
    gram = np.array([[_dot(a, b) for b in directions] for a in directions])
    if not np.linalg.det(gram) > 1e-12 * gram[0, 0] * gram[1, 1]:
        raise ShapeError("expected two directions that span a plane, got parallel ones or zeros. Choose others.")
    moved = [jax.tree.map(lambda a, b: np.asarray(a, np.float64) - np.asarray(b, np.float64), p, params) for p in path]
    right = np.array([[_dot(direction, move) for direction in directions] for move in moved]).reshape(-1, 2)
    return np.asarray(np.linalg.solve(gram, right.T).T)


def _columns(path: Sequence[Tree]) -> list[tuple[Any, ...]]:
    return list(zip(*[jax.tree.leaves(point) for point in path], strict=True))


def _sign(parts: Sequence[np.ndarray]) -> float:
    """An eigenvector's sign is free: the entries' sum is taken positive."""
    return -1.0 if sum(float(np.sum(part)) for part in parts) < 0 else 1.0


def _dot(a: Tree, b: Tree) -> float:
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return sum((float(np.vdot(np.asarray(x, np.float64), np.asarray(y, np.float64))) for x, y in pairs), 0.0)
