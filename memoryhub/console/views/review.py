"""What waits for a person, one decision after the other; and taking back what a key or a session wrote."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from audit.reasons import REASONS
from audit.services import record
from facts.doubts import WAITS_BECAUSE, Doubt
from facts.exceptions import FactError, PlanChanged
from facts.models import FactVersion, Source
from facts.review import (
    Reviewed,
    ReviewFilter,
    review_queue,
    reviewed,
    turns_release,
    version_approve,
    version_edit,
    version_reject,
)
from facts.rollback import Plan, Scope, roll_back, roll_back_plan
from memoryhub.access.models import Agent, Workspace
from memoryhub.access.permissions import Permission
from memoryhub.console.access import ConsoleRequest, actor_of, permission_required
from memoryhub.console.pages import page
from memoryhub.core.screening import LABELS, Kind
from sessions.models import Session

SHOWN = 20
LISTED = 200
"""How many items of a plan are listed; all of them are counted."""
REJECT_REASONS = (
    "not_stated",
    "wrong",
    "not_about_subject",
    "suspicious",
    "outdated",
    "duplicate",
    "sensitive",
    "other",
)
ROLL_BACK_REASONS = ("compromised", "suspicious", "wrong", "requested", "subject_request", "other")
PHRASE = "roll back"
STATES = (
    ("waiting", "waits for review"),
    ("unshared", "known to its own agent only"),
    ("rejected", "turned down"),
)


class ReviewFilterForm(forms.Form):
    state = forms.ChoiceField(required=False, choices=STATES, label="State")
    code = forms.ChoiceField(
        required=False,
        label="Waits because",
        choices=[("", "every reason"), *((one, REASONS[one]) for one in WAITS_BECAUSE)],
    )
    source = forms.ChoiceField(required=False, label="Source", choices=[("", "every source"), *Source.choices])
    agent = forms.ModelChoiceField(
        queryset=Agent.objects.none(), required=False, empty_label="every agent", label="Agent"
    )
    subject = forms.UUIDField(required=False, widget=forms.HiddenInput)
    key = forms.CharField(required=False, max_length=64, label="Key")
    after = forms.UUIDField(required=False, widget=forms.HiddenInput)

    def __init__(self, *args: Any, workspace_id: UUID, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["agent"].queryset = Agent.objects.filter(workspace_id=workspace_id).order_by("name")  # type: ignore[attr-defined]

    def wanted(self) -> ReviewFilter:
        chosen = self.cleaned_data
        return ReviewFilter(
            state=chosen["state"] or "waiting",
            code=chosen["code"],
            source=chosen["source"],
            agent_id=chosen["agent"].id if chosen["agent"] else None,
            subject_id=chosen["subject"],
            written_with=chosen["key"].strip(),
        )


class DecisionForm(forms.Form):
    """What a person does with one version. Each way of deciding needs its own fields."""

    do = forms.ChoiceField(choices=[("approve", ""), ("edit", ""), ("reject", "")])
    content = forms.CharField(required=False, max_length=4000, label="What is true")
    value = forms.DecimalField(required=False, max_digits=30, decimal_places=10, label="Number")
    unit = forms.CharField(required=False, max_length=40, label="Unit")
    reason = forms.ChoiceField(required=False, choices=[(one, REASONS[one]) for one in REJECT_REASONS], label="Reason")
    note = forms.CharField(required=False, max_length=2000, label="Note")

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        if cleaned.get("do") == "edit" and not cleaned.get("content"):
            self.add_error("content", "Say what is true.")
        if cleaned.get("do") == "reject" and not cleaned.get("reason"):
            self.add_error("reason", "Choose why.")
        return cleaned


@dataclass(frozen=True)
class Piece:
    """A part of a sentence; `label` says what was found there."""

    text: str
    label: str = ""


@dataclass(frozen=True)
class Card:
    """A version to decide on, as the page shows it."""

    one: Reviewed
    pieces: tuple[Piece, ...]
    because: tuple[str, ...]


def cards(versions: list[FactVersion]) -> list[Card]:
    return [Card(one, tuple(pieces_of(one.version)), tuple(_because(one.version))) for one in reviewed(versions)]


def pieces_of(version: FactVersion) -> Iterator[Piece]:
    """The content in parts, with those marked in which something was found."""
    done = 0
    found = [Doubt.of_json(one) for one in version.findings]
    for one in sorted((one for one in found if one.kind), key=lambda one: one.start or 0):
        start, end = one.start or 0, one.end or 0
        if start < done:
            continue
        if start > done:
            yield Piece(version.content[done:start])
        yield Piece(version.content[start:end], LABELS[Kind(one.kind)])
        done = end
    if done < len(version.content):
        yield Piece(version.content[done:])


def _because(version: FactVersion) -> Iterator[str]:
    counted = Counter(one["code"] for one in version.findings)
    for code in counted:
        kinds = sorted(
            {LABELS[Kind(one["kind"])] for one in version.findings if one["code"] == code and one.get("kind")}
        )
        yield REASONS[code] + (f" ({', '.join(kinds)})" if kinds else "")


@require_GET
@permission_required(Permission.MEMORY_REVIEW)
def review_list(request: ConsoleRequest, workspace: Workspace) -> HttpResponse:
    form = ReviewFilterForm(request.GET, workspace_id=workspace.id)
    valid = form.is_valid()
    wanted = form.wanted() if valid else ReviewFilter()
    queue = review_queue(workspace.id, wanted) if valid else FactVersion.objects.none()
    after = form.cleaned_data.get("after")
    # One that goes on after what is not here begins at the beginning.
    going_on = after and FactVersion.objects.filter(workspace_id=workspace.id, pk=after).exists()
    rows = queue.filter(id__gt=after) if going_on else queue
    found = list(rows.select_related("fact__subject", "agent", "session").order_by("id")[: SHOWN + 1])
    shown = found[:SHOWN]
    for subject_id, count in Counter(version.fact.subject_id for version in shown).items():
        record(
            actor_of(request),
            "memory.viewed",
            ("subject", subject_id),
            workspace_id=workspace.id,
            subject=subject_id,
            data={"what": "review", "facts": count},
        )
    context = {
        "form": form,
        "wanted": wanted,
        "cards": cards(shown),
        "total": queue.count(),
        "after": shown[-1].id if len(found) > SHOWN else None,
        "paged": bool(after),
        "filtered": not valid or wanted != ReviewFilter(),
        "reasons": [(one, REASONS[one]) for one in REJECT_REASONS],
    }
    return page(request, workspace, "facts/review.html", context, section="review", partial="facts/review_results.html")


@require_POST
@permission_required(Permission.MEMORY_REVIEW)
def review_decide(request: ConsoleRequest, workspace: Workspace, version_id: UUID) -> HttpResponse:
    version = get_object_or_404(FactVersion, workspace_id=workspace.id, pk=version_id)
    form = DecisionForm(request.POST)
    if not form.is_valid():
        faults = [str(error) for errors in form.errors.values() for error in errors]
        messages.error(request, f"Nothing was decided: {' '.join(faults)}")
        return _back(request, workspace)
    wanted = form.cleaned_data
    actor, note = actor_of(request), wanted["note"]
    try:
        if wanted["do"] == "approve":
            done = version_approve(version=version, actor=actor, note=note)
            says = f"Let in: {done.fact.handle_text} v{done.number} is {done.status}."
        elif wanted["do"] == "edit":
            done = version_edit(
                version=version,
                actor=actor,
                content=wanted["content"],
                value=wanted["value"],
                unit=wanted["unit"],
                note=note,
            )
            says = f"Let in as you worded it: {done.fact.handle_text} v{done.number} is current."
        else:
            done = version_reject(version=version, actor=actor, reason=wanted["reason"], note=note)
            says = f"Turned down: {done.fact.handle_text} v{done.number}. It is kept, and shown to nobody."
    except FactError as refused:
        messages.error(request, refused.message)
    else:
        messages.success(request, says)
    return _back(request, workspace)


@require_POST
@permission_required(Permission.MEMORY_REVIEW)
def session_release(request: ConsoleRequest, workspace: Workspace, session_id: UUID) -> HttpResponse:
    """Let the withheld turns of a session be surfaced again."""
    session = get_object_or_404(Session, workspace_id=workspace.id, pk=session_id)
    released = turns_release(turns=session.turns.all(), actor=actor_of(request))
    messages.success(request, f"Released: {released} turns may be shown to agents again.")
    return _see_other(reverse("session-detail", args=[workspace.slug, session.id]))


class ScopeForm(forms.Form):
    """Whose writing, and from when."""

    key = forms.CharField(required=False, max_length=64, label="Key, by its prefix")
    session = forms.UUIDField(required=False, label="or session, by the hub's id")
    since = forms.DateTimeField(
        required=False, label="From (UTC)", widget=forms.DateTimeInput(attrs={"placeholder": "2026-03-01 09:00"})
    )
    until = forms.DateTimeField(
        required=False, label="Until (UTC)", widget=forms.DateTimeInput(attrs={"placeholder": "2026-03-02 18:00"})
    )

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        if not self.errors and bool(cleaned.get("key")) == bool(cleaned.get("session")):
            raise forms.ValidationError("Name a key or a session: one of the two.")
        return cleaned

    def scope(self, workspace: Workspace) -> Scope:
        chosen = self.cleaned_data
        return Scope(
            workspace.id,
            key=chosen["key"].strip(),
            session_id=chosen["session"],
            since=chosen["since"],
            until=chosen["until"],
        )


class RollBackForm(forms.Form):
    """The decision: for exactly the plan that was shown."""

    plan = forms.RegexField(r"^[0-9a-f]{64}\Z", widget=forms.HiddenInput)
    reason = forms.ChoiceField(choices=[(one, REASONS[one]) for one in ROLL_BACK_REASONS], label="Reason")
    note = forms.CharField(
        required=False, max_length=2000, label="Note (optional)", widget=forms.Textarea(attrs={"rows": 2})
    )
    phrase = forms.CharField(
        max_length=40, label=f"Type “{PHRASE}” to confirm", widget=forms.TextInput(attrs={"autocomplete": "off"})
    )

    def clean_phrase(self) -> str:
        typed = " ".join(self.cleaned_data["phrase"].split()).casefold()
        if typed != PHRASE:
            raise forms.ValidationError(f"Type the words “{PHRASE}”.")
        return typed


@require_http_methods(["GET", "POST"])
@permission_required(Permission.MEMORY_ROLL_BACK)
def roll_back_view(request: ConsoleRequest, workspace: Workspace) -> HttpResponse:
    """The plan for a key or a session, and carrying out that plan and no other."""
    asked = ScopeForm(request.GET or None)
    scope = asked.scope(workspace) if asked.is_bound and asked.is_valid() else None
    if scope is None:
        return _roll_back_page(request, workspace, asked, None, None)
    form = RollBackForm(request.POST if request.method == "POST" else None)
    if form.is_bound and form.is_valid():
        wanted = form.cleaned_data
        try:
            done = roll_back(
                scope=scope,
                digest=wanted["plan"],
                actor=actor_of(request),
                reason=wanted["reason"],
                note=wanted["note"],
            )
        except PlanChanged as changed:
            form.add_error(None, changed.message)
        else:
            messages.success(
                request,
                f"Taken back: {done.rejected} versions turned down, {done.restored} put back as they were, "
                f"{done.turns} turns withheld. Each can be put back alone.",
            )
            return _see_other(reverse("roll-back", args=[workspace.slug]))
    plan = roll_back_plan(scope)
    status = 422 if form.is_bound else 200
    return _roll_back_page(request, workspace, asked, plan, form, status=status)


def _roll_back_page(
    request: ConsoleRequest,
    workspace: Workspace,
    asked: ScopeForm,
    plan: Plan | None,
    form: RollBackForm | None,
    *,
    status: int = 200,
) -> HttpResponse:
    context: dict[str, Any] = {"asked": asked, "plan": plan, "form": form}
    if plan is not None:
        context["changes"] = [(change, plan.facts[change.version.fact_id]) for change in plan.changes[:LISTED]]
        context["kept"] = [(version, plan.facts[version.fact_id]) for version in plan.kept[:LISTED]]
        context["more"] = max(0, len(plan.changes) - LISTED)
        people = Counter(fact.subject_id for _, fact in (*context["changes"], *context["kept"]))
        for subject_id, count in people.items():
            record(
                actor_of(request),
                "memory.viewed",
                ("subject", subject_id),
                workspace_id=workspace.id,
                subject=subject_id,
                data={"what": "roll_back", "facts": count},
            )
    return page(request, workspace, "facts/roll_back.html", context, section="review", status=status)


def _back(request: ConsoleRequest, workspace: Workspace) -> HttpResponse:
    """To the queue as it was filtered."""
    query = request.GET.urlencode()
    return _see_other(reverse("review", args=[workspace.slug]) + (f"?{query}" if query else ""))


def _see_other(url: str) -> HttpResponse:
    response = redirect(url)
    response.status_code = 303
    return response
