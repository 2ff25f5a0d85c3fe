"""The laws hold under stricter rules than users live with: no rank or dtype is promoted silently."""

import jax
import pytest


@pytest.fixture(autouse=True)
def _strict(quick_compilation):
    with jax.numpy_rank_promotion("raise"), jax.numpy_dtype_promotion("strict"):
        yield
