"""gradient_noise: how far mini-batches' gradients are from that of all examples, by batch size."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from purenet.contract import Layer, Tree, as_layer
from purenet.data import check_data
from purenet.errors import ShapeError, StructureError, by, describe, expect_key, is_whole
from purenet.evaluation import check_values
from purenet.gradients import Batch, as_batch, per_example_grad, value_and_grad
from purenet.insight.noise_scale import squared_norm
from purenet.losses.base import Loss, as_loss
from purenet.plot.drawn import BLUE, GREY, VERMILION, axes_for, expect_params, font_for, label, legend
from purenet.streams import generator_of

_DRAWS = 24  # mini-batches of each size: their mean square is right to some 10 % for a gradient of many numbers
_AT_ONCE = 64  # examples whose gradients are in memory at a time


class Measured(NamedTuple):
    """The noise of gradients at some params.

    Attributes:
      sizes: batch sizes.
      noise: at each, the root mean square of |g - G| / |G| over drawn mini-batches.
      scale: tr Σ / |G|², in examples: the batch size at which noise and gradient are of one size.
    """

    sizes: np.ndarray
    noise: np.ndarray
    scale: float


def gradient_noise(
    net: Any,
    loss: Any,
    params: Tree,
    data: Any,
    *,
    sizes: Sequence[int] | None = None,
    key: Any,
    state: Tree = None,
    ax: Any = None,
) -> Any:
    """Draws the noise of a mini-batch's gradient against its size B, and the line √(tr Σ / B) / |G| that theory gives.

    G is the gradient of all the data and tr Σ the variance of one example's, from the gradient of every example. The
    dots are measured: of each size 24 mini-batches are drawn with replacement, and |g - G| / |G| is their root mean
    square. Where the line meets 1 lies the noise scale tr Σ / |G|²; far larger mini-batches hardly help.

    Args:
      net: a layer whose examples do not see each other: batch normalisation is refused.
      loss: one of `pn.losses`, or a function of one prediction and target.
      params: where to measure.
      data: `(xs, ys)`; the work is that of some 200 passes over it, so some thousand examples at most are wise.
      sizes: batch sizes, 1 or more; left out, 1, 2, 4, … up to the number of examples.
      key: a JAX random key, for the mini-batches and what is random in the net.
      state: the network's state; a network without needs none.
      ax: the Matplotlib axes to draw into; left out, a figure is made.

    Returns:
      The axes.

    Raises:
      ImportError: without Matplotlib.
      ShapeError: for sizes below 1, fewer than two examples, weights, or a gradient that is 0 or not finite.
      StructureError: if `key` is no key, or something else is not what it should be.
      ValueError, TypeError: for data that `pn.data.check_data` refuses.

    References:
      McCandlish, Kaplan, Amodei et al. (2018), An empirical model of large-batch training, section 2.

    Example:
      >>> import jax, numpy as np, purenet as pn
      >>> xs = np.ones((2, 1), np.float32)  # gradients -1 and -3: mean -2, variance 1
      >>> params = {"kernel": np.zeros((1, 1), np.float32)}
      >>> ys, net, loss = np.array([[1], [3]], np.float32), pn.dense(1, bias=False), pn.losses.half_squared_error
      >>> ax = pn.plot.gradient_noise(net, loss, params, (xs, ys), sizes=[1, 4], key=jax.random.key(0))
      >>> ax.lines[0].get_ydata().tolist(), ax.lines[0].get_label()
      ([0.5, 0.25], '1/√B; noise scale 0.25')
    """
    ax = axes_for("gradient_noise", ax)
    with by("plot.gradient_noise"):
        expect_params(params)
        expect_key(key)
        batch = as_batch(check_data(data))
        if batch.weights is not None or batch.size < 2:
            raise ShapeError("expected data (xs, ys) of two examples or more without weights. Leave the weights out.")
        chosen = _sizes(sizes, batch.size)
        measured = measure_noise(as_layer(net), as_loss(loss), params, state, batch, chosen, key)
        line = np.sqrt(measured.scale / measured.sizes)
        ax.plot(
            measured.sizes, line, color=BLUE, linewidth=1.6, label=f"1/√B; noise scale {measured.scale:.3g}", zorder=2
        )
        ax.plot(
            measured.sizes,
            measured.noise,
            "o",
            color=VERMILION,
            markersize=5,
            label=f"measured, {_DRAWS} draws",
            zorder=3,
        )
        _finish(ax, measured)
    return ax


def measure_noise(
    net: Layer, loss: Loss, params: Tree, state: Tree, batch: Batch, sizes: Sequence[int], key: Any
) -> Measured:
    """Measures the noise at these sizes: one program, in which a drawn mini-batch is a weight for each example."""
    check_values(net, loss, params, state, batch)
    rng = generator_of(key)
    shares = np.full(batch.size, 1 / batch.size)
    counts = np.concatenate([rng.multinomial(size, shares, size=_DRAWS) for size in sizes]).astype(np.float32)
    first, squares, deviations = _program(net, loss)(params, state, batch, jnp.asarray(counts), key)
    signal = float(first)
    if not signal > 0 or not np.isfinite(signal):
        raise ShapeError(f"expected a finite gradient that is not 0, got |G|² = {signal:g}. Choose other params.")
    spread = max(0.0, float(np.mean(np.asarray(squares, np.float64))) - signal)
    by_size = np.asarray(deviations, np.float64).reshape(len(sizes), _DRAWS).mean(axis=1)
    return Measured(np.array(sizes), np.sqrt(by_size / signal), spread / signal)


@functools.lru_cache(maxsize=16)  # so that the noise at other params compiles nothing
def _program(net: Layer, loss: Loss) -> Callable[..., Any]:
    gradient, single = value_and_grad(net, loss), per_example_grad(net, loss)

    def run(params: Tree, state: Tree, batch: Batch, counts: jax.Array, key: Any) -> Any:
        first, *keys = jax.random.split(key, 3)
        _, whole = gradient(params, state, (batch.xs, batch.ys), first)

        def square(item: Any) -> jax.Array:
            (x, y), number = item
            one = jax.tree.map(lambda a: a[None], (x, y))
            return squared_norm(single(params, state, one, jax.random.fold_in(keys[0], number))[1])

        def deviation(item: Any) -> jax.Array:
            weights, number = item
            examples = (batch.xs, batch.ys, weights)
            _, drawn = gradient(params, state, examples, jax.random.fold_in(keys[1], number))
            return squared_norm(jax.tree.map(jnp.subtract, drawn, whole))

        numbers = jnp.arange(batch.size)
        squares = jax.lax.map(square, ((batch.xs, batch.ys), numbers), batch_size=min(_AT_ONCE, batch.size))
        return squared_norm(whole), squares, jax.lax.map(deviation, (counts, jnp.arange(len(counts))))

    return jax.jit(run)


def _sizes(sizes: Any, n: int) -> list[int]:
    if sizes is None:
        return [2**i for i in range(n.bit_length())]
    if not isinstance(sizes, (list, tuple, np.ndarray)) or not len(sizes):
        raise StructureError(f"expected sizes to be a list of batch sizes, got {describe(sizes)}. Such as [1, 8, 64].")
    for size in sizes:
        if not is_whole(size) or size < 1:
            raise ShapeError(f"expected batch sizes that are whole numbers of 1 or more, got {size}. Leave it out.")
    return sorted({int(size) for size in sizes})


def _finish(ax: Any, measured: Measured) -> None:
    from matplotlib.ticker import NullFormatter, NullLocator

    ax.set_xscale("log", base=2)
    if measured.noise.max() > 0:
        ax.set_yscale("log")
    if measured.sizes[0] <= measured.scale <= measured.sizes[-1]:
        ax.axhline(1, color=GREY, linestyle=":", linewidth=1.0)
        ax.axvline(measured.scale, color=GREY, linestyle=":", linewidth=1.0)
    shown = measured.sizes[:: max(1, -(-len(measured.sizes) // 8))]
    ax.set_xticks(shown, [str(size) for size in shown])
    ax.xaxis.set_minor_locator(NullLocator())
    if np.ptp(np.log10(np.maximum(measured.noise, 1e-12))) > 2:
        ax.yaxis.set_minor_formatter(NullFormatter())
    label(ax, "batch size B", "gradient noise, |g - G| / |G|")
    ax.tick_params(which="minor", labelsize=0.75 * font_for(ax))
    ax.grid(alpha=0.25)
    legend(ax)
