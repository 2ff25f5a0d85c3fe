"""The cross-check table: one row for every layer, combinator and loss.

Each file in tests/laws runs every row through its laws. A row says what is special about its subject: shapes, domain,
kinks. A public name without a row fails `tests/laws/test_table.py`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import purenet as pn

# Hand rule against autodiff, relative to the layer's largest gradient.
TOLERANCE = {"float64": 1e-12, "float32": 1e-5}


class LayerRow(NamedTuple):
    """A layer or combinator.

    Attributes:
      name: the public name.
      make: makes the layer.
      shapes: shapes of one example, at most four.
      low, high: the domain that inputs are drawn from, uniformly.
      kinks: `(point, derivative)` pairs: where the derivative jumps, and what both rules choose there.
      reference: `(params, xs, state, key) -> ys` in plain JAX where training differs from `vmap(apply)`.
      random: whether `forward` draws from its key.
      integers: whether it also takes integers.
    """

    name: str
    make: Callable[[], pn.Layer]
    shapes: tuple[tuple[int, ...], ...] = ((5,), (3, 4))
    low: float = -3.0
    high: float = 3.0
    kinks: tuple[tuple[float, float], ...] = ()
    reference: Callable[..., jax.Array] | None = None
    random: bool = False
    integers: bool = False

    @property
    def id(self) -> str:
        """The row's name in the tests."""
        return self.name


def _dropped(params: Any, xs: jax.Array, state: Any, key: Any) -> jax.Array:
    """Dropout in plain JAX: the mask is what `forward` makes of ones."""
    mask, _ = pn.dropout(0.3).forward((), jnp.ones_like(xs), (), key)
    return xs * jax.lax.stop_gradient(mask)


LAYERS = (
    LayerRow("dense", lambda: pn.dense(3), shapes=((4,), (1,))),
    LayerRow("dense", lambda: pn.dense(2, bias=False), shapes=((4,),)),
    LayerRow("flatten", lambda: pn.flatten, shapes=((3, 4), (), (2, 1, 3)), integers=True),
    LayerRow("reshape", lambda: pn.reshape((2, -1)), shapes=((6,), (3, 4)), integers=True),
    LayerRow("dropout", lambda: pn.dropout(0.3), reference=_dropped, random=True),
    LayerRow("relu", lambda: pn.relu, kinks=((0.0, 0.0),)),
    LayerRow("leaky_relu", pn.leaky_relu, kinks=((0.0, 0.01),)),
    LayerRow("leaky_relu", lambda: pn.leaky_relu(0.3), kinks=((0.0, 0.3),)),
    LayerRow("relu6", lambda: pn.relu6, low=-2.0, high=8.0, kinks=((0.0, 0.0), (6.0, 0.0))),
    LayerRow("hard_tanh", lambda: pn.hard_tanh, kinks=((-1.0, 0.0), (1.0, 0.0))),
    LayerRow("hard_sigmoid", lambda: pn.hard_sigmoid, low=-5.0, high=5.0, kinks=((-3.0, 0.0), (3.0, 0.0))),
    LayerRow("step", lambda: pn.step, kinks=((0.0, 0.0),)),
    LayerRow("elu", pn.elu, kinks=((0.0, 1.0),)),
    LayerRow("elu", lambda: pn.elu(0.5), kinks=((0.0, 0.5),)),
    LayerRow("celu", pn.celu, kinks=((0.0, 1.0),)),
    LayerRow("celu", lambda: pn.celu(0.5), kinks=((0.0, 1.0),)),
    LayerRow("selu", lambda: pn.selu, kinks=((0.0, 1.0507009873554805 * 1.6732632423543772),)),
    # Autodiff takes 1 - y² from y, which cancels in float32 beyond 2.
    LayerRow("tanh", lambda: pn.tanh, low=-2.0, high=2.0),
    LayerRow("sigmoid", lambda: pn.sigmoid),
    LayerRow("log_sigmoid", lambda: pn.log_sigmoid),
    LayerRow("softplus", lambda: pn.softplus),
    LayerRow("soft_sign", lambda: pn.soft_sign, kinks=((0.0, 1.0),)),
    LayerRow("gelu", lambda: pn.gelu),
    LayerRow("gelu_tanh", lambda: pn.gelu_tanh),
    LayerRow("silu", lambda: pn.silu),
    LayerRow("swish", lambda: pn.swish),
    LayerRow("mish", lambda: pn.mish),
    LayerRow("softmax", lambda: pn.softmax),
    LayerRow("log_softmax", lambda: pn.log_softmax),
    LayerRow("serial", lambda: pn.serial(pn.dense(4), pn.softplus, pn.dense(2)), shapes=((3,),)),
    LayerRow("residual", lambda: pn.residual(pn.dense(3), pn.softplus), shapes=((3,),)),
    LayerRow("residual", lambda: pn.residual(pn.dense(2), shortcut=pn.dense(2)), shapes=((3,),)),
    LayerRow("each", lambda: pn.each(pn.serial(pn.dense(2), pn.softplus)), shapes=((4, 3), (1, 2))),
    LayerRow("each", lambda: pn.each(pn.residual(pn.each(pn.dense(2)))), shapes=((3, 4, 2),)),
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
