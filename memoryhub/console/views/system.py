"""How the parts of the hub are: the same look as /readyz takes, with versions, roles and sizes."""

import os
import platform
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import connection, connections
from django.http import HttpResponse
from django.views.decorators.http import require_GET

from memoryhub.access.models import Workspace
from memoryhub.access.permissions import Permission
from memoryhub.condition import LATE, readiness
from memoryhub.console.access import ConsoleRequest, permission_required
from memoryhub.console.extraction import CAUSES
from memoryhub.console.pages import page

PACKAGES = ("memoryhub", "django", "psycopg", "pgvector", "django-q2", "anthropic", "onnxruntime")
NAMES = {
    "database": "Database",
    "migrations": "Migrations",
    "embedder": "Embedder",
    "indexing": "Indexer",
    "extraction": "Extraction queue",
    "extractor": "Extractor",
    "tasks": "Task queue",
    "audit": "Audit log",
}
STATES = {"closed": "asked", "open": "not asked: it failed", "half_open": "tried again"}
"""A breaker's state in words."""


@dataclass(frozen=True)
class Part:
    """A part of the hub: whether it is well, and what is known of it."""

    name: str
    ok: bool
    says: list[str]


@require_GET
@permission_required(Permission.SYSTEM_VIEW, transaction=False)
def system(request: ConsoleRequest, workspace: Workspace) -> HttpResponse:
    parts = readiness()
    context = {
        "parts": [Part(NAMES.get(name, name), part["ok"], _says(name, part)) for name, part in parts.items()],
        "degraded": [NAMES.get(name, name) for name, part in parts.items() if not part["ok"]],
        "facts": _database() if parts["database"]["ok"] else [],
        "versions": [("Python", platform.python_version()), *((name, _version(name)) for name in PACKAGES)],
        "directory": settings.DATA_DIR,
        "size": _size(Path(settings.DATA_DIR)),
    }
    return page(request, workspace, "console/system.html", context, section="system")


def _says(name: str, part: dict[str, Any]) -> list[str]:
    said = []
    if "name" in part:
        said.append(f"{part['name']}")
    if breaker := part.get("breaker"):
        said.append(f"breaker {breaker} ({STATES.get(breaker, breaker)})")
    if cause := part.get("blocked") or part.get("cause"):
        said.append(CAUSES.get(cause, cause))
    if part.get("missing"):
        said.append(f"{part['missing']} missing")
    if "waiting" in part:
        said.append(f"{part['waiting']:,} waiting")
        if part["oldest_s"]:
            said.append(f"the oldest due for {part['oldest_s']:.0f} s; late after {LATE[name]:.0f} s")
    if part.get("failed"):
        said.append(f"did not pass its check: {', '.join(part['failed'])}")
    if part.get("anchors_failing"):
        said.append(f"takes no checkpoints: {', '.join(part['anchors_failing'])}")
    if part.get("dead_letters"):
        said.append(f"{part['dead_letters']:,} dead letters")
    return said


def _database() -> list[tuple[str, str]]:
    with connection.cursor() as cursor:
        cursor.execute(
            "select current_setting('server_version'), (select extversion from pg_extension where extname = 'vector'),"
            " current_user::text, pg_database_size(current_database()),"
            " (select count(*) from pg_stat_activity where datname = current_database())"
        )
        [(server, vector, role, size, open_connections)] = cursor.fetchall()
    return [
        ("PostgreSQL", f"{server}, {'embedded' if settings.EMBEDDED_DATABASE else 'your own'}"),
        ("pgvector", vector or "missing"),
        ("Serves as", role),
        ("Tables belong to", connections["owner"].settings_dict["USER"] or "not told to this process"),
        ("Size", _bytes(size)),
        ("Connections", f"{open_connections:,}"),
    ]


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed as a package"


def _size(directory: Path) -> str:
    """What the files below take; those that this process may not look at are left out, and it says so."""
    total, closed = 0, 0

    def unreadable(error: OSError) -> None:
        nonlocal closed
        closed += 1

    for place, _, names in os.walk(directory, onerror=unreadable):
        for name in names:
            try:
                total += os.lstat(os.path.join(place, name)).st_size
            except OSError:  # gone since, or not ours to look at
                closed += 1
    return _bytes(total) + (f", without {closed:,} places that this process may not read" if closed else "")


def _bytes(size: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
