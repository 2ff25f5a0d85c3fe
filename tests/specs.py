"""The cross-check table: one row for every layer, combinator and loss.

Each file in tests/laws runs every row through its laws. A row says what is special about its subject: shapes, domain,
kinks. A public name without a row fails `tests/laws/test_table.py`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

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
      draw: `(key, dtype) -> (prediction, target)` of one example.
      kinks: `(prediction, target, gradient)` triples of what both rules choose at points that are not smooth.
    """

    name: str
    make: Callable[[], pn.losses.Loss]
    draw: Callable[[Any, Any], tuple[Any, Any]]
    kinks: tuple[tuple[Any, Any, Any], ...] = ()

    @property
    def id(self) -> str:
        """The row's name in the tests."""
        return self.name


def _normals(key: Any, dtype: Any) -> tuple[jax.Array, jax.Array]:
    one, other = jax.random.split(key)
    return jax.random.normal(one, (4,), dtype), jax.random.normal(other, (4,), dtype)


LOSSES = (LossRow("half_squared_error", lambda: pn.losses.half_squared_error, _normals),)
