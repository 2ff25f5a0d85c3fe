"""What all tests share: doctests' imports, and clean trace counts."""

import gc
import pathlib

import chex
import jax
import numpy as np
import pytest

MAPS = pathlib.Path("/proc/self/maps")


@pytest.fixture(autouse=True, scope="module")
def _room_for_programs():
    """Forgets compiled programs before a process has too many: each takes memory maps, of which Linux allows 65,530."""
    yield
    if MAPS.exists() and MAPS.read_bytes().count(b"\n") > 20_000:
        jax.clear_caches()
        gc.collect()


@pytest.fixture(autouse=True)
def _fresh_trace_counts():
    """chex counts traces by source line, across parametrised tests."""
    chex.clear_trace_counter()


@pytest.fixture
def x64():
    """Float64 for a test."""
    with jax.enable_x64(True):
        yield


@pytest.fixture
def key():
    """A random key."""
    return jax.random.key(0)


@pytest.fixture
def rng():
    """A NumPy generator."""
    return np.random.default_rng(0)


@pytest.fixture(scope="module")
def quick_compilation():
    """For programs that run a few times: compiling without most optimisations takes a third to half of the time."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)
