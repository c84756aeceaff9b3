"""Finding a person, and what is known of them: facts, sessions, and what an agent sees now.

The tabs about what happened are in subject_log.py.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.core.paginator import Paginator
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from audit.requests.selectors import holds_on
from audit.services import record
from facts.models import Fact, FactVersion, Recall, RecalledItem, RecallKind
from facts.retrieval.results import FactHit
from facts.surfacings import facts_surfaced, recalls_of_session
from facts.working_memory import MemoryRequest, Viewpoint, WorkingMemory, working_memory
from memoryhub.access.models import Agent, MemoryMode, Workspace
from memoryhub.access.permissions import Permission, role_may
from memoryhub.access.policy import read_policy
from memoryhub.console.access import ConsoleRequest, actor_of, permission_required
from memoryhub.console.forms import FactFilter, PreviewForm, SubjectFilter
from memoryhub.console.pages import page, wants_part
from memoryhub.console.reveal import LASTS, RevealForm, hidden_page, hide_from, reveal_to
from memoryhub.console.scores import ScorePart, score_parts
from memoryhub.console.selectors import (
    SubjectPage,
    TurnPage,
    facts_of,
    sessions_of,
    shown_fact,
    subject_page,
    subject_summary,
    turn_page,
)
from memoryhub.console.transcript import Part, parts_of
from memoryhub.core.tenancy import in_workspace
from sessions.models import Session, Subject, Turn

FACTS_SHOWN = 50
SESSIONS_SHOWN = 50
ALWAYS_SHOWN = 6
SURFACINGS_SHOWN = 200
"""Of one page of a session."""


@require_GET
@permission_required(Permission.METADATA_VIEW)
def subject_list(request: ConsoleRequest, workspace: Workspace) -> HttpResponse:
    form = SubjectFilter(request.GET)
    wanted = form.cleaned_data if form.is_valid() else {}
    subjects = (
        subject_page(workspace_id=workspace.id, query=wanted["q"], state=wanted["state"], after=wanted["after"])
        if wanted
        else SubjectPage([], None)
    )
    record(
        actor_of(request), "subject.listed", workspace, workspace_id=workspace.id, data={"returned": len(subjects.rows)}
    )
    filtered = not wanted or bool(wanted["q"] or wanted["state"])
    return page(
        request,
        workspace,
        "sessions/subject_list.html",
        {"form": form, "subjects": subjects, "filtered": filtered, "paged": bool(wanted.get("after"))},
        section="subjects",
        partial="sessions/subject_results.html",
    )


@require_GET
@permission_required(Permission.CONTENT_VIEW)
def subject_facts(request: ConsoleRequest, workspace: Workspace, subject_id: UUID) -> HttpResponse:
    subject = subject_in(workspace, subject_id)
    form = FactFilter(request.GET)
    wanted = form.cleaned_data if form.is_valid() else {}
    facts = facts_of(subject, **wanted) if wanted else Fact.objects.none()
    shown = Paginator(facts, FACTS_SHOWN).get_page(request.GET.get("page"))
    rows = [shown_fact(fact) for fact in shown]
    record(actor_of(request), "memory.viewed", subject, subject=subject, data={"what": "facts", "facts": len(rows)})
    return subject_page_of(
        request,
        workspace,
        subject,
        "facts",
        "facts/fact_list.html",
        {
            "filter": form,
            "page": shown,
            "rows": rows,
            "filtered": not wanted or any(wanted.values()),
            "form": PreviewForm(workspace_id=workspace.id),
        },
        partial="facts/fact_results.html",
    )


@require_GET
@permission_required(Permission.METADATA_VIEW)
def subject_sessions(request: ConsoleRequest, workspace: Workspace, subject_id: UUID) -> HttpResponse:
    subject = subject_in(workspace, subject_id)
    shown = Paginator(sessions_of(subject), SESSIONS_SHOWN).get_page(request.GET.get("page"))
    record(actor_of(request), "subject.viewed", subject, subject=subject, data={"what": "sessions"})
    return subject_page_of(request, workspace, subject, "sessions", "sessions/session_list.html", {"page": shown})


@require_POST
@permission_required(Permission.CONTENT_REVEAL)
def subject_reveal(request: ConsoleRequest, workspace: Workspace, subject_id: UUID) -> HttpResponse:
    """Show this person's content for a while, to somebody who said why."""
    subject = subject_in(workspace, subject_id)
    form = RevealForm(request.POST)
    if not form.is_valid():
        return hidden_page(request, workspace, subject, form)
    reveal_to(request, subject.id)
    record(
        actor_of(request),
        "content.revealed",
        subject,
        subject=subject,
        reason=form.cleaned_data["reason"],
        data={"minutes": int(LASTS.total_seconds() // 60)},
    )
    wanted = request.POST.get("next", "")
    inside = wanted.startswith(f"/w/{workspace.slug}/") and url_has_allowed_host_and_scheme(wanted, None)
    response = redirect(wanted if inside else reverse("subject-facts", args=[workspace.slug, subject.id]))
    response.status_code = 303
    return response


@require_POST
@permission_required(Permission.CONTENT_REVEAL)
def subject_hide(request: ConsoleRequest, workspace: Workspace, subject_id: UUID) -> HttpResponse:
    """End the showing before its time is over."""
    subject = subject_in(workspace, subject_id)
    hide_from(request, subject.id)
    response = redirect(reverse("subject-facts", args=[workspace.slug, subject.id]))
    response.status_code = 303
    return response


@dataclass(frozen=True)
class Surfaced:
    """What an agent was given in the session, with the facts of it in their order."""

    recall: Recall
    items: list[RecalledItem]


@dataclass(frozen=True)
class Said:
    """A turn of the transcript, and what was surfaced before it and after the one above."""

    turn: Turn
    parts: Sequence[Part]
    before: list[Surfaced]


@dataclass(frozen=True)
class ScoredFact:
    """A candidate of a preview, and what became of it."""

    version: FactVersion
    score: float
    parts: tuple[ScorePart, ...]
    fate: str
    """`surfaced`, `under` the threshold, or `left_out` for want of room."""


@dataclass(frozen=True)
class Preview:
    """What an agent would be given, and why."""

    memory: WorkingMemory
    scored: list[ScoredFact]
    threshold: float
    token_budget: int

    @property
    def shown(self) -> list[ScoredFact]:
        """Those that entered or nearly did; at least the best few."""
        return [one for place, one in enumerate(self.scored) if place < ALWAYS_SHOWN or one.fate != "under"]

    @property
    def rest(self) -> list[ScoredFact]:
        shown = {id(one) for one in self.shown}
        return [one for one in self.scored if id(one) not in shown]

    @property
    def threshold_at(self) -> float:
        return round(self.threshold * 100, 1)


@require_http_methods(["GET", "POST"])
@permission_required(Permission.CONTENT_VIEW, transaction=False)
def subject_preview(request: ConsoleRequest, workspace: Workspace, subject_id: UUID) -> HttpResponse:
    """The block for a message typed in, as an agent would get it. POST, so that the message is in no address."""
    with in_workspace(workspace.id):
        subject = subject_in(workspace, subject_id)
        form = PreviewForm(request.POST if request.method == "POST" else None, workspace_id=workspace.id)
        valid = form.is_valid()
    # Not in that transaction: the message is embedded before one opens.
    preview = _preview(request, workspace, subject, form.cleaned_data) if valid else None
    with in_workspace(workspace.id):
        return subject_page_of(
            request,
            workspace,
            subject,
            "preview",
            "facts/preview.html",
            {"form": form, "preview": preview},
            partial="facts/preview_result.html",
            status=422 if form.is_bound and not valid else 200,
        )


@require_GET
@permission_required(Permission.CONTENT_VIEW)
def session_detail(request: ConsoleRequest, workspace: Workspace, session_id: UUID) -> HttpResponse:
    session = get_object_or_404(
        Session.objects.select_related("subject", "agent"), workspace_id=workspace.id, pk=session_id
    )
    start = request.GET.get("from", "")
    turns = turn_page(session, start=int(start) if start.isascii() and start.isdigit() and len(start) < 10 else 0)
    record(
        actor_of(request),
        "memory.viewed",
        session,
        subject=session.subject_id,
        session=session,
        data={"what": "turns", "turns": len(turns.turns)},
    )
    said, surfaced_after = _transcript(session, turns)
    context = {
        "session": session,
        "subject": session.subject,
        "turns": turns,
        "transcript": said,
        "surfaced_after": surfaced_after,
        "held": role_may(request.membership.role, Permission.REQUESTS_VIEW)
        and holds_on(workspace_id=workspace.id, subject_id=session.subject_id, session_id=session.id).exists(),
        "withheld": session.turns.filter(withheld_at__isnull=False).count(),
    }
    return page(request, workspace, "sessions/session_detail.html", context, section="subjects")


def _transcript(session: Session, page: TurnPage) -> tuple[list[Said], list[Surfaced]]:
    """The page's turns in order, each with what was surfaced before it; and what was surfaced after the last turn.

    By when each was recorded: what a turn says of its own time may be long before the hub knew it.
    """
    turns = page.turns
    if not turns:
        return [], []
    recalls = recalls_of_session(
        subject_id=session.subject_id,
        session_external_id=session.external_id,
        since=page.follows_at,
        until=turns[-1].recorded_at if page.later is not None else None,
        limit=SURFACINGS_SHOWN,
    )
    facts = facts_surfaced([one.id for one in recalls])
    waiting = deque(Surfaced(one, facts.get(one.id, [])) for one in recalls)
    said = []
    for turn in turns:
        before = []
        while waiting and waiting[0].recall.at <= turn.recorded_at:
            before.append(waiting.popleft())
        said.append(Said(turn, parts_of(turn), before))
    return said, list(waiting)


def subject_in(workspace: Workspace, subject_id: UUID) -> Subject:
    return get_object_or_404(Subject, workspace_id=workspace.id, pk=subject_id)


def subject_page_of(
    request: ConsoleRequest,
    workspace: Workspace,
    subject: Subject,
    tab: str,
    template: str,
    context: dict[str, Any],
    *,
    partial: str | None = None,
    status: int = 200,
) -> HttpResponse:
    whole = not (partial and wants_part(request))
    around = {"subject": subject, "tab": tab} | ({"summary": subject_summary(subject)} if whole else {})
    return page(request, workspace, template, around | context, section="subjects", partial=partial, status=status)


def _preview(request: ConsoleRequest, workspace: Workspace, subject: Subject, wanted: dict[str, Any]) -> Preview:
    agent: Agent | None = wanted["agent"]
    asked = MemoryRequest(
        user_id=subject.external_id,
        message=wanted["message"],
        session_id="",
        score_threshold=wanted["score_threshold"],
        top_k=wanted["top_k"] or MemoryRequest.top_k,
        token_budget=wanted["token_budget"] or MemoryRequest.token_budget,
    )
    memory = working_memory(
        view=Viewpoint(
            workspace_id=workspace.id,
            text_config=workspace.text_config,
            actor=actor_of(request),
            agent_id=agent.id if agent else None,
            mode=MemoryMode(agent.mode) if agent else MemoryMode.FULL,
            kind=RecallKind.PREVIEW,
            policy=read_policy(workspace.policy),
        ),
        ask=asked,
    )
    surfaced = {hit.version.id for hit in memory.facts}
    # Pinned facts enter without having been found: they come first, with no score to show.
    found = {hit.version.id for hit in memory.candidates}
    hits = [hit for hit in memory.facts if hit.version.id not in found] + list(memory.candidates)
    scored = [_scored(hit, asked.threshold, hit.version.id in surfaced) for hit in hits]
    return Preview(memory, scored, asked.threshold, asked.token_budget)


def _scored(hit: FactHit, threshold: float, surfaced: bool) -> ScoredFact:
    fate = "surfaced" if surfaced else "under" if hit.score < threshold else "left_out"
    return ScoredFact(hit.version, hit.score, score_parts(hit.scores), fate)
