"""Weights to and from PyTorch and Flax, as dictionaries of arrays; neither library is needed for it."""

from purenet.convert.flaxes import from_flax, to_flax
from purenet.convert.pytorch import from_torch, to_torch

__all__ = ["from_flax", "from_torch", "to_flax", "to_torch"]
