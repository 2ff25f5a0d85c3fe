"""The server on this machine, and the real MNIST where there is one."""

import os
from pathlib import Path

import pytest
from data.idx_samples import Server


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server = Server()
    yield server
    server.close()


@pytest.fixture
def closed_url(monkeypatch):
    """An address at which nothing listens any more."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server = Server()
    server.close()
    return server.url


@pytest.fixture
def real_mnist():
    if not os.environ.get("PURENET_DATA"):
        pytest.skip("PURENET_DATA is not set: it names the folder whose subfolder mnist holds the four files")
    return Path(os.environ["PURENET_DATA"]) / "mnist"
