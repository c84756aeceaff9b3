"""System checks: configurations that would be dangerous or cannot work, each with an id and what to do about it.

`up` runs them before it serves (`check --database default`); errors stop it. docs/operations.md lists them; a test
keeps that list and this file equal.
"""

import os
import stat
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.db import OperationalError, connections

from memoryhub.core.roles import OWNS_TABLES, SUPERUSER, unbound_role_allowed
from memoryhub.core.tenancy import TENANT_TABLES

LOCAL_HOSTS = {"localhost", "127.0.0.1", "::1", "[::1]", "testserver"}
INSECURE_PREFIXES = ("insecure-", "django-insecure-", "change")
SHORTEST_SECRET = 32  # characters
OLDEST_POSTGRES = 15
OLDEST_PGVECTOR = (0, 7)
MOST_DIMENSIONS = 1_024
KEYED_HOSTS = {"api.openai.com", "api.voyageai.com"}
SHORTEST_TOKEN = 16

Databases = Sequence[str] | None


@register(Tags.security)
def debug_is_private(**kwargs: Any) -> list[CheckMessage]:
    public = [host for host in settings.ALLOWED_HOSTS if not _is_local(host)]
    if settings.DEBUG and public:
        return [
            Error(
                f"DEBUG is on and ALLOWED_HOSTS admits {', '.join(public)}: error pages would show memory to anyone.",
                hint="Set DEBUG=false, or take the public hosts out of ALLOWED_HOSTS.",
                id="memoryhub.E001",
            )
        ]
    return []


@register(Tags.security)
def secret_key_is_secret(**kwargs: Any) -> list[CheckMessage]:
    key: str = settings.SECRET_KEY
    throw_away = key.startswith(INSECURE_PREFIXES)
    if settings.DEBUG or not (throw_away or len(key) < SHORTEST_SECRET):
        return []
    if throw_away and settings.PROCESS == "command" and "SECRET_KEY" not in os.environ:
        # A single command may work with a key of its own: nothing it signs leaves it.
        return []
    return [
        Error(
            "SECRET_KEY is a throw-away or too short: sign-ins and links could be forged, or end at each restart.",
            hint=f"Set SECRET_KEY to at least {SHORTEST_SECRET} random characters, or start with `manage.py up`, "
            "which keeps one in the data directory.",
            id="memoryhub.E002",
        )
    ]


@register("memoryhub")
def embedder_is_complete(**kwargs: Any) -> list[CheckMessage]:
    found: list[CheckMessage] = []
    if settings.EMBEDDER == "none":
        found.append(
            Warning(
                "EMBEDDER=none: memory is found by its words alone, not by its meaning.",
                hint="Set EMBEDDER=minilm (works offline) or EMBEDDER=openai.",
                id="memoryhub.W001",
            )
        )
    if settings.EMBEDDER == "openai":
        host = urlsplit(settings.EMBEDDER_URL).hostname if settings.EMBEDDER_URL else ""
        if not host or not settings.EMBEDDER_MODEL:
            found.append(
                Error(
                    "EMBEDDER=openai needs to know where to ask and for which model.",
                    hint="Set EMBEDDER_URL (such as https://api.openai.com/v1 or http://localhost:11434/v1) and "
                    "EMBEDDER_MODEL.",
                    id="memoryhub.E003",
                )
            )
        elif host in KEYED_HOSTS and not settings.EMBEDDER_API_KEY:
            found.append(
                Error(
                    f"EMBEDDER=openai asks {host}, which wants a key.",
                    hint="Set EMBEDDER_API_KEY.",
                    id="memoryhub.E004",
                )
            )
        if not 0 < settings.EMBEDDER_DIMENSIONS <= MOST_DIMENSIONS:
            found.append(
                Error(
                    f"EMBEDDER_DIMENSIONS={settings.EMBEDDER_DIMENSIONS}: vectors of that size cannot be stored.",
                    hint="Set it to the size of the model's vectors (768 for nomic-embed-text); text-embedding-3 "
                    f"models can be asked for any size up to {MOST_DIMENSIONS}.",
                    id="memoryhub.E005",
                )
            )
    return found


@register()
def extractor_is_complete(**kwargs: Any) -> list[CheckMessage]:
    if settings.EXTRACTOR != "claude":
        return []
    from facts.extraction.claude import has_prompt, missing_package

    found: list[CheckMessage] = []
    if extra := missing_package(settings.EXTRACT_PROVIDER):
        found.append(
            Error(
                f"EXTRACT_PROVIDER={extra} needs packages that are not installed.",
                hint=f"pip install 'memoryhub[server,{extra}]'",
                id="memoryhub.E011",
            )
        )
    if not has_prompt(settings.EXTRACT_PROMPT):
        found.append(
            Error(
                f"EXTRACT_PROMPT={settings.EXTRACT_PROMPT!r} is no prompt of this version of the hub.",
                hint="Leave it out, or name a file of facts/extraction/prompts without its ending.",
                id="memoryhub.E012",
            )
        )
    return found


@register(Tags.security)
def data_directory_is_private(**kwargs: Any) -> list[CheckMessage]:
    try:
        mode = settings.DATA_DIR.stat().st_mode
    except FileNotFoundError:
        return []  # `up` makes it, mode 0700
    if mode & (stat.S_IRWXG | stat.S_IRWXO) & ~(stat.S_IXGRP | stat.S_IXOTH):
        return [
            Warning(
                f"Others on this host can read {settings.DATA_DIR}, which holds keys and possibly the database.",
                hint=f"chmod go-rw {settings.DATA_DIR}",
                id="memoryhub.W002",
            )
        ]
    return []


@register(Tags.security)
def metrics_token_is_long(**kwargs: Any) -> list[CheckMessage]:
    if 0 < len(settings.METRICS_TOKEN) < SHORTEST_TOKEN:
        return [
            Warning(
                "METRICS_TOKEN is short enough to be guessed.",
                hint=f"Use at least {SHORTEST_TOKEN} random characters, or leave it empty and scrape from this host.",
                id="memoryhub.W003",
            )
        ]
    return []


@register(Tags.security)
def public_hosts_use_https(**kwargs: Any) -> list[CheckMessage]:
    public = [host for host in settings.ALLOWED_HOSTS if not _is_local(host)]
    if public and not settings.HTTPS and not settings.DEBUG:
        return [
            Warning(
                f"The hub answers to {', '.join(public)} without HTTPS: keys and memory travel readable.",
                hint="Put a proxy with a certificate in front of it and set HTTPS=true.",
                id="memoryhub.W004",
            )
        ]
    return []


@register(Tags.security)
def logs_hold_no_content(**kwargs: Any) -> list[CheckMessage]:
    if settings.LOG_MESSAGES and not settings.DEBUG:
        return [
            Warning(
                "LOG_MESSAGES is on: the logs may quote what people said.",
                hint="Set LOG_MESSAGES=false once the fault is found, and remove the logs written meanwhile.",
                id="memoryhub.W006",
            )
        ]
    return []


@register(Tags.security)
def erasure_key_is_the_one(**kwargs: Any) -> list[CheckMessage]:
    from audit.erasure.key import key_id
    from audit.erasure.ledger import last_key

    known = last_key()
    if not known or known == key_id():
        return []
    return [
        Error(
            "The key that recognises what was erased is not the one that the ledger of erasures was written with: late "
            "writes of erased sessions would be taken.",
            hint="Put erasure_key back into the data directory, or set ERASURE_KEY to what it was.",
            id="memoryhub.E014",
        )
    ]


# The questions below ask the database, so they run with `check --database default` only.

PGVECTOR = """
select coalesce(
    (select extversion from pg_extension where extname = 'vector'),
    (select default_version from pg_available_extensions where name = 'vector')
)
"""

UNPROTECTED = f"select name from ({TENANT_TABLES}) t where not protected order by 1"  # noqa: S608 - ours

TRIGGER_OFF = """
select exists (select from pg_class where oid = to_regclass('public.audit_entry')) and not exists (
    select from pg_trigger
    where tgrelid = to_regclass('public.audit_entry') and tgname = 'audit_entry_append_only' and tgenabled = 'A'
)
"""

MAY_ALTER = "select coalesce(has_table_privilege(to_regclass('public.audit_entry'), 'UPDATE, DELETE, TRUNCATE'), false)"


@register(Tags.database)
def runtime_role_is_bound(*, databases: Databases = None, **kwargs: Any) -> list[CheckMessage]:
    """Row-level security does not bind a superuser: one workspace would see the others."""
    if not _ask(databases, SUPERUSER):
        return []
    return [
        Error(
            "The hub would run as a superuser or with BYPASSRLS: workspaces would not be kept apart.",
            hint="Point DATABASE_URL at a role made with NOSUPERUSER NOBYPASSRLS that owns no table; "
            "docs/operations.md has the statements.",
            id="memoryhub.E006",
        )
    ]


@register(Tags.database)
def runtime_role_owns_nothing(*, databases: Databases = None, **kwargs: Any) -> list[CheckMessage]:
    if _ask(databases, SUPERUSER) or not _ask(databases, OWNS_TABLES):
        return []
    return [
        Error(
            "The hub would run as the role that owns its tables: row-level security does not bind an owner, so "
            "workspaces would not be kept apart, and the audit log could be altered.",
            hint="Give the tables to another role, set DATABASE_OWNER_URL to it, and run `manage.py migrate "
            "--database owner`; docs/operations.md has the statements.",
            id="memoryhub.E013",
        )
    ]


@register(Tags.database)
def database_is_new_enough(*, databases: Databases = None, **kwargs: Any) -> list[CheckMessage]:
    found: list[CheckMessage] = []
    version = _ask(databases, "select current_setting('server_version_num')::int / 10000")
    if version is not None and version < OLDEST_POSTGRES:
        found.append(
            Error(
                f"PostgreSQL {version} is too old.",
                hint=f"Use PostgreSQL {OLDEST_POSTGRES} or later.",
                id="memoryhub.E007",
            )
        )
    pgvector = _ask(databases, PGVECTOR) if version is not None else "9"
    if pgvector is None or _numbers(pgvector) < OLDEST_PGVECTOR:
        found.append(
            Error(
                f"pgvector is {'missing' if pgvector is None else pgvector}; half-precision vectors need 0.7.",
                hint="Install pgvector 0.7 or later on the database server, then as a superuser "
                "CREATE EXTENSION vector (or ALTER EXTENSION vector UPDATE).",
                id="memoryhub.E008",
            )
        )
    return found


@register(Tags.database)
def tenant_tables_have_policies(*, databases: Databases = None, **kwargs: Any) -> list[CheckMessage]:
    tables = _ask_all(databases, UNPROTECTED)
    if not tables:
        return []
    return [
        Error(
            f"Without row-level security: {', '.join(tables)}. A forgotten filter would show another workspace's rows.",
            hint="Run `manage.py migrate --database owner`; a new table needs tenant_policy() in its migration.",
            id="memoryhub.E009",
        )
    ]


@register(Tags.database)
def audit_log_is_append_only(*, databases: Databases = None, **kwargs: Any) -> list[CheckMessage]:
    # An owner has every right on its own table; E013 and E006 tell of that.
    owner = _ask(databases, SUPERUSER) or _ask(databases, OWNS_TABLES)
    if not _ask(databases, TRIGGER_OFF) and (owner or not _ask(databases, MAY_ALTER)):
        return []
    return [
        Error(
            "The audit log can be altered: its trigger is missing or off, or the runtime role may change entries.",
            hint="Run `manage.py migrate --database owner`, which restores the rights; if the trigger was disabled, "
            "as owner: ALTER TABLE audit_entry ENABLE ALWAYS TRIGGER audit_entry_append_only.",
            id="memoryhub.E010",
        )
    ]


CHECKS: tuple[Callable[..., list[CheckMessage]], ...] = (
    debug_is_private,
    secret_key_is_secret,
    embedder_is_complete,
    extractor_is_complete,
    data_directory_is_private,
    metrics_token_is_long,
    public_hosts_use_https,
    logs_hold_no_content,
    erasure_key_is_the_one,
    runtime_role_is_bound,
    runtime_role_owns_nothing,
    database_is_new_enough,
    tenant_tables_have_policies,
    audit_log_is_append_only,
)


def _is_local(host: str) -> bool:
    return host in LOCAL_HOSTS or host.endswith(".localhost")


def _ask_all(databases: Databases, question: str) -> list[Any]:
    """The first column of the answer from the runtime database; nothing when it was not asked for or is away.

    A database that cannot be reached is not a wrong configuration: /readyz and the command itself say it better.
    """
    if not databases or "default" not in databases:
        return []
    try:
        with unbound_role_allowed(), connections["default"].cursor() as cursor:
            cursor.execute(question)
            return [row[0] for row in cursor.fetchall()]
    except OperationalError:
        return []


def _ask(databases: Databases, question: str) -> Any:
    answer = _ask_all(databases, question)
    return answer[0] if answer else None


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())
