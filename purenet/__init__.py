"""purenet: training a neural network is one pure function.

Begin with `serial`, `dense` and `fit`; `help` explains every name, with shapes, errors and an example.

Networks: `dense`, `flatten`, `reshape`, `dropout`, activations such as `relu`; `serial`, `residual` and `each` combine;
`layer` makes your own, `spec` describes one example, `Layer` is the contract.
Gradients: `value_and_grad` by JAX, `backprop` by the hand-derived rules, `per_example_grad`.
Training: `train_state`, `train_step`, `train` (pure), `fit` and `evaluate` (on the host), `steps_per_epoch`.
What a function costs: `flops` counts floating-point operations without running it, as `Flops`.
Families: `losses`, `metrics`, `data`. Random orders without sorting: `shuffle`, `shuffle_numpy`.
"""

from purenet import data, losses, metrics
from purenet.compose.chain import serial
from purenet.compose.fan import residual
from purenet.compose.mapped import each
from purenet.contract import Layer, layer, spec
from purenet.driving import DivergedError, EpochEnd, FitResult
from purenet.errors import ShapeError, StructureError
from purenet.evaluation import evaluate
from purenet.fitting import fit
from purenet.flop_counting import flops
from purenet.flop_rules import Flops
from purenet.gradients import backprop, per_example_grad, value_and_grad
from purenet.layers.activations import hard_sigmoid, hard_tanh, relu, relu6, step
from purenet.layers.gated import gelu, gelu_tanh, mish, silu, swish
from purenet.layers.leaky import celu, elu, leaky_relu, selu
from purenet.layers.linear import dense
from purenet.layers.noise import dropout
from purenet.layers.normalised import log_softmax, softmax
from purenet.layers.shape import flatten, reshape
from purenet.layers.smooth import log_sigmoid, sigmoid, soft_sign, softplus, tanh
from purenet.shuffling import shuffle, shuffle_numpy
from purenet.training import steps_per_epoch, train, train_state, train_step
from purenet.updates import TrainState

__version__ = "0.1.0"

__all__ = [
    "DivergedError",
    "EpochEnd",
    "FitResult",
    "Flops",
    "Layer",
    "ShapeError",
    "StructureError",
    "TrainState",
    "backprop",
    "celu",
    "data",
    "dense",
    "dropout",
    "each",
    "elu",
    "evaluate",
    "fit",
    "flatten",
    "flops",
    "gelu",
    "gelu_tanh",
    "hard_sigmoid",
    "hard_tanh",
    "layer",
    "leaky_relu",
    "log_sigmoid",
    "log_softmax",
    "losses",
    "metrics",
    "mish",
    "per_example_grad",
    "relu",
    "relu6",
    "reshape",
    "residual",
    "selu",
    "serial",
    "shuffle",
    "shuffle_numpy",
    "sigmoid",
    "silu",
    "soft_sign",
    "softmax",
    "softplus",
    "spec",
    "step",
    "steps_per_epoch",
    "swish",
    "tanh",
    "train",
    "train_state",
    "train_step",
    "value_and_grad",
]
