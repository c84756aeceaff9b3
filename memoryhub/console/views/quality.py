"""How well retrieval does, by what was recorded; and what another threshold would have changed."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from django import forms
from django.conf import settings
from django.http import HttpResponse
from django.utils import timezone
from django.views.decorators.http import require_GET

from facts import quality
from memoryhub.access.models import Agent, Workspace
from memoryhub.access.permissions import Permission
from memoryhub.console.access import ConsoleRequest, permission_required
from memoryhub.console.pages import page
from memoryhub.core.charts import nice_top

DAYS = (1, 7, 30, 90)
USUAL_DAYS = 30
OTHERS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
"""Thresholds that are told beside the one that was chosen."""
WIDE, HIGH, ABOVE = 600, 134, 20
"""The drawing: how wide it is, and how high its bars are under the room for the scale."""


class QualityForm(forms.Form):
    threshold = forms.FloatField(
        required=False,
        min_value=0,
        max_value=1,
        label="Threshold",
        widget=forms.NumberInput(attrs={"step": "0.01"}),
    )
    days = forms.TypedChoiceField(
        required=False,
        coerce=int,
        choices=[(one, "the last day" if one == 1 else f"the last {one} days") for one in DAYS],
        label="Period",
    )
    agent = forms.ModelChoiceField(
        queryset=Agent.objects.none(), required=False, empty_label="every agent", label="Agent"
    )

    def __init__(self, *args: Any, workspace_id: UUID, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["agent"].queryset = Agent.objects.filter(workspace_id=workspace_id).order_by("name")  # type: ignore[attr-defined]


@dataclass(frozen=True)
class Bar:
    """One bin of the drawing: where it begins, and how high each of its parts is."""

    bin: quality.Bin
    x: float
    considered: float
    surfaced: float
    cited: float

    @property
    def most(self) -> float:
        return self.bin.least + 0.05


@require_GET
@permission_required(Permission.METADATA_VIEW)
def retrieval_quality(request: ConsoleRequest, workspace: Workspace) -> HttpResponse:
    usual = {"threshold": settings.SCORE_THRESHOLD, "days": USUAL_DAYS}
    form = QualityForm(usual | request.GET.dict(), workspace_id=workspace.id)
    context: dict[str, Any] = {"form": form, "usual": settings.SCORE_THRESHOLD, "most": quality.MOST_RECALLS}
    if form.is_valid():
        wanted = form.cleaned_data
        threshold = usual["threshold"] if wanted["threshold"] is None else round(wanted["threshold"], 2)
        which: dict[str, Any] = {
            "workspace_id": workspace.id,
            "since": timezone.now() - timedelta(days=wanted["days"] or USUAL_DAYS),
            "agent_id": wanted["agent"].id if wanted["agent"] else None,
        }
        rows = quality.considered(**which)
        bars, top = _bars(quality.bins(rows))
        context |= {
            "threshold": threshold,
            "threshold_at": round(threshold * WIDE, 1),
            "rates": quality.rates(**which),
            "what_if": quality.what_if(rows, threshold),
            "others": [quality.what_if(rows, one) for one in OTHERS],
            "bars": bars,
            "top": top,
            "in_all": sum(row.count for row in rows),
        }
    return page(
        request,
        workspace,
        "facts/quality.html",
        context,
        section="quality",
        partial="facts/quality_results.html",
        status=200 if form.is_valid() else 422,
    )


def _bars(bins: Sequence[quality.Bin]) -> tuple[list[Bar], int]:
    top = nice_top(max((one.considered for one in bins), default=0))
    wide = WIDE / len(bins)
    return [
        Bar(
            one,
            round(place * wide + 1, 1),
            *(round(HIGH * count / top, 1) for count in (one.considered, one.surfaced, one.cited)),
        )
        for place, one in enumerate(bins)
    ], top
