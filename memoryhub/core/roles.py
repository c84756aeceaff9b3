"""The runtime role: what it may do with each table, granted after every migration run, and what it may not be."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.backends.base.base import BaseDatabaseWrapper

SUPERUSER = "select rolsuper or rolbypassrls from pg_roles where rolname = current_user"

# Policies do not bind whoever owns a table or may become its owner, who can switch its triggers off as well.
OWNS_TABLES = """
select exists (
    select from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where n.nspname = 'public' and c.relkind in ('r', 'p') and pg_has_role(current_user, c.relowner, 'MEMBER')
)
"""

EVERYTHING = ("SELECT", "INSERT", "UPDATE", "DELETE")


def grant_runtime_privileges(*, using: str, **kwargs: Any) -> None:
    """Grant the runtime role its rights on the tables that `using` just migrated.

    A model narrows its own with a class attribute `runtime_privileges`; Django's and django-q2's tables get all four.
    Nothing happens when one role does everything: it owns the tables already (a system check says so).
    """
    connection = connections[using]
    runtime = connections["default"].settings_dict["USER"]
    if not runtime or runtime == connection.settings_dict["USER"]:
        return
    role = connection.ops.quote_name(runtime)
    with connection.cursor() as cursor:
        existing = set(connection.introspection.table_names(cursor))
        cursor.execute(f"GRANT USAGE ON SCHEMA public TO {role}")
        for model in apps.get_models(include_auto_created=True):
            table = model._meta.db_table
            if table not in existing or not model._meta.managed:
                continue
            privileges = ", ".join(getattr(model, "runtime_privileges", EVERYTHING))
            name = connection.ops.quote_name(table)
            cursor.execute(f"REVOKE ALL ON {name} FROM {role}; GRANT {privileges} ON {name} TO {role}")
        cursor.execute(f"GRANT SELECT ON django_migrations TO {role}")
        cursor.execute(f"GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO {role}")
        cursor.execute(
            "select p.oid::regprocedure::text from pg_proc p join pg_namespace n on n.oid = p.pronamespace "
            "where n.nspname = 'public' and p.prosecdef"
        )
        for (signature,) in cursor.fetchall():
            cursor.execute(f"GRANT EXECUTE ON FUNCTION {signature} TO {role}")


class UnboundRole(ImproperlyConfigured):
    """The hub is to work as a role that row-level security does not bind."""


_allowed: ContextVar[bool] = ContextVar("unbound_role_allowed", default=False)
_bound: set[tuple[str, ...]] = set()


@contextmanager
def unbound_role_allowed() -> Iterator[None]:
    """For the questions of the system checks, which say what is wrong with the role and what to do."""
    token = _allowed.set(True)
    try:
        yield
    finally:
        _allowed.reset(token)


def refuse_unbound_role(connection: BaseDatabaseWrapper, **kwargs: Any) -> None:
    """Close a new connection of the runtime alias and raise UnboundRole where policies would not bind it.

    Whichever process connects, and however it was started. Asked once in a process for each role and database.
    """
    known = tuple(str(connection.settings_dict[name]) for name in ("HOST", "PORT", "NAME", "USER"))
    if connection.alias != DEFAULT_DB_ALIAS or known in _bound or _allowed.get():
        return
    with connection.cursor() as cursor:
        cursor.execute(f"select ({SUPERUSER}), ({OWNS_TABLES})")  # noqa: S608 - made of constants
        superuser, owner = cursor.fetchone()
    if superuser or owner:
        connection.close()
        what = "a superuser or bypasses row-level security" if superuser else "the owner of the tables"
        raise UnboundRole(
            f"DATABASE_URL names a role that is {what}: workspaces would not be kept apart. "
            "`manage.py check --database default` says what to do."
        )
    _bound.add(known)
