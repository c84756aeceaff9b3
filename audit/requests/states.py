"""How a person's request moves: one table. Pure."""

from collections.abc import Mapping
from enum import StrEnum

from django.db import models


class RequestType(models.TextChoices):
    ACCESS = "access", "access"
    PORTABILITY = "portability", "portability"
    RECTIFICATION = "rectification", "rectification"
    RESTRICTION = "restriction", "restriction"
    OBJECTION = "objection", "objection"
    ERASURE = "erasure", "erasure"


class RequestState(models.TextChoices):
    RECEIVED = "received", "received"
    IDENTITY_CHECK = "identity_check", "identity is checked"
    REVIEW = "review", "in review"
    APPROVED = "approved", "approved"
    RUNNING = "running", "running"
    VERIFYING = "verifying", "being verified"
    COMPLETED = "completed", "completed"
    PARTIAL = "partial", "partial"
    REFUSED = "refused", "refused"
    CANCELLED = "cancelled", "cancelled"
    BLOCKED = "blocked", "blocked by a hold"


ENDED = frozenset({RequestState.COMPLETED, RequestState.REFUSED, RequestState.CANCELLED})
HELD_BACK = frozenset({RequestType.ERASURE, RequestType.OBJECTION})
"""From the moment one of these is received until it has ended, nothing about the person is surfaced."""


class Step(StrEnum):
    """What moves a request. The first ones are a person's decisions, the others follow from what is carried out."""

    DOUBT_IDENTITY = "doubt_identity"
    CONFIRM_IDENTITY = "confirm_identity"
    APPROVE = "approve"
    CARRY_OUT = "carry_out"
    COMPLETE = "complete"
    REFUSE = "refuse"
    CANCEL = "cancel"
    # Of the hub
    RECEIVE = "receive"
    APPROVE_FIRST = "approve_first"
    BLOCK = "block"
    VERIFY = "verify"
    LEAVE = "leave"
    # That leave it in its state
    EXTEND = "extend"
    ASSIGN = "assign"
    NOTE = "note"


DECISIONS = (
    Step.CONFIRM_IDENTITY,
    Step.DOUBT_IDENTITY,
    Step.APPROVE,
    Step.CARRY_OUT,
    Step.COMPLETE,
    Step.REFUSE,
    Step.CANCEL,
)
"""What somebody may decide, in the order in which it comes up."""

_R = RequestState
TRANSITIONS: Mapping[RequestState, Mapping[Step, RequestState]] = {
    _R.RECEIVED: {
        Step.DOUBT_IDENTITY: _R.IDENTITY_CHECK,
        Step.CONFIRM_IDENTITY: _R.REVIEW,
        Step.REFUSE: _R.REFUSED,
        Step.CANCEL: _R.CANCELLED,
    },
    _R.IDENTITY_CHECK: {
        Step.CONFIRM_IDENTITY: _R.REVIEW,
        Step.REFUSE: _R.REFUSED,
        Step.CANCEL: _R.CANCELLED,
    },
    _R.REVIEW: {
        Step.DOUBT_IDENTITY: _R.IDENTITY_CHECK,
        Step.APPROVE_FIRST: _R.REVIEW,
        Step.APPROVE: _R.APPROVED,
        Step.REFUSE: _R.REFUSED,
        Step.CANCEL: _R.CANCELLED,
    },
    _R.APPROVED: {
        Step.CARRY_OUT: _R.RUNNING,
        Step.BLOCK: _R.BLOCKED,
        Step.REFUSE: _R.REFUSED,
        Step.CANCEL: _R.CANCELLED,
    },
    _R.BLOCKED: {
        Step.CARRY_OUT: _R.RUNNING,
        Step.REFUSE: _R.REFUSED,
        Step.CANCEL: _R.CANCELLED,
    },
    _R.RUNNING: {
        Step.VERIFY: _R.VERIFYING,
        Step.COMPLETE: _R.COMPLETED,
        Step.LEAVE: _R.PARTIAL,
    },
    _R.VERIFYING: {
        Step.VERIFY: _R.VERIFYING,
        Step.COMPLETE: _R.COMPLETED,
        Step.LEAVE: _R.PARTIAL,
    },
    _R.PARTIAL: {
        Step.VERIFY: _R.VERIFYING,
        Step.COMPLETE: _R.COMPLETED,
        Step.LEAVE: _R.PARTIAL,
    },
    _R.COMPLETED: {},
    _R.REFUSED: {},
    _R.CANCELLED: {},
}


def after(state: str, step: Step) -> RequestState | None:
    """The state that `step` leads to; None where it is not open."""
    return TRANSITIONS[RequestState(state)].get(step)


def decisions_open(type_: str, state: str) -> list[Step]:
    """What somebody may decide about a request now.

    An erasure that runs is ended by its verification, not by anybody's word.
    """
    by_word = type_ != RequestType.ERASURE
    return [
        step
        for step in DECISIONS
        if after(state, step) and (by_word or step is not Step.COMPLETE) and _open(step, state)
    ]


def _open(step: Step, state: str) -> bool:
    # What is blocked goes on by itself when the hold is released.
    return not (step is Step.CARRY_OUT and state == RequestState.BLOCKED)
