"""What all tests of losses share."""

import pytest


@pytest.fixture(autouse=True)
def _quick(quick_compilation):
    """Every program runs once."""
