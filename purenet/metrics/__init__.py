"""Metrics: sums over mini-batches, finished at the end, so that they are exact over an epoch."""

from purenet.metrics.base import Metric as Metric
from purenet.metrics.base import as_metric as as_metric
from purenet.metrics.base import metric as metric
from purenet.metrics.classes import accuracy as accuracy
from purenet.metrics.classes import confusion_matrix as confusion_matrix
from purenet.metrics.classes import top_k as top_k
from purenet.metrics.decisions import binary_accuracy as binary_accuracy
from purenet.metrics.decisions import f1 as f1
from purenet.metrics.decisions import precision as precision
from purenet.metrics.decisions import recall as recall
from purenet.metrics.regression import r2 as r2
