"""What the command line asks for, checked before anything runs."""

import argparse
import os
import pathlib
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax

from purenet.bench.contests import Settings, Suite
from purenet.bench.peers import INSTALL, PEERS, absent, find_folder
from purenet.bench.records import expect_writable, read_record

DTYPES = ("float32", "bfloat16", "float64")  # float16 would need its loss scaled


class Options(NamedTuple):
    """What the command line asks for.

    Attributes:
      suites: names, in the order to run them.
      settings: what every suite is told.
      json: the file for the results, or None.
      compare: the record of an earlier run, or None.
      device: number of JAX's device.
      profile: a folder for profiles, or None.
      list: whether to list the suites and end.
    """

    suites: tuple[str, ...]
    settings: Settings = Settings()
    json: str | None = None
    compare: dict[str, Any] | None = None
    device: int = 0
    profile: str | None = None
    list: bool = False


def parse(arguments: Sequence[str] | None, suites: Mapping[str, Suite]) -> Options:
    """Reads the command line; exits with 2 and a message if it cannot be followed.

    Args:
      arguments: those after `python -m purenet.bench`; None takes the process's.
      suites: those there are.

    Returns:
      The options.
    """
    parser = _parser(suites)
    told = parser.parse_args(arguments)
    if told.list:
        return Options((), list=True)
    for name in told.suites:
        if name not in suites:
            parser.error(f"there is no suite {name!r}. Choose from: {', '.join(suites)}.")
    _expect_device(parser, told.device)
    peers = _peers(parser, told)
    for path, expect, what in (
        (told.json, expect_writable, "--json a file"),
        (told.profile, _expect_folder, "--profile a folder"),
    ):
        try:
            if path is not None:
                expect(path)
        except OSError as error:
            parser.error(f"cannot write to {path}: {error.strerror}. Give {what} in a folder that exists.")
    return Options(
        suites=tuple(dict.fromkeys(told.suites)) or tuple(suites),
        settings=Settings(told.quick, told.dtype, peers),
        json=told.json,
        compare=_earlier(parser, told.compare),
        device=told.device,
        profile=told.profile,
    )


def _parser(suites: Mapping[str, Suite]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m purenet.bench",
        description="Measures training on this machine. Times are medians of rounds in which the contenders take "
        "turns; the range is that from the fastest to the slowest; a ratio is a median divided by that of the "
        "contest's first row, and its middle half is that of the ratios within the rounds. The limit is the "
        "least time that the peaks measured in the same run allow.",
        epilog=f"Suites: {', '.join(suites)}.",
    )
    parser.add_argument("suites", nargs="*", metavar="suite", help="what to run; all if none is named")
    parser.add_argument("--quick", action="store_true", help="fewer rounds and shorter runs: noisier")
    parser.add_argument(
        "--peers",
        metavar="NAMES",
        help=f"race against all, or some of: {','.join(PEERS)}; in train-…, conv, recurrent, attention and startup",
    )
    parser.add_argument("--json", metavar="FILE", help="write everything measured to this file")
    parser.add_argument("--compare", metavar="OLD.json", help="say what has changed since that run")
    parser.add_argument("--device", metavar="N", type=int, default=0, help="JAX's device number N; 0 if not given")
    parser.add_argument("--dtype", choices=DTYPES, help="type of weights and data, instead of each suite's own")
    parser.add_argument("--profile", metavar="DIR", help="write a profile of one more call of each contender")
    parser.add_argument("--list", action="store_true", help="list the suites and end")
    return parser


def _expect_device(parser: argparse.ArgumentParser, number: int) -> None:
    try:
        devices = jax.devices()
    except (RuntimeError, AssertionError) as error:  # the second, without a word, where the platform has no plugin
        asked = os.environ.get("JAX_PLATFORMS", "")
        reason = (str(error).splitlines() or [f"JAX_PLATFORMS asks for {asked!r} alone"])[0].rstrip(".")
        remedy = "Unset JAX_PLATFORMS to run on what there is, or install its plugin."
        parser.error(f"JAX finds no device: {reason}. {remedy}")
    if not 0 <= number < len(devices):
        there = ", ".join(f"{i}: {device.device_kind}" for i, device in enumerate(devices))
        parser.error(f"there is no device {number}. JAX sees {there}.")


def _peers(parser: argparse.ArgumentParser, told: argparse.Namespace) -> tuple[str, ...]:
    if told.peers is None:
        return ()
    names = tuple(PEERS) if told.peers == "all" else tuple(dict.fromkeys(told.peers.split(",")))
    for name in names:
        if name not in PEERS:
            parser.error(f"there is no peer {name!r}. Choose all, or from: {', '.join(PEERS)}.")
    if told.dtype not in (None, "float32"):
        parser.error(f"peers train in float32, not in {told.dtype}. Leave one of --peers and --dtype out.")
    if told.device != 0:
        parser.error("peers run on the first device. Choose which one that is by CUDA_VISIBLE_DEVICES.")
    try:
        find_folder()
    except ValueError as error:
        parser.error(str(error))
    missing = absent(names)
    for name in missing:
        print(f"peer {name} is not installed here and left out. Get it with {INSTALL}, in an environment of its own.")
    return tuple(name for name in names if name not in missing)


def _earlier(parser: argparse.ArgumentParser, path: str | None) -> dict[str, Any] | None:
    if path is None:
        return None
    try:
        return read_record(path)
    except OSError as error:
        parser.error(f"cannot read {path}: {error.strerror}. Give --compare a file written by --json.")
    except ValueError as error:
        parser.error(str(error))


def _expect_folder(path: str) -> None:
    """Makes the folder if its parent is there, and tries to write into it."""
    pathlib.Path(path).mkdir(exist_ok=True)
    with tempfile.TemporaryFile(dir=path):
        pass
