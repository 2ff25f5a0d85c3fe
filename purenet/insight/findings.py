"""What a diagnosis is: findings, each with its number, its threshold and a remedy, and all that was measured."""

import dataclasses
import math
from typing import Any, NamedTuple

from purenet.insight.showing import paragraph_html, table_html

SEVERITIES = ("error", "warning", "note")

# From the deepest cause to the symptom: what stands further up explains what stands below, so it is read first.
CAUSES = (
    "data_not_finite",
    "params_not_finite",
    "labels_shifted",
    "labels_out_of_range",
    "labels_constant",
    "targets_constant",
    "batch_norm_on_one",
    "probabilities_expected",
    "probabilities_as_logits",
    "loss_not_finite",
    "inputs_constant",
    "inputs_unscaled",
    "inputs_off_centre",
    "targets_unscaled",
    "labels_misaligned",
    "leaked_validation",
    "zero_init",
    "symmetric_units",
    "missing_output_layer",
    "output_out_of_reach",
    "dead_units",
    "saturated_units",
    "vanishing_gradients",
    "exploding_gradients",
    "frozen_layer",
    "unused_params",
    "no_updates",
    "rate_too_high",
    "rate_too_low",
    "initial_loss",
    "labels_imbalanced",
    "diverging",
    "plateau",
    "overfitting",
    "cannot_overfit_batch",
    "labels_look_random",
    "batch_small",
    "batch_large",
)


class Finding(NamedTuple):
    """One thing that is wrong, or worth knowing.

    Attributes:
      name: a short word that stays the same, such as "dead_units", for tests and scripts.
      severity: "error" if training cannot work like this, "warning" if it will suffer, "note" if it is worth knowing.
      where: the layer's place, such as `serial[1].relu`; empty if it is about no layer.
      number: what was measured.
      threshold: the number from which it is found.
      source: where the threshold comes from.
      message: what it means, in plain words.
      remedy: what to try.
    """

    name: str
    severity: str
    where: str
    number: float
    threshold: float
    source: str
    message: str
    remedy: str

    def __str__(self) -> str:
        place = f" at {self.where}" if self.where else ""
        return (
            f"{self.severity}: {self.name}{place}\n  {self.message}\n"
            f"  measured {_number(self.number)}, threshold {_number(self.threshold)} ({self.source})\n"
            f"  remedy: {self.remedy}"
        )


@dataclasses.dataclass(frozen=True)
class Diagnosis:
    """What `diagnose` gives: `print` shows it in plain words; it is true if nothing alarming was found.

    Attributes:
      findings: the deepest cause first, notes last.
      measurements: all numbers measured, by name, whether they led to a finding or not.
      unjudged: what it was not told and so could not judge, with the argument that tells it.

    Example:
      >>> import purenet as pn
      >>> diagnosis = pn.Diagnosis((), {"loss": 0.5})
      >>> print(diagnosis)
      diagnose: nothing alarming found.
      >>> diagnosis.healthy
      True
    """

    findings: tuple[Finding, ...]
    measurements: dict[str, Any]
    unjudged: tuple[str, ...] = ()

    @property
    def alarms(self) -> tuple[Finding, ...]:
        """The errors and warnings."""
        return tuple(finding for finding in self.findings if finding.severity != "note")

    @property
    def healthy(self) -> bool:
        """Whether there is neither an error nor a warning."""
        return not self.alarms

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all findings, in their order."""
        return tuple(finding.name for finding in self.findings)

    def __bool__(self) -> bool:
        return self.healthy

    def __str__(self) -> str:
        last = [f"not judged: {', '.join(self.unjudged)}."] if self.unjudged else []
        return "\n".join([f"diagnose: {self._summary()}", *map(str, self.findings), *last])

    def __repr__(self) -> str:
        return f"Diagnosis({', '.join(self.names) or 'healthy'})"

    def _repr_html_(self) -> str:
        """The report for notebooks."""
        head = ("", "finding", "measured", "threshold", "remedy")
        return paragraph_html(f"diagnose: {self._summary()}") + table_html(head, list(map(_row, self.findings)))

    def _summary(self) -> str:
        if self.healthy:
            return "nothing alarming found."
        count = len(self.alarms)
        return f"{count} alarm{'s' if count > 1 else ''}, the deepest cause first."


def in_order(findings: list[Finding]) -> tuple[Finding, ...]:
    """Sorts findings: alarms before notes, causes before symptoms."""
    return tuple(sorted(findings, key=lambda one: (one.severity == "note", CAUSES.index(one.name))))


def _row(finding: Finding) -> tuple[str, ...]:
    return (
        finding.severity,
        f"{finding.name} {finding.where}: {finding.message}",
        _number(finding.number),
        f"{_number(finding.threshold)} ({finding.source})",
        finding.remedy,
    )


def _number(value: float) -> str:
    return str(value) if not math.isfinite(value) else f"{value:.4g}"
