"""Errors in tests: the whole message, and nothing but the message (JAX and purenet add notes behind it)."""

from contextlib import contextmanager

import pytest


@contextmanager
def refuses(kind, message):
    """Asserts that what is inside raises this kind of error with exactly this message."""
    with pytest.raises(kind) as caught:
        yield
    assert str(caught.value) == message
