"""The suite `train-wide`: eight wide layers, as wide as the device has room for, against its roofline."""

from collections.abc import Iterator

import jax.numpy as jnp

from purenet.bench.contests import Contest, Settings, Suite
from purenet.bench.machine import chosen_device
from purenet.bench.memory import shrinking
from purenet.bench.problems import Case
from purenet.bench.train_suites import make_contest, products_contest

_LAYERS = 8

# Weights, gradient and Adam's two moments, twice as the run's start is kept, and what XLA wants on top.
_COPIES = 10

# Width and mini-batch. On two CPU cores a step of the wider takes about 0.1 s.
_CPU, _QUICK_CPU = (1_024, 512), (512, 512)
_WIDEST, _LARGEST = 8_192, 8_192
_STEPS = 4


def contests(settings: Settings) -> Iterator[Contest]:
    """Makes the contest by hand, and that against its products, of the greatest width that there is room for.

    Args:
      settings: a quick run makes the first alone, and on a CPU takes half the width.

    Yields:
      One contest after the other.
    """
    for make in (make_contest,) if settings.quick else (make_contest, products_contest):
        yield shrinking(make, fitting_case(settings))._replace(slowness=3)


def fitting_case(settings: Settings) -> Case:
    """Chooses width, mini-batch and dtype for the device.

    Args:
      settings: the dtype, if one was asked for.

    Returns:
      The case.
    """
    device = chosen_device()
    if device.platform == "cpu":
        return _case(*(_QUICK_CPU if settings.quick else _CPU), settings.dtype or "float32")
    dtype = settings.dtype or "bfloat16"
    room = (device.memory_stats() or {}).get("bytes_limit", 2**33) / 2
    width = _WIDEST
    while _LAYERS * width**2 * jnp.dtype(dtype).itemsize * _COPIES > room:
        width //= 2
    return _case(width, min(_LARGEST, 2 * width), dtype)


def _case(width: int, batch: int, dtype: str) -> Case:
    return Case((width,) * (_LAYERS + 1), batch, _STEPS * batch, 1, dtype)


TRAIN_WIDE = Suite("eight wide layers, as wide as there is room for: bfloat16 on accelerators", contests)
