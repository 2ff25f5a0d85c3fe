"""Losses of one example, each with its gradient derived by hand."""

from purenet.losses.base import Loss as Loss
from purenet.losses.base import loss as loss
from purenet.losses.regression import half_squared_error as half_squared_error
