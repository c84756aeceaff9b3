"""Subject tokens: what an agent hands on instead of its key, to what must not be able to name another person."""

from datetime import timedelta
from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from facts.exceptions import SurfacingPaused
from memoryhub.access.callers import Caller
from memoryhub.access.errors import NotYourScope
from memoryhub.access.models import Scope
from memoryhub.access.permissions import Permission
from memoryhub.access.services import NewToken, token_create
from memoryhub.api import examples
from memoryhub.api.base import REMEMBERING, ApiView, shown
from memoryhub.api.errors import ScopeMissing
from memoryhub.api.inputs import SubjectTokenIn
from memoryhub.api.outputs import SubjectTokenOut
from memoryhub.api.schema import errors
from sessions.exceptions import SessionOfAnother, UnknownSubject
from sessions.models import Session, Subject
from sessions.services import subject_get_or_create


class SubjectTokens(ApiView):
    permissions: ClassVar = {"POST": Permission.TOKENS_CREATE}
    modes = REMEMBERING
    keys_only = True

    @extend_schema(
        operation_id="create_subject_token",
        summary="Make a token for one person",
        description=(
            "A short-lived credential that is good for one person, and with `session_id` for recording one session of "
            "theirs: give it to tools, and to whatever else a model may steer. It is sent as a key is sent.\n\n"
            "With it `user_id` may be left out everywhere. Whoever else is named, and whatever belongs to somebody "
            "else, is not there (404); lists show this person only. It carries no personal data, is kept nowhere, and "
            "counts against its key's limits. It ends by itself, and at once when its key is revoked or expires, when "
            "the agent's memory mode changes, and when the person is restricted or erased.\n\n"
            "Somebody new is made known if the key may write, else there is no such person. Tokens do not make tokens, "
            "and approve nothing that waits for review."
        ),
        request=SubjectTokenIn,
        responses={
            201: SubjectTokenOut,
            **errors(
                404,
                409,
                because={
                    404: "Nobody is known by that id, and the key may not write.",
                    409: "The session belongs to another person or agent.",
                },
            ),
        },
        examples=[examples.SUBJECT_TOKEN],
        tags=["Tokens"],
    )
    def post(self, request: Request) -> Response:
        body = self.body(SubjectTokenIn)
        try:
            with self.workspace():
                made = _make(self.caller, body)
        except NotYourScope as refused:
            raise ScopeMissing(refused.message, fields={"scopes": [refused.message]}) from None
        return Response(shown(SubjectTokenOut, made), status=201)


def _make(caller: Caller, body: dict[str, Any]) -> NewToken:
    subject = _subject(caller, body["user_id"])
    if subject.restricted_at:
        raise SurfacingPaused("user_id", "This person is restricted: there are no tokens for them now.")
    session_id = body.get("session_id")
    if session_id is not None:
        session = Session.objects.filter(workspace_id=caller.workspace_id, external_id=session_id).first()
        if session and (session.subject_id != subject.id or session.agent_id != caller.agent_id):
            raise SessionOfAnother("session_id", "This session belongs to another user_id or agent.")
    return token_create(
        caller=caller,
        subject_id=subject.id,
        scopes=[Scope(scope) for scope in body["scopes"]] if "scopes" in body else None,
        ttl=timedelta(seconds=body["ttl"]),
        session_id=session_id,
    )


def _subject(caller: Caller, user_id: str) -> Subject:
    if caller.scopes & {Scope.TURNS_WRITE, Scope.FACTS_WRITE}:
        return subject_get_or_create(workspace_id=caller.workspace_id, external_id=user_id, actor=caller.actor)
    subject = Subject.objects.filter(workspace_id=caller.workspace_id, external_id=user_id).first()
    if subject is None:
        raise UnknownSubject("user_id", "There is no such person.")
    return subject
