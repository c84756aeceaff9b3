"""Row-level security: which workspace a transaction may see.

A policy under every tenant table compares `workspace_id` with the setting `mh.workspace`, which lives as long as the
transaction. Without it no row is visible and none can be written, so a query that forgot its filter finds nothing of
anybody else's.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from django.db import connection, migrations, transaction

# The sub-select is evaluated once a query instead of once a row.
CURRENT_WORKSPACE = "(select nullif(current_setting('mh.workspace', true), '')::uuid)"


def tenant_policy(table: str, *, also: str = "") -> migrations.RunSQL:
    """The migration operation that puts `table` under the workspace policy.

    `also` is a further SQL condition under which a row may be read (not written) outside its workspace.
    The owner role is not bound by it: migrations and purging see every row.
    """
    allowed = f"workspace_id = {CURRENT_WORKSPACE}"
    readable = f"{allowed} or {also}" if also else allowed
    if also:
        policies = (
            f"create policy tenant_read on {table} for select using ({readable});"
            f"create policy tenant_write on {table} for all using ({allowed}) with check ({allowed});"
        )
        reverse = f"drop policy tenant_read on {table}; drop policy tenant_write on {table};"
    else:
        policies = f"create policy tenant on {table} for all using ({allowed}) with check ({allowed});"
        reverse = f"drop policy tenant on {table};"
    return migrations.RunSQL(
        f"alter table {table} enable row level security; {policies}",
        f"{reverse} alter table {table} disable row level security;",
    )


@contextmanager
def in_workspace(workspace_id: UUID) -> Iterator[None]:
    """A transaction that sees the rows of one workspace. Nested calls restore the outer workspace when they end."""
    nested = connection.in_atomic_block
    with transaction.atomic():
        before = _switch(str(workspace_id))
        yield
        # The end of a transaction forgets the setting by itself.
        if nested and before != str(workspace_id):
            _switch(before)


@contextmanager
def as_person(user_id: UUID) -> Iterator[None]:
    """A transaction in which a person's own memberships are readable, whatever workspace they belong to."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("select set_config('mh.user', %s, true)", [str(user_id)])
        yield


def current_workspace_id() -> UUID | None:
    """The workspace of the running transaction, as the database sees it."""
    with connection.cursor() as cursor:
        cursor.execute("select nullif(current_setting('mh.workspace', true), '')::uuid")
        row = cursor.fetchone()
    return row[0] if row else None


def _switch(workspace_id: str) -> str:
    """Set the workspace for the rest of the transaction; return the one before ('' when there was none)."""
    with connection.cursor() as cursor:
        # One round trip: the old value is read before set_config changes it, left to right.
        cursor.execute(
            "select coalesce(current_setting('mh.workspace', true), ''), set_config('mh.workspace', %s, true)",
            [workspace_id],
        )
        return cursor.fetchone()[0]
