"""Activations made of straight pieces, each beside its derivative; at every kink that of the flat side is taken."""

import jax
import jax.numpy as jnp

from purenet.layers.elementwise import elementwise


@elementwise(lambda x, y: jnp.where(x > 0, 1, 0).astype(x.dtype))
def relu(x: jax.Array) -> jax.Array:
    """Rectified linear unit, y = max(x, 0), element by element.

    A layer, not a call: any shape and floating dtype, which y keeps; no params.

    Raises:
      StructureError: at trace time, if x is not one floating array.

    Derivation:
      dy/dx = 1 for x > 0 and 0 for x < 0. At the kink x = 0 any number from 0 to 1 is a subgradient; 0 is
      taken, as everywhere (differentiating `maximum` would give ½).

    References:
      Nair and Hinton (2010), Rectified linear units improve restricted Boltzmann machines.

    Example:
      >>> import jax.numpy as jnp, purenet as pn
      >>> pn.relu.apply((), jnp.array([-1.0, 0.0, 2.0])).tolist()
      [0.0, 0.0, 2.0]
    """
    return jax.nn.relu(x)


@elementwise(lambda x, y: jnp.where((x > 0) & (x < 6), 1, 0).astype(x.dtype))
def relu6(x: jax.Array) -> jax.Array:
    """Rectified linear unit with a ceiling, y = min(max(x, 0), 6), element by element.

    A layer, not a call: any shape and floating dtype, which y keeps; no params.

    Raises:
      StructureError: at trace time, if x is not one floating array.

    Derivation:
      dy/dx = 1 for 0 < x < 6 and 0 outside. At the kinks x = 0 and x = 6 any number from 0 to 1 will do; 0, that
      of the flat side, is taken.

    References:
      Krizhevsky (2010), Convolutional deep belief networks on CIFAR-10.

    Example:
      >>> import jax.numpy as jnp, purenet as pn
      >>> pn.relu6.apply((), jnp.array([-1.0, 2.0, 9.0])).tolist()
      [0.0, 2.0, 6.0]
    """
    return jax.nn.relu6(x)


@elementwise(lambda x, y: jnp.where((x > -1) & (x < 1), 1, 0).astype(x.dtype))
def hard_tanh(x: jax.Array) -> jax.Array:
    """Hyperbolic tangent in straight pieces, y = min(max(x, -1), 1), element by element.

    A layer, not a call: any shape and floating dtype, which y keeps; no params.

    Raises:
      StructureError: at trace time, if x is not one floating array.

    Derivation:
      dy/dx = 1 for -1 < x < 1 and 0 outside. At the kinks x = ±1 any number from 0 to 1 will do; 0, that of the
      flat side, is taken, as for `relu6` (`jax.nn.hard_tanh` takes 1).

    References:
      Collobert (2004), Large scale machine learning.

    Example:
      >>> import jax.numpy as jnp, purenet as pn
      >>> pn.hard_tanh.apply((), jnp.array([-3.0, 0.5, 2.0])).tolist()
      [-1.0, 0.5, 1.0]
    """
    return jnp.where(x >= 1, 1, jnp.where(x <= -1, -1, x))


@elementwise(lambda x, y: jnp.where((x + 3 > 0) & (x + 3 < 6), 1 / 6, 0).astype(x.dtype))
def hard_sigmoid(x: jax.Array) -> jax.Array:
    """Logistic function in straight pieces, y = min(max(x + 3, 0), 6) / 6, element by element.

    A layer, not a call: any shape and floating dtype, which y keeps; no params.

    Raises:
      StructureError: at trace time, if x is not one floating array.

    Derivation:
      y = relu6(x + 3) / 6, so dy/dx = 1/6 for -3 < x < 3 and 0 outside. At the kinks x = ±3 any number from 0 to
      1/6 will do; 0, that of the flat side, is taken.

    References:
      Howard et al. (2019), Searching for MobileNetV3.

    Example:
      >>> import jax.numpy as jnp, purenet as pn
      >>> pn.hard_sigmoid.apply((), jnp.array([-4.0, 0.0, 3.0])).tolist()
      [0.0, 0.5, 1.0]
    """
    return jax.nn.hard_sigmoid(x)


@elementwise(lambda x, y: jnp.zeros_like(x))
def step(x: jax.Array) -> jax.Array:
    """The perceptron's threshold, y = 1 for x >= 0 and y = 0 for x < 0, element by element.

    A layer, not a call: any shape and floating dtype, which y keeps; no params. At 0 the unit fires (others let
    it rest there, or answer ½). Its gradient is zero: what lies before it cannot be trained by gradients.

    Raises:
      StructureError: at trace time, if x is not one floating array.

    Derivation:
      y is constant on either side, so dy/dx = 0. At the jump x = 0 there is no derivative; 0 is taken there too.

    References:
      McCulloch and Pitts (1943), A logical calculus of the ideas immanent in nervous activity.
      Rosenblatt (1958), The perceptron: a probabilistic model for information storage and organization in the brain.

    Example:
      >>> import jax.numpy as jnp, purenet as pn
      >>> pn.step.apply((), jnp.array([-0.5, 0.0, 2.0])).tolist()
      [0.0, 1.0, 1.0]
    """
    return jnp.sign(jnp.sign(x) + 1)  # a comparison would turn NaN into 0
