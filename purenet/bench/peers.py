"""Which peers there are, where their files lie, and the problem that is handed to all of them."""

import importlib.util
import pathlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

import purenet
from purenet.bench.problems import RATE, Problem
from purenet.errors import ShapeError
from purenet.updates import order_of_epoch

INSTALL = 'pip install -e ".[peers]"'


class Peer(NamedTuple):
    """A library, or JAX by hand, as the repository's folder `bench/peers` trains with it.

    Attributes:
      module: what has to be importable.
      file: in that folder, without `.py`.
      contenders: what the file offers, by its `CONTENDERS`.
      kinds: the networks that it trains, by `Problem.kind`, each with the contenders that take part.
    """

    module: str
    file: str
    contenders: tuple[str, ...]
    kinds: Mapping[str, tuple[str, ...]]


def _peer(module: str, file: str, *contenders: str, **kinds: tuple[str, ...]) -> Peer:
    return Peer(module, file, contenders, {"mlp": contenders, **kinds})


_OURS = ("pn.train", "pn.fit")
_KERAS = ("Keras fit", "Keras fit, steps_per_execution=128")
_FLAX = ("Flax NNX", "Flax NNX, jit_partial")
_TORCH = ("PyTorch", "PyTorch, torch.compile", "PyTorch, torch.compile of torch.func")
OURS = _peer("purenet", "with_purenet", *_OURS, cnn=_OURS, lstm=_OURS, transformer=_OURS)
PEERS = {
    "keras": _peer("keras", "with_keras", *_KERAS, cnn=_KERAS[:1], lstm=_KERAS[:1]),
    "flax": _peer("flax", "with_flax", *_FLAX, cnn=_FLAX, lstm=_FLAX),
    "equinox": _peer("equinox", "with_equinox", "Equinox", "Equinox, flattened"),
    "torch": _peer("torch", "with_torch", *_TORCH, cnn=_TORCH[:1], lstm=_TORCH[:1], transformer=_TORCH[:2]),
    "sklearn": _peer("sklearn", "with_sklearn", "scikit-learn"),
    "jax": _peer("jax", "with_jax", "JAX, jit per step", "JAX, scan by hand"),
}


def find_root() -> pathlib.Path:
    """Gives the folder in which the package lies.

    Returns:
      The folder: the repository's, unless the package was installed without it.
    """
    return pathlib.Path(purenet.__file__).parents[1]


def find_folder() -> pathlib.Path:
    """Finds the repository's folder of peers, beside the package.

    Returns:
      The folder.

    Raises:
      ShapeError: if the package was installed without the repository.
    """
    folder = find_root() / "bench" / "peers"
    if not (folder / "worker.py").is_file():
        raise ShapeError(
            f"expected the peers' files in {folder}, got none: they are not part of the installed package. "
            f"Clone the repository and install it with {INSTALL}."
        )
    return folder


def absent(names: Sequence[str]) -> list[str]:
    """Names the peers that are not installed.

    Args:
      names: keys of `PEERS`.

    Returns:
      Those of them that cannot be imported.
    """
    return [name for name in names if importlib.util.find_spec(PEERS[name].module) is None]


def write_problem(problem: Problem, path: pathlib.Path) -> None:
    """Writes what every peer is handed: data, their order, first weights and constants.

    Args:
      problem: from `make_problem`.
      path: of the file, for `numpy.load`.
    """
    plan, case = problem.plan, problem.case
    orders = [np.asarray(order_of_epoch(plan, problem.start.key, epoch * plan.steps)) for epoch in range(case.epochs)]
    weights = {
        f"weight_{i}_{j}": np.asarray(array) for i, layer in enumerate(problem.weights) for j, array in enumerate(layer)
    }
    np.savez(
        path,
        allow_pickle=False,
        xs=np.asarray(problem.data.xs),
        ys=np.asarray(problem.data.ys),
        order=np.concatenate(orders).reshape(-1, plan.size),
        kind=problem.kind,
        activation="tanh" if problem.loss_name == "half_squared_error" else "relu",
        loss=problem.loss_name,
        rate=RATE,
        epochs=case.epochs,
        seed=0,
        **weights,
    )
