"""Reading a file of other people's making, record by record. Pure but for the reading.

A file is JSON Lines, or one JSON document: a list of records, an object that holds such a list, or a single record.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

LISTS = ("results", "conversations", "memories", "data")
"""Where a document that is an object keeps its records."""
LOOKED_AT = 50
"""Lines, or records, by which a file is told from another kind."""


@dataclass(frozen=True)
class Problem:
    """What is wrong with a record: where it stands, and in which of its fields ('' for all of it)."""

    place: str
    field: str
    message: str

    def __str__(self) -> str:
        return f"{self.place}: {self.field}: {self.message}" if self.field else f"{self.place}: {self.message}"


@dataclass(frozen=True)
class Record:
    """One record as it stands in the file. `place` is `line 3` or a path such as `[3]`."""

    place: str
    value: dict[str, Any]


def records_of(path: Path) -> Iterator[Record | Problem]:
    """The records of a file, one after the other; what cannot be read is a problem. Raises OSError."""
    return _lines(path) if is_lines(path) else _document(path)


def is_lines(path: Path) -> bool:
    """Whether each line of the file is an object by itself. Raises OSError."""
    with path.open("rb") as file:
        written = list(islice((line for line in file if line.strip()), LOOKED_AT))
    return not _is_list_alone(written) and any(_is_object(line) for line in written)


def samples(path: Path) -> list[dict[str, Any]]:
    """The first records that can be read. Raises OSError."""
    return [one.value for one in islice(records_of(path), LOOKED_AT) if isinstance(one, Record)]


def _lines(path: Path) -> Iterator[Record | Problem]:
    with path.open("rb") as file:
        for number, raw in enumerate(file, start=1):
            if raw.strip():
                yield _parsed(raw, f"line {number}")


def _document(path: Path) -> Iterator[Record | Problem]:
    whole = _parsed(path.read_bytes(), "the file", lists=True)
    if isinstance(whole, Problem):
        yield whole
        return
    value: Any = whole.value
    name = ""
    if isinstance(value, dict):
        name = next((one for one in LISTS if isinstance(value.get(one), list)), "")
        value = value[name] if name else [value]
    for number, one in enumerate(value):
        place = f"{name}[{number}]" if name or len(value) > 1 or whole.value is value else "the file"
        if isinstance(one, dict):
            yield Record(place, one)
        else:
            yield Problem(place, "", "A record is a JSON object.")


def _parsed(raw: bytes, place: str, *, lists: bool = False) -> Record | Problem:
    try:
        value = json.loads(raw)
    except UnicodeDecodeError as error:
        return Problem(place, "", f"This is not UTF-8 (byte {error.start}).")
    except json.JSONDecodeError as error:
        return Problem(place, "", f"This is not JSON: {error.msg} (line {error.lineno}, column {error.colno}).")
    except (RecursionError, ValueError):
        # Nested too deep, or an integer of thousands of digits.
        return Problem(place, "", "This is not JSON that can be read.")
    if isinstance(value, dict) or (lists and isinstance(value, list)):
        return Record(place, value)  # type: ignore[arg-type]
    return Problem(place, "", "A record is a JSON object.")


def _is_list_alone(written: list[bytes]) -> bool:
    """Whether the file is one line, and that an object around a list of records."""
    whole = _parsed(written[0], "") if len(written) == 1 else None
    return isinstance(whole, Record) and any(isinstance(whole.value.get(name), list) for name in LISTS)


def _is_object(line: bytes) -> bool:
    return line.lstrip()[:1] == b"{" and isinstance(_parsed(line, ""), Record)
