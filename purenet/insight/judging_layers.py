"""Judges of the layers: initialisation, units, gradients, and layers that do not learn."""

import math
from collections.abc import Iterator

import numpy as np

from purenet.insight.facts import Facts, error, note, warning
from purenet.insight.findings import Finding
from purenet.insight.places import layers_in

_DEFINITION = "by definition"
_GLOROT = "Glorot and Bengio (2010), Understanding the difficulty of training deep feedforward networks"
_SYMMETRY = "Goodfellow, Bengio and Courville (2016), Deep Learning, 8.4: initialisation has to break symmetry"
DEAD, SATURATED, VANISHING, EXPLODING = 0.5, 0.9, 1e-5, 1e3


def judge_params(facts: Facts) -> Iterator[Finding]:
    """Looks for parameters that are not finite."""
    for number in np.flatnonzero(~facts.survey.leaves.finite)[:1]:
        place = facts.places[number]
        yield error(
            "params_not_finite",
            float("nan"),
            math.inf,
            _DEFINITION,
            f"There are NaN or infinite numbers in the parameters, at {place.path}{place.leaf}.",
            "The run diverged before: go on from the last finite state, with a lower learning rate.",
            place.path,
        )


def judge_batch_norm(facts: Facts) -> Iterator[Finding]:
    """Looks for batch normalisation that gets a single example."""
    where = next((path for path, part in layers_in(facts.net) if part.name == "batch_norm"), "")
    size, rest = facts.batch_size, facts.n % facts.batch_size
    if where and 1 in (size, rest):
        which = "Mini-batches are" if size == 1 else f"The last mini-batch of {facts.n} examples is"
        yield error(
            "batch_norm_on_one",
            1,
            2,
            "a variance needs two examples",
            f"{which} of one example, which batch normalisation turns into its offset.",
            "Choose another batch_size, or use pn.group_norm or pn.layer_norm.",
            where,
        )


def judge_initialisation(facts: Facts) -> Iterator[Finding]:
    """Looks for weights that are all 0, and for units that are all alike."""
    leaves, weights = facts.survey.leaves, facts.weights
    zero = [number for number in weights if leaves.norm[number] == 0]
    stuck = all(leaves.grad_norm[number] == 0 for number in weights)
    if zero and stuck and len(weights) > 1:
        yield error(
            "zero_init",
            len(zero),
            0,
            _SYMMETRY,
            f"{len(zero)} of {len(weights)} weight arrays are all 0 and no weight has a gradient: nothing will ever "
            "move but the last bias.",
            "Draw the weights, for example with jax.nn.initializers.glorot_uniform(), the default of pn.dense.",
            facts.places[zero[0]].path,
        )
        return
    alike = [number for number in weights if leaves.alike[number]]
    if alike:
        name = "zero_init" if leaves.norm[alike[0]] == 0 else "symmetric_units"
        yield error(
            name,
            len(alike),
            0,
            _SYMMETRY,
            f"All units of {facts.places[alike[0]].path} have the same weights and the same gradients: they remain one "
            "unit for ever.",
            "Draw the weights, for example with jax.nn.initializers.glorot_uniform(), the default of pn.dense.",
            facts.places[alike[0]].path,
        )


def judge_units(facts: Facts) -> Iterator[Finding]:
    """Looks for dead and saturated units; in a network that fits its data they are only noted."""
    units = facts.survey.units
    found = []
    for path, dead, saturated in zip(units.paths, units.dead, units.saturated, strict=True):
        if path == units.last:
            continue
        if dead == 1 or (dead > DEAD and facts.looked_at >= 32):
            make = error if dead == 1 else note if facts.fits else warning
            found.append(
                make(
                    "dead_units",
                    dead,
                    DEAD,
                    "Karpathy (2016), CS231n, neural networks part 1: up to 40 % may die of a high rate",
                    f"{100 * dead:.3g} % of the units are off for all {facts.looked_at} examples: no gradient.",
                    "Lower the learning rate, look at biases and the inputs' scale, or use pn.leaky_relu() or pn.gelu.",
                    path,
                )
            )
        if saturated > SATURATED:
            make = note if facts.fits else warning
            found.append(
                make(
                    "saturated_units",
                    saturated,
                    SATURATED,
                    f"{_GLOROT}, 3; saturated is a slope below 1/20 of the largest, the limit is purenet's",
                    f"{100 * saturated:.3g} % of the outputs are at the flat ends, where gradients die.",
                    "Use smaller weights (glorot_uniform), scaled inputs, a normalisation in front, or pn.relu.",
                    path,
                )
            )
    yield from found


def _relative(facts: Facts, numbers: list[int]) -> np.ndarray:
    leaves = facts.survey.leaves
    relative: np.ndarray = leaves.grad_norm[numbers].astype(np.float64) / leaves.norm[numbers]
    return relative


def judge_gradients(facts: Facts) -> Iterator[Finding]:
    """Compares the layers' gradients, each relative to its weights."""
    leaves = facts.survey.leaves
    numbers = [number for number in facts.weights if leaves.norm[number] > 0 and leaves.grad_norm[number] > 0]
    if not numbers:
        return
    relative = _relative(facts, numbers)
    weakest, strongest = int(np.argmin(relative)), int(np.argmax(relative))
    ratio = float(relative[weakest] / relative[strongest])
    if ratio < VANISHING and len(numbers) > 2:
        yield warning(
            "vanishing_gradients",
            ratio,
            VANISHING,
            f"{_GLOROT}, 4; the limit is purenet's",
            f"Relative to the weights, the gradient at {facts.places[numbers[weakest]].path} is {ratio:.2g} times that "
            f"at {facts.places[numbers[strongest]].path}: the one hardly learns.",
            "Use pn.relu or pn.gelu with he_normal() weights, normalisations, and residual connections.",
            facts.places[numbers[weakest]].path,
        )
    if relative[strongest] > EXPLODING:
        yield warning(
            "exploding_gradients",
            relative[strongest],
            EXPLODING,
            "Pascanu, Mikolov and Bengio (2013), On the difficulty of training recurrent neural networks; the limit is "
            "purenet's",
            f"The gradient at {facts.places[numbers[strongest]].path} is {relative[strongest]:.3g} times its weights.",
            "Use smaller weights, normalisations, and optax.clip_by_global_norm(1.0) in front of the optimizer.",
            facts.places[numbers[strongest]].path,
        )


def judge_frozen(facts: Facts) -> Iterator[Finding]:
    """Looks for layers that the loss does not reach, or that the optimizer leaves as they are."""
    leaves = facts.survey.leaves
    for path, depends in facts.blocked.items():
        if depends:
            yield warning(
                "frozen_layer",
                0,
                0,
                "a gradient of exactly 0",
                "The loss depends on this layer, but its gradient is exactly 0: something in between blocks it.",
                "Look for stop_gradient, argmax, rounding or a step between it and the loss.",
                path,
            )
        else:
            yield warning(
                "unused_params",
                0,
                0,
                "a gradient of exactly 0",
                "The loss does not depend on this layer: its parameters are carried along for nothing.",
                "Connect its output, or leave it out.",
                path,
            )
    moved = leaves.update_norm > 0
    # what is that much weaker than the strongest is lost in rounding, and said elsewhere
    lost = VANISHING * np.max(leaves.grad_norm, initial=0)
    if not np.any(moved):
        return
    for path, numbers in facts.layers.items():
        if not np.any(moved[numbers]) and np.any(leaves.grad_norm[numbers] > lost):
            yield warning(
                "frozen_layer",
                0,
                0,
                "an update of exactly 0",
                "This layer has a gradient, but the optimizer does not move it.",
                "If that is not intended, look at optax.masked, multi_transform or set_to_zero in the optimizer.",
                path,
            )
