"""What administrators type about agents and their keys, checked."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django import forms
from django.conf import settings
from django.utils import timezone

from audit.reasons import REASONS
from memoryhub.access.models import DEFAULT_SCOPES, Agent, MemoryMode, Scope
from memoryhub.access.services import MOST_PER_MINUTE, REVOKE_REASONS

MOST_DAYS = 3_650
OVERLAPS = (
    ("0", "none: the old key ends at once"),
    ("1", "1 hour"),
    ("24", "1 day"),
    ("168", "7 days"),
    ("720", "30 days"),
)


class AgentForm(forms.Form):
    name = forms.SlugField(
        max_length=64,
        label="Name",
        help_text="Letters, digits, - and _. It stands in the log and cannot be changed.",
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
    )
    mode = forms.ChoiceField(
        choices=MemoryMode.choices, initial=MemoryMode.FULL, label="Memory mode", widget=forms.RadioSelect
    )

    def __init__(self, *args: Any, workspace_id: UUID, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.workspace_id = workspace_id

    def clean_name(self) -> str:
        name: str = self.cleaned_data["name"]
        if Agent.objects.filter(workspace_id=self.workspace_id, name=name).exists():
            raise forms.ValidationError("There is an agent of this name already.")
        return name


class ModeForm(forms.Form):
    mode = forms.ChoiceField(choices=MemoryMode.choices, label="Memory mode")


class KeyForm(forms.Form):
    scopes = forms.MultipleChoiceField(
        choices=[(scope.value, scope.label) for scope in Scope],
        initial=[scope.value for scope in DEFAULT_SCOPES],
        label="What the key may do",
        widget=forms.CheckboxSelectMultiple,
        error_messages={"required": "A key that may do nothing is of no use."},
    )
    days = forms.IntegerField(
        min_value=1,
        max_value=MOST_DAYS,
        required=False,
        initial=90,
        label="Days until it expires",
        help_text="Empty: it does not expire.",
    )
    rate_per_minute = forms.IntegerField(
        min_value=1, max_value=MOST_PER_MINUTE, required=False, label="Requests a minute"
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["rate_per_minute"].help_text = f"Empty: {settings.THROTTLE_PER_MINUTE:,}, as for every key here."

    @property
    def scopes_wanted(self) -> list[Scope]:
        return [Scope(scope) for scope in self.cleaned_data["scopes"]]

    @property
    def expires_at(self) -> datetime | None:
        days = self.cleaned_data["days"]
        return timezone.now() + timedelta(days=days) if days else None


class RotateForm(forms.Form):
    overlap = forms.ChoiceField(
        choices=OVERLAPS, initial="24", label="Overlap", help_text="How long both keys work. Not longer than the old."
    )

    @property
    def overlap_wanted(self) -> timedelta:
        return timedelta(hours=int(self.cleaned_data["overlap"]))


class RevokeForm(forms.Form):
    reason = forms.ChoiceField(choices=[(code, REASONS[code]) for code in REVOKE_REASONS], label="Reason")
