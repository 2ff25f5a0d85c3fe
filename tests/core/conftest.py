"""What all tests of the core share."""

import pytest

# Of these the point is that different programs give the same numbers, and XLA's optimisations are what differs.
AS_USERS_COMPILE = ("test_training", "test_fitting")


@pytest.fixture(autouse=True)
def _quick(request):
    """Most programs run a few times."""
    if not request.path.stem.startswith(AS_USERS_COMPILE):
        request.getfixturevalue("quick_compilation")
