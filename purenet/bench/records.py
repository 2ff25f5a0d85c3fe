"""The JSON file of a run: written by `--json`, read by whoever compares."""

import dataclasses
import datetime
import json
import pathlib
from collections.abc import Sequence
from typing import Any

from purenet.bench.canaries import Canary
from purenet.bench.machine import Machine
from purenet.bench.peaks import Peak, Peaks
from purenet.bench.rows import SCHEMA, Comparison, Rates, Row


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
    machine: Machine,
    canaries: Sequence[Canary],
    peaks: Peaks | None,
    rows: Sequence[Row],
    *,
    quick: bool,
    finished: bool,
    seconds: float,
) -> dict[str, Any]:
    """Puts together what the file holds.

    Args:
      machine: where it ran.
      canaries: how they came out.
      peaks: the measured limits; None if it did not come to that.
      rows: the results; times in seconds.
      quick: whether it was a quick run.
      finished: whether it went to its end.
      seconds: how long it took.

    Returns:
      A dict that JSON can hold.
    """
    return {
        "schema": SCHEMA,
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "quick": quick,
        "finished": finished,
        "seconds": round(seconds, 1),
        "machine": machine._asdict(),
        "canaries": [{**canary._asdict(), "alive": canary.alive} for canary in canaries],
        "peaks": None if peaks is None else _as_dict(peaks),
        "rows": [dataclasses.asdict(row) for row in rows],
    }


def _as_dict(peaks: Peaks) -> dict[str, Any]:
    return {**peaks._asdict(), "matmul": {name: peak._asdict() for name, peak in peaks.matmul.items()}}


def write_record(path: str, record: dict[str, Any]) -> None:
    """Writes a record.

    Args:
      path: of the JSON file.
      record: from `make_record`.

    Raises:
      OSError: if it cannot be written.
    """
    text = json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False)
    part = pathlib.Path(f"{path}.part")  # so that an earlier file is whole until this one is
    part.write_text(text + "\n", encoding="utf-8")
    part.replace(path)


def peaks_of_record(record: dict[str, Any]) -> Peaks | None:
    """Gives the measured limits of a record.

    Args:
      record: from `read_record`.

    Returns:
      The limits, or None if the run did not come to them.
    """
    if record.get("peaks") is None:
        return None
    matmul = {name: Peak(**fields) for name, fields in record["peaks"]["matmul"].items()}
    return Peaks(**{**record["peaks"], "matmul": matmul})


def read_record(path: str) -> dict[str, Any]:
    """Reads a record back.

    Args:
      path: of the JSON file.

    Returns:
      The record; its rows are those of `rows_of_record`.

    Raises:
      OSError: if the file cannot be read.
      ValueError: if it is not JSON, or not a record of this schema.
    """
    remedy = "Write one with --json."
    try:
        record = json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
    except ValueError as error:  # neither UTF-8 nor JSON
        raise ValueError(f"{path}: expected JSON, got something else ({error}). {remedy}") from None
    if not isinstance(record, dict) or record.get("schema") != SCHEMA:
        raise ValueError(f"{path}: expected a record of schema {SCHEMA} of purenet.bench. {remedy}")
    try:
        rows_of_record(record)
        record["date"], record["quick"], dict(record["machine"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path}: expected a whole record of purenet.bench, got one with a part missing or wrong "
            f"({type(error).__name__}: {error}). {remedy}"
        ) from None
    return record


def rows_of_record(record: dict[str, Any]) -> list[Row]:
    """Gives the rows of a record.

    Args:
      record: from `read_record`.

    Returns:
      The rows, as they were written.
    """
    return [_row(fields) for fields in record["rows"]]


def _row(fields: dict[str, Any]) -> Row:
    comparison = fields["comparison"] and Comparison(**fields["comparison"])
    rates = fields.get("rates") and Rates(**fields["rates"])
    return Row(**{**fields, "seconds": tuple(fields["seconds"]), "comparison": comparison, "rates": rates})
