"""What all comparisons with other libraries share."""

import jax
import pytest


@pytest.fixture(autouse=True, scope="package")
def _quick_compilation():
    """Every comparison compiles once and runs once: compiling without optimisations takes a third of the time."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)
