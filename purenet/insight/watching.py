"""watch: a callback for fit that diagnoses the run as it goes, and reports when it diverges."""

from collections.abc import Callable
from typing import Any

import tqdm

from purenet.contract import as_layer
from purenet.driving import EpochEnd, FitResult
from purenet.errors import StructureError, by, describe, expect_flags
from purenet.insight.examining import Asked, checked_data, examine
from purenet.insight.findings import Diagnosis, Finding
from purenet.losses.base import as_loss
from purenet.optimizers import as_optimizer
from purenet.updates import expect_count, plan_epochs


class Watch:
    """What `watch` gives: a callback of `fit` that remembers what it found.

    Attributes:
      findings: each thing found so far, once, in the order of finding; notes included.
      diagnosis: the last one, None before the first.

    Example:
      >>> import numpy as np, purenet as pn
      >>> seen = pn.watch(pn.dense(1), pn.losses.mean_squared_error, (np.ones((32, 1), "f"), np.ones((32, 1), "f")))
      >>> seen, seen.findings, seen.diagnosis
      (Watch(0 findings), [], None)
    """

    def __init__(self, asked: Asked, every: int, show: Callable[[str], Any] | None):
        self.findings: list[Finding] = []
        self.diagnosis: Diagnosis | None = None
        self._asked, self._every, self._show = asked, every, show

    def __repr__(self) -> str:
        return f"Watch({len(self.findings)} findings)"

    def __call__(self, end: EpochEnd) -> None:
        """Diagnoses the run at the end of an epoch, and shows alarms that were not there before."""
        if end.epoch % self._every:
            return
        self.diagnosis = examine(self._asked, end.state, end.history, end.state.key)
        self._asked = self._asked._replace(validation=None)  # what it shares with the data does not change
        known = {(finding.name, finding.where) for finding in self.findings}
        for finding in self.diagnosis.findings:
            if (finding.name, finding.where) not in known:
                self.findings.append(finding)
                if self._show is not None and finding.severity != "note":
                    self._show(f"epoch {end.epoch}, {finding}")

    def diverged(self, result: FitResult) -> str:
        """Diagnoses the last finite state of a run that diverged; `fit` ends its error with this report."""
        asked = self._asked._replace(sharpness=True)
        self.diagnosis = examine(asked, result.train_state, result.history, result.train_state.key)
        self.findings += [finding for finding in self.diagnosis.findings if finding not in self.findings]
        return f"Of the last finite parameters:\n{self.diagnosis}"


def watch(
    net: Any,
    loss: Any,
    data: Any,
    *,
    optimizer: Any = None,
    validation: Any = None,
    batch_size: int | None = 32,
    every: int = 1,
    sharpness: bool = False,
    show: Callable[[str], Any] | None = tqdm.tqdm.write,
) -> Watch:
    """Makes a callback for `fit` that diagnoses the run at the end of every epoch.

    It takes what `diagnose` takes, measures the same, and says each thing once, when it first finds it. When the run
    diverges, the error of `fit` ends with the diagnosis of the last finite parameters.

    Args:
      net: the layer that `fit` trains.
      loss: the loss.
      data: the training data, `(xs, ys)` or `(xs, ys, weights)`.
      optimizer: the optax optimizer, to judge its updates.
      validation: the validation data, to look for examples that are in both.
      batch_size: examples per update; None for all at once.
      every: after how many epochs it looks, 1 or more.
      sharpness: whether to measure curvature, which doubles the time; after a divergence it is measured anyway.
      show: what it calls with the text of a new error or warning, such as `print`; None shows nothing.

    Returns:
      A `Watch`, for `fit(…, callbacks=[…])`.

    Raises:
      StructureError: if an argument is not what it should be.
      ShapeError: for sizes out of range; at the end of an epoch, for examples that the network does not take.

    References:
      Karpathy (2019), A recipe for training neural networks.

    Example:
      >>> import jax, numpy as np, optax, purenet as pn
      >>> xs = np.random.default_rng(0).normal(size=(64, 2)).astype(np.float32)
      >>> net, data, optimizer = pn.dense(1), (xs, np.zeros((64, 1), np.float32)), optax.sgd(0.1)
      >>> seen = pn.watch(net, pn.losses.mean_squared_error, data, optimizer=optimizer, show=None)
      >>> result = pn.fit(net, data, loss=pn.losses.mean_squared_error, optimizer=optimizer, key=jax.random.key(0),
      ...                 callbacks=[seen])
      >>> seen.findings[0].name
      'targets_constant'
    """
    with by("watch"):
        batch = checked_data(data)
        asked = Asked(
            net=as_layer(net),
            loss=as_loss(loss),
            optimizer=None if optimizer is None else as_optimizer(optimizer),
            data=batch,
            validation=None if validation is None else checked_data(validation),
            size=plan_epochs(batch.size, batch_size).size,
            sharpness=sharpness,
            spectrum=0,
            memorisation=False,
        )
        expect_count("every", every)
        if not (show is None or callable(show)):
            raise StructureError(
                f"expected show to be a function of a text, or None, got {describe(show)}. Give print."
            )
    expect_flags("watch", sharpness=sharpness)
    return Watch(asked, every, show)
