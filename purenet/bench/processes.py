"""New processes of this Python: scripts, and peers with the problem that they are handed."""

import contextlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from purenet.bench.peers import Peer, find_folder, find_root, write_problem
from purenet.bench.problems import Problem

# A process that takes longer than this has no place among turns.
_PATIENCE = 600


def run_process(command: Sequence[str]) -> str:
    """Runs a command to its end, purenet importable and memory of an accelerator shared.

    Args:
      command: the program and its arguments.

    Returns:
      The last line of what it printed, or "".

    Raises:
      RuntimeError: with the last line of its errors, if it fails.
    """
    paths = [str(find_root()), os.environ.get("PYTHONPATH", "")]
    surroundings = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        # This process holds the accelerator too: the new one takes no more of its memory than it needs.
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
        "JAX_ENABLE_COMPILATION_CACHE": "false",  # as here
    }
    done = subprocess.run(command, capture_output=True, text=True, env=surroundings, timeout=_PATIENCE, check=False)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        raise RuntimeError(lines[-1])
    return (done.stdout.strip().splitlines() or [""])[-1]


@contextlib.contextmanager
def problem_file(problem: Problem) -> Iterator[pathlib.Path]:
    """Writes a problem for the processes to read.

    Args:
      problem: from `make_problem`.

    Yields:
      The path of the file, which is gone afterwards.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "problem.npz"
        write_problem(problem, path)
        yield path


def peer_process(peer: Peer, name: str, path: pathlib.Path, seconds: float) -> Callable[[], dict[str, Any]]:
    """Makes a call that runs one contender of a peer in a new process.

    Args:
      peer: whose file offers the contender.
      name: the contender's.
      path: of the problem.
      seconds: for how long it trains, again and again; 0 trains once, and measures nothing.

    Returns:
      The call. It gives what the process told of itself.
    """
    command = [sys.executable, str(find_folder() / "worker.py"), peer.file, name, str(path), str(seconds)]

    def call() -> dict[str, Any]:
        told: dict[str, Any] = json.loads(run_process(command))
        return told

    return call
