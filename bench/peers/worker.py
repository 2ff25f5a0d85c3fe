"""Times one contender in a process of its own, which imports nothing but NumPy and that contender's library.

`python bench/peers/worker.py FILE CONTENDER PROBLEM SECONDS` trains as CONTENDER of FILE does, until SECONDS have
passed, and prints one line of JSON; 0 seconds mean once, and no times. `python -m purenet.bench --peers` starts these
processes, taking turns.

A FILE beside this one has `PACKAGES`, the distributions whose versions belong to its numbers, and `CONTENDERS`, by
name functions that take a `Problem` and return three functions:

    start()         -> state      a new network with the problem's weights, and a new optimizer; not timed
    run(state)      -> state      all updates, one per mini-batch, in order; timed, so it returns when they are done
    weights(state)  -> weights    [(kernel (in, out), bias), …] as NumPy arrays; not timed
"""

import importlib
import importlib.metadata
import json
import statistics
import sys
import time
from typing import NamedTuple

import numpy as np

# Few enough that the slowest contender's turn ends; the median of three is not the first one's.
_LEAST, _MOST = 3, 1_000


class Problem(NamedTuple):
    """What all contenders train: the same network from the same weights, with Adam, on the same mini-batches.

    Attributes:
      widths: inputs, hidden units, …, outputs.
      activation: between the layers, "tanh" or "relu"; none after the last.
      loss: "half_squared_error" (½ Σ (p - y)² over outputs) or "softmax_cross_entropy" (logits, integer labels);
        a mini-batch's is the mean of its examples'.
      rate: Adam's; β₁ = 0.9, β₂ = 0.999, ε = 1e-8.
      weights: [(kernel (in, out), bias), …], float32.
      xs: the mini-batches in their order, (steps, batch, inputs), float32.
      ys: (steps, batch, outputs) float32, or (steps, batch) int32 labels.
      examples: the data before shuffling, (inputs and targets), for contenders that shuffle for themselves.
      epochs: how often `xs` goes through them.
      seed: of purenet's key, from which the order follows.
    """

    widths: tuple[int, ...]
    activation: str
    loss: str
    rate: float
    weights: list[tuple[np.ndarray, np.ndarray]]
    xs: np.ndarray
    ys: np.ndarray
    examples: tuple[np.ndarray, np.ndarray]
    epochs: int
    seed: int


def load(path):
    """Reads a problem that `purenet.bench` wrote."""
    with np.load(path) as file:
        layers = sum(name.startswith("kernel") for name in file.files)
        weights = [(file[f"kernel{i}"], file[f"bias{i}"]) for i in range(layers)]
        told = {name: file[name].item() for name in ("activation", "loss", "rate", "epochs", "seed")}
        widths = (weights[0][0].shape[0], *(kernel.shape[1] for kernel, _ in weights))
        xs, ys, order = file["xs"], file["ys"], file["order"]
    return Problem(widths, weights=weights, xs=xs[order], ys=ys[order], examples=(xs, ys), **told)


def mean_loss(problem, weights):
    """The loss of these weights over all mini-batches, in float64: one yardstick for all."""
    xs = problem.xs.reshape(-1, problem.widths[0]).astype(np.float64)
    ys = problem.ys.reshape(len(xs), -1)
    for i, (kernel, bias) in enumerate(weights):
        if i > 0:
            xs = np.tanh(xs) if problem.activation == "tanh" else np.maximum(xs, 0)
        xs = xs @ np.asarray(kernel, np.float64) + np.asarray(bias, np.float64)
    if problem.loss == "half_squared_error":
        return float(np.mean(np.sum((xs - ys) ** 2, axis=1)) / 2)
    xs = xs - xs.max(axis=1, keepdims=True)
    return float(np.mean(np.log(np.sum(np.exp(xs), axis=1)) - np.take_along_axis(xs, ys, axis=1)[:, 0]))


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
