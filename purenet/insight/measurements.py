"""The measurements of a diagnosis, by name."""

from typing import Any

import numpy as np

from purenet.insight.facts import Facts


def numbers_of(facts: Facts) -> dict[str, Any]:
    """Gives everything measured as plain numbers, by name; what belongs to layers by their places."""
    survey, leaves, units = facts.survey, facts.survey.leaves, facts.survey.units
    numbers: dict[str, Any] = {
        "loss": float(survey.loss),
        "uninformed_loss": float(survey.uninformed),
        "batch_loss": float(survey.batch_loss),
        "loss_after_update": float(survey.loss_after),
        "learning_rate": facts.rate,
        "sharpness": facts.sharpness,
        "stable_rate": 2 / facts.sharpness if facts.sharpness > 0 else float("nan"),
        "noise_scale": float("nan") if survey.noise is None else survey.noise.scale,
        "input_rms": [float(spread.rms) for spread in survey.xs],
        "target_rms": [float(spread.rms) for spread in survey.ys],
        "prediction_rms": [float(spread.rms) for spread in survey.predictions],
        "dead_units": {path: float(dead) for path, dead in zip(units.paths, units.dead, strict=True)},
        "saturated_units": {path: float(share) for path, share in zip(units.paths, units.saturated, strict=True)},
        "gradient_norms": {path: _norm(leaves.grad_norm[at]) for path, at in facts.layers.items()},
        "weight_norms": {path: _norm(leaves.norm[at]) for path, at in facts.layers.items()},
        "update_ratios": {path: _ratio(leaves, at) for path, at in facts.layers.items()},
    }
    if facts.labels is not None and facts.labels.size:
        counts = np.bincount(facts.labels - facts.labels.min())
        numbers["largest_class"] = float(np.max(counts) / facts.labels.size)
    if facts.leaked is not None:
        numbers["leaked_share"] = facts.leaked[0]
    return numbers


def _norm(norms: np.ndarray) -> float:
    return float(np.linalg.norm(norms))


def _ratio(leaves: Any, at: list[int]) -> float:
    norm = _norm(leaves.norm[at])
    return _norm(leaves.update_norm[at]) / norm if norm > 0 else float("nan")
