"""The cross-check table: one row for every layer, combinator and loss.

Each file in tests/laws runs every row through its laws. A row says what is special about its subject: shapes, domain,
kinks. The rows of layers lie in tests/rows, a family a file. A public name without a row fails
`tests/laws/test_table.py`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from rows import attention, combinators, convolution, elementary, noise, norms, pooling, recurrent

import purenet as pn

# Hand rule against autodiff, relative to the layer's largest gradient.
TOLERANCE = {"float64": 1e-12, "float32": 1e-5}

LAYERS = (
    *elementary.ROWS,
    *noise.ROWS,
    *norms.ROWS,
    *convolution.ROWS,
    *pooling.ROWS,
    *attention.ROWS,
    *recurrent.ROWS,
    *combinators.ROWS,
)


class LossRow(NamedTuple):
    """A loss.

    Attributes:
      name: the public name in `pn.losses`.
      make: makes the loss.
      draw: `(rng, many) -> (prediction, target)` with the axes `many` in front of one example's; floats take the
        dtype of the test, integers are int32.
      kinks: `(prediction, target, gradient)` of one example: what both rules choose where the loss is not smooth.
    """

    name: str
    make: Callable[[], pn.losses.Loss]
    draw: Callable[[np.random.Generator, tuple[int, ...]], tuple[Any, Any]]
    kinks: tuple[tuple[Any, Any, Any], ...] = ()

    @property
    def id(self) -> str:
        """The row's name in the tests."""
        return self.name


def _simplex(rng: Any, many: Any) -> Any:
    p = rng.uniform(0.1, 1, (*many, 4))
    return p / p.sum(axis=-1, keepdims=True)


def _reals(rng: Any, many: Any) -> Any:
    return rng.normal(size=(*many, 4)), rng.normal(size=(*many, 4))


def _labels(rng: Any, many: Any) -> Any:
    return 2 * rng.normal(size=(*many, 4)), rng.integers(0, 4, many)


def _soft_labels(rng: Any, many: Any) -> Any:
    return 2 * rng.normal(size=(*many, 4)), _simplex(rng, many)


def _signs(rng: Any, many: Any) -> Any:
    return rng.normal(size=(*many, 4)), rng.choice([-1.0, 1.0], (*many, 4))


def _shares(rng: Any, many: Any) -> Any:
    return 2 * rng.normal(size=(*many, 4)), rng.uniform(size=(*many, 4))


def _probabilities(rng: Any, many: Any) -> Any:
    return rng.uniform(0.05, 0.95, (*many, 4)), rng.uniform(size=(*many, 4))


def _simplices(rng: Any, many: Any) -> Any:
    return _simplex(rng, many), _simplex(rng, many)


def _counts(rng: Any, many: Any) -> Any:
    return rng.normal(size=(*many, 4)), rng.poisson(3, (*many, 4)).astype(float)


def _rates(rng: Any, many: Any) -> Any:
    return rng.uniform(0.5, 5, (*many, 4)), rng.poisson(3, (*many, 4)).astype(float)


def _means_and_variances(rng: Any, many: Any) -> Any:
    return (rng.normal(size=(*many, 4)), rng.uniform(0.3, 3, (*many, 4))), rng.normal(size=(*many, 4))


def _sequences(rng: Any, many: Any) -> Any:
    return _labels(rng, (*many, 3))


LOSSES = (
    LossRow("half_squared_error", lambda: pn.losses.half_squared_error, _reals),
    LossRow("mean_squared_error", lambda: pn.losses.mean_squared_error, _reals),
    LossRow("mean_absolute_error", lambda: pn.losses.mean_absolute_error, _reals, kinks=(((1.0,), (1.0,), (0.0,)),)),
    LossRow("huber", pn.losses.huber, _reals, kinks=(((1.0, -1.0), (0.0, 0.0), (0.5, -0.5)),)),
    LossRow("huber", lambda: pn.losses.huber(0.3), _reals),
    LossRow("log_cosh", lambda: pn.losses.log_cosh, _reals),
    LossRow("exponential_cost", lambda: pn.losses.exponential_cost(20.0), _reals),
    LossRow("softmax_cross_entropy", lambda: pn.losses.softmax_cross_entropy, _labels),
    LossRow("softmax_cross_entropy", lambda: pn.losses.softmax_cross_entropy, _soft_labels),
    LossRow("smoothed_softmax_cross_entropy", pn.losses.smoothed_softmax_cross_entropy, _labels),
    LossRow("smoothed_softmax_cross_entropy", lambda: pn.losses.smoothed_softmax_cross_entropy(0.3), _soft_labels),
    LossRow("sigmoid_cross_entropy", lambda: pn.losses.sigmoid_cross_entropy, _shares),
    LossRow("hinge", lambda: pn.losses.hinge, _signs, kinks=(((1.0, -1.0), (1.0, -1.0), (0.0, 0.0)),)),
    LossRow("binary_cross_entropy", lambda: pn.losses.binary_cross_entropy, _probabilities),
    LossRow("categorical_cross_entropy", lambda: pn.losses.categorical_cross_entropy, _simplices),
    LossRow(
        "kl_divergence", lambda: pn.losses.kl_divergence, _simplices, kinks=(((0.5, 0.5), (0.0, 1.0), (0.0, -2.0)),)
    ),
    LossRow(
        "hellinger",
        lambda: pn.losses.hellinger,
        _simplices,
        kinks=(((0.25, 0.75), (0.25, 0.75), (0.0, 0.0)), ((0.0, 1.0), (0.0, 1.0), (0.0, 0.0))),
    ),
    LossRow("poisson_nll", pn.losses.poisson_nll, _counts),
    LossRow("poisson_nll", lambda: pn.losses.poisson_nll(log_input=False, full=True), _rates),
    LossRow("gaussian_nll", pn.losses.gaussian_nll, _means_and_variances),
    LossRow("gaussian_nll", lambda: pn.losses.gaussian_nll(full=True), _means_and_variances),
    LossRow("each", lambda: pn.losses.each(pn.losses.softmax_cross_entropy), _sequences),
)
