"""What a workspace decides for itself: limits, what is done with sensitive data, whom memory is shared with.

Only what differs from the defaults is stored (`Workspace.policy`), so that a better default reaches everybody who did
not decide otherwise.
"""

import json
from enum import StrEnum
from functools import cached_property, lru_cache
from typing import Any

from pydantic import ConfigDict, Field, field_validator, model_validator

from audit.requests.calendars import WorkingCalendar, known_region, known_zone
from memoryhub.access.register import RegisterRules
from memoryhub.access.retention import RetentionRules
from memoryhub.core.screening import LABELS, SENSITIVE, Kind


class Treatment(StrEnum):
    """What is done with sensitive data of a class, at write time."""

    ALLOW = "allow"
    REDACT = "redact"
    QUARANTINE = "quarantine"


class Sharing(StrEnum):
    """Which facts that one agent brought in are shown to another before a person has approved them."""

    NOTHING = "nothing"
    SAID_BY_SUBJECT = "said_by_subject"


class Forgetting(StrEnum):
    """Who decides when an agent in mode `managed` is asked to forget a fact that is its own."""

    CONFIRMED = "confirmed"
    REVIEWED = "reviewed"


SENSITIVE_DATA: dict[Kind, Treatment] = {
    Kind.PAYMENT_CARD: Treatment.REDACT,
    Kind.IBAN: Treatment.REDACT,
    Kind.NATIONAL_ID: Treatment.REDACT,
    Kind.SECRET: Treatment.REDACT,
    Kind.PHONE: Treatment.ALLOW,
    Kind.EMAIL: Treatment.ALLOW,
}
"""What is done with sensitive data where a workspace did not decide."""


class WorkspacePolicy(RegisterRules, RetentionRules):
    """The settings of a workspace, checked. Unknown names and values out of range are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    # Limits of everybody who calls in this workspace, together; of one key: ApiKey.rate_per_minute.
    requests_per_minute: int | None = Field(default=None, ge=1, le=10_000_000)
    # Of what they send; below what the deployment allows. None: as much as that.
    max_turn_characters: int | None = Field(default=None, ge=100, le=5_000_000)
    max_body_bytes: int | None = Field(default=None, ge=10_000, le=100_000_000)

    # How much one agent may change about one person in a day. What goes beyond waits for review.
    facts_per_day: int = Field(default=5_000, ge=1, le=1_000_000)
    versions_per_fact_per_day: int = Field(default=20, ge=1, le=10_000)

    # What an agent may forget when it is asked to. What is not its own waits for a person in any case.
    forgetting: Forgetting = Forgetting.CONFIRMED

    # What is shown to agents.
    sharing: Sharing = Sharing.SAID_BY_SUBJECT
    surface_tool_results: bool = False

    # Sensitive data, by class; what is not named is treated as in SENSITIVE_DATA.
    sensitive_data: dict[Kind, Treatment] = Field(default_factory=dict)
    special_categories: Treatment = Treatment.QUARANTINE
    confidence_for_review: float = Field(default=0.5, ge=0, le=1)

    # Requests of the people remembered: whose working days count, and who approves.
    holiday_country: str = Field(default="", max_length=3)
    holiday_region: str = Field(default="", max_length=10)
    time_zone: str = Field(default="UTC", max_length=64)
    two_approve_erasure: bool = False

    # People.
    second_factor_roles: frozenset[str] = frozenset()
    idle_minutes: int = Field(default=120, ge=5, le=43_200)
    absolute_hours: int = Field(default=12, ge=1, le=720)

    @field_validator("sensitive_data")
    @classmethod
    def _only_sensitive(cls, value: dict[Kind, Treatment]) -> dict[Kind, Treatment]:
        for kind in value:
            if kind not in SENSITIVE:
                raise ValueError(f"{LABELS[kind]} is no class of sensitive data")
        return value

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        if not known_zone(value):
            raise ValueError("there is no such time zone: name one like Europe/Lisbon")
        return value

    @model_validator(mode="after")
    def _known_region(self) -> "WorkspacePolicy":
        if self.holiday_region and not self.holiday_country:
            raise ValueError("a region is one of a country: name that too")
        if self.holiday_country and not known_region(self.holiday_country, self.holiday_region):
            raise ValueError("holidays of this country or region are not known: name it as in ISO 3166, like DE and BE")
        return self

    @cached_property
    def calendar(self) -> WorkingCalendar:
        """Whose working days count for the deadlines of requests."""
        return WorkingCalendar(self.holiday_country, self.holiday_region, self.time_zone)

    def treatment(self, kind: Kind) -> Treatment:
        """What is done with sensitive data of `kind`; what is not sensitive is always allowed."""
        return self.sensitive_data.get(kind) or SENSITIVE_DATA.get(kind, Treatment.ALLOW)

    @cached_property
    def screened_kinds(self) -> frozenset[Kind]:
        """The classes that are not simply allowed, and so have to be looked for."""
        return frozenset(kind for kind in SENSITIVE if self.treatment(kind) is not Treatment.ALLOW)

    def turn_characters(self, deployment: int) -> int:
        """How long a turn may be where the deployment allows `deployment`."""
        return min(deployment, self.max_turn_characters or deployment)

    def body_bytes(self, deployment: int) -> int:
        """How large a request may be where the deployment allows `deployment`."""
        return min(deployment, self.max_body_bytes or deployment)


def read_policy(stored: dict[str, Any]) -> WorkspacePolicy:
    """Raises pydantic.ValidationError for what is not a policy."""
    return WorkspacePolicy.model_validate(stored)


@lru_cache(maxsize=1024)
def stored_policy(text: str) -> WorkspacePolicy:
    """The policy stored as the JSON `text`, read once for each text.

    A field that this version of the hub does not know is passed over: a newer one beside it may have written it.
    """
    stored = json.loads(text)
    return WorkspacePolicy.model_validate(
        {name: value for name, value in stored.items() if name in WorkspacePolicy.model_fields}
    )


def differences(policy: WorkspacePolicy) -> dict[str, Any]:
    """What is stored of a policy: the fields that differ from their defaults, as JSON."""
    return policy.model_dump(mode="json", exclude_defaults=True)
