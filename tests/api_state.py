"""Everything a workspace holds, as one value: equal before and after means that nothing changed."""

from django.db import connection

from memoryhub.access.models import Workspace
from memoryhub.core.tenancy import in_workspace

# What a request may write without changing anything: the count of a key's requests.
UNREMARKABLE = {"access_keyusage"}


def state_of(workspace: Workspace) -> dict[str, str]:
    """A digest of each table's rows."""
    with in_workspace(workspace.id), connection.cursor() as cursor:
        cursor.execute(
            "select c.relname from pg_class c join pg_attribute a on a.attrelid = c.oid"
            " where c.relkind = 'r' and a.attname = 'workspace_id'"
        )
        tables = sorted({name for (name,) in cursor.fetchall()} - UNREMARKABLE)
        state = {}
        for table in tables:
            cursor.execute(f'select md5(string_agg(t::text, chr(10) order by t::text)) from "{table}" t')  # noqa: S608
            state[table] = cursor.fetchone()[0] or ""
    return state
