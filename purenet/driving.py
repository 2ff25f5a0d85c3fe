"""The loop of fit: chunk after chunk, epoch after epoch, until something ends it."""

import dataclasses
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import numpy as np

from purenet.chunks import Chunks, all_finite
from purenet.contract import Tree, spec_of
from purenet.errors import ShapeError, StructureError, describe, expect_like
from purenet.gradients import Batch
from purenet.metrics import Metric
from purenet.optimizers import rate_row, rates_in_force, troubles_of
from purenet.pacing import Bar, Pace
from purenet.snapshots import Album, Snapshot
from purenet.stopping import Best, Stopper
from purenet.updates import Plan, TrainState, finish


@dataclasses.dataclass(frozen=True)
class EpochEnd:
    """What a callback sees at the end of an epoch.

    Attributes:
      epoch: epochs done in this call of `fit`, from 1.
      state: the run, as it now is; a copy, so that a callback may only read.
      numbers: this epoch's row of the history: "loss", the metrics, "val_loss", …
      history: what `FitResult.history` would be now, put together when asked for.
      log: what it is put together from.

    Example:
      >>> def report(end):
      ...     print(end.epoch, end.numbers["loss"])
    """

    epoch: int
    state: TrainState
    numbers: dict[str, Any]
    log: "_Log" = dataclasses.field(repr=False)

    @property
    def history(self) -> dict[str, np.ndarray]:
        """The history until now."""
        return self.log.history()


Callback = Callable[[EpochEnd], bool | TrainState | None]


class FitResult(NamedTuple):
    """What `fit` returns.

    Attributes:
      params: the parameters; with `patience`, those of the best epoch.
      state: the network's state that belongs to them.
      history: NumPy arrays by name. "loss", the metrics, "val_loss" and "val_…" have one entry per finished
        epoch, and so has "learning_rate", that of the epoch's last update, if the optimizer tells it
        (`optax.inject_hyperparams`); "step_loss" has one per update.
      train_state: the run where it ended; `fit(…, state=result.train_state)` goes on from there.
      stopped: why it ended: "epochs", "patience", "callback" or "interrupt".
      best_epoch: the epoch, from 1, that `params` are from; with `patience` the best, else the last.
      snapshots: with `snapshots=k`, the params at the start, after every k epochs and at the end, as `Snapshot`s.
    """

    params: Tree
    state: Tree
    history: dict[str, np.ndarray]
    train_state: TrainState
    stopped: str
    best_epoch: int
    snapshots: tuple[Snapshot, ...] = ()

    def __repr__(self) -> str:
        last = {name: float(values[-1]) for name, values in self.history.items() if values.ndim == 1 and len(values)}
        numbers = ", ".join(f"{name}={value:.4g}" for name, value in last.items() if name != "step_loss")
        return (
            f"FitResult(epochs={len(self.history['loss'])}, stopped={self.stopped!r}, best_epoch={self.best_epoch}, "
            f"last: {numbers})"
        )


class DivergedError(FloatingPointError):
    """The loss or the parameters ceased to be finite.

    Attributes:
      result: the `FitResult` of the last finite state, some updates before.
    """

    __module__ = "purenet"

    def __init__(self, text: str, result: FitResult):
        super().__init__(text)
        self.result = result

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(self), self.result)


class Run(NamedTuple):
    """What stays the same through a run."""

    chunks: Chunks
    plan: Plan
    data: Batch
    measures: dict[str, Metric]
    validate: Callable[[TrainState], dict[str, Any]]
    callbacks: tuple[Callback, ...]
    stopper: Stopper | None
    album: Album


class _Log:
    """What a run has told so far; a row is added whole or not at all, so that Ctrl-C leaves no half."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.losses: list[np.ndarray] = []

    def history(self) -> dict[str, np.ndarray]:
        """Gives everything as arrays by name."""
        names = self.rows[0] if self.rows else ("loss",)
        by_epoch = {name: np.array([row[name] for row in self.rows]) for name in names}
        return {**by_epoch, "step_loss": np.concatenate([np.zeros(0, np.float32), *self.losses])}


class _Numbers(NamedTuple):
    """A chunk's numbers on the host."""

    losses: np.ndarray
    weights: np.ndarray
    finite: bool


def drive(run: Run, state: TrainState, epochs: int, bar: Bar) -> FitResult:
    """Runs epoch after epoch; whatever ends it, the state after the last whole chunk is what counts."""
    log, pace = _Log(), Pace(run.chunks.longest)
    empty_stats = run.chunks.empty_stats(state, run.data)
    best: Best | None = None
    stopped = "epochs"
    run.album.add(0, state)
    try:
        for epoch in range(1, epochs + 1):
            pieces, stats = [], empty_stats
            for numbers, new, stats in _epoch(run, state, empty_stats, pace):  # noqa: B007 - the last stats count
                if not numbers.finite:
                    result = _result(run, log, state, best, stopped)
                    raise _diverged(state, new, numbers.losses, epoch, result, run.callbacks)
                state = new
                log.losses.append(numbers.losses)
                pieces.append(numbers)
                bar.advance(epoch, len(numbers.losses), float(numbers.losses[-1]))
            rates = {name: np.asarray(rate) for name, rate in rate_row(state.opt_state).items()}
            log.rows.append({**_row(run, pieces, stats), **run.validate(state), **rates})
            bar.close_epoch(log.rows[-1])
            if run.stopper is not None:
                best = run.stopper.note(best, epoch, log.rows[-1], state)
            state, wants_stop = _consult(run.callbacks, epoch, state, log)
            run.album.add(epoch, state)
            if wants_stop:
                stopped = "callback"
                break
            if run.stopper is not None and best is not None and epoch - best.epoch >= run.stopper.patience:
                stopped = "patience"
                break
    except KeyboardInterrupt:
        stopped = "interrupt"
    return _result(run, log, state, best, stopped)


def _epoch(
    run: Run, state: TrainState, stats: dict[str, Tree], pace: Pace
) -> Iterator[tuple[_Numbers, TrainState, dict[str, Tree]]]:
    """Gives the chunks of what is left of the epoch in which `state` stands."""
    left = run.plan.steps - int(state.step - state.begin)
    while left:
        started = time.perf_counter()
        count = min(pace.count, left)
        chunk = run.chunks.run(state, stats, run.data, count)
        losses = np.asarray(chunk.losses)[:count]  # waits for the chunk
        pace.note(count, time.perf_counter() - started)
        wrong = np.flatnonzero(~np.isfinite(losses))
        losses = losses[: wrong[0] + 1] if len(wrong) else losses
        first = run.plan.steps - left
        weights = run.plan.weights(first, count) if chunk.weights is None else np.asarray(chunk.weights)[:count]
        state, stats, left = chunk.state, chunk.stats, left - count
        yield _Numbers(losses, weights, not len(wrong) and bool(chunk.finite)), state, stats


def _row(run: Run, pieces: list[_Numbers], stats: dict[str, Tree]) -> dict[str, Any]:
    """The numbers of an epoch; the mean over its updates is taken in float64."""
    losses = np.concatenate([piece.losses for piece in pieces]).astype(np.float64)
    weights = np.concatenate([piece.weights for piece in pieces]).astype(np.float64)
    named = {name: np.asarray(value) for name, value in finish(run.measures, stats).items()}
    return {"loss": np.sum(losses * weights) / np.sum(weights), **named}


def _consult(callbacks: tuple[Callback, ...], epoch: int, state: TrainState, log: _Log) -> tuple[TrainState, bool]:
    """Calls every callback; gives the state to go on with, and tells whether one wants to stop."""
    wants_stop = False
    for callback in callbacks:
        copy = jax.tree.map(lambda leaf: leaf, state)  # new dicts and tuples of the same arrays
        answer = callback(EpochEnd(epoch, copy, dict(log.rows[-1]), log))
        if isinstance(answer, TrainState):
            state = _replaced(state, answer)
        elif answer is None or isinstance(answer, (bool, np.bool_)):
            wants_stop |= bool(answer)
        else:
            raise StructureError(
                "expected a callback to return True to stop, a TrainState to go on with, or False or None, got "
                f"{describe(answer)}. Give it no other return value."
            )
    return state, wants_stop


def _replaced(state: TrainState, new: TrainState) -> TrainState:
    """Takes a callback's state, placed and typed as the run's own so that nothing compiles anew."""
    remedy = "Return end.state._replace(…) with leaves of the same shapes and dtypes."
    expect_like("a callback to return a state like end.state", new, spec_of(state), remedy)
    if int(new.step) != int(new.begin):
        raise ShapeError(
            f"expected a callback to return a state between two epochs, with begin equal to step, got step {new.step} "
            f"and begin {new.begin}. Replace both or neither."
        )
    if not bool(all_finite(new.params)):
        raise ShapeError(
            "expected a callback to return finite params, got nan or inf among them. Look at what it does."
        )
    placed: TrainState = jax.tree.map(
        lambda old, leaf: (
            jax.device_put(jax.lax.convert_element_type(leaf, old.dtype), old.sharding)
            if not jax.numpy.issubdtype(old.dtype, jax.dtypes.prng_key)
            else leaf
        ),
        state,
        new,
    )
    return placed


def _result(run: Run, log: _Log, state: TrainState, best: Best | None, stopped: str) -> FitResult:
    epoch, chosen = (len(log.rows), state) if best is None else (best.epoch, best.state)
    return FitResult(chosen.params, chosen.state, log.history(), state, stopped, epoch, run.album.pages())


def _diverged(
    state: TrainState,
    new: TrainState,
    losses: np.ndarray,
    epoch: int,
    result: FitResult,
    callbacks: tuple[Callback, ...],
) -> DivergedError:
    """Says when it happened, at which learning rate, and what to try; `new` is the state that is not finite."""
    step = int(state.step) + len(losses)
    rates = rates_in_force(state.opt_state)
    rate = f"learning rate {rates[0]:g}" if rates else "learning rate unknown: optax.inject_hyperparams would show it"
    if not np.isfinite(losses[-1]):
        what, hint = f"loss became {losses[-1]:g}", ""
    else:
        what, hint = (
            "parameters became nan or inf",
            "The loss was finite, its gradient was not: a sqrt or log at 0, in 16 bits Adam's eps? ",
        )
    advice = (
        "Try a learning rate 10 times smaller, inputs scaled to about 1, or optax.clip_by_global_norm(1.0) in front "
        "of the optimizer."
    )
    if step == 1 and not np.isfinite(losses[-1]):
        hint, advice = (
            "No update had been made, so the learning rate is not the cause. ",
            "Look at the initialisation, the inputs and the loss; pn.trace names the line that makes the first one.",
        )
    troubles = troubles_of(new.opt_state)
    if troubles:
        hint, advice = "", " ".join(troubles)
    return DivergedError(
        f"fit: the {what} at step {step}, epoch {epoch} ({rate}). {hint}{advice} "
        "error.result holds the last finite parameters." + "".join(_reports(callbacks, result)),
        result,
    )


def _reports(callbacks: tuple[Callback, ...], result: FitResult) -> Iterator[str]:
    """Asks the callbacks that have a method `diverged` what they know; one that fails must not hide the divergence."""
    for callback in callbacks:
        report = getattr(callback, "diverged", None)
        if report is None:
            continue
        try:
            yield f"\n{report(result)}"
        except Exception as error:
            yield f"\nThe report of {callback!r} failed: {type(error).__name__}: {error}"
