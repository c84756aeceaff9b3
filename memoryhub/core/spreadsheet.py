"""CSV that a spreadsheet opens as what it is: text, never a formula.

Excel, LibreOffice and Google Sheets calculate a cell that begins with `=`, `+`, `-`, `@` (also in their full-width
forms), or with a tab or line break before one. Quoting does not help: it is undone before the cell is looked at. So
such a cell gets an apostrophe before it, as OWASP advises. One that begins with an apostrophe gets another, so that
taking one leading apostrophe away always gives back what was there.
"""

import csv
import io
import re
from collections.abc import Iterable, Sequence

MEDIA_TYPE = "text/csv; charset=utf-8"
MARK = "'"
_NOT_DRAWN = re.compile(
    "[\\s\x00-\x1f\x7f-\xa0\xad\u034f\u061c\u180e\u200b-\u200f\u2028-\u202f\u205f-\u206f\u3000\ufe00-\ufe0f\ufeff]+"
)
_BEGINNINGS = tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20" + MARK)


def neutral(cell: str) -> str:
    """`cell` as it may stand in a CSV file."""
    # A program that trims cells, or leaves out what is not drawn, calculates what stands behind.
    unseen = _NOT_DRAWN.match(cell)
    calculated = cell.startswith(_BEGINNINGS) or (unseen and cell.startswith(_BEGINNINGS, unseen.end()))
    return MARK + cell if calculated else cell


def original(cell: str) -> str:
    """What `neutral` was given."""
    return cell.removeprefix(MARK)


def csv_lines(rows: Iterable[Sequence[str]]) -> str:
    """RFC 4180: CRLF, quotes where they are needed. Every cell is neutral."""
    lines = io.StringIO()
    csv.writer(lines, lineterminator="\r\n").writerows([neutral(cell) for cell in row] for row in rows)
    return lines.getvalue()
