"""The register of processing activities of a workspace: what it states, and what follows from how it is set up."""

from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.utils import timezone

from facts.visibility import policy_of
from memoryhub.access.models import Agent, Workspace
from memoryhub.access.policy import WorkspacePolicy
from memoryhub.access.retention import KINDS
from memoryhub.core.spreadsheet import csv_lines

FORM = "memoryhub.register/1"
CATEGORIES = (
    "identifiers: the caller's id for the person, ids of sessions",
    "communications: what was said, verbatim, with times, tools' calls and results",
    "facts learned: preferences, decisions, constraints, goals, entities, each with its history and source",
    "use: what was asked and surfaced, by which agent, when",
)
MEASURES = (
    "row-level security: a workspace sees its own rows only, held by the database",
    "an append-only audit log without content, each surfacing in it",
    "roles and scopes by one table; content behind a stated reason for who works with metadata",
    "erasure with an independent verification and a certificate; a ledger that outlives backups",
    "sensitive data screened before it is kept; what tools and imports bring waits for a person",
    "limits on what is kept, by kind, swept daily",
)


def register_of(workspace: Workspace) -> dict[str, Any]:
    """The register as JSON, as of now, in the workspace's transaction. Holds nobody's personal data."""
    policy = policy_of(workspace.id)
    return {
        "form": FORM,
        "made_at": timezone.now().isoformat(),
        "workspace": workspace.name,
        "controller": policy.register_controller,
        "contact": policy.register_contact,
        "purpose": policy.register_purpose,
        "legal_basis": policy.register_basis.value,
        "people": policy.register_people,
        "categories": list(CATEGORIES),
        "recipients": recipients(workspace),
        "transfers": policy.register_transfers,
        "retention": [{"kind": kind, "days": policy.days(kind), "counted": one.says} for kind, one in KINDS.items()],
        "security": [*_measures(policy), *([policy.register_security] if policy.register_security else [])],
    }


def recipients(workspace: Workspace) -> list[dict[str, str]]:
    """Who outside of the hub is given data, as it is configured now."""
    found = [
        {"who": f"agent:{name}", "what": "what is surfaced to it"}
        for name in Agent.objects.filter(workspace=workspace).order_by("name").values_list("name", flat=True)
    ]
    if settings.EXTRACTOR == "claude":
        found.append({"who": "model:claude", "what": "turns, and facts that are related to them, to be read for facts"})
    if settings.EMBEDDER == "openai":
        found.append({"who": "embedder:openai", "what": "turns, facts and queries, to be embedded"})
    return found


def register_csv(register: dict[str, Any]) -> str:
    """The register as a table of two columns: a row for each statement."""
    return csv_lines([["what", "statement"]]) + "".join(csv_lines([list(row)]) for row in _rows(register))


def _rows(register: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in register.items():
        if isinstance(value, str):
            yield name, value
            continue
        for one in value:
            if name == "recipients":
                yield name, f"{one['who']}: {one['what']}"
            elif name == "retention":
                yield name, f"{one['kind']}: {one['days']} days" if one["days"] else f"{one['kind']}: no end"
            else:
                yield name, one


def _measures(policy: WorkspacePolicy) -> Iterator[str]:
    yield from MEASURES
    if policy.two_approve_erasure:
        yield "two people approve an erasure"
    if policy.second_factor_roles:
        yield f"a second factor for {', '.join(sorted(policy.second_factor_roles))}"
