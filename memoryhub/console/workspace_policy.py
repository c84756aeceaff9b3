"""A workspace's settings as a form: every field of its policy, in sections, with words and defaults."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from types import UnionType
from typing import Any, Union, cast, get_args, get_origin

from django import forms
from django.conf import settings
from django.http import QueryDict
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from memoryhub.access.models import Role, Workspace
from memoryhub.access.policy import (
    SENSITIVE_DATA,
    Forgetting,
    Sharing,
    Treatment,
    WorkspacePolicy,
    differences,
    stored_policy,
)
from memoryhub.access.register import RegisterRules
from memoryhub.access.retention import SETTINGS as RETENTION
from memoryhub.core.screening import LABELS, SENSITIVE, Kind


@dataclass(frozen=True)
class Section:
    title: str
    says: str
    names: tuple[str, ...]


SECTIONS = (
    Section(
        "Limits",
        "Of everybody who calls this workspace, together. What goes beyond is refused, and the caller told why.",
        ("requests_per_minute", "max_turn_characters", "max_body_bytes"),
    ),
    Section(
        "Changes by one agent",
        "How much one agent may change about one person in a day, and what it may forget. What goes beyond waits for "
        "review.",
        ("facts_per_day", "versions_per_fact_per_day", "forgetting"),
    ),
    Section(
        "Sharing between agents",
        "What one agent brought in and another is shown before a person has approved it.",
        ("sharing", "surface_tool_results"),
    ),
    Section(
        "Sensitive data",
        "What is done with it when it is written. The log says what class was found, never the value.",
        ("sensitive_data", "special_categories", "confidence_for_review"),
    ),
    Section(
        "Requests of the people remembered",
        "A request is due after a month; where that day is a weekend or a holiday, on the next working day.",
        ("holiday_country", "holiday_region", "time_zone", "two_approve_erasure"),
    ),
    Section(
        "People", "How those who use this console get in.", ("second_factor_roles", "idle_minutes", "absolute_hours")
    ),
)

WORDS: dict[str, tuple[str, str]] = {
    "requests_per_minute": ("Requests a minute", "Of all keys and tokens together; each key has its own limit too."),
    "max_turn_characters": ("Characters of a turn", ""),
    "max_body_bytes": ("Bytes of a request", ""),
    "facts_per_day": ("New facts about a person", "By one agent, in a day."),
    "versions_per_fact_per_day": ("New versions of a fact", "By one agent, in a day."),
    "forgetting": (
        "Forgetting facts that are its own",
        "Where the person asks an agent in mode managed to. What is not its own always waits for review.",
    ),
    "sharing": ("Facts another agent brought in", ""),
    "surface_tool_results": ("Show turns that tools wrote", "In working memory and search, to every agent."),
    "sensitive_data": ("Sensitive data", ""),
    "special_categories": (
        "Special categories (GDPR art. 9)",
        "Health, religion, politics, origin, sex life, genetics, biometrics, trade union.",
    ),
    "confidence_for_review": ("Confidence below which a fact waits for review", "From 0 to 1."),
    "holiday_country": ("Country whose holidays count", "As in ISO 3166, like DE. Empty: weekends alone."),
    "holiday_region": ("Region of it", "As in ISO 3166, like BE for Berlin."),
    "time_zone": ("Time zone", "By which the day of a request is told, like Europe/Berlin."),
    "two_approve_erasure": (
        "Two people approve an erasure",
        "Then a person's memory, or a part of it, is erased by request alone; single facts as before.",
    ),
    "second_factor_roles": ("Roles that need a second factor", "Nobody in these roles gets in with a password alone."),
    "idle_minutes": ("Minutes without a click until signed out", ""),
    "absolute_hours": ("Hours until signed out in any case", ""),
}
CHOICES: dict[type[StrEnum], dict[str, str]] = {
    Forgetting: {
        Forgetting.CONFIRMED: "when the person says yes",
        Forgetting.REVIEWED: "after review",
    },
    Sharing: {
        Sharing.SAID_BY_SUBJECT: "what the person said",
        Sharing.NOTHING: "nothing",
    },
    Treatment: {
        Treatment.ALLOW: "allow",
        Treatment.REDACT: "redact: keep the rest",
        Treatment.QUARANTINE: "quarantine: a person decides",
    },
}
# What no deployment setting bounds has no entry.
DEPLOYMENT = {"max_turn_characters": "MAX_TURN_CHARACTERS", "max_body_bytes": "MAX_BODY_BYTES"}
BY_CLASS = "sensitive_data"
# Settings with a page of their own: they are kept as they are.
ELSEWHERE = frozenset((*RETENTION, *RegisterRules.model_fields))


def policy_of(workspace: Workspace) -> WorkspacePolicy:
    return stored_policy(json.dumps(workspace.policy))


class PolicyForm(forms.Form):
    """The whole policy of a workspace. `seen` is what it was when the page was made."""

    seen = forms.CharField(widget=forms.HiddenInput, required=False)

    def __init__(self, data: QueryDict | None = None, *, stored: WorkspacePolicy) -> None:
        super().__init__(data, initial=_initial(stored) | {"seen": _as_text(stored)})
        for name, info in WorkspacePolicy.model_fields.items():
            if name in ELSEWHERE:
                continue
            self.fields.update(_form_fields(name, info))
        self.policy = stored

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        wanted: dict[str, Any] = {}
        for name in WorkspacePolicy.model_fields:
            if name in ELSEWHERE:
                wanted[name] = getattr(self.policy, name)
            elif name == BY_CLASS:
                chosen = {kind: cleaned.get(_by_class(kind)) for kind in _kinds()}
                wanted[name] = {kind: treatment for kind, treatment in chosen.items() if treatment}
            elif name in cleaned:
                wanted[name] = cleaned[name]
        if not self.errors:
            try:
                self.policy = WorkspacePolicy.model_validate(wanted)
            except ValidationError as refused:
                for error in refused.errors():
                    place = str(error["loc"][0]) if error["loc"] else ""
                    self.add_error(place if place in self.fields else None, error["msg"])
        return cleaned

    @property
    def seen_policy(self) -> WorkspacePolicy | None:
        """The policy the change was decided on; None when what came back is not one."""
        try:
            return stored_policy(self.cleaned_data["seen"])
        except (ValueError, AttributeError):
            return None

    def look_again(self, stored: WorkspacePolicy) -> None:
        """Keep what was typed; sent once more, it is written over `stored`."""
        again = cast(QueryDict, self.data).copy()
        again["seen"] = _as_text(stored)
        self.data = again
        self.add_error(
            None,
            "The settings were changed after you opened them. Yours are below as you typed them; if they are still "
            "what you want, save again.",
        )

    def sections(self) -> Iterator[tuple[Section, list[forms.BoundField]]]:
        placed = {name for section in SECTIONS for name in section.names}
        rest = tuple(name for name in WorkspacePolicy.model_fields if name not in placed | ELSEWHERE)
        for section in (*SECTIONS, *([Section("Other", "", rest)] if rest else [])):
            yield section, [self[field] for name in section.names for field in _names(name)]


def _names(name: str) -> list[str]:
    """The form fields that make up one field of the policy."""
    return [_by_class(kind) for kind in _kinds()] if name == BY_CLASS else [name]


def _kinds() -> list[Kind]:
    return [kind for kind in Kind if kind in SENSITIVE]


def _by_class(kind: Kind) -> str:
    return f"{BY_CLASS}_{kind.value}"


def _initial(policy: WorkspacePolicy) -> dict[str, Any]:
    shown: dict[str, Any] = policy.model_dump(mode="json")
    by_class = shown.pop(BY_CLASS)
    return shown | {_by_class(kind): by_class.get(kind.value, "") for kind in _kinds()}


def _as_text(policy: WorkspacePolicy) -> str:
    return json.dumps(differences(policy), sort_keys=True)


def _form_fields(name: str, info: FieldInfo) -> dict[str, forms.Field]:
    label, says = WORDS.get(name, (name.replace("_", " ").capitalize(), ""))
    default = info.get_default(call_default_factory=True)
    kind = _without_none(info.annotation)
    if name == BY_CLASS:
        return {
            _by_class(one): forms.ChoiceField(
                choices=[
                    ("", f"default: {CHOICES[Treatment][SENSITIVE_DATA.get(one, Treatment.ALLOW)].partition(':')[0]}"),
                    *CHOICES[Treatment].items(),
                ],
                required=False,
                label=LABELS[one][0].upper() + LABELS[one][1:],
            )
            for one in _kinds()
        }
    if kind is bool:
        return {
            name: forms.BooleanField(required=False, label=label, help_text=_told(says, "on" if default else "off"))
        }
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        words = CHOICES.get(kind) or {one.value: one.value.replace("_", " ") for one in kind}
        help_text = _told(says, words[default].partition(":")[0])
        return {name: forms.ChoiceField(choices=list(words.items()), label=label, help_text=help_text)}
    if kind in (int, float):
        number = forms.IntegerField if kind is int else forms.FloatField
        least, most = _bound(info, "ge"), _bound(info, "le")
        if name in DEPLOYMENT:
            most = min(most, getattr(settings, DEPLOYMENT[name]))
            usual = f"{most:,}, the most this deployment takes"
        else:
            usual = "no limit" if default is None else f"{default:,}"
        return {
            name: number(
                min_value=least,
                max_value=most,
                required=default is not None,
                label=label,
                help_text=_told(says, usual, optional=default is None),
            )
        }
    if kind is str:
        text = forms.CharField(required=False, max_length=_longest(info), label=label, help_text=says)
        return {name: text}
    if get_origin(kind) is frozenset:
        return {
            name: forms.MultipleChoiceField(
                choices=Role.choices,
                required=False,
                label=label,
                help_text=_told(says, "none"),
                widget=forms.CheckboxSelectMultiple,
            )
        }
    raise TypeError(f"there is no form field for {name}: {info.annotation}")


def _told(says: str, default: str, *, optional: bool = False) -> str:
    return f"{says} {'Empty' if optional else 'Default'}: {default}.".strip()


def _without_none(annotation: Any) -> Any:
    if get_origin(annotation) in (Union, UnionType):
        return next(one for one in get_args(annotation) if one is not type(None))
    return annotation


def _longest(info: FieldInfo) -> int:
    return int(next(one.max_length for one in info.metadata if hasattr(one, "max_length")))


def _bound(info: FieldInfo, side: str) -> Any:
    """The bound of a number's field, which every one of them has."""
    return next(getattr(one, side) for one in info.metadata if hasattr(one, side))
