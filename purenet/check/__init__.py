"""The laws that layers, losses, optimizers and gradients obey, for anyone's tests.

`layer`, `loss`, `optimizer` and `grad` each return a `CheckReport` or raise a `CheckError` that names law, leaf,
coordinate, both numbers and the likely reason. Hypothesis strategies stand in `purenet.check.strategies`, which imports
Hypothesis and is imported by name.
"""

from purenet.check.of_functions import grad
from purenet.check.of_layers import layer
from purenet.check.of_losses import loss
from purenet.check.of_optimizers import optimizer
from purenet.check.reports import CheckError, CheckReport, Failure, LawResult

__all__ = ["CheckError", "CheckReport", "Failure", "LawResult", "grad", "layer", "loss", "optimizer"]
