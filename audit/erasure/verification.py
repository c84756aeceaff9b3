"""Looking for what is left of what was erased, by other means than erasing uses.

This reads the catalogue of the database and the tables as they are: it knows no model and no store, so that a table
which nobody thought of is looked into as well. It runs as the role that serves, in the person's workspace, and sees
every row that the hub could show to anybody there.
"""

import json
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from uuid import UUID

from django.db import connection

RETAINED = {
    "audit_entry": "The audit log stays: a pseudonym, ids, codes and numbers, no content (GDPR art. 5(2), 17(3)).",
    "audit_erasure": "This record of the erasure itself.",
    "audit_datarequest": "That it was asked for, when, and what was decided: ids, codes and dates (GDPR art. 5(2)).",
    "audit_requeststep": "Who decided it, and when; without notes.",
    "audit_hold": "That a legal hold was in force, and until when; without notes.",
}
"""Tables that keep ids of what was erased, and why."""
HISTORY = {("facts_facttransition", "superseded_by")}
"""Columns of what stays that may name something erased by its id."""
WORKING = "audit_erasuretrace"
"""Holds what is looked for while an erasure runs; it is emptied afterwards, and looked into by itself."""
LEXEMES = {("search_posting", "lexeme")}
"""Single words, millions of them: found by the ids beside them."""
SHORTEST = 12
"""Characters. A shorter text would be found where it means somebody else."""
BATCH = 5_000
FEW_IDS = 50
TOGETHER = 200
"""Rows that are searched as one text."""


@dataclass(frozen=True)
class Column:
    name: str
    type: str


@dataclass(frozen=True)
class Table:
    name: str
    key: str
    columns: tuple[Column, ...]

    @property
    def uuids(self) -> list[str]:
        return [one.name for one in self.columns if one.type == "uuid"]

    @property
    def texts(self) -> list[str]:
        # Columns that are shorter than anything that is looked for hold codes.
        kinds = ("text", "character varying", "character", "jsonb", "json", "text[]", "character varying[]")
        return [
            one.name
            for one in self.columns
            if (one.type.split("(")[0] in kinds or one.type.endswith("[]")) and _longest(one.type) >= SHORTEST
        ]


def _longest(type_: str) -> int:
    """How many characters a column of this type takes."""
    limit = re.search(r"\((\d+)\)", type_)
    return int(limit[1]) if limit and type_.startswith("character") else 2**31


@dataclass(frozen=True)
class Finding:
    """A row in which something stands. `owner` is the person whose row it is, where the catalogue tells."""

    table: str
    key: str
    found_by: str
    owner: UUID | None = None


@dataclass(frozen=True)
class Looked:
    """What was looked at: it belongs into the certificate."""

    tables: int
    ids: int
    texts: int


def look(
    *, subject_id: UUID, whole: bool, ids: Sequence[UUID], texts: Sequence[str], only: Collection[str] = ()
) -> tuple[Looked, list[Finding], list[Finding]]:
    """What is left, and in which rows of other people the same words stand.

    `ids` are those of what was erased; with `whole` nothing at all of the person may be left. `only` these tables are
    looked into, all where none are named.
    """
    found: list[Finding] = []
    elsewhere: list[Finding] = []
    wanted = [text for text in dict.fromkeys(texts) if len(text) >= SHORTEST]
    gone = [subject_id, *ids] if whole else list(ids)
    everything = [table for table in tables() if table.name != WORKING and (not only or table.name in only)]
    for table in everything:
        if table.name not in RETAINED:
            found += _by_id(table, gone)
        told_ids = [] if table.name in RETAINED else [str(one) for one in gone[:FEW_IDS]]
        told = list(_by_text(table, wanted, told_ids))
        found += [one for one in told if one.found_by == "id"]
        by_text = [one for one in told if one.found_by == "text"]
        owners = _owners(table, [one.key for one in by_text]) if by_text else {}
        for one in by_text:
            owner = owners.get(one.key)
            of_other = owner is not None and owner != subject_id
            (elsewhere if of_other else found).append(Finding(one.table, one.key, one.found_by, owner))
    unique = {(one.table, one.key): one for one in found}
    return Looked(len(everything), len(gone), len(wanted)), list(unique.values()), elsewhere


def tables() -> list[Table]:
    """Every table of the schema with its columns, as the catalogue has them."""
    with connection.cursor() as cursor:
        cursor.execute(
            "select c.relname, a.attname, format_type(a.atttypid, a.atttypmod), "
            "coalesce(a.attnum = any(i.indkey) and i.indnkeyatts = 1, false) "
            "from pg_class c join pg_namespace n on n.oid = c.relnamespace "
            "join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped "
            "left join pg_index i on i.indrelid = c.oid and i.indisprimary "
            "where n.nspname = 'public' and c.relkind in ('r', 'p') "
            "and has_table_privilege(c.oid, 'SELECT') order by c.relname, a.attnum"
        )
        rows = cursor.fetchall()
    names = list(dict.fromkeys(row[0] for row in rows))
    return [
        Table(
            name,
            next((row[1] for row in rows if row[0] == name and row[3]), "ctid"),
            tuple(Column(row[1], row[2]) for row in rows if row[0] == name),
        )
        for name in names
    ]


def _by_id(table: Table, ids: Sequence[UUID]) -> Iterator[Finding]:
    quote = connection.ops.quote_name
    for column in table.uuids:
        if (table.name, column) in HISTORY:
            continue
        for begin in range(0, len(ids), BATCH):
            some = list(ids[begin : begin + BATCH])
            with connection.cursor() as cursor:
                cursor.execute(
                    f"select {quote(table.key)}::text from {quote(table.name)} "  # noqa: S608 - of the catalogue
                    f"where {quote(column)} = any(%s::uuid[])",
                    [some],
                )
                for (key,) in cursor.fetchall():
                    yield Finding(table.name, key, "id")


def _by_text(table: Table, texts: Sequence[str], ids: Sequence[str]) -> Iterator[Finding]:
    """Rows in whose texts, JSON included, one of the texts or ids stands."""
    columns = [name for name in table.texts if (table.name, name) not in LEXEMES]
    # Inside JSON a text stands escaped, at whatever depth.
    escaped = [json.dumps(text, ensure_ascii=False)[1:-1] for text in texts]
    needles = [*dict.fromkeys([*texts, *escaped])]
    if not columns or not (needles or ids):
        return
    quote = connection.ops.quote_name
    row = " || E'\\x1f' || ".join(f"coalesce({quote(name)}::text, '')" for name in columns)
    rows = f"select {quote(table.key)}::text as key, {row} as text from {quote(table.name)} offset 0"  # noqa: S608
    by_text = " or ".join(["strpos(r.text, %s) > 0"] * len(needles)) or "false"
    by_id = " or ".join(["strpos(r.text, %s) > 0"] * len(ids)) or "false"
    with connection.cursor() as cursor:
        # Many rows at once: nearly always nothing is there, and a long text costs little more than a short one.
        cursor.execute(
            f"select exists (select from (select string_agg(a.text, E'\\x1e') as text from ("  # noqa: S608
            f"select b.text, row_number() over () / {TOGETHER} as chunk from ({rows}) b) a group by a.chunk) r "
            f"where ({by_text}) or ({by_id}))",
            [*needles, *ids],
        )
        if not cursor.fetchone()[0]:
            return
        cursor.execute(
            f"select r.key, ({by_text}) from ({rows}) r where ({by_text}) or ({by_id})",  # noqa: S608 - the catalogue's
            [*needles, *needles, *ids],
        )
        for key, is_text in cursor.fetchall():
            yield Finding(table.name, key, "text" if is_text else "id")


def _owners(table: Table, keys: Sequence[str]) -> dict[str, UUID]:
    """Whose rows these are: by their column subject_id, or by what their foreign keys lead to."""
    path = _path_to_subject(table.name)
    if path is None:
        return {}
    quote = connection.ops.quote_name
    joins, at = "", "t0"
    for number, (column, parent, parent_column) in enumerate(path[:-1], start=1):
        joins += f" join {quote(parent)} t{number} on t{number}.{quote(parent_column)} = {at}.{quote(column)}"
        at = f"t{number}"
    with connection.cursor() as cursor:
        cursor.execute(
            f"select t0.{quote(table.key)}::text, {at}.{quote(path[-1][0])} "  # noqa: S608 - of the catalogue
            f"from {quote(table.name)} t0{joins} where t0.{quote(table.key)}::text = any(%s)",
            [list(keys)],
        )
        return {key: owner for key, owner in cursor.fetchall() if isinstance(owner, UUID)}


def _path_to_subject(table: str) -> list[tuple[str, str, str]] | None:
    """The shortest way from a table to whom its rows belong: (column, table, its column) … (the person's column)."""
    with connection.cursor() as cursor:
        cursor.execute(
            "select c.conrelid::regclass::text, a.attname, c.confrelid::regclass::text, p.attname from pg_constraint c "
            "join pg_attribute a on a.attrelid = c.conrelid and a.attnum = c.conkey[1] "
            "join pg_attribute p on p.attrelid = c.confrelid and p.attnum = c.confkey[1] "
            "where c.contype = 'f' and cardinality(c.conkey) = 1"
        )
        keys = cursor.fetchall()
        cursor.execute(
            "select c.relname from pg_class c join pg_attribute a on a.attrelid = c.oid "
            "join pg_namespace n on n.oid = c.relnamespace "
            "where n.nspname = 'public' and a.attname = 'subject_id' and not a.attisdropped and c.relkind in ('r', 'p')"
        )
        named = {row[0] for row in cursor.fetchall()}
    # The people themselves: what a column subject_id refers to.
    people = {parent: column for _, own, parent, column in keys if own == "subject_id"}
    ways: list[tuple[str, list[tuple[str, str, str]]]] = [(table, [])]
    seen = {table}
    while ways:
        at, way = ways.pop(0)
        if at in people:
            return [*way, (people[at], "", "")]
        if at in named:
            return [*way, ("subject_id", "", "")]
        for child, column, parent, parent_column in keys:
            if child == at and parent not in seen:
                seen.add(parent)
                ways.append((parent, [*way, (column, parent, parent_column)]))
    return None
