"""The suite `recurrent`: the gradient of an LSTM, a training step of a small network with one, and peers."""

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import purenet as pn
from purenet.bench.contests import Contender, Contest, Cost, Race, Settings, Suite
from purenet.bench.network_contests import step_contest, tolerance
from purenet.bench.networks import lstm_task, make_problem, scaled
from purenet.bench.networks_by_hand import lstm_outputs

ROWS = lstm_task(28, 28, 128, batch=128, n=1_280, epochs=2)
# Steps, examples, inputs and units; how many gradients a call takes.
SIZES = (((28, 128, 28, 128), 8), ((200, 16, 64, 64), 20), ((100, 32, 64, 256), 2), ((50, 64, 256, 512), 1))
_AT_MOST = 1 / 1.3


def contests(settings: Settings) -> Iterator[Contest]:
    """Makes a contest of gradients for every size, and one of a training step.

    Args:
      settings: a quick run takes the first size alone.

    Yields:
      One contest after the other.
    """
    for number, (sizes, count) in enumerate(SIZES[:1] if settings.quick else SIZES):
        yield gradient_contest(sizes, count, settings.dtype or "float32", _AT_MOST if number == 0 else None)
    yield step_contest(scaled(ROWS, settings), 1.05, scanned=True)


def gradient_contest(sizes: tuple[int, int, int, int], count: int, dtype: str, at_most: float | None) -> Contest:
    """Makes the contest of value and gradient of ½ Σ h² over an LSTM's outputs, in descent steps inside of a scan.

    Args:
      sizes: steps, examples, inputs and units.
      count: how many gradients a call takes.
      dtype: of weights and data.
      at_most: the longest time wanted, as a multiple of that of `jax.grad`.

    Returns:
      The contest.
    """
    steps, examples, inputs, units = sizes
    net = pn.lstm(units)
    params, _ = net.init(jax.random.key(0), pn.spec((steps, inputs), dtype))
    xs = jax.random.normal(jax.random.key(1), (examples, steps, inputs), dtype)
    ys = jnp.zeros((examples, steps, units), dtype)
    layer = tuple(params[name] for name in ("kernel", "recurrent", "bias"))
    half = pn.losses.half_squared_error
    ours = {name: make(net, half) for name, make in (("autodiff", pn.value_and_grad), ("backprop", pn.backprop))}

    def by_hand(layer: Any) -> Any:
        return jax.value_and_grad(lambda layer: 0.5 * jnp.sum(lstm_outputs(layer, xs) ** 2) / examples)(layer)

    def of(name: str) -> Callable[[Any], Any]:
        def run(params: Any) -> Any:
            (value, _), grads = ours[name](params, (), (xs, ys))
            return value, grads

        return run

    flops = pn.flops(of("autodiff"), params).matmul
    moved = 2 * sum(a.nbytes for a in jax.tree.leaves(params)) + xs.nbytes
    return Contest(
        case=f"LSTM T={steps} B={examples} {inputs}-{units}",
        per="gradient",
        per_call=count,
        agreement="last loss",
        tolerance=tolerance(ROWS._replace(dtype=dtype)),
        contenders=(
            Contender("jax.grad through scan, by hand", _descent(by_hand, layer, count), _last),
            Contender("pn.value_and_grad", _descent(of("autodiff"), params, count), _last, at_most),
            Contender("pn.backprop", _descent(of("backprop"), params, count), _last, at_most),
        ),
        cost=Cost(examples, flops, moved),
        dtype=dtype,
        slowness=4,
    )


def _descent(gradient: Callable[[Any], Any], start: Any, count: int) -> Callable[[], Any]:
    """So many steps of descent in one program, small enough to stay where they began."""

    def step(weights: Any, _: None) -> tuple[Any, jax.Array]:
        value, grads = gradient(weights)
        return jax.tree.map(lambda w, g: w - jnp.asarray(1e-6, w.dtype) * g, weights, grads), value

    program = jax.jit(lambda weights: jax.lax.scan(step, weights, length=count)[1])
    return lambda: program(start)


def _last(losses: Any) -> float:
    return float(np.asarray(losses, np.float64)[-1])


RECURRENT = Suite(
    "value and gradient of an LSTM at four sizes, and a training step of one on 28 rows of 28, B=128",
    contests,
    races=lambda settings: [Race(ROWS, {}, make_problem)],
)
