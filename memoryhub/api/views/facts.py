"""Facts: adding, reading, correcting."""

import re
from collections.abc import Sequence
from typing import Any, ClassVar
from uuid import UUID

from drf_spectacular.utils import PolymorphicProxySerializer, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from facts.exceptions import FactError, UnknownFact
from facts.models import FactType, FactVersion, Source, Status
from facts.reading import (
    SURFACED_STATUSES,
    FactListing,
    FactPage,
    fact_read,
    fact_versions_page,
    facts_page,
    visible_fact,
    visible_facts,
)
from facts.services import FactInput, Written, fact_correct, fact_mark_stale, fact_restore, facts_record
from memoryhub.access.callers import Caller
from memoryhub.access.permissions import Permission
from memoryhub.api import examples
from memoryhub.api.base import KNOWING, ApiView, shown
from memoryhub.api.inputs import FactCorrectionIn, FactIn, FactQuery, FactRestoreIn, FactsIn, FactStaleIn, PageQuery
from memoryhub.api.outputs import FactChangedOut, FactDetailOut, FactPageOut, FactsWrittenOut, FactVersionPageOut
from memoryhub.api.paging import cursor_after, cursor_id, cursor_number
from memoryhub.api.schema import errors
from memoryhub.api.views.memory import receipted, viewpoint
from sessions.exceptions import UnknownSession
from sessions.models import Subject, Turn
from sessions.services import subject_get_or_create

HANDLE = re.compile(r"[Ff]([1-9]\d{0,8})\Z", re.ASCII)
UNKNOWN = {404: "There is no such fact for this agent, or no such version."}
CONFLICTS = {409: "The fact has moved past `expected_version`, or its state does not allow this."}


class Facts(ApiView):
    permissions: ClassVar = {"GET": Permission.MEMORY_READ, "POST": Permission.FACTS_WRITE}
    modes = KNOWING

    @extend_schema(
        operation_id="list_facts",
        summary="List a person's facts",
        description=(
            "Versions of the facts that this agent may see, newest first. Recorded as a recall: every page has its "
            "receipt. Somebody who is not known gets an empty list."
        ),
        parameters=[FactQuery],
        responses={200: FactPageOut},
        tags=["Facts"],
    )
    def get(self, request: Request) -> Response:
        query = self.query(FactQuery)
        after = cursor_id(query["cursor"]) if "cursor" in query else None
        with self.workspace():
            subject = _subject(self.caller, query)
            if subject is None:
                return Response(_page(FactPage(hits=(), recall=None)))
            page = facts_page(
                view=viewpoint(self.caller), listing=_listing(subject, query), after=after, limit=query["limit"]
            )
        return Response(_page(page))

    @extend_schema(
        operation_id="add_facts",
        summary="Add one fact or several",
        description=(
            "Each fact is `added`, `confirmed` when the same is known already, or `superseded`: it became the newer "
            "version of a fact with the same type, entity and attribute, or of the one that `replaces` names. "
            "Nothing is ever overwritten. `coexists` lets both stand. All are written, or none."
        ),
        request=PolymorphicProxySerializer(
            component_name="FactOrFacts", serializers=[FactIn, FactsIn], resource_type_field_name=None
        ),
        responses={
            201: FactsWrittenOut,
            **errors(
                404,
                409,
                because={
                    404: "`replaces`, or session_id with turn_index, names nothing of this person.",
                    409: "Recording is paused for the person.",
                },
            ),
        },
        examples=[examples.FACT_ADDED, examples.FACTS_ADDED],
        tags=["Facts"],
    )
    def post(self, request: Request) -> Response:
        several = "facts" in request.data
        stated = self.body(FactsIn)["facts"] if several else [self.body(FactIn)]
        with self.workspace():
            written = _write(self.caller, stated, several=several)
        return Response(shown(FactsWrittenOut, {"facts": written}), status=201)


class FactDetail(ApiView):
    permissions: ClassVar = {"GET": Permission.MEMORY_READ, "PATCH": Permission.FACTS_WRITE}
    modes = KNOWING

    @extend_schema(
        operation_id="get_fact",
        summary="Get a fact",
        description="Its current version, or else its latest. Recorded as a recall.",
        responses={200: FactDetailOut, **errors(404, because=UNKNOWN)},
        tags=["Facts"],
    )
    def get(self, request: Request, fact_id: UUID) -> Response:
        with self.workspace():
            page = fact_read(view=viewpoint(self.caller), fact_id=fact_id)
        return Response(shown(FactDetailOut, receipted(page.recall) | {"fact": page.hits[0]}))

    @extend_schema(
        operation_id="correct_fact",
        summary="Correct a fact",
        description=(
            "Adds a version; what is not given is taken over. Earlier versions are never changed. When the content "
            "changes and no `value` is given, the former number is dropped: it may no longer be the one meant."
        ),
        request=FactCorrectionIn,
        responses={200: FactChangedOut, **errors(404, 409, because=UNKNOWN | CONFLICTS)},
        examples=[examples.FACT_CORRECTED],
        tags=["Facts"],
    )
    def patch(self, request: Request, fact_id: UUID) -> Response:
        body = self.body(FactCorrectionIn)
        caller = self.caller
        if "mentions" in body:
            body["mentions"] = tuple(body["mentions"])
        with self.workspace():
            fact = visible_fact(workspace_id=caller.workspace_id, sight=viewpoint(caller).sight(), fact_id=fact_id)
            version = fact_correct(fact=fact, actor=caller.actor, source=Source.AGENT, agent_id=caller.agent_id, **body)
        return _changed(version)


class FactVersions(ApiView):
    permissions: ClassVar = {"GET": Permission.MEMORY_READ}
    modes = KNOWING

    @extend_schema(
        operation_id="list_fact_versions",
        summary="List a fact's versions",
        description=(
            "What was believed and when, newest first, with the turns that state or confirm each version and the "
            "history of its status. Recorded as a recall."
        ),
        parameters=[PageQuery],
        responses={200: FactVersionPageOut, **errors(404, because=UNKNOWN)},
        tags=["Facts"],
    )
    def get(self, request: Request, fact_id: UUID) -> Response:
        query = self.query(PageQuery)
        after = cursor_number(query["cursor"]) if "cursor" in query else None
        with self.workspace():
            page = fact_versions_page(view=viewpoint(self.caller), fact_id=fact_id, after=after, limit=query["limit"])
        answer = receipted(page.recall) | {"versions": page.hits, "next": _next(page)}
        return Response(shown(FactVersionPageOut, answer))


class FactStale(ApiView):
    permissions: ClassVar = {"POST": Permission.FACTS_WRITE}
    modes = KNOWING

    @extend_schema(
        operation_id="mark_fact_stale",
        summary="Mark a fact as no longer true",
        description="Its current version is kept, and no longer surfaced. Marking a stale fact again changes nothing.",
        request=FactStaleIn,
        responses={200: FactChangedOut, **errors(404, 409, because=UNKNOWN | CONFLICTS)},
        examples=[examples.FACT_STALE],
        tags=["Facts"],
    )
    def post(self, request: Request, fact_id: UUID) -> Response:
        body = self.body(FactStaleIn)
        caller = self.caller
        with self.workspace():
            fact = visible_fact(workspace_id=caller.workspace_id, sight=viewpoint(caller).sight(), fact_id=fact_id)
            version = fact_mark_stale(fact=fact, actor=caller.actor, **body)
        return _changed(version)


class FactRestore(ApiView):
    permissions: ClassVar = {"POST": Permission.FACTS_WRITE}
    modes = KNOWING

    @extend_schema(
        operation_id="restore_fact",
        summary="Make an earlier version current again",
        description="The version that was current becomes superseded. Restoring the current version changes nothing.",
        request=FactRestoreIn,
        responses={200: FactChangedOut, **errors(404, 409, because=UNKNOWN | CONFLICTS)},
        examples=[examples.FACT_RESTORED],
        tags=["Facts"],
    )
    def post(self, request: Request, fact_id: UUID) -> Response:
        body = self.body(FactRestoreIn)
        caller = self.caller
        with self.workspace():
            fact = visible_fact(workspace_id=caller.workspace_id, sight=viewpoint(caller).sight(), fact_id=fact_id)
            version = fact_restore(fact=fact, actor=caller.actor, number=body.pop("version"), **body)
        return _changed(version)


def _subject(caller: Caller, query: dict[str, Any]) -> Subject | None:
    people = Subject.objects.filter(workspace_id=caller.workspace_id)
    if "subject_id" in query:
        return people.filter(pk=query["subject_id"]).first()
    return people.filter(external_id=query["user_id"]).first()


def _listing(subject: Subject, query: dict[str, Any]) -> FactListing:
    status = query.get("status", Status.CURRENT.value)
    return FactListing(
        subject=subject,
        type=FactType(query["type"]) if "type" in query else None,
        entity=query.get("entity"),
        statuses=SURFACED_STATUSES if status == "any" else (Status(status),),
        as_of=query.get("as_of"),
    )


def _page(page: FactPage) -> dict[str, Any]:
    answer: dict[str, Any] = receipted(page.recall) | {
        "facts": page.hits,
        "next": _next(page),
        "paused": "surfacing" if page.paused else None,
    }
    return shown(FactPageOut, answer)


def _next(page: FactPage) -> str | None:
    return None if page.next is None else cursor_after(page.next)


def _changed(version: FactVersion) -> Response:
    return Response(shown(FactChangedOut, version))


def _write(caller: Caller, stated: Sequence[dict[str, Any]], *, several: bool) -> list[Written]:
    """Write the facts person by person, each person's in the order sent; the answer is in the order sent."""
    positions: dict[str, list[int]] = {}
    for position, fact in enumerate(stated):
        positions.setdefault(fact["user_id"], []).append(position)
    written: dict[int, Written] = {}
    # In one order for everybody: two requests about the same people do not wait for each other.
    for user_id in sorted(positions):
        subject = subject_get_or_create(workspace_id=caller.workspace_id, external_id=user_id, actor=caller.actor)
        places = [f"facts[{position}]." if several else "" for position in positions[user_id]]
        inputs = [
            _fact_input(caller, subject, stated[position], place)
            for position, place in zip(positions[user_id], places, strict=True)
        ]
        try:
            done = facts_record(subject=subject, facts=inputs, actor=caller.actor, agent_id=caller.agent_id)
        except FactError as error:
            error.field = _as_sent(error.field, places)
            raise
        written |= dict(zip(positions[user_id], done, strict=True))
    return [written[position] for position in range(len(stated))]


def _as_sent(field: str, places: Sequence[str]) -> str:
    """The path of an error of facts_record, which counts within one person's facts, in what was sent."""
    counted = re.match(r"facts\[(\d+)\]\.(.+)", field)
    return places[int(counted[1])] + counted[2] if counted else places[0] + field


def _fact_input(caller: Caller, subject: Subject, fact: dict[str, Any], place: str) -> FactInput:
    return FactInput(
        type=FactType(fact["type"]),
        entity=fact["entity"],
        attribute=fact.get("attribute", ""),
        content=fact["content"],
        value=fact.get("value"),
        unit=fact.get("unit", ""),
        mentions=tuple(fact.get("mentions", ())),
        confidence=fact.get("confidence", 1.0),
        turn=_evidence(subject, fact, place),
        replaces=_replaced(caller, subject, fact.get("replaces"), place),
        coexists=fact["coexists"],
        valid_from=fact.get("valid_from"),
        expires_at=fact.get("expires_at"),
    )


def _evidence(subject: Subject, fact: dict[str, Any], place: str) -> Turn | None:
    """The turn that states the fact. It must be one of this person's."""
    if fact.get("session_id") is None:
        return None
    turns = Turn.objects.filter(session__subject=subject, session__external_id=fact["session_id"])
    turn = turns.filter(index=fact["turn_index"]).select_related("session").first()
    if turn is None:
        known = turns.exists()
        raise UnknownSession(
            f"{place}{'turn_index' if known else 'session_id'}",
            "The session has no such turn." if known else "This person has no such session.",
        )
    return turn


def _replaced(caller: Caller, subject: Subject, named: str | None, place: str) -> UUID | None:
    """The fact that `named` names, by id or by handle."""
    if named is None:
        return None
    facts = visible_facts(workspace_id=caller.workspace_id, sight=viewpoint(caller).sight()).filter(subject=subject)
    handle = HANDLE.match(named)
    if handle:
        found = facts.filter(handle=int(handle[1])).first()
    else:
        try:
            found = facts.filter(pk=UUID(named)).first()
        except ValueError:
            found = None
    if found is None:
        raise UnknownFact(f"{place}replaces", "This person has no such fact.")
    return found.id
