"""Judges of the run: loss at the start, learning rate, mini-batch size, and the course of the losses."""

import math
from collections.abc import Iterator

import numpy as np

from purenet.insight.facts import Facts, error, note, warning
from purenet.insight.findings import Finding

_KARPATHY = "Karpathy (2019), A recipe for training neural networks"
_CATAPULT = "Lewkowycz et al. (2020), The large learning rate phase of deep learning: up to 12/λ may still settle"
_RATIO = "Karpathy (2016), CS231n, neural networks part 3: about 1e-3 is usual"
_MCCANDLISH = "McCandlish et al. (2018), An empirical model of large-batch training; the factor is purenet's"
TOO_LONG = 6.0  # times 2/λ
BLIND = 12.0  # the same where no update was tried
RISE = 3.0
TOO_SHORT = 1e-6
NOISE = 20.0
UPHILL = -0.99


def judge_start(facts: Facts) -> Iterator[Finding]:
    """Compares the first loss with that of guessing, ln C."""
    if facts.step or not (facts.of_logits or "cross_entropy" in facts.loss_name):
        return
    binary = "sigmoid" in facts.loss_name or "binary" in facts.loss_name
    classes = 2 if binary else facts.classes
    if classes < 2:
        return
    guessing = math.log(classes)
    limit = 2 * guessing + 3
    if float(facts.survey.loss) > limit:
        yield warning(
            "initial_loss",
            facts.survey.loss,
            limit,
            f"{_KARPATHY}: verify loss at init; ln {classes} = {guessing:.3g}, the margin is purenet's",
            f"The first loss is {float(facts.survey.loss):.3g}, that of guessing {guessing:.3g}: the network is "
            "sure of wrong answers before it has learned.",
            "Use smaller weights in the last layer, and scale the inputs.",
        )


def judge_rate(facts: Facts) -> Iterator[Finding]:
    """Looks at the next update: what it does to its own mini-batch's loss, and how long it is."""
    leaves, survey = facts.survey.leaves, facts.survey
    known = not np.any(np.isnan(leaves.update_norm)) and leaves.update_norm.size > 0
    long = facts.rate * facts.sharpness / 2
    if known:
        before, after = float(survey.batch_loss), float(survey.loss_after)
        size = max(abs(before), abs(float(survey.uninformed)))
        if float(survey.descent) < UPHILL and after > before:
            yield error(
                "rate_too_high",
                float(survey.descent),
                UPHILL,
                "minus the cosine between gradient and update, 1 for plain descent",
                f"One update goes up the gradient, and takes the loss of its own mini-batch from {before:.3g} "
                f"to {after:.3g}: a sign is wrong.",
                "Look for a negative learning rate, or for a scale of the updates without its minus.",
            )
            return
        steep = float(survey.descent) > 0.999 and long > TOO_LONG and not after < before
        if steep:
            yield _too_high(long, TOO_LONG, facts, f", and takes the loss of its own mini-batch to {after:.3g}")
        elif after != before and not after < before + RISE * size:
            yield error(
                "rate_too_high",
                after,
                before + RISE * size,
                "a step should lower the loss of its own mini-batch; the limit is purenet's",
                f"One update takes the loss of its own mini-batch from {before:.3g} to {after:.3g}: the rate is "
                "far too high.",
                "Try a learning rate 10 to 100 times smaller, or a warm-up.",
            )
        yield from _short(facts)
    elif long > BLIND and not facts.adaptive:
        yield _too_high(long, BLIND, facts, "")


def _too_high(long: float, limit: float, facts: Facts, more: str) -> Finding:
    return error(
        "rate_too_high",
        long,
        limit,
        f"{_CATAPULT}; Cohen et al. (2021), Gradient descent at the edge of stability",
        f"The step is {long:.3g} times 2/λ, with the largest curvature λ = {facts.sharpness:.3g}{more}: it diverges.",
        f"Try a learning rate around {2 / facts.sharpness:.2g} (now {facts.rate:.2g}), or a warm-up.",
    )


def _short(facts: Facts) -> Iterator[Finding]:
    leaves, weights = facts.survey.leaves, facts.weights
    update, norm = (float(np.linalg.norm(a[weights])) for a in (leaves.update_norm, leaves.norm))
    if not np.any(leaves.update_norm > 0):
        if np.any(leaves.grad_norm > 0) and not facts.accumulates:
            make = warning if facts.step and not facts.fits else note
            yield make(
                "no_updates",
                0,
                0,
                "an update of exactly 0",
                "The optimizer moves no parameter at this step.",
                "Look at the learning rate's schedule: the first step of a warm-up from 0 looks like this, too.",
            )
    elif norm > 0 and 0 < update / norm < TOO_SHORT and (facts.step == 0 or not facts.fits):
        yield warning(
            "rate_too_low",
            update / norm,
            TOO_SHORT,
            _RATIO,
            f"An update changes the weights by {update / norm:.2g} of their size: it would take a million of them.",
            "Try a learning rate 100 to 1000 times larger.",
        )


def judge_noise(facts: Facts) -> Iterator[Finding]:
    """Compares the mini-batch with the gradient's noise scale."""
    noise = facts.survey.noise
    if noise is None or not math.isfinite(noise.scale) or noise.scale <= 0:
        return
    if noise.scale > NOISE * facts.batch_size and facts.batch_size < facts.n:
        yield note(
            "batch_small",
            noise.scale,
            NOISE * facts.batch_size,
            _MCCANDLISH,
            f"A gradient's noise scale is {noise.scale:.3g} examples, a mini-batch is {facts.batch_size}: most of an "
            "update is noise.",
            "A larger batch_size would bring more progress per update, at a higher rate.",
        )
    elif facts.batch_size > NOISE * noise.scale:
        yield note(
            "batch_large",
            facts.batch_size,
            NOISE * noise.scale,
            _MCCANDLISH,
            f"A gradient's noise scale is {noise.scale:.3g} examples, a mini-batch is {facts.batch_size}: most of its "
            "examples say what the others say.",
            "A smaller batch_size would bring the same progress per update for less work.",
        )


def judge_course(facts: Facts) -> Iterator[Finding]:
    """Reads the history: does the loss fall, and the validation loss with it?"""
    losses = np.asarray(facts.history.get("loss", ()), np.float64)
    steps = np.asarray(facts.history.get("step_loss", ()), np.float64)
    diverging = list(_diverging(steps if len(steps) else losses))
    yield from diverging
    chance = float(facts.survey.loss) > 0.9 * float(facts.survey.uninformed) > 0
    if not diverging and len(losses) >= 5 and losses[0] - losses[-1] < 0.01 * abs(losses[0]) and chance:
        yield warning(
            "plateau",
            (losses[0] - losses[-1]) / abs(losses[0]),
            0.01,
            f"{_KARPATHY}; the limit is purenet's",
            f"In {len(losses)} epochs the loss went from {losses[0]:.4g} to {losses[-1]:.4g}, and predictions fit "
            "other examples' targets as well as their own: nothing is learned.",
            "Look at the other findings; try memorisation=True, which asks whether it can learn one mini-batch.",
        )
    yield from _overfitting(losses, np.asarray(facts.history.get("val_loss", ()), np.float64))


def _diverging(losses: np.ndarray) -> Iterator[Finding]:
    if len(losses) < 10 and np.all(np.isfinite(losses)):
        return
    tenth = max(1, len(losses) // 10)
    first, last = float(np.mean(losses[:tenth])), float(np.mean(losses[-tenth:]))
    if not np.all(np.isfinite(losses)) or (first > 0 and last > 5 * first):
        yield error(
            "diverging",
            last,
            5 * first,
            "a loss that grows; the factor is purenet's",
            f"The loss went from {first:.3g} up to {last:.3g}.",
            "Try a learning rate 10 times smaller, or optax.clip_by_global_norm(1.0) in front of the optimizer.",
        )


def _overfitting(losses: np.ndarray, validation: np.ndarray) -> Iterator[Finding]:
    if len(validation) < 5 or len(validation) != len(losses) or not np.all(np.isfinite(validation)):
        return
    best = int(np.argmin(validation))
    loss = (validation[-1] - validation[best]) / max(abs(validation[best]), 1e-12)
    if (
        len(validation) - best > 3
        and np.min(validation[-3:]) > 1.1 * validation[best] > 0
        and losses[-1] < losses[best]
    ):
        yield warning(
            "overfitting",
            loss,
            0.1,
            "Prechelt (1998), Early stopping - but when?, the generalisation loss; the limit is purenet's",
            f"The validation loss was lowest, {validation[best]:.4g}, after epoch {best + 1}; it is {100 * loss:.3g} % "
            "above it, while the training loss still falls.",
            "Stop early (patience=…), add data, augmentation, weight decay or dropout, or take a smaller network.",
        )
