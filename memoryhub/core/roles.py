"""What the runtime role may do with each table, granted after every migration run."""

from typing import Any

from django.apps import apps
from django.db import connections

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
