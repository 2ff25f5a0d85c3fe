"""Judges of what the network ends in: do predictions, loss and targets fit each other?"""

import math
from collections.abc import Iterator

from purenet.insight.facts import Facts, error, warning
from purenet.insight.findings import Finding
from purenet.insight.measuring_units import name_in

_DEFINITION = "by definition"
_INF = math.inf
# What an activation can give.
_RANGES = {
    "relu": (0.0, _INF),
    "relu6": (0.0, 6.0),
    "softplus": (0.0, _INF),
    "sigmoid": (0.0, 1.0),
    "hard_sigmoid": (0.0, 1.0),
    "softmax": (0.0, 1.0),
    "tanh": (-1.0, 1.0),
    "hard_tanh": (-1.0, 1.0),
    "soft_sign": (-1.0, 1.0),
}
_HIDDEN = (
    *(name for name in _RANGES if name != "softmax"),
    "gelu",
    "gelu_tanh",
    "silu",
    "swish",
    "mish",
    "elu",
    "selu",
)
FEW_CLASSES = 4
SUM_ERROR = 0.1
FAR = 1e3


def judge_outputs(facts: Facts) -> Iterator[Finding]:
    """Looks at the last layer, the predictions and the loss."""
    if len(facts.survey.predictions) == 1:
        yield from _probabilities(facts)
        yield from _logits(facts)
        yield from _reach(facts)
    if not facts.finite and facts.step and facts.weight_rms > FAR:
        yield error(
            "diverging",
            facts.weight_rms,
            FAR,
            "weights begin well below 1; the limit is purenet's",
            f"The loss is not finite, and the weights are of size {facts.weight_rms:.3g}: the run has left all bounds.",
            "Try a learning rate 10 to 100 times smaller, or optax.clip_by_global_norm(1.0) in front of the optimizer.",
        )
    elif not facts.finite:
        yield error(
            "loss_not_finite",
            facts.survey.loss,
            _INF,
            _DEFINITION,
            "The loss is NaN or infinite although data and parameters are finite: an overflow, or a log, a root or a "
            "division at 0.",
            "pn.trace names the line that makes the first one.",
        )


def _probabilities(facts: Facts) -> Iterator[Finding]:
    if not facts.of_probabilities:
        return
    predictions = facts.survey.predictions[0]
    low, high = float(predictions.lowest), float(predictions.highest)
    if low < -1e-3 or high > 1 + 1e-3:
        yield error(
            "probabilities_expected",
            low if low < 0 else high,
            0.0 if low < 0 else 1.0,
            "probabilities are from 0 to 1",
            f"{facts.loss_name} takes probabilities, but the predictions go from {low:.3g} to {high:.3g}: they are "
            "logits.",
            "Use the loss of logits, pn.losses.softmax_cross_entropy or sigmoid_cross_entropy, or end in a softmax or "
            "a sigmoid.",
        )
    elif "categorical" in facts.loss_name and SUM_ERROR < float(facts.survey.sum_error) < _INF:
        yield warning(
            "probabilities_expected",
            facts.survey.sum_error,
            SUM_ERROR,
            "probabilities of classes sum to 1",
            f"{facts.loss_name} takes probabilities of classes, but the predictions do not sum to 1.",
            "End in pn.softmax, not in a sigmoid, or use pn.losses.softmax_cross_entropy of logits.",
        )


def _logits(facts: Facts) -> Iterator[Finding]:
    if not facts.of_logits:
        return
    last, predictions = name_in(facts.survey.units.last), facts.survey.predictions[0]
    softmax = "softmax" in facts.loss_name
    sums = softmax and float(facts.survey.sum_error) < 1e-3 and float(predictions.lowest) >= 0
    if last == "softmax" or sums or (not softmax and last == "sigmoid"):
        yield warning(
            "probabilities_as_logits",
            facts.survey.sum_error,
            1e-3,
            "logits sum to anything",
            f"{facts.loss_name} takes logits, but the predictions are probabilities: they are squashed twice, the loss "
            "cannot become small, and gradients are weak.",
            f"Leave the last layer, {last or 'the softmax'}, out.",
            facts.survey.units.last,
        )
    elif last in _HIDDEN:
        yield warning(
            "missing_output_layer",
            predictions.lowest,
            _INF,
            "logits are unbounded on both sides",
            f"The network ends in {last}, and {facts.loss_name} takes logits: is the output layer missing?",
            f"Put pn.dense({facts.classes_seen or '…'}) behind it.",
            facts.survey.units.last,
        )
    elif softmax and facts.labels is not None and facts.labels.size >= 10 * facts.classes:
        seen = facts.classes_seen
        if seen > 1 and facts.classes >= FEW_CLASSES * seen:
            yield warning(
                "missing_output_layer",
                facts.classes / seen,
                FEW_CLASSES,
                "as many outputs as classes; the factor is purenet's",
                f"The network has {facts.classes} outputs, and the labels only {seen} classes: is the output layer "
                "missing?",
                f"End in pn.dense({seen}).",
            )


def _reach(facts: Facts) -> Iterator[Finding]:
    last = name_in(facts.survey.units.last)
    if not facts.of_numbers or last not in _RANGES or len(facts.survey.ys) != 1:
        return
    low, high = _RANGES[last]
    targets = facts.survey.ys[0]
    slack = 0.1 * float(targets.deviation)
    lowest, highest = float(targets.lowest), float(targets.highest)
    if lowest < low - slack or highest > high + slack:
        yield error(
            "output_out_of_reach",
            lowest if lowest < low - slack else highest,
            low if lowest < low - slack else high,
            f"what {last} can give",
            f"The network ends in {last}, which gives numbers from {low:g} to {high:g}, but the targets go from "
            f"{lowest:.3g} to {highest:.3g}.",
            "End in pn.dense, without an activation, or scale the targets into its range.",
            facts.survey.units.last,
        )
