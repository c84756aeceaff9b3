"""One fact with its history, and putting it right."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from audit.services import record
from facts.exceptions import NotPossible, UnknownFact, VersionConflict
from facts.models import Evidence, Fact, FactTransition, FactVersion, Source, Status
from facts.services import fact_correct, fact_mark_stale, fact_pin, fact_restore
from facts.surfacings import Reach, RecallFilter, blast_radius, recall_page
from facts.visibility import LET_IN
from memoryhub.access.models import Workspace
from memoryhub.access.permissions import Permission
from memoryhub.console.access import ConsoleRequest, actor_of, permission_required
from memoryhub.console.diff import Run, word_diff
from memoryhub.console.forms import ChangeForm, CorrectForm, RestoreForm, StaleForm
from memoryhub.console.pages import page
from memoryhub.console.selectors import actor_names, fact_with_history, shown_fact
from memoryhub.console.sentences import Quote, quote

F = TypeVar("F", bound=ChangeForm)
RESTORABLE = (Status.SUPERSEDED, Status.STALE)
SURFACINGS_SHOWN = 10


@dataclass(frozen=True)
class ShownVersion:
    """A version on the page: what it changed, where it was said, what became of it, and how far it got."""

    version: FactVersion
    changes: tuple[Run, ...]
    """From the version before it; empty for the first, and where the words are the same."""
    evidence: list[tuple[Evidence, Quote]]
    transitions: list[tuple[FactTransition, str]]
    reach: Reach | None


@require_GET
@permission_required(Permission.CONTENT_VIEW)
def fact_detail(request: ConsoleRequest, workspace: Workspace, fact_id: UUID) -> HttpResponse:
    return _fact_page(request, workspace, _fact(workspace, fact_id))


@require_POST
@permission_required(Permission.MEMORY_CORRECT)
def fact_correct_post(request: ConsoleRequest, workspace: Workspace, fact_id: UUID) -> HttpResponse:
    fact = _fact(workspace, fact_id)
    form = CorrectForm(request.POST, latest=_latest(fact))

    def correct(wanted: dict[str, Any]) -> str:
        version = fact_correct(
            fact=fact,
            expected_version=wanted["expected_version"],
            actor=actor_of(request),
            source=Source.OPERATOR,
            reason=wanted["reason"],
            note=wanted["note"],
            content=wanted["content"],
            value=wanted["value"],
            unit=wanted["unit"],
            confidence=1.0,
        )
        return f"Corrected: version {version.number} is what agents see from now on."

    return _change(request, workspace, fact, "correct", form, correct)


@require_POST
@permission_required(Permission.MEMORY_CORRECT)
def fact_stale_post(request: ConsoleRequest, workspace: Workspace, fact_id: UUID) -> HttpResponse:
    fact = _fact(workspace, fact_id)

    def mark(wanted: dict[str, Any]) -> str:
        version = fact_mark_stale(
            fact=fact,
            actor=actor_of(request),
            reason=wanted["reason"],
            note=wanted["note"],
            expected_version=wanted["expected_version"],
        )
        return f"Version {version.number} is marked stale. It is kept, and can be restored."

    return _change(request, workspace, fact, "stale", StaleForm(request.POST), mark)


@require_POST
@permission_required(Permission.MEMORY_CORRECT)
def fact_restore_post(request: ConsoleRequest, workspace: Workspace, fact_id: UUID) -> HttpResponse:
    fact = _fact(workspace, fact_id)

    def restore(wanted: dict[str, Any]) -> str:
        version = fact_restore(
            fact=fact,
            number=wanted["version"],
            actor=actor_of(request),
            reason=wanted["reason"],
            note=wanted["note"],
            expected_version=wanted["expected_version"],
        )
        return f"Version {version.number} is current again."

    return _change(request, workspace, fact, "restore", RestoreForm(request.POST), restore)


@require_POST
@permission_required(Permission.MEMORY_CORRECT)
def fact_pin_post(request: ConsoleRequest, workspace: Workspace, fact_id: UUID) -> HttpResponse:
    fact = _fact(workspace, fact_id)
    pinned = request.POST.get("pinned") == "yes"
    fact_pin(fact=fact, pinned=pinned, actor=actor_of(request))
    messages.success(request, "Pinned: it is in every block." if pinned else "No longer pinned.")
    return _back(workspace, fact)


def _change(
    request: ConsoleRequest,
    workspace: Workspace,
    fact: Fact,
    action: str,
    form: F,
    change: Callable[[dict[str, Any]], str],
) -> HttpResponse:
    """Carry a change out and go back to the fact; or show the fact again with what was typed and what is wrong."""
    if not form.is_valid():
        return _fact_page(request, workspace, fact, {action: form}, status=422)
    try:
        done = change(form.cleaned_data)
    except VersionConflict:
        # What was typed is kept; it takes another look, and another click, to write it over the newer version.
        again = request.POST.copy()
        again["expected_version"] = str(_latest(fact).number)
        form.data = again
        form.add_error(
            None,
            "This fact was changed after you opened it. Read its newest version; if yours still holds, send it again.",
        )
        return _fact_page(request, workspace, fact, {action: form}, status=409)
    except (NotPossible, UnknownFact) as refused:
        form.add_error(None, refused.message)
        return _fact_page(request, workspace, fact, {action: form}, status=409)
    messages.success(request, done)
    return _back(workspace, fact)


def _fact(workspace: Workspace, fact_id: UUID) -> Fact:
    fact = fact_with_history(workspace_id=workspace.id, fact_id=fact_id)
    if fact is None or not fact.versions.all():
        raise Http404
    return fact


def _latest(fact: Fact) -> FactVersion:
    """The version that a change goes by: the latest that was let in, or the latest of all when none was."""
    versions = list(fact.versions.all())
    return next((version for version in versions if version.status in LET_IN), versions[0])


def _back(workspace: Workspace, fact: Fact) -> HttpResponse:
    response = redirect(reverse("fact-detail", args=[workspace.slug, fact.id]))
    response.status_code = 303
    return response


def _fact_page(
    request: ConsoleRequest,
    workspace: Workspace,
    fact: Fact,
    sent: dict[str, ChangeForm] | None = None,
    *,
    status: int = 200,
) -> HttpResponse:
    record(actor_of(request), "memory.viewed", fact, subject=fact.subject_id, data={"what": "fact", "facts": 1})
    shown = shown_fact(fact)
    latest = _latest(fact)
    sent = sent or {}
    expected = {"expected_version": latest.number}
    versions = list(fact.versions.all())
    transitions = {version.id: sorted(version.transitions.all(), key=lambda one: one.at) for version in versions}
    names = actor_names((one.actor_kind, one.actor_id) for many in transitions.values() for one in many)
    asked = request.GET.get("version", "")
    chosen = int(asked) if asked.isascii() and asked.isdigit() and len(asked) < 6 else None
    radius = blast_radius(fact.id, version=chosen)
    context = {
        "fact": fact,
        "subject": fact.subject,
        "shown": shown,
        "versions": list(_shown_versions(versions, transitions, names, radius.by_version)),
        "radius": radius,
        "chosen": chosen,
        "surfacings": recall_page(
            workspace_id=workspace.id,
            wanted=RecallFilter(fact_id=fact.id, version=chosen),
            limit=SURFACINGS_SHOWN,
        ),
        "restorable": RESTORABLE,
        "sent": next(iter(sent), ""),
        "correct": sent.get("correct")
        or CorrectForm(latest=latest, initial=expected | CorrectForm.initial_of(shown.version)),
        "stale": sent.get("stale") or StaleForm(initial=expected),
        "restore": sent.get("restore") or RestoreForm(initial=expected),
        "can_change": latest.status in LET_IN,
        "waiting": sum(version.status == Status.QUARANTINED for version in versions),
    }
    return page(request, workspace, "facts/fact_detail.html", context, section="subjects", status=status)


def _shown_versions(
    versions: list[FactVersion],
    transitions: Mapping[UUID, list[FactTransition]],
    names: Mapping[tuple[str, str], str],
    reach: Mapping[int, Reach],
) -> Iterator[ShownVersion]:
    """`versions` come newest first."""
    before = {one.number: older for one, older in zip(versions, versions[1:], strict=False)}
    for version in versions:
        older = before.get(version.number)
        told = (version.content, version.fact.entity, _plain_number(version))
        yield ShownVersion(
            version=version,
            changes=word_diff(older.content, version.content) if older and older.content != version.content else (),
            evidence=[(one, quote(one.turn.text, told)) for one in version.evidence.all()],
            transitions=[(one, names[one.actor_kind, one.actor_id]) for one in transitions[version.id]],
            reach=reach.get(version.number),
        )


def _plain_number(version: FactVersion) -> str:
    return "" if version.value is None else f"{version.value:f}".rstrip("0").rstrip(".")
