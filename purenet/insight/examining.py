"""The examination: draws examples, runs the measuring programs, and lets the judges read the numbers."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from purenet.contract import Layer
from purenet.errors import expect_kept
from purenet.gradients import Batch, as_batch
from purenet.insight.alignment import SHIFTS
from purenet.insight.blocking import blocked_layers
from purenet.insight.facts import Facts
from purenet.insight.findings import Diagnosis, Finding, in_order
from purenet.insight.judging_data import judge_data
from purenet.insight.judging_layers import (
    DEAD,
    VANISHING,
    judge_batch_norm,
    judge_frozen,
    judge_gradients,
    judge_initialisation,
    judge_params,
    judge_units,
)
from purenet.insight.judging_outputs import judge_outputs
from purenet.insight.judging_training import judge_course, judge_noise, judge_rate, judge_start
from purenet.insight.leaks import shares_found
from purenet.insight.measurements import numbers_of
from purenet.insight.memorising import SUBSET, judge_memory, memorise
from purenet.insight.places import Place, layers_in, places_of
from purenet.insight.sampling import Sample, draw_sample, labels_of
from purenet.insight.sharpness import CURVED, STEPS, adam_of, make_sharpness
from purenet.insight.surveying import Survey, make_survey
from purenet.losses.base import Loss
from purenet.optimizers import rates_in_force, states_with
from purenet.streams import generator_of
from purenet.updates import TrainState

_LOOKED_AT, _AT_MOST, _LOOKED_UP = 256, 1024, 256


class Asked(NamedTuple):
    """What is to be examined, and how thoroughly; see `diagnose`."""

    net: Layer
    loss: Loss
    optimizer: Any
    data: Batch
    validation: Batch | None
    size: int
    sharpness: bool
    spectrum: int
    memorisation: bool


def checked_data(data: Any) -> Batch:
    """Takes `(xs, ys)` or `(xs, ys, weights)` as `as_batch` does, but copies nothing."""
    if not isinstance(data, (tuple, list)) or len(data) not in (2, 3):
        return as_batch(data)
    shapes = [np.shape(leaf) if hasattr(leaf, "dtype") else () for leaf in jax.tree.leaves(tuple(data))]
    if () in shapes or len({shape[0] for shape in shapes}) != 1 or shapes[0][0] == 0:
        return as_batch(data)
    for leaf in jax.tree.leaves(tuple(data)):
        expect_kept(leaf)
    xs, ys, weights = (*data, None)[:3]
    plain = hasattr(weights, "dtype") and jnp.issubdtype(weights.dtype, jnp.floating) and weights.ndim == 1
    return Batch(xs, ys, weights) if weights is None or plain else as_batch(data)


def examine(asked: Asked, state: TrainState, history: Mapping[str, Any], key: Any) -> Diagnosis:
    """Measures and judges."""
    generator = generator_of(key)
    count = min(asked.data.size, _AT_MOST, max(_LOOKED_AT, asked.size))
    sample = draw_sample(asked.data, count, generator)
    pairs = any(part.name == "batch_norm" for _, part in layers_in(asked.net))
    if pairs and sample.examples.size < 2:
        return Diagnosis(tuple(judge_batch_norm(_alone(asked))), {})
    size = min(sample.examples.size, max(asked.size, 1 + pairs))
    program = make_survey(asked.net, asked.loss, asked.optimizer, size, pairs)
    scaled = _is_scaled(state)
    running = program(state, sample.examples, sample.order)
    curved = _eigenvalues(asked, state, sample, STEPS, scaled) if asked.sharpness else np.zeros(0)  # runs meanwhile
    survey, places = _on_host(running), places_of(asked.net, state.params)
    eigenvalues = np.asarray(curved)
    plain = float(eigenvalues[-1]) if eigenvalues.size and not scaled else float("nan")
    facts = _facts(asked, state, sample, survey, places, plain, history)
    if asked.validation is not None:
        leaked = shares_found(asked.data.xs, asked.validation.xs, _LOOKED_UP, generator)
        facts = facts._replace(leaked=leaked)
    facts = facts._replace(blocked=_blocked(asked, state, sample, facts))
    findings, numbers = judge(facts), numbers_of(facts)
    if eigenvalues.size and scaled:
        numbers["preconditioned_sharpness"] = float(eigenvalues[-1])
    if facts.finite:
        findings += _more(asked, state, sample, float(survey.uninformed), numbers)
    return Diagnosis(in_order(findings), numbers, _unjudged(asked, history))


def _unjudged(asked: Asked, history: Mapping[str, Any]) -> tuple[str, ...]:
    untold = {
        "the learning rate and the updates (optimizer=)": asked.optimizer is None,
        "the validation data (validation=)": asked.validation is None,
        "the course of the losses (history=)": not history,
    }
    return tuple(what for what, is_untold in untold.items() if is_untold)


def _more(asked: Asked, state: TrainState, sample: Sample, uninformed: float, numbers: dict[str, Any]) -> list[Finding]:
    """What takes long and is done when asked for: adds to the numbers, and gives what it finds."""
    if asked.spectrum:
        wide = np.asarray(_eigenvalues(asked, state, sample, 3 * asked.spectrum + 10, False, exact=True))
        numbers["spectrum"] = wide[::-1][: asked.spectrum].tolist()
    if not asked.memorisation:
        return []
    memory = memorise(asked.net, asked.loss, state, sample.some(SUBSET))
    numbers["memorisation"] = memory._asdict()
    return judge_memory(memory, uninformed)


def judge(facts: Facts) -> list[Finding]:
    """Lets all judges read the facts; what is not finite is said first and alone, as it makes all else NaN."""
    broken = [*judge_data(facts), *judge_params(facts)]
    if any(finding.name in ("data_not_finite", "params_not_finite") for finding in broken):
        return [*broken, *judge_course(facts)]
    judges = [judge_batch_norm, judge_outputs, judge_course]
    if facts.finite:
        judges += [
            judge_initialisation,
            judge_units,
            judge_gradients,
            judge_frozen,
            judge_start,
            judge_rate,
            judge_noise,
        ]
    return broken + [finding for one in judges for finding in one(facts)]


def _facts(
    asked: Asked,
    state: TrainState,
    sample: Sample,
    survey: Survey,
    places: list[Place],
    sharpness: float,
    history: Mapping[str, Any],
) -> Facts:
    ys, outputs = asked.data.ys, survey.units.outputs
    integer = hasattr(ys, "dtype") and jnp.issubdtype(ys.dtype, jnp.integer)
    labelled = integer and len(outputs) == 1 and outputs[0][:-1] == tuple(np.shape(ys)[1:])
    softmax = any(word in asked.loss.name for word in ("softmax", "categorical"))
    classes = outputs[0][-1] if len(outputs) == 1 and outputs[0] and (labelled or softmax) else 0
    return Facts(
        net=asked.net,
        loss_name=asked.loss.name,
        survey=survey,
        places=places,
        step=int(state.step),
        n=asked.data.size,
        inputs=len(jax.tree.leaves(asked.data.xs)),
        looked_at=sample.examples.size,
        batch_size=asked.size,
        labels=labels_of(ys, outputs, asked.loss.name),
        classes=classes,
        shifts={} if survey.shifts is None else dict(zip(SHIFTS, map(float, survey.shifts), strict=True)),
        rate=_rate(state, survey),
        adaptive=adam_of(state) is not None,
        accumulates=bool(states_with(state.opt_state, "mini_step")),
        sharpness=sharpness,
        leaked=None,
        history=dict(history),
        blocked={},
    )


def _on_host(survey: Survey) -> Survey:
    """Fetches the numbers; norms in float64, as their squares may overflow float32."""
    fetched: Survey = jax.device_get(survey)
    norms = {name: getattr(fetched.leaves, name).astype(np.float64) for name in ("norm", "grad_norm", "update_norm")}
    return fetched._replace(leaves=fetched.leaves._replace(**norms))


def _alone(asked: Asked) -> Any:
    """What is known when nothing can be measured."""

    class Known(NamedTuple):
        net: Layer
        batch_size: int
        n: int

    return Known(asked.net, asked.size, asked.data.size)


def _is_scaled(state: TrainState) -> bool:
    adam = adam_of(state)
    return adam is not None and int(adam.count) > 0


def _eigenvalues(asked: Asked, state: TrainState, sample: Sample, steps: int, scaled: bool, exact: bool = False) -> Any:
    """The eigenvalues that Lanczos' iteration finds; none where there are none or JAX cannot differentiate twice."""
    leaves = jax.tree.leaves(state.params)
    floating = all(jnp.issubdtype(leaf.dtype, jnp.floating) for leaf in leaves)
    if not leaves or not floating or len({leaf.dtype for leaf in leaves}) > 1:
        return np.zeros(0)
    steps = min(steps, sum(leaf.size for leaf in leaves))
    program = make_sharpness(asked.net, asked.loss, steps, scaled, exact)
    try:
        return program(state, sample.some(CURVED))
    except (TypeError, NotImplementedError, ValueError):  # a layer of the user's without second derivatives
        return np.zeros(0)


def _rate(state: TrainState, survey: Survey) -> float:
    """The learning rate: that of plain descent read off the update, else what inject_hyperparams keeps."""
    update, grad = np.linalg.norm(survey.leaves.update_norm), np.linalg.norm(survey.leaves.grad_norm)
    if float(survey.descent) > 0.999 and grad > 0:
        return float(update / grad)
    return next(map(float, rates_in_force(state.opt_state)), float("nan"))


def _blocked(asked: Asked, state: TrainState, sample: Sample, facts: Facts) -> dict[str, bool]:
    """Asks about layers without gradient, unless dead units or fading gradients explain them."""
    leaves, weights = facts.survey.leaves, facts.weights
    norms = leaves.grad_norm[[number for number in weights if leaves.grad_norm[number] > 0]]
    fades = norms.size > 1 and float(norms.min()) < VANISHING**0.5 * float(norms.max())
    if not facts.finite or not facts.params_finite or fades or np.any(facts.survey.units.dead > DEAD):
        return {}
    still = any(not np.any(leaves.grad_norm[numbers]) for numbers in facts.layers.values())
    if not still or (weights and not norms.size):  # if nothing has a gradient, that is another illness
        return {}
    return blocked_layers(asked.net, asked.loss, state, sample.some(max(2, asked.size)), facts.places, leaves.grad_norm)
