"""Times one contender in a process of its own, which imports nothing but NumPy and that contender's library.

`python bench/peers/worker.py FILE CONTENDER PROBLEM SECONDS` trains as CONTENDER of FILE does, until SECONDS have
passed, and prints one line of JSON; 0 seconds mean once, and no times. `python -m purenet.bench --peers` starts these
processes, taking turns.

A FILE beside this one has `PACKAGES`, the distributions whose versions belong to its numbers, and `CONTENDERS`, by
name functions that take a `Problem` and return three functions:

    start()         -> state      a new network with the problem's weights, and a new optimizer; not timed
    run(state)      -> state      all updates, one per mini-batch, in order; timed, so it returns when they are done
    weights(state)  -> weights    as `Problem.weights`, NumPy arrays; not timed
"""

import importlib
import importlib.metadata
import json
import statistics
import sys
import time
from typing import NamedTuple

import numpy as np
import yardsticks

# Few enough that the slowest contender's turn ends; the median of three is not the first one's.
_LEAST, _MOST = 3, 1_000


class Problem(NamedTuple):
    """What all contenders train: the same network from the same weights, with Adam, on the same mini-batches.

    Attributes:
      kind: the network, one of `yardsticks.OUTPUTS`, where it is written in NumPy: "mlp", "cnn", "lstm" or
        "transformer".
      widths: of an "mlp": inputs, hidden units, …, outputs.
      activation: of an "mlp", between the layers, "tanh" or "relu"; none after the last.
      loss: "half_squared_error" (½ Σ (p - y)² over outputs) or "softmax_cross_entropy" (logits, integer labels; of
        a sequence the mean over its positions); a mini-batch's is the mean of its examples'.
      rate: Adam's; β₁ = 0.9, β₂ = 0.999, ε = 1e-8.
      weights: one tuple of float32 arrays a layer, in the layout of the yardstick.
      xs: the mini-batches in their order, (steps, batch, …), float32 or tokens in int32.
      ys: (steps, batch, outputs) float32, or int32 labels, (steps, batch) or (steps, batch, positions).
      examples: the data before shuffling, (inputs and targets), for contenders that shuffle for themselves.
      epochs: how often `xs` goes through them.
      seed: of purenet's key, from which the order follows.
    """

    kind: str
    widths: tuple[int, ...]
    activation: str
    loss: str
    rate: float
    weights: list[tuple[np.ndarray, ...]]
    xs: np.ndarray
    ys: np.ndarray
    examples: tuple[np.ndarray, np.ndarray]
    epochs: int
    seed: int


def load(path):
    """Reads a problem that `purenet.bench` wrote."""
    with np.load(path) as file:
        names = sorted((name for name in file.files if name.startswith("weight_")), key=_place)
        told = {name: file[name].item() for name in ("kind", "activation", "loss", "rate", "epochs", "seed")}
        weights = [()] * (1 + _place(names[-1])[0])
        for name in names:
            weights[_place(name)[0]] += (file[name],)
        xs, ys, order = file["xs"], file["ys"], file["order"]
    widths = (weights[0][0].shape[0], *(kernel.shape[1] for kernel, _ in weights)) if told["kind"] == "mlp" else ()
    return Problem(widths=widths, weights=weights, xs=xs[order], ys=ys[order], examples=(xs, ys), **told)


def _place(name):
    """The layer's number and the array's, from "weight_2_0"."""
    return tuple(map(int, name.split("_")[1:]))


def mean_loss(problem, weights):
    """The loss of these weights over all examples, in float64: one yardstick for all."""
    xs, ys = problem.examples
    outputs = yardsticks.outputs(problem, weights, xs)
    if problem.loss == "half_squared_error":
        return float(np.mean(np.sum((outputs - ys) ** 2, axis=1)) / 2)
    outputs = outputs.reshape(-1, outputs.shape[-1])
    outputs = outputs - outputs.max(axis=1, keepdims=True)
    right = np.take_along_axis(outputs, ys.reshape(-1, 1), axis=1)[:, 0]
    return float(np.mean(np.log(np.sum(np.exp(outputs), axis=1)) - right))


def measure(problem, contender, seconds):
    """Trains again and again from the same start, and says how long it took."""
    start, run, weights = contender(problem)
    state, first = _clock(run, start())
    told = {"first": first, "result": mean_loss(problem, weights(state))}
    times, until = [], time.perf_counter() + seconds
    while len(times) < _MOST and (len(times) < _LEAST or time.perf_counter() < until):
        times.append(_clock(run, start())[1])
    return {**told, "seconds": statistics.median(times), "runs": len(times)}


def _clock(run, state):
    started = time.perf_counter()
    state = run(state)
    return state, time.perf_counter() - started


def main(file, name, path, seconds):
    """Runs one contender and prints what it told."""
    peer, problem = importlib.import_module(file), load(path)
    contender = peer.CONTENDERS[name]
    told = measure(problem, contender, float(seconds)) if float(seconds) else _once(problem, contender)
    told["versions"] = {package: _version(package) for package in peer.PACKAGES}
    print(json.dumps(told), flush=True)


def _version(package):
    """The module's own word, as it tells builds apart, or the distribution's."""
    return getattr(sys.modules.get(package), "__version__", None) or importlib.metadata.version(package)


def _once(problem, contender):
    """Trains once and measures nothing, for the time from nothing to there."""
    start, run, weights = contender(problem)
    return {"result": mean_loss(problem, weights(run(start())))}


if __name__ == "__main__":
    main(*sys.argv[1:])
