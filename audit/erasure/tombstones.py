"""What was erased is not written again: late and repeated writes are recognised by keyed digests."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from uuid import UUID

from audit.erasure.key import digest_of, key_id
from audit.erasure.models import Tombstone
from audit.registry import Stone
from memoryhub.core.errors import InputError

USER, SESSION, PERIOD, FACT = "user", "session", "period", "fact"
EVER = datetime.max.replace(tzinfo=UTC)


class Erased(InputError):
    """What is to be written was erased, or is of somebody who was."""


def of_user(workspace_id: UUID, user_id: str) -> bytes:
    return digest_of(USER, str(workspace_id), user_id)


def of_session(workspace_id: UUID, session_id: str) -> bytes:
    return digest_of(SESSION, str(workspace_id), session_id)


def of_period(workspace_id: UUID, subject_id: UUID) -> bytes:
    return digest_of(PERIOD, str(workspace_id), str(subject_id))


def of_fact(subject_id: UUID, type_: str, entity_key: str, attribute: str) -> bytes:
    return digest_of(FACT, str(subject_id), type_, entity_key, attribute)


def lay(*, workspace_id: UUID, erasure_id: UUID, stones: Iterable[Stone]) -> None:
    """Remember; what is remembered already stays as it is."""
    key = key_id()
    Tombstone.objects.bulk_create(
        [
            Tombstone(
                workspace_id=workspace_id,
                erasure_id=erasure_id,
                digest=stone.digest,
                key_id=key,
                since=stone.since,
                until=stone.until,
            )
            for stone in {stone.digest: stone for stone in stones}.values()
        ],
        ignore_conflicts=True,
    )


def refuse_erased(
    *,
    workspace_id: UUID,
    user_id: str,
    session_id: str = "",
    subject_id: UUID | None = None,
    known_since: datetime | None = None,
    dated: Sequence[datetime] = (),
) -> None:
    """Raises Erased for turns of an erased session, or dated in what was erased of this person.

    `subject_id` and `known_since` are of whoever is known by that `user_id` now: somebody who was known before the
    erasure is being erased.
    """
    user, session = of_user(workspace_id, user_id), of_session(workspace_id, session_id)
    period = of_period(workspace_id, subject_id) if subject_id else b""
    found = Tombstone.objects.filter(
        workspace_id=workspace_id, digest__in=[user, session, *([period] if period else [])]
    )
    for stone in found:
        digest = bytes(stone.digest)
        if digest == session:
            raise Erased("session_id", "This session was erased.")
        if digest == user and known_since is not None and stone.until is not None and known_since < stone.until:
            raise Erased("user_id", "This person is being erased.")
        if any(_within(stone, at) for at in dated):
            raise Erased("turns", "These turns are dated in what was erased.")


def erased_until(digests: Iterable[bytes], *, workspace_id: UUID) -> dict[bytes, datetime]:
    """Until when what was said of these facts was erased; those of which nothing was are not in it."""
    until: dict[bytes, datetime] = {}
    for stone in Tombstone.objects.filter(workspace_id=workspace_id, digest__in=list(digests)):
        digest, end = bytes(stone.digest), stone.until or EVER
        until[digest] = max(end, until.get(digest, end))
    return until


def _within(stone: Tombstone, at: datetime) -> bool:
    return (stone.since is None or at >= stone.since) and (stone.until is None or at < stone.until)


def laid(erasure_id: UUID) -> list[Stone]:
    """The stones of one erasure."""
    rows = Tombstone.objects.filter(erasure_id=erasure_id).order_by("id")
    return [Stone(bytes(row.digest), row.since, row.until) for row in rows]
