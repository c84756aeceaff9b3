"""What people type at the desk, checked."""

from datetime import date, datetime, time
from typing import Any
from zoneinfo import ZoneInfo

from django import forms
from django.core.validators import MinValueValidator
from django.utils import timezone

from audit.reasons import REASONS
from audit.requests.models import Channel, Identity
from audit.requests.selectors import ANY, NOBODY, OPEN
from audit.requests.states import DECISIONS, RequestState, RequestType, Step
from memoryhub.access.models import Workspace
from memoryhub.console.desk import REASONS_FOR, calendar_of, handlers, today_in
from memoryhub.console.views.erasures import WhatForm
from memoryhub.desk import EXTENSION_REASONS, HOLD_REASONS, STEP_REASONS
from sessions.services import PAUSES

NOTE = 2_000
EARLIEST = date(2000, 1, 1)
ERASED_TOO = "In your words; erased together with the person."


def _choices(codes: tuple[str, ...]) -> list[tuple[str, str]]:
    return [(code, REASONS[code]) for code in codes]


def _date() -> forms.DateInput:
    return forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d")


def _note(label: str = "Note (optional)") -> forms.CharField:
    return forms.CharField(
        required=False, max_length=NOTE, label=label, widget=forms.Textarea(attrs={"rows": 2}), help_text=ERASED_TOO
    )


class RequestFilterForm(forms.Form):
    type = forms.ChoiceField(required=False, label="Type", choices=[("", "every type"), *RequestType.choices])
    state = forms.ChoiceField(
        required=False, label="State", choices=[(OPEN, "open"), (ANY, "every state"), *RequestState.choices]
    )
    assignee = forms.ChoiceField(required=False, label="Looked after by")
    due = forms.ChoiceField(required=False, label="Due", choices=[("", "whenever"), ("overdue", "overdue")])
    subject = forms.UUIDField(required=False, widget=forms.HiddenInput)

    def __init__(self, *args: Any, workspace: Workspace, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        people = [(str(user), name) for user, name in handlers(workspace)]
        self.fields["assignee"].choices = [("", "anybody"), (NOBODY, "nobody yet"), *people]  # type: ignore[attr-defined]


class RequestForm(WhatForm):
    """A request that came in. What it inherits is the part that an erasure is about."""

    type = forms.ChoiceField(label="What the person asks for", choices=RequestType.choices)
    received_on = forms.DateField(
        label="When it reached you",
        widget=_date(),
        validators=[MinValueValidator(EARLIEST)],
        help_text="The month to answer begins then, whenever it was entered here.",
    )
    channel = forms.ChoiceField(label="How it reached you", choices=Channel.choices)
    identity = forms.ChoiceField(
        label="Is it the person?", choices=[(one.value, one.label) for one in (Identity.UNVERIFIED, Identity.VERIFIED)]
    )
    note = _note()
    field_order = ("type", "received_on", "channel", "identity", "session", "since", "until", "note")

    def __init__(self, *args: Any, workspace: Workspace, **kwargs: Any) -> None:
        self.calendar = calendar_of(workspace)
        super().__init__(*args, **kwargs)
        self.fields["received_on"].initial = today_in(workspace)
        self.fields["session"].label = "Of an erasure: only this session, by the hub's id"

    @property
    def received_at(self) -> datetime:
        """Now where it came in today, else noon of the day in the workspace's zone."""
        day: date = self.cleaned_data["received_on"]
        now = timezone.now()
        if day == self.calendar.day_of(now):
            return now
        return datetime.combine(day, time(12), ZoneInfo(self.calendar.time_zone))

    def clean_received_on(self) -> date:
        day: date = self.cleaned_data["received_on"]
        if day > self.calendar.day_of(timezone.now()):
            raise forms.ValidationError("A request cannot have been received in the future.")
        return day


class DecisionForm(forms.Form):
    """A decision about a request, but for that to carry it out."""

    step = forms.ChoiceField(choices=[(one.value, "") for one in DECISIONS if one is not Step.CARRY_OUT])
    reason = forms.ChoiceField(required=False, label="Reason", choices=[("", ""), *_choices(STEP_REASONS)])
    note = _note()


class StepForm(DecisionForm):
    """The same as a page shows it: for one step, with the reasons that fit."""

    step = forms.ChoiceField(widget=forms.HiddenInput)

    def __init__(self, step: Step, *, notes: bool) -> None:
        super().__init__(initial={"step": step.value}, auto_id=f"{step.value}_%s")
        reasons = REASONS_FOR.get(step, ())
        if not reasons:
            del self.fields["reason"]
        else:
            empty = [("", "Choose…")] if step is Step.REFUSE else []
            self.fields["reason"].choices = [*empty, *_choices(reasons)]  # type: ignore[attr-defined]
            self.fields["reason"].required = step is Step.REFUSE
        if not notes:
            del self.fields["note"]


class ExtendForm(forms.Form):
    """Two more months."""

    reason = forms.ChoiceField(label="Why it takes longer", choices=_choices(EXTENSION_REASONS))
    told_on = forms.DateField(
        label="When the person was told",
        widget=_date(),
        validators=[MinValueValidator(EARLIEST)],
        help_text="It has to be within the first month.",
    )
    note = _note()


class AssignForm(forms.Form):
    assignee = forms.TypedChoiceField(required=False, label="Looked after by")

    def __init__(self, *args: Any, workspace: Workspace, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        people = [(str(user), name) for user, name in handlers(workspace)]
        self.fields["assignee"].choices = [("", "nobody"), *people]  # type: ignore[attr-defined]


class NoteForm(forms.Form):
    note = forms.CharField(
        max_length=NOTE, label="Add a note", widget=forms.Textarea(attrs={"rows": 2}), help_text=ERASED_TOO
    )


class RunForm(forms.Form):
    """Carrying a request out. An erasure asks for a phrase that names the person, an objection for what to stop."""

    what = forms.MultipleChoiceField(
        label="What stops",
        choices=[
            ("recording", "recording what they say"),
            ("extraction", "learning facts from it"),
            ("surfacing", "giving agents any of it"),
        ],
        widget=forms.CheckboxSelectMultiple,
        initial=list(PAUSES),
    )
    phrase = forms.CharField(max_length=60, widget=forms.TextInput(attrs={"autocomplete": "off"}))
    note = _note()

    def __init__(self, *args: Any, type_: str, named: str, notes: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.wanted = f"erase {named}"
        self.fields["phrase"].label = f"Type “{self.wanted}” to confirm"
        if type_ != RequestType.ERASURE:
            del self.fields["phrase"]
        if type_ != RequestType.OBJECTION:
            del self.fields["what"]
        if not notes:
            del self.fields["note"]

    def clean_phrase(self) -> str:
        typed = " ".join(self.cleaned_data["phrase"].split()).casefold()
        if typed != self.wanted.casefold():
            raise forms.ValidationError(f"Type the words “{self.wanted}”.")
        return typed


class HoldForm(forms.Form):
    """A legal hold on a person, or on one session."""

    reason = forms.ChoiceField(label="Why it has to be kept", choices=_choices(HOLD_REASONS))
    session = forms.UUIDField(
        required=False, label="Only this session, by the hub's id", help_text="Empty: everything of the person."
    )
    note = _note("The matter it is about (optional)")


class HoldFilterForm(forms.Form):
    state = forms.ChoiceField(required=False, label="State", choices=[("", "in force"), ("any", "every hold")])
    subject = forms.UUIDField(required=False, widget=forms.HiddenInput)
