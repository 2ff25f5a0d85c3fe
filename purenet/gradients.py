"""Loss and gradient of a mini-batch, twice: by `jax.grad`, and by the chain of the hand-derived rules."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from purenet.contract import Layer, Tree, as_layer
from purenet.errors import ShapeError, StructureError, by, describe, expect_kept, expect_key
from purenet.losses.base import Loss, as_loss
from purenet.metrics.base import summing

MODES = ("autodiff", "backprop")


class Batch(NamedTuple):
    """Examples along the first axis of every leaf; `weights` of shape (B,), or None for equal weights."""

    xs: Tree
    ys: Tree
    weights: jax.Array | None

    @property
    def size(self) -> int:
        """The number of examples."""
        return len(jax.tree.leaves(self)[0])


class Evaluation(NamedTuple):
    """What one pass over a mini-batch gives: mean loss, new state and the predictions that it was made of."""

    value: jax.Array
    state: Tree
    predictions: Tree


Gradient = Callable[..., tuple[tuple[jax.Array, Tree], Tree]]


def value_and_grad(net: Any, loss: Any) -> Gradient:
    """Loss and gradient of a mini-batch by JAX's automatic differentiation.

    The loss is the weighted mean J = Σ wᵢ lᵢ / Σ wᵢ of the examples' losses; without weights all are 1.

    Args:
      net: a layer, or a plain function of one example.
      loss: one of `pn.losses`, or a function `(prediction, target) -> scalar` of one example.

    Returns:
      A pure function `(params, state, batch, key=None) -> ((value, state), grads)`. `batch` is `(xs, ys)` or
      `(xs, ys, weights)` with the examples along the first axis and weights of shape (B,); `key` feeds what
      is random; `grads` has the structure of `params`.

    Raises:
      StructureError: if `net` or `loss` is neither; at trace time, if the batch is no such tuple.
      ShapeError: at trace time, if the batch is empty or its leaves' first axes differ.

    References:
      Baydin, Pearlmutter, Radul and Siskind (2018), Automatic differentiation in machine learning: a survey.

    Example:
      >>> import jax, jax.numpy as jnp, purenet as pn
      >>> net, loss = pn.dense(1, bias=False), pn.losses.half_squared_error
      >>> params, batch = {"kernel": jnp.array([[2.0]])}, (jnp.array([[3.0]]), jnp.array([[1.0]]))
      >>> (value, state), grads = pn.value_and_grad(net, loss)(params, (), batch)
      >>> float(value), grads["kernel"].tolist()
      (12.5, [[15.0]])
    """
    return _named("value_and_grad", net, loss, "autodiff")


def backprop(net: Any, loss: Any) -> Gradient:
    """Loss and gradient of a mini-batch by backpropagation: the chain of every layer's hand-derived rule.

    Same signature and same numbers as `value_and_grad`.

    Derivation:
      J = Σ wᵢ lᵢ / Σ wᵢ, so each prediction's δᵢ = dJ/dpᵢ = wᵢ/Σw · dlᵢ/dpᵢ; the network's pullback carries δ
      from the last layer to the first and collects dJ/dθ on the way.

    Args:
      net: a layer, or a plain function of one example.
      loss: one of `pn.losses`, or a function `(prediction, target) -> scalar` of one example.

    Returns:
      A pure function `(params, state, batch, key=None) -> ((value, state), grads)`, as `value_and_grad`'s.

    Raises:
      StructureError: if `net` or `loss` is neither; at trace time, if the batch is no such tuple.
      ShapeError: at trace time, if the batch is empty or its leaves' first axes differ.

    References:
      Rumelhart, Hinton and Williams (1986), Learning representations by back-propagating errors.

    Example:
      >>> import jax, jax.numpy as jnp, purenet as pn
      >>> net, loss = pn.dense(1, bias=False), pn.losses.half_squared_error
      >>> params, batch = {"kernel": jnp.array([[2.0]])}, (jnp.array([[3.0]]), jnp.array([[1.0]]))
      >>> (value, state), grads = pn.backprop(net, loss)(params, (), batch)
      >>> float(value), grads["kernel"].tolist()
      (12.5, [[15.0]])
    """
    return _named("backprop", net, loss, "backprop")


def per_example_grad(net: Any, loss: Any) -> Gradient:
    """The gradient of every example's own loss, by `jax.vmap` of `jax.grad`.

    Args:
      net: a layer, or a plain function of one example.
      loss: one of `pn.losses`, or a function `(prediction, target) -> scalar` of one example.

    Returns:
      A pure function `(params, state, batch, key=None) -> ((values, state), grads)`: values of shape (B,), and
      every leaf of grads with B in front. With weights, values and grads are those of wᵢ lᵢ, so that
      Σ grads / Σ w is the gradient of the batch. Each example draws from a key of its own; `state` returns as
      it came.

    Raises:
      StructureError: if `net` or `loss` is neither; at trace time, if the batch is no such tuple.
      ShapeError: at trace time, if the batch is empty or its leaves' first axes differ.

    References:
      Goodfellow (2015), Efficient per-example gradient computations.

    Example:
      >>> import jax.numpy as jnp, purenet as pn
      >>> net, loss = pn.dense(1, bias=False), pn.losses.half_squared_error
      >>> params, batch = {"kernel": jnp.array([[2.0]])}, (jnp.array([[1.0], [3.0]]), jnp.array([[1.0], [1.0]]))
      >>> (values, state), grads = pn.per_example_grad(net, loss)(params, (), batch)
      >>> values.tolist(), grads["kernel"].ravel().tolist()
      ([0.5, 12.5], [1.0, 15.0])
    """
    with by("per_example_grad"):
        net, loss = as_layer(net), as_loss(loss)

    def value(params: Tree, state: Tree, x: Tree, y: Tree, weight: Any, key: Any) -> jax.Array:
        predictions, _ = net.forward(params, jax.tree.map(lambda a: a[None], x), state, key)
        one: jax.Array = loss.value(jax.tree.map(lambda a: a[0], predictions), y)
        return one if weight is None else one * weight.astype(one.dtype)

    def run(params: Tree, state: Tree, batch: Any, key: Any = None) -> tuple[tuple[jax.Array, Tree], Tree]:
        with by("per_example_grad"):
            xs, ys, weights = examples = as_batch(batch)
            if key is not None:
                expect_key(key)
            keys = None if key is None else jax.random.split(key, examples.size)
            axes = (None, None, 0, 0, None if weights is None else 0, None if key is None else 0)
            values, grads = jax.vmap(jax.value_and_grad(value), axes)(params, state, xs, ys, weights, keys)
        return (values, state), grads

    return run


def differentiate(net: Any, loss: Any, mode: str) -> Callable[..., tuple[Evaluation, Tree]]:
    """Makes the function `(params, state, batch, key) -> (Evaluation, grads)` that training runs."""
    if mode not in MODES:
        raise ShapeError(f"expected gradient to be one of {MODES}, got {mode!r}. Choose one of them.")
    rule = _autodiff if mode == "autodiff" else _by_hand
    net, loss = as_layer(net), as_loss(loss)

    def run(params: Tree, state: Tree, batch: Any, key: Any = None) -> tuple[Evaluation, Tree]:
        if key is not None:
            expect_key(key)
        return rule(net, loss, params, state, as_batch(batch), key)

    return run


def objective(net: Layer, loss: Loss, params: Tree, state: Tree, batch: Batch, key: Any) -> Evaluation:
    """The mean loss of a mini-batch in training."""
    predictions, state = net.forward(params, batch.xs, state, key)
    losses = jax.vmap(loss.value)(predictions, batch.ys)
    return Evaluation(mean_loss(losses, batch.weights), state, predictions)


def mean_loss(losses: jax.Array, weights: jax.Array | None) -> jax.Array:
    """The weighted mean Σwl/Σw of losses of shape (B,), in their dtype."""
    if weights is None:
        return jnp.mean(losses)
    shares = shares_of(weights, losses.dtype)
    return jnp.sum(shares * losses.astype(shares.dtype)).astype(losses.dtype)


def shares_of(weights: jax.Array, dtype: Any) -> jax.Array:
    """Each weight's share w/Σw, in 32 bits or more: 16 bits count only to 2,048 and end at 65,504."""
    wide = weights.astype(summing(weights.dtype, dtype))
    return wide / jnp.sum(wide)


def as_batch(batch: Any) -> Batch:
    """Takes `(xs, ys)` or `(xs, ys, weights)` after checking structure and first axes.

    Args:
      batch: a tuple of two or three pytrees of arrays.

    Returns:
      The same with a name for each part.

    Raises:
      StructureError: for another structure, or weights that are not one floating array.
      ShapeError: if the batch is empty, a leaf has no axis, or first axes differ.
    """
    if isinstance(batch, Batch):
        return batch
    if not isinstance(batch, (tuple, list)) or len(batch) not in (2, 3):
        raise StructureError(
            f"expected a batch (xs, ys) or (xs, ys, weights), got {describe(batch)}. Pass a tuple of arrays."
        )
    xs, ys, weights = (*batch, None)[:3]
    leaves = jax.tree.leaves((xs, ys, weights))
    for leaf in leaves:
        if not hasattr(leaf, "dtype"):
            raise StructureError(f"expected a batch of arrays, got {describe(leaf)} in it. Use jnp.asarray.")
        expect_kept(leaf)
    shapes = [jnp.shape(leaf) for leaf in leaves]
    if () in shapes or len({shape[0] for shape in shapes}) != 1:
        raise ShapeError(
            f"expected arrays with one common first axis, the examples, got the shapes {shapes}. "
            "Give as many targets (and weights) as inputs."
        )
    if shapes[0][0] == 0:
        raise ShapeError("expected at least one example, got 0. The mean over nothing is not a number.")
    if weights is not None and (jnp.ndim(weights) != 1 or not jnp.issubdtype(weights.dtype, jnp.floating)):
        raise StructureError(
            f"expected weights to be one floating number per example, got {describe(weights)}. "
            "Give an array of shape (B,)."
        )
    return Batch(*jax.tree.map(jnp.asarray, (xs, ys, weights)))


def _autodiff(net: Layer, loss: Loss, params: Tree, state: Tree, batch: Batch, key: Any) -> tuple[Evaluation, Tree]:
    def value(params: Tree) -> tuple[jax.Array, Evaluation]:
        result = objective(net, loss, params, state, batch, key)
        return result.value, result

    grads, result = jax.grad(value, has_aux=True)(params)
    return result, grads


def _by_hand(net: Layer, loss: Loss, params: Tree, state: Tree, batch: Batch, key: Any) -> tuple[Evaluation, Tree]:
    predictions, state, pullback = net.vjp(params, batch.xs, state, key)
    losses = jax.vmap(loss.value)(predictions, batch.ys)
    deltas = jax.vmap(loss.grad)(predictions, batch.ys)
    if batch.weights is None:
        deltas = jax.tree.map(lambda delta: delta * (1 / len(losses)), deltas)
    else:
        shares = shares_of(batch.weights, losses.dtype)
        deltas = jax.tree.map(
            lambda delta: delta * jnp.reshape(shares, (-1, *[1] * (delta.ndim - 1))).astype(delta.dtype), deltas
        )
    grads, _ = pullback(deltas)
    return Evaluation(mean_loss(losses, batch.weights), state, predictions), grads


def _named(name: str, net: Any, loss: Any, mode: str) -> Gradient:
    """Makes the public function: `differentiate` without the predictions, errors under the public name."""
    with by(name):
        run = differentiate(net, loss, mode)

    def gradient(params: Tree, state: Tree, batch: Any, key: Any = None) -> tuple[tuple[jax.Array, Tree], Tree]:
        with by(name):
            result, grads = run(params, state, batch, key)
        return (result.value, result.state), grads

    gradient.__name__ = gradient.__qualname__ = name
    return gradient
