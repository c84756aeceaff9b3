"""Windows of turns that nothing was learned from: why, and reading them again."""

from typing import Any
from uuid import UUID

from django import forms
from django.conf import settings
from django.contrib import messages
from django.core.paginator import Paginator
from django.http import Http404, HttpResponse, QueryDict
from django.shortcuts import redirect
from django.views.decorators.http import require_GET, require_POST

from facts.extraction.claims import FAILURES
from facts.extraction.replay import DeadLetterFilter, dead_letter_causes, dead_letters_replay, replay_progress
from memoryhub.access.models import Workspace
from memoryhub.access.permissions import Permission
from memoryhub.console.access import ConsoleRequest, actor_of, permission_required
from memoryhub.console.extraction import CAUSES, extractor_now
from memoryhub.console.pages import page

SHOWN = 50


class DeadLetterForm(forms.Form):
    error = forms.ChoiceField(required=False, label="Cause")

    def __init__(self, *args: Any, causes: list[tuple[str, int]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        found = [(code, f"{CAUSES.get(code, code)} ({count})") for code, count in causes]
        known = {code for code, _ in causes}
        rest = [(code, CAUSES.get(code, code)) for code in FAILURES if code not in known]
        # A cause of which none is left can still stand in an address.
        self.fields["error"].choices = [("", "every cause"), *found, *rest]  # type: ignore[attr-defined]
        self.shown = [("", "every cause"), *found]


class ReplayForm(forms.Form):
    """Which ones: the ticked, or all that the cause names."""

    which = forms.ChoiceField(choices=[("selected", "selected"), ("all", "all")])
    error = forms.ChoiceField(required=False, choices=[("", ""), *((code, code) for code in FAILURES)])
    ids = forms.TypedMultipleChoiceField(required=False, coerce=UUID, empty_value=[])

    def __init__(self, data: QueryDict) -> None:
        super().__init__(data)
        self.fields["ids"].choices = [(one, one) for one in data.getlist("ids")[:SHOWN]]  # type: ignore[attr-defined]

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        if cleaned.get("which") == "selected" and not cleaned.get("ids"):
            raise forms.ValidationError("Tick at least one of them.")
        return cleaned


@require_GET
@permission_required(Permission.EXTRACTIONS_VIEW)
def dead_letter_list(request: ConsoleRequest, workspace: Workspace) -> HttpResponse:
    causes = list(dead_letter_causes(workspace_id=workspace.id))
    form = DeadLetterForm(request.GET, causes=causes)
    error = form.cleaned_data["error"] if form.is_valid() else ""
    rows = (
        DeadLetterFilter(error=error)
        .of(workspace.id)
        .select_related("session", "session__agent", "subject")
        .order_by("-finished_at", "-id")
    )
    shown = Paginator(rows, SHOWN).get_page(request.GET.get("page"))
    context = {
        "form": form,
        "error": error,
        "page": shown,
        "total": sum(count for _, count in causes),
        "extractor": extractor_now(),
        "max_attempts": settings.EXTRACT_MAX_ATTEMPTS,
    }
    return page(
        request,
        workspace,
        "facts/dead_letter_list.html",
        context,
        section="dead-letters",
        partial="facts/dead_letter_results.html",
    )


@require_POST
@permission_required(Permission.EXTRACTIONS_REPLAY, transaction=False)
def dead_letter_replay(request: ConsoleRequest, workspace: Workspace) -> HttpResponse:
    form = ReplayForm(request.POST)
    if not form.is_valid():
        messages.error(request, "Nothing was replayed: tick at least one of them, or replay all.")
        return redirect("dead-letters", workspace.slug)
    wanted = form.cleaned_data
    which = (
        DeadLetterFilter(ids=tuple(wanted["ids"]))
        if wanted["which"] == "selected"
        else DeadLetterFilter(error=wanted["error"])
    )
    replayed = dead_letters_replay(workspace_id=workspace.id, which=which, actor=actor_of(request))
    if not replayed.windows:
        messages.warning(request, "Nothing was replayed: somebody else did it before you.")
        return redirect("dead-letters", workspace.slug)
    return redirect("dead-letter-progress", workspace.slug, replayed.id)


@require_GET
@permission_required(Permission.EXTRACTIONS_VIEW)
def dead_letter_progress(request: ConsoleRequest, workspace: Workspace, replay_id: UUID) -> HttpResponse:
    progress = replay_progress(workspace_id=workspace.id, replay=replay_id)
    if not progress.windows:
        raise Http404
    return page(
        request,
        workspace,
        "facts/dead_letter_progress.html",
        {"progress": progress, "replay_id": replay_id, "extractor": extractor_now()},
        section="dead-letters",
        partial="facts/dead_letter_progress_part.html",
    )
