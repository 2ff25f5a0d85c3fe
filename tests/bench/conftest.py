"""What all tests of the bench share."""

import pytest


@pytest.fixture(autouse=True)
def _quick(quick_compilation):
    """Programs of the bench run once or twice here: nothing is timed."""
