"""purenet: training a neural network is one pure function.

Begin with `serial`, `dense` and `fit`; `help` explains every name, with shapes, errors and an example.

Networks: `dense`, `flatten`, `reshape`, `dropout`, activations such as `relu`; `serial`, `residual`, `each`, `repeat`,
`branch` and `parallel` combine, `graph` wires `node`s in any topology, `add`, `multiply` and `concatenate` make one
of several; `remat` trades time for memory.
Normalisation: `batch_norm`, `layer_norm`, `rms_norm`, `group_norm`, `instance_norm`; of kernels `weight_norm`,
`spectral_norm`.
Space: `conv`, `depthwise_conv`, `separable_conv`, `conv_transpose`; `max_pool`, `avg_pool`, `global_max_pool`,
`global_avg_pool`, `upsample`; pieces: `maxout`.
Noise beside `dropout`: `channel_dropout`, `drop_path`, `gaussian_noise`, `gaussian_dropout`, `alpha_dropout`.
Sequences: `embedding`, `unembed`, `sinusoidal_positions`, `learned_positions`, `rotary`, `attention`,
`transformer_block`.
Recurrences: `rnn`, `lstm`, `gru`; `bidirectional` and `stacked` combine them.
`layer` makes your own, `spec` describes one example, `Layer` is the contract.
Gradients: `value_and_grad` by JAX, `backprop` by the hand-derived rules, `per_example_grad`.
Training: `train_state`, `train_step`, `train` (pure), `fit` and `evaluate` (on the host), `steps_per_epoch`; any optax
optimizer, and what optax lacks in `optim`. `reduce_on_plateau` is a callback of `fit`.
Descent on any function: `descend`.
What a function costs: `flops` counts floating-point operations without running it, as `Flops`.
What a network is made of: `summary` as a table, `graphviz` and `plot.network` as a drawing.
Weights to and from PyTorch and Flax: `convert`.
Trust: `check` proves gradients, yours too; `trace` follows any function number by number and finds the first NaN,
`explain` a network by its formulas; `diagnose` and `watch` say why a network does not learn.
Families: `losses`, `metrics`, `optim`, `data`, `convert`, `check`, `plot`. Random orders without sorting: `shuffle`,
`shuffle_numpy`.
"""

from purenet import check, convert, data, losses, metrics, optim, plot
from purenet.compose.beside import branch, parallel
from purenet.compose.chain import serial
from purenet.compose.fan import residual
from purenet.compose.graphs import graph
from purenet.compose.mapped import each
from purenet.compose.merging import add, concatenate, multiply
from purenet.compose.recomputed import remat
from purenet.compose.recurrences import bidirectional, stacked
from purenet.compose.repeated import repeat
from purenet.compose.reweighted import weight_norm
from purenet.compose.separable import separable_conv
from purenet.compose.spectral import spectral_norm
from purenet.compose.transformers import transformer_block
from purenet.contract import Layer, layer, spec
from purenet.descending import Descent, descend
from purenet.drawing import graphviz
from purenet.driving import DivergedError, EpochEnd, FitResult
from purenet.errors import ShapeError, StructureError
from purenet.evaluation import evaluate
from purenet.fitting import fit
from purenet.flop_counting import flops
from purenet.flop_rules import Flops
from purenet.gradients import backprop, per_example_grad, value_and_grad
from purenet.insight.alarms import BadValue
from purenet.insight.diagnosing import diagnose
from purenet.insight.explaining import Explanation, explain
from purenet.insight.findings import Diagnosis, Finding
from purenet.insight.listening import ExplainRow
from purenet.insight.tracing import Trace, TraceRow, trace
from purenet.insight.watching import Watch, watch
from purenet.layers.activations import hard_sigmoid, hard_tanh, relu, relu6, step
from purenet.layers.attending import attention
from purenet.layers.batchwise import batch_norm
from purenet.layers.centred import layer_norm, rms_norm
from purenet.layers.conv_transposing import conv_transpose
from purenet.layers.convolving import conv, depthwise_conv
from purenet.layers.embeddings import embedding, unembed
from purenet.layers.gated import gelu, gelu_tanh, mish, silu, swish
from purenet.layers.gaussian import alpha_dropout, gaussian_dropout, gaussian_noise
from purenet.layers.global_pooling import global_avg_pool, global_max_pool
from purenet.layers.grouped import group_norm, instance_norm
from purenet.layers.leaky import celu, elu, leaky_relu, selu
from purenet.layers.linear import dense
from purenet.layers.noise import channel_dropout, drop_path, dropout
from purenet.layers.normalised import log_softmax, softmax
from purenet.layers.pieces import maxout
from purenet.layers.pooling import avg_pool, max_pool
from purenet.layers.positions import learned_positions, rotary, sinusoidal_positions
from purenet.layers.recurring import gru, lstm, rnn
from purenet.layers.shape import flatten, reshape
from purenet.layers.smooth import log_sigmoid, sigmoid, soft_sign, softplus, tanh
from purenet.layers.upsampling import upsample
from purenet.nodes import Node, node
from purenet.plateau import reduce_on_plateau
from purenet.shuffling import shuffle, shuffle_numpy
from purenet.snapshots import Snapshot
from purenet.summaries import Summary, SummaryRow, summary
from purenet.training import steps_per_epoch, train, train_state, train_step
from purenet.updates import TrainState

__version__ = "0.1.0"

__all__ = [
    "BadValue",
    "Descent",
    "Diagnosis",
    "DivergedError",
    "EpochEnd",
    "ExplainRow",
    "Explanation",
    "Finding",
    "FitResult",
    "Flops",
    "Layer",
    "Node",
    "ShapeError",
    "Snapshot",
    "StructureError",
    "Summary",
    "SummaryRow",
    "Trace",
    "TraceRow",
    "TrainState",
    "Watch",
    "add",
    "alpha_dropout",
    "attention",
    "avg_pool",
    "backprop",
    "batch_norm",
    "bidirectional",
    "branch",
    "celu",
    "channel_dropout",
    "check",
    "concatenate",
    "conv",
    "conv_transpose",
    "convert",
    "data",
    "dense",
    "depthwise_conv",
    "descend",
    "diagnose",
    "drop_path",
    "dropout",
    "each",
    "elu",
    "embedding",
    "evaluate",
    "explain",
    "fit",
    "flatten",
    "flops",
    "gaussian_dropout",
    "gaussian_noise",
    "gelu",
    "gelu_tanh",
    "global_avg_pool",
    "global_max_pool",
    "graph",
    "graphviz",
    "group_norm",
    "gru",
    "hard_sigmoid",
    "hard_tanh",
    "instance_norm",
    "layer",
    "layer_norm",
    "leaky_relu",
    "learned_positions",
    "log_sigmoid",
    "log_softmax",
    "losses",
    "lstm",
    "max_pool",
    "maxout",
    "metrics",
    "mish",
    "multiply",
    "node",
    "optim",
    "parallel",
    "per_example_grad",
    "plot",
    "reduce_on_plateau",
    "relu",
    "relu6",
    "remat",
    "repeat",
    "reshape",
    "residual",
    "rms_norm",
    "rnn",
    "rotary",
    "selu",
    "separable_conv",
    "serial",
    "shuffle",
    "shuffle_numpy",
    "sigmoid",
    "silu",
    "sinusoidal_positions",
    "soft_sign",
    "softmax",
    "softplus",
    "spec",
    "spectral_norm",
    "stacked",
    "step",
    "steps_per_epoch",
    "summary",
    "swish",
    "tanh",
    "trace",
    "train",
    "train_state",
    "train_step",
    "transformer_block",
    "unembed",
    "upsample",
    "value_and_grad",
    "watch",
    "weight_norm",
]
