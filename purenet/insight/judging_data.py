"""Judges of the data: inputs, targets, labels, and what validation shares with training."""

from collections.abc import Iterator

import numpy as np

from purenet.insight.facts import Facts, error, warning
from purenet.insight.findings import Finding
from purenet.insight.places import layers_in

_LECUN = "LeCun, Bottou, Orr and Müller (1998), Efficient BackProp, 4.3: mean 0 and variance 1; the factor is purenet's"
_DEFINITION = "by definition"
LARGE, TINY, OFF_CENTRE = 10.0, 0.01, 20.0
IMBALANCED = 0.9
SKILL, NO_SKILL = 8.0, 2.0
LEAKED = 0.01


def judge_data(facts: Facts) -> Iterator[Finding]:
    """Looks at inputs and targets."""
    survey = facts.survey
    if not all(bool(spread.finite) for spread in (*survey.xs, *survey.ys)):
        what = "inputs" if not all(bool(spread.finite) for spread in survey.xs) else "targets"
        yield error(
            "data_not_finite",
            float("nan"),
            0.0,
            _DEFINITION,
            f"There are NaN or infinite numbers among the {what}; everything computed from them is NaN.",
            "Find them with np.isfinite, and drop or fill these examples; pn.data.check_data says which leaf it is.",
        )
        return
    yield from _inputs(facts)
    yield from _targets(facts)
    if facts.labels is not None and facts.labels.size:
        yield from _labels(facts, facts.labels)
    yield from _leak(facts)


def _inputs(facts: Facts) -> Iterator[Finding]:
    xs = facts.survey.xs
    only_floats = len(xs) == facts.inputs
    if facts.looked_at >= 8 and xs and only_floats and all(float(spread.deviation) == 0 for spread in xs):
        yield error(
            "inputs_constant",
            0.0,
            0.0,
            _DEFINITION,
            "All examples looked at have the same input, so that no network can tell them apart.",
            "Look at how the inputs are read and cut into examples.",
        )
        return
    first = next((part.name for _, part in layers_in(facts.net) if not part.parts), "")
    if "norm" in first:
        return
    for spread in xs:
        rms, largest = float(spread.rms), float(spread.largest)
        if rms > LARGE or (0 < largest < TINY):
            threshold = LARGE if rms > LARGE else TINY
            yield warning(
                "inputs_unscaled",
                rms if rms > LARGE else largest,
                threshold,
                _LECUN,
                f"The inputs are of size {rms:.3g} (root mean square), far from 1; the first layer's outputs and "
                "gradients are scaled likewise.",
                "Standardise them, such as (x - mean) / std of the training data; images of 0..255: x / 255.",
            )
        elif float(spread.off_centre) > OFF_CENTRE and float(spread.deviation) > 0:
            yield warning(
                "inputs_off_centre",
                float(spread.off_centre),
                OFF_CENTRE,
                _LECUN,
                "The inputs' means are many times their deviations: what differs between examples drowns in what "
                "they share.",
                "Subtract each feature's mean and divide by its deviation.",
            )


def _targets(facts: Facts) -> Iterator[Finding]:
    for spread in facts.survey.ys:
        if not facts.of_numbers:
            return
        if facts.looked_at >= 8 and float(spread.deviation) == 0:
            yield error(
                "targets_constant",
                0.0,
                0.0,
                _DEFINITION,
                "All targets looked at are the same: there is nothing to learn but a constant.",
                "Look at how the targets are read.",
            )
            return
        predicted = max((float(one.rms) for one in facts.survey.predictions), default=float("inf"))
        if float(spread.rms) > LARGE and predicted < 0.1 * float(spread.rms):
            yield warning(
                "targets_unscaled",
                float(spread.rms),
                LARGE,
                _LECUN,
                f"The targets are of size {float(spread.rms):.3g} and the predictions of size {predicted:.3g}: the "
                "network first has to learn the unit, with gradients that are as large.",
                "Standardise the targets by mean and deviation of the training data, and undo it on predictions.",
            )


def _labels(facts: Facts, labels: np.ndarray) -> Iterator[Finding]:
    low, high = int(labels.min()), int(labels.max())
    classes = facts.classes
    if classes and (facts.of_logits or facts.of_probabilities) and (low < 0 or high >= classes):
        if low == 1 and high == classes:
            yield error(
                "labels_shifted",
                high,
                classes - 1,
                f"labels of {classes} classes are 0 to {classes - 1}",
                f"The labels go from 1 to {classes}: they are shifted by one, and the last class has no output.",
                "Subtract 1 from the labels.",
            )
        else:
            yield error(
                "labels_out_of_range",
                high if high >= classes else low,
                classes - 1,
                f"labels of {classes} classes are 0 to {classes - 1}",
                f"The labels go from {low} to {high}, but the network has {classes} outputs; the loss is NaN.",
                "Give the last layer as many outputs as there are classes, or drop the wrong labels.",
            )
        return
    share = float(np.max(np.bincount(labels - low)) / labels.size)
    if share == 1.0 and labels.size >= 8:
        yield error(
            "labels_constant",
            share,
            1.0,
            _DEFINITION,
            f"Every label is {low}: there is nothing to learn.",
            "Look at how the labels are read; a sorted file cut off too early looks like this.",
        )
    elif share > IMBALANCED and labels.size >= 50:
        yield warning(
            "labels_imbalanced",
            share,
            IMBALANCED,
            "He and Garcia (2009), Learning from imbalanced data; the limit is purenet's",
            f"{100 * share:.3g} % of the labels are of one class: a network that always says so is right as often.",
            "Weight the examples (xs, ys, weights), draw the rare ones more often, and watch F1 or recall per class.",
        )
    yield from _alignment(facts)


def _alignment(facts: Facts) -> Iterator[Finding]:
    if not facts.shifts:
        return
    best = max((1, -1), key=lambda shift: facts.shifts[shift])
    if facts.shifts[0] < NO_SKILL and facts.shifts[best] > SKILL:
        yield error(
            "labels_misaligned",
            facts.shifts[best],
            SKILL,
            "class means told by other examples, in standard deviations above chance; the limit is purenet's",
            f"The labels say nothing about the inputs beside them, but much about those one place "
            f"{'before' if best > 0 else 'after'}: inputs and labels are shifted by one against each other.",
            "Look at how inputs and labels are read and joined, a header line or a dropped first row for example.",
        )


def _leak(facts: Facts) -> Iterator[Finding]:
    if facts.leaked is None:
        return
    share, own = facts.leaked
    if share > LEAKED and share > 3 * own:
        yield warning(
            "leaked_validation",
            share,
            LEAKED,
            "Barz and Denzler (2020), Do we train on test data?; the limit is purenet's",
            f"{100 * share:.3g} % of the validation examples looked at are in the training data too: the validation "
            "loss flatters.",
            "Drop duplicates before splitting; pn.data.split makes parts that share no example.",
        )
