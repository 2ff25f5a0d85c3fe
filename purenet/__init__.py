"""purenet: training a neural network is one pure function."""

from purenet import losses as losses
from purenet.compose.chain import serial as serial
from purenet.compose.fan import residual as residual
from purenet.compose.mapped import each as each
from purenet.contract import Layer as Layer
from purenet.contract import layer as layer
from purenet.contract import spec as spec
from purenet.layers.activations import relu as relu
from purenet.layers.activations import tanh as tanh
from purenet.layers.dense import dense as dense
from purenet.layers.shape import flatten as flatten
from purenet.layers.shape import reshape as reshape
