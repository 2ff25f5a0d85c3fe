"""The JSON file of a run: written by `--json`, read by whoever compares."""

import dataclasses
import datetime
import json
import pathlib
from collections.abc import Sequence
from typing import Any

from purenet.bench.canaries import Canary
from purenet.bench.machine import Machine
from purenet.bench.rows import SCHEMA, Comparison, Row


def expect_writable(path: str) -> None:
    """Finds out before the run whether its results can be written, and leaves no file behind.

    Args:
      path: of the JSON file.

    Raises:
      OSError: if they cannot.
    """
    target = pathlib.Path(path)
    existed = target.exists()
    with target.open("a", encoding="utf-8"):
        pass
    if not existed:
        target.unlink()


def make_record(
    machine: Machine, canaries: Sequence[Canary], rows: Sequence[Row], *, quick: bool, finished: bool
) -> dict[str, Any]:
    """Puts together what the file holds.

    Args:
      machine: where it ran.
      canaries: how they came out.
      rows: the results; times in seconds.
      quick: whether it was a quick run.
      finished: whether it went to its end.

    Returns:
      A dict that JSON can hold.
    """
    return {
        "schema": SCHEMA,
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "quick": quick,
        "finished": finished,
        "machine": machine._asdict(),
        "canaries": [{**canary._asdict(), "alive": canary.alive} for canary in canaries],
        "rows": [dataclasses.asdict(row) for row in rows],
    }


def write_record(path: str, record: dict[str, Any]) -> None:
    """Writes a record.

    Args:
      path: of the JSON file.
      record: from `make_record`.

    Raises:
      OSError: if it cannot be written.
    """
    text = json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False)
    pathlib.Path(path).write_text(text + "\n", encoding="utf-8")


def read_rows(path: str) -> list[Row]:
    """Reads the rows of a record back.

    Args:
      path: of the JSON file.

    Returns:
      The rows, as they were written.

    Raises:
      OSError: if the file cannot be read.
      ValueError: if it is not JSON, or of another schema.
    """
    record = json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
    if not isinstance(record, dict) or record.get("schema") != SCHEMA:
        raise ValueError(f"{path}: expected a record of schema {SCHEMA} of purenet.bench. Write it anew with --json.")
    return [_row(fields) for fields in record["rows"]]


def _row(fields: dict[str, Any]) -> Row:
    comparison = fields["comparison"] and Comparison(**fields["comparison"])
    return Row(**{**fields, "seconds": tuple(fields["seconds"]), "comparison": comparison})
