"""What agents were shown: every recall, and one of them with what was considered, left out, and given."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Any
from uuid import UUID

from django import forms
from django.http import HttpResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_GET

from audit.services import record
from facts.models import FactVersion, Recall, RecallKind
from facts.surfacings import FATES, Candidate, RecallDetail, RecallFilter, recall_page, recall_with_everything
from memoryhub.access.models import Agent, Workspace
from memoryhub.access.permissions import Permission
from memoryhub.console.access import ConsoleRequest, actor_of, permission_required
from memoryhub.console.pages import page
from memoryhub.console.reveal import Revealed, content_shown, reveal_context, revealed_until
from memoryhub.console.scores import ScorePart, percent, score_parts
from sessions.models import Subject

DAY = forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d")


class RecallFilterForm(forms.Form):
    agent = forms.ModelChoiceField(
        queryset=Agent.objects.none(), required=False, empty_label="every agent", label="Agent"
    )
    subject = forms.CharField(required=False, max_length=256, label="Subject")
    kind = forms.ChoiceField(
        required=False, choices=[("", "every kind but previews"), *RecallKind.choices], label="Kind"
    )
    state = forms.ChoiceField(
        required=False,
        choices=[("", "every state"), ("degraded", "degraded"), ("cited", "something was cited")],
        label="State",
    )
    since = forms.DateField(required=False, widget=DAY, label="From (UTC)")
    until = forms.DateField(required=False, widget=DAY, label="To (UTC)")
    session = forms.CharField(required=False, max_length=256, widget=forms.HiddenInput)
    fact = forms.UUIDField(required=False, widget=forms.HiddenInput)
    version = forms.IntegerField(required=False, min_value=1, max_value=100_000, widget=forms.HiddenInput)
    after = forms.UUIDField(required=False, widget=forms.HiddenInput)

    def __init__(self, *args: Any, workspace_id: UUID, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["agent"].queryset = Agent.objects.filter(workspace_id=workspace_id).order_by("name")  # type: ignore[attr-defined]

    def wanted(self, workspace: Workspace) -> RecallFilter | None:
        """None when it asks for a person whom nobody is called by."""
        chosen = self.cleaned_data
        subject = _subject_called(workspace, chosen["subject"].strip()) if chosen["subject"].strip() else None
        if chosen["subject"].strip() and subject is None:
            return None
        return RecallFilter(
            agent_id=chosen["agent"].id if chosen["agent"] else None,
            subject_id=subject,
            fact_id=chosen["fact"],
            version=chosen["version"],
            session_id=chosen["session"],
            kind=chosen["kind"],
            degraded=chosen["state"] == "degraded",
            cited=chosen["state"] == "cited",
            since=_midnight(chosen["since"]),
            until=_midnight(chosen["until"] + timedelta(days=1)) if chosen["until"] else None,
        )


@dataclass(frozen=True)
class ScoredRow:
    """A candidate with the bar of its score, and what became of it in words."""

    version: FactVersion | None
    kind: str
    score: float
    parts: tuple[ScorePart, ...]
    fate: str

    @property
    def surfaced(self) -> bool:
        return self.fate == "surfaced"

    @property
    def says(self) -> str:
        return FATES[self.fate]


@require_GET
@permission_required(Permission.METADATA_VIEW)
def recall_list(request: ConsoleRequest, workspace: Workspace) -> HttpResponse:
    form = RecallFilterForm(request.GET, workspace_id=workspace.id)
    wanted = form.wanted(workspace) if form.is_valid() else None
    after = form.cleaned_data.get("after")
    shown = recall_page(workspace_id=workspace.id, wanted=wanted, after=after) if wanted else None
    people = {row.recall.subject_id for row in shown.rows if row.recall.subject_id} if shown else set()
    record(actor_of(request), "subject.listed", workspace, workspace_id=workspace.id, data={"returned": len(people)})
    context = {
        "form": form,
        "shown": shown,
        "filtered": wanted != RecallFilter(),
        "paged": bool(after),
        "of": [name for name in ("fact", "version", "session") if form.cleaned_data.get(name)],
    }
    return page(
        request,
        workspace,
        "facts/recall_list.html",
        context,
        section="surfacings",
        partial="facts/recall_results.html",
    )


@require_GET
@permission_required(Permission.METADATA_VIEW)
def recall_detail(request: ConsoleRequest, workspace: Workspace, recall_id: UUID) -> HttpResponse:
    recall = get_object_or_404(
        Recall.objects.select_related("subject", "agent", "session"), workspace_id=workspace.id, pk=recall_id
    )
    detail = recall_with_everything(recall)
    readable = content_shown(request, recall.subject_id)
    until = revealed_until(request, recall.subject_id) if recall.subject_id else None
    if readable and recall.subject and until:
        request.revealed = Revealed(recall.subject, until)
    if readable:
        facts = sum(1 for one in detail.items if one.item.version_id)
        data: dict[str, Any] = {
            "what": "recall",
            "recall_id": recall.id,
            "facts": facts,
            "turns": len(detail.items) - facts,
        }
        record(actor_of(request), "memory.viewed", recall, subject=recall.subject_id, data=data)
    else:
        record(actor_of(request), "subject.viewed", recall, subject=recall.subject_id, data={"what": "recall"})
    context = {
        "recall": recall,
        "subject": recall.subject,
        "detail": detail,
        "readable": readable,
        "rows": _rows(detail),
        "items": [(one, score_parts(one.item.scores)) for one in detail.items],
        "threshold": detail.threshold,
        "threshold_at": percent(detail.threshold),
        "settings": _settings(detail),
        "block_hash": bytes(recall.block_hash).hex() if recall.block_hash else "",
        "object_query": f"object:{recall.id}",
    } | reveal_context(request)
    return page(request, workspace, "facts/recall_detail.html", context, section="surfacings")


def _rows(detail: RecallDetail) -> list[ScoredRow]:
    return [_row(one) for one in detail.candidates]


def _row(one: Candidate) -> ScoredRow:
    return ScoredRow(one.version, one.kind, one.score, score_parts(one.scores), one.fate)


SETTINGS = {
    "score_threshold": "threshold",
    "min_similarity": "nearness at least",
    "top_k": "facts at most",
    "token_budget": "token budget",
    "recent_turns": "recent turns",
    "refresh": "refresh",
    "format": "format",
    "mode": "memory mode",
    "types": "types",
    "kinds": "kinds",
    "limit": "page size",
}


def _settings(detail: RecallDetail) -> Sequence[tuple[str, str]]:
    """What shaped the answer, in words; what was left at nothing is not told."""
    told = []
    for name, label in SETTINGS.items():
        value = detail.recall.settings.get(name)
        if value not in (None, [], ""):
            told.append((label, ", ".join(map(str, value)) if isinstance(value, list) else str(value)))
    return told


def _subject_called(workspace: Workspace, name: str) -> UUID | None:
    """The person with this id of the caller's, or of ours."""
    people = Subject.objects.filter(workspace_id=workspace.id)
    found = people.filter(external_id=name).values_list("id", flat=True).first()
    if found is None:
        try:
            found = people.filter(pk=UUID(name)).values_list("id", flat=True).first()
        except ValueError:
            return None
    return found


def _midnight(day: Any) -> datetime | None:
    return datetime.combine(day, time.min, UTC) if day else None
