"""Row-level security: which workspace a transaction may see, and in it which person.

A policy under every tenant table compares `workspace_id` with the setting `mh.workspace`, which lives as long as the
transaction. Without it no row is visible and none can be written, so a query that forgot its filter finds nothing of
anybody else's.

A second policy lies under the tables that belong to a person. Where `mh.subject` is set, which it is for whoever came
with a subject token, only that person's rows exist.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from uuid import UUID

from django.db import connection, migrations, transaction

# The sub-select is evaluated once a query instead of once a row.
CURRENT_WORKSPACE = "(select nullif(current_setting('mh.workspace', true), '')::uuid)"
CURRENT_SUBJECT = "(select nullif(current_setting('mh.subject', true), '')::uuid)"
# Asked as `is not null`, which the planner takes to hold for nearly every row: its plans stay those of everybody else.
NOT_CONFINED = "(select case when coalesce(current_setting('mh.subject', true), '') = '' then 1 end) is not null"

_confined_to: ContextVar[UUID | None] = ContextVar("confined_to", default=None)


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


def subject_policy(
    table: str, *, column: str = "subject_id", through: str = "", write: bool = True
) -> migrations.RunSQL:
    """The migration operation that confines `table` to one person's rows where `mh.subject` is set.

    It narrows what `tenant_policy` lets through, and stands beside it.

    `column` names the person; with `through`, a row of that table, which lies under such a policy itself. With
    `write=False` only reading is confined: for a table in which everybody's doings are recorded.
    """
    mine = f"{column} in (select id from {through})" if through else f"{column} = {CURRENT_SUBJECT}"  # noqa: S608
    return migrations.RunSQL(
        f"create policy subject on {table} as restrictive for {'all' if write else 'select'} "
        f"using ({NOT_CONFINED} or {mine});",
        f"drop policy subject on {table};",
    )


@contextmanager
def in_workspace(workspace_id: UUID) -> Iterator[None]:
    """A transaction that sees the rows of one workspace, and inside `confined_to` only one person's.

    Nested calls restore the outer workspace when they end.
    """
    nested = connection.in_atomic_block
    person = _confined_to.get()
    wanted = (str(workspace_id), str(person) if person else "")
    with transaction.atomic():
        before = _switch(*wanted)
        yield
        # The end of a transaction forgets the settings by itself.
        if nested and before != wanted:
            _switch(*before)


@contextmanager
def confined_to(subject_id: UUID | None) -> Iterator[None]:
    """Transactions that are opened inside see this person's rows and nobody else's; None lifts what holds outside."""
    token = _confined_to.set(subject_id)
    try:
        yield
    finally:
        _confined_to.reset(token)


def confined_subject_id() -> UUID | None:
    """Whose rows alone the next transaction will see; None when it is everybody's in its workspace."""
    return _confined_to.get()


def confine_to(subject_id: UUID | None) -> None:
    """As `confined_to`, until the `confined_to` around it ends."""
    _confined_to.set(subject_id)


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


def _switch(workspace_id: str, subject_id: str) -> tuple[str, str]:
    """Set workspace and person for the rest of the transaction; return those before ('' when there was none)."""
    with connection.cursor() as cursor:
        # One round trip: the old values are read before set_config changes them, left to right.
        cursor.execute(
            "select coalesce(current_setting('mh.workspace', true), ''), coalesce(current_setting('mh.subject', true), "
            "''), set_config('mh.workspace', %s, true), set_config('mh.subject', %s, true)",
            [workspace_id, subject_id],
        )
        row = cursor.fetchone()
        return row[0], row[1]


TENANT_TABLES = """
with recursive tenant as (
    select oid from pg_class where oid = to_regclass('public.access_workspace')
    union
    -- What refers to a workspace, or to something that does; and views over it.
    select more.oid from tenant cross join lateral (
        select conrelid from pg_constraint where confrelid = tenant.oid and contype = 'f'
        union
        select rule.ev_class from pg_depend uses join pg_rewrite rule on rule.oid = uses.objid
        where uses.classid = 'pg_rewrite'::regclass and uses.refobjid = tenant.oid
    ) more (oid)
)
select c.relname::text as name,
    case c.relkind when 'v' then coalesce('security_invoker=true' = any (c.reloptions), false)
    when 'm' then false
    else c.relrowsecurity and exists (select from pg_policy p where p.polrelid = c.oid and p.polpermissive) end
    as protected
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where n.nspname = 'public' and c.relkind in ('r', 'p', 'v', 'm', 'f')
and c.oid <> coalesce(to_regclass('public.access_workspace')::oid, 0)
and (
    c.oid in (select oid from tenant)
    or exists (
        select from pg_attribute a
        where a.attrelid = c.oid and a.attname in ('workspace_id', 'subject_id') and not a.attisdropped
    )
)
"""
"""Every table and view that belongs to tenants, by its columns or by what it refers to, and whether it is protected."""


def tenant_tables() -> dict[str, bool]:
    """The tables that belong to tenants, and whether a policy lies under each."""
    with connection.cursor() as cursor:
        cursor.execute(TENANT_TABLES)
        return dict(cursor.fetchall())
