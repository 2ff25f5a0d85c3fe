"""What the judges are given: everything that was measured, on the host."""

from typing import Any, NamedTuple

import numpy as np

from purenet.contract import Layer
from purenet.insight.findings import Finding
from purenet.insight.places import Place
from purenet.insight.surveying import Survey

_OF_LOGITS = ("softmax_cross_entropy", "sigmoid_cross_entropy")
_OF_PROBABILITIES = ("binary_cross_entropy", "categorical_cross_entropy", "kl_divergence", "hellinger")
_OF_NUMBERS = ("squared_error", "absolute_error", "huber", "log_cosh")


class Facts(NamedTuple):
    """All that is known of a run.

    Attributes:
      net, loss_name: the network and the loss's name.
      survey: the numbers of the measuring program.
      places: the arrays of the parameters, as in `survey.leaves`.
      step: updates made.
      n: examples in the data.
      inputs: how many arrays an example's input has.
      looked_at: examples measured.
      batch_size: examples of a mini-batch.
      labels: class labels, or None.
      classes: how many classes the network has outputs for, 0 where that is not known.
      shifts: how well neighbours' labels fit, from `alignment.skills`; empty where not measured.
      rate: the learning rate, nan where it is not known.
      adaptive: whether the optimizer scales gradients as Adam does.
      accumulates: whether the optimizer makes an update only every few mini-batches.
      sharpness: the largest eigenvalue of the Hessian, nan where not measured.
      leaked: shares from `leaks.shares_found`, or None.
      history: of `fit`, or empty.
      blocked: by layer that has no gradient, whether the loss depends on it.
    """

    net: Layer
    loss_name: str
    survey: Survey
    places: list[Place]
    step: int
    n: int
    inputs: int
    looked_at: int
    batch_size: int
    labels: np.ndarray | None
    classes: int
    shifts: dict[int, float]
    rate: float
    adaptive: bool
    accumulates: bool
    sharpness: float
    leaked: tuple[float, float] | None
    history: dict[str, Any]
    blocked: dict[str, bool]

    @property
    def of_logits(self) -> bool:
        """Whether the loss takes logits."""
        return any(name in self.loss_name for name in _OF_LOGITS)

    @property
    def of_probabilities(self) -> bool:
        """Whether the loss takes probabilities."""
        return any(name in self.loss_name for name in _OF_PROBABILITIES)

    @property
    def of_numbers(self) -> bool:
        """Whether the loss measures distances, as in regression."""
        return any(name in self.loss_name for name in _OF_NUMBERS)

    @property
    def fits(self) -> bool:
        """Whether the network tells its own targets from other examples': whoever learns is not ill."""
        loss, other = float(self.survey.loss), float(self.survey.uninformed)
        return bool(loss < 0.5 * other) if loss > 0 else loss < other

    @property
    def finite(self) -> bool:
        """Whether the loss is."""
        return bool(np.isfinite(self.survey.loss) and np.isfinite(self.survey.batch_loss))

    @property
    def weight_rms(self) -> float:
        """The size of a weight, as a root mean square."""
        count = sum(self.places[number].size for number in self.weights)
        return float(np.linalg.norm(self.survey.leaves.norm[self.weights]) / max(1, count) ** 0.5)

    @property
    def params_finite(self) -> bool:
        """Whether all parameters are."""
        return bool(np.all(self.survey.leaves.finite))

    @property
    def classes_seen(self) -> int:
        """How many classes the labels speak of."""
        return 0 if self.labels is None or not self.labels.size else int(self.labels.max()) + 1

    @property
    def layers(self) -> dict[str, list[int]]:
        """By layer's path, the numbers of its arrays."""
        found: dict[str, list[int]] = {}
        for number, place in enumerate(self.places):
            found.setdefault(place.path, []).append(number)
        return found

    @property
    def weights(self) -> list[int]:
        """The numbers of the arrays that are weights."""
        return [number for number, place in enumerate(self.places) if place.is_weight]


def error(
    name: str, number: float, threshold: float, source: str, message: str, remedy: str, where: str = ""
) -> Finding:
    """A finding with which training cannot work."""
    return Finding(name, "error", where, float(number), threshold, source, message, remedy)


def warning(
    name: str, number: float, threshold: float, source: str, message: str, remedy: str, where: str = ""
) -> Finding:
    """A finding from which training suffers."""
    return Finding(name, "warning", where, float(number), threshold, source, message, remedy)


def note(
    name: str, number: float, threshold: float, source: str, message: str, remedy: str, where: str = ""
) -> Finding:
    """A finding worth knowing."""
    return Finding(name, "note", where, float(number), threshold, source, message, remedy)
