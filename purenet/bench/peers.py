"""Which peers there are, where their files lie, and the problem that is handed to all of them."""

import importlib.util
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

import purenet
from purenet.bench.problems import RATE, Problem, weights_of
from purenet.errors import ShapeError
from purenet.updates import order_of_epoch

INSTALL = 'pip install -e ".[peers]"'


class Peer(NamedTuple):
    """A library, or JAX by hand, as the repository's folder `bench/peers` trains with it.

    Attributes:
      module: what has to be importable.
      file: in that folder, without `.py`.
      contenders: what the file offers, by its `CONTENDERS`.
    """

    module: str
    file: str
    contenders: tuple[str, ...]


OURS = Peer("purenet", "with_purenet", ("pn.train", "pn.fit"))
PEERS = {
    "keras": Peer("keras", "with_keras", ("Keras fit", "Keras fit, steps_per_execution=128")),
    "flax": Peer("flax", "with_flax", ("Flax NNX", "Flax NNX, jit_partial")),
    "equinox": Peer("equinox", "with_equinox", ("Equinox", "Equinox, flattened")),
    "torch": Peer("torch", "with_torch", ("PyTorch", "PyTorch, torch.compile", "PyTorch, torch.compile of torch.func")),
    "sklearn": Peer("sklearn", "with_sklearn", ("scikit-learn",)),
    "jax": Peer("jax", "with_jax", ("JAX, jit per step", "JAX, scan by hand")),
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
    weights: dict[str, np.ndarray] = {}
    for i, (kernel, bias) in enumerate(weights_of(problem)):
        weights |= {f"kernel{i}": np.asarray(kernel), f"bias{i}": np.asarray(bias)}
    np.savez(
        path,
        allow_pickle=False,
        xs=np.asarray(problem.data.xs),
        ys=np.asarray(problem.data.ys),
        order=np.concatenate(orders).reshape(-1, plan.size),
        activation="tanh" if case.widths[-1] == 1 else "relu",
        loss=problem.loss.name,
        rate=RATE,
        epochs=case.epochs,
        seed=0,
        **weights,
    )
