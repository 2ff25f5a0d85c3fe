"""What all tests of optimizers share."""

import pytest


@pytest.fixture(autouse=True)
def _quick(quick_compilation):
    """Every program runs a few steps."""
