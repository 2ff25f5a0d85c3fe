"""Metrics: sums over mini-batches, finished at the end, so that they are exact over an epoch."""

from purenet.metrics.base import Metric, as_metric, metric
from purenet.metrics.classes import accuracy, confusion_matrix, top_k
from purenet.metrics.decisions import binary_accuracy, f1, precision, recall
from purenet.metrics.regression import r2

__all__ = [
    "Metric",
    "accuracy",
    "as_metric",
    "binary_accuracy",
    "confusion_matrix",
    "f1",
    "metric",
    "precision",
    "r2",
    "recall",
    "top_k",
]
