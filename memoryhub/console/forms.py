"""What people type into the console, checked."""

from decimal import Decimal
from typing import Any
from uuid import UUID

from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError

from audit.reasons import REASONS
from facts.models import FactType, FactVersion, Source, Status
from memoryhub.access.models import Agent

CORRECT_REASONS = ("corrected", "wrong", "outdated", "contradicted", "subject_request", "other")
STALE_REASONS = (
    "outdated", "contradicted", "wrong", "not_about_subject", "not_stated", "duplicate", "subject_request", "other",
)  # fmt: skip
RESTORE_REASONS = ("restored", "corrected", "subject_request", "other")


def _choices(codes: tuple[str, ...]) -> list[tuple[str, str]]:
    return [(code, REASONS[code]) for code in codes]


class SubjectFilter(forms.Form):
    q = forms.CharField(required=False, max_length=256, label="User id")
    state = forms.ChoiceField(
        required=False, choices=[("", "all"), ("restricted", "restricted"), ("paused", "paused")], label="State"
    )
    after = forms.UUIDField(required=False, widget=forms.HiddenInput)


class FactFilter(forms.Form):
    type = forms.ChoiceField(required=False, choices=[("", "type"), *FactType.choices], label="Type")
    status = forms.ChoiceField(
        required=False,
        choices=[("", "status"), *Status.choices, ("past", "past (none current)")],
        label="Status",
    )
    source = forms.ChoiceField(required=False, choices=[("", "source"), *Source.choices], label="Source")


class PreviewForm(forms.Form):
    """What an agent would be given for a message. The same bounds as the API's."""

    message = forms.CharField(
        max_length=20_000,
        widget=forms.Textarea(attrs={"rows": 2, "placeholder": "Type what the person might say next"}),
        label="Message",
    )
    agent = forms.ModelChoiceField(
        queryset=Agent.objects.none(), required=False, empty_label="an agent that wrote nothing here", label="Agent"
    )
    score_threshold = forms.FloatField(min_value=0, max_value=1, required=False, label="Threshold")
    top_k = forms.IntegerField(min_value=1, max_value=50, required=False, label="Facts at most")
    token_budget = forms.IntegerField(min_value=50, max_value=8000, required=False, label="Token budget")

    def __init__(self, *args: Any, workspace_id: UUID, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["agent"].queryset = Agent.objects.filter(workspace_id=workspace_id).order_by("name")  # type: ignore[attr-defined]
        for name, usual, step in (
            ("score_threshold", settings.SCORE_THRESHOLD, "0.01"),
            ("top_k", 5, "1"),
            ("token_budget", 800, "10"),
        ):
            self.fields[name].initial = usual
            self.fields[name].widget.attrs["step"] = step


class ChangeForm(forms.Form):
    """What every change of a fact carries: the version it was decided on, a reason, and a note."""

    expected_version = forms.IntegerField(min_value=1, widget=forms.HiddenInput)
    reason = forms.ChoiceField(label="Reason")
    note = forms.CharField(
        required=False, max_length=2000, widget=forms.Textarea(attrs={"rows": 2}), label="Note (optional)"
    )
    reasons: tuple[str, ...] = ()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["reason"].choices = _choices(self.reasons)  # type: ignore[attr-defined]


class CorrectForm(ChangeForm):
    """A new version in a person's words."""

    reasons = CORRECT_REASONS
    content = forms.CharField(max_length=4000, widget=forms.Textarea(attrs={"rows": 3}), label="What is true")
    value = forms.DecimalField(required=False, max_digits=30, decimal_places=10, label="Number (optional)")
    unit = forms.CharField(required=False, max_length=40, label="Unit (optional)")
    field_order = ("expected_version", "content", "value", "unit", "reason", "note")

    def __init__(self, *args: Any, latest: FactVersion, **kwargs: Any) -> None:
        self.latest = latest
        super().__init__(*args, **kwargs)

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        same_words = cleaned.get("content") == self.latest.content
        same_number = cleaned.get("value") == self.latest.value and cleaned.get("unit") == self.latest.unit
        if same_words and same_number:
            self.add_error("content", ValidationError("This is what the fact says already."))
        elif same_words and cleaned.get("value") is None and self.latest.value is not None:
            self.add_error("value", ValidationError("A number is dropped together with the sentence that holds it."))
        return cleaned

    @classmethod
    def initial_of(cls, version: FactVersion) -> dict[str, Any]:
        return {"content": version.content, "value": _plain(version.value), "unit": version.unit}


class StaleForm(ChangeForm):
    reasons = STALE_REASONS


class RestoreForm(ChangeForm):
    reasons = RESTORE_REASONS
    version = forms.IntegerField(min_value=1, widget=forms.HiddenInput)


def _plain(value: Decimal | None) -> str:
    """Without the zeros that the column adds."""
    if value is None:
        return ""
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


class AuditFilter(forms.Form):
    q = forms.CharField(required=False, label="Search the log")
    before = forms.UUIDField(required=False, widget=forms.HiddenInput)


class JumpForm(forms.Form):
    q = forms.CharField(required=False, max_length=256)
