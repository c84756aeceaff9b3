"""Holding a subject token to its person: what a request names must be what the token is bound to.

The database does not show anybody else's rows to the holder of a token. This is the door before it: it fills in who is
meant where the caller leaves that out, and answers that there is nobody, or no such session, whoever else is named.
"""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from rest_framework.serializers import BaseSerializer, ListSerializer, Serializer

from audit.services import record
from memoryhub.access.callers import Binding, Caller
from memoryhub.api.errors import NotFound
from memoryhub.api.fields import ExternalId
from memoryhub.core.tenancy import in_workspace


def refuse_other_path(caller: Caller, named: Mapping[str, Any]) -> None:
    """Raise NotFound when the address names another person or, by the caller's id, another session."""
    bound = _bound(caller)
    if "subject_id" in named and named["subject_id"] != bound.subject_id:
        raise _refused(caller, "subject_id", "There is no such person.")
    # A UUID is the hub's own id of a session: whether it is the person's, the database knows.
    session = named.get("session_id")
    if isinstance(session, str) and not bound.allows_session(session):
        raise _refused(caller, "session_id", "There is no such session.")


def confined_input(caller: Caller, serializer: BaseSerializer[Any], data: Any, place: str = "") -> Any:
    """`data` with `user_id` filled in wherever `serializer` takes one and nobody is named.

    Raises NotFound when it names another person or session, however deep. What cannot be read is left to `serializer`
    to refuse.
    """
    if isinstance(serializer, ListSerializer):
        child = serializer.child
        if not isinstance(data, list) or not isinstance(child, BaseSerializer):
            return data
        return [confined_input(caller, child, item, f"{place}[{at}]") for at, item in enumerate(data)]
    if not isinstance(serializer, Serializer) or not isinstance(data, Mapping):
        return data
    bound = _bound(caller)
    made = dict(data)
    if "user_id" in serializer.fields and made.get("user_id") is None and made.get("subject_id") is None:
        made["user_id"] = bound.user_id
    for name, field in serializer.fields.items():
        path = f"{place}.{name}" if place else name
        value = made.get(name)
        if isinstance(field, BaseSerializer):
            if name in made:
                made[name] = confined_input(caller, field, value, path)
        elif (
            name == "user_id"
            and isinstance(value, str)
            and value != bound.user_id
            or name == "subject_id"
            and value is not None
            and _other(value, bound.subject_id)
        ):
            raise _refused(caller, path, "There is no such person.")
        elif (
            name == "session_id"
            and isinstance(field, ExternalId)
            and isinstance(value, str)
            and not bound.allows_session(value)
        ):
            raise _refused(caller, path, "There is no such session.")
    return made


def _bound(caller: Caller) -> Binding:
    if caller.bound is None:
        raise ValueError("only the holder of a token is confined")
    return caller.bound


def _other(named: Any, subject_id: UUID) -> bool:
    """Whether `named` is the id of somebody else; what is no id at all is not."""
    try:
        return UUID(str(named)) != subject_id
    except ValueError:
        return False


def _refused(caller: Caller, path: str, message: str) -> NotFound:
    """The refusal, recorded: the holder of a token asked for what it is not bound to."""
    with in_workspace(caller.workspace_id):
        record(
            caller.actor,
            "access.denied",
            workspace_id=caller.workspace_id,
            subject=caller.subject_id,
            outcome="denied",
            reason="not_bound",
            data={"mode": caller.mode.value},
        )
    return NotFound(message, fields={path: [message]})
