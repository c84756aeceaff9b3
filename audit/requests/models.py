"""Requests of the people remembered, each with its history, and legal holds. People and workspaces by plain ids."""

from typing import ClassVar

from django.db import models
from django.db.models import Q
from django.utils import timezone

from audit.registry import Scope
from audit.requests.states import ENDED, RequestState, RequestType, Step
from memoryhub.core.ids import uuid7


class Channel(models.TextChoices):
    EMAIL = "email", "e-mail"
    LETTER = "letter", "letter"
    PHONE = "phone", "phone"
    IN_PERSON = "in_person", "in person"
    IN_PRODUCT = "in_product", "in the product"
    OTHER = "other", "another way"


class Identity(models.TextChoices):
    VERIFIED = "verified", "verified: signed in, or shown"
    UNVERIFIED = "unverified", "not verified yet"


class DataRequest(models.Model):
    """What a person asked for. Ids, codes and dates: it outlives the person's data, as proof of what was done."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    workspace_id = models.UUIDField()
    subject_id = models.UUIDField(help_text="The pseudonym that stays in the audit log.")
    type = models.CharField(max_length=13, choices=RequestType)
    state = models.CharField(max_length=14, choices=RequestState, default=RequestState.RECEIVED)
    channel = models.CharField(max_length=10, choices=Channel)
    identity = models.CharField(max_length=10, choices=Identity, help_text="As it was when the request came in.")
    session_id = models.UUIDField(null=True, blank=True, help_text="Of an erasure: only this session.")
    since = models.DateTimeField(null=True, blank=True, help_text="Of an erasure: only what was said from then on.")
    until = models.DateTimeField(null=True, blank=True, help_text="Of an erasure: only what was said before then.")
    received_at = models.DateTimeField()
    received_on = models.DateField(help_text="The day that was in the workspace's time zone.")
    due_on = models.DateField(help_text="The last day on which the answer is in time.")
    paused_on = models.DateField(null=True, blank=True, help_text="Since when the clock stands still.")
    paused_days = models.PositiveIntegerField(default=0, help_text="For how long it stood still before.")
    extended_on = models.DateField(null=True, blank=True, help_text="When the person was told of the extension.")
    extension_reason = models.CharField(max_length=40, blank=True, default="", help_text="A code.")
    assignee_id = models.UUIDField(null=True, blank=True)
    first_approval_by = models.CharField(max_length=80, blank=True, default="", help_text="Where two have to approve.")
    erasure_id = models.UUIDField(null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(type__in=RequestType.values), name="data_request_type_known"),
            models.CheckConstraint(condition=Q(state__in=RequestState.values), name="data_request_state_known"),
        ]
        indexes: ClassVar = [
            models.Index(
                fields=["workspace_id", "due_on", "id"], condition=~Q(state__in=sorted(ENDED)), name="data_request_due"
            ),
            models.Index(fields=["workspace_id", "-id"], name="data_request_newest"),
            models.Index(fields=["workspace_id", "subject_id"], name="data_request_of_subject"),
        ]

    def __str__(self) -> str:
        return str(self.id)

    @property
    def ended(self) -> bool:
        return self.state in ENDED

    @property
    def scope(self) -> Scope:
        """What an erasure is to remove."""
        return Scope(self.subject_id, session_id=self.session_id, since=self.since, until=self.until)


class RequestStep(models.Model):
    """One thing that was done about a request. The note is somebody's own words, and goes when the person is erased."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    workspace_id = models.UUIDField()
    request = models.ForeignKey(DataRequest, on_delete=models.CASCADE, related_name="steps")
    step = models.CharField(max_length=16, choices=[(step.value, step.value) for step in Step])
    before = models.CharField(max_length=14, blank=True, default="")
    after = models.CharField(max_length=14)
    reason = models.CharField(max_length=40, blank=True, default="", help_text="A code.")
    note = models.TextField(blank=True, default="")
    actor_kind = models.CharField(max_length=10)
    actor_id = models.CharField(max_length=64)
    at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        indexes: ClassVar = [models.Index(fields=["request", "id"], name="request_step_in_order")]

    def __str__(self) -> str:
        return f"{self.request_id} {self.step}"


class Hold(models.Model):
    """A legal hold: while it lasts, nothing of the person, or of the session, is erased or ends by retention."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    workspace_id = models.UUIDField()
    subject_id = models.UUIDField()
    session_id = models.UUIDField(null=True, blank=True, help_text="Only this session; empty: everything.")
    reason = models.CharField(max_length=40, help_text="A code.")
    note = models.TextField(blank=True, default="", help_text="The matter it is about, in somebody's own words.")
    placed_by = models.CharField(max_length=80, help_text="The actor, as in the audit log.")
    placed_at = models.DateTimeField(default=timezone.now, editable=False)
    released_by = models.CharField(max_length=80, blank=True, default="")
    released_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        indexes: ClassVar = [
            models.Index(
                fields=["workspace_id", "subject_id"], condition=Q(released_at__isnull=True), name="hold_in_force"
            ),
        ]

    def __str__(self) -> str:
        return str(self.id)
