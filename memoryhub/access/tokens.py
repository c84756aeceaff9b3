"""Subject tokens: short-lived credentials that an agent makes with its key, good for one person.

A token is stateless and signed with the hub's secret key (HMAC-SHA-256, `SECRET_KEY`, then `SECRET_KEY_FALLBACKS`),
under a salt of its own, so that nothing else the hub signs is ever taken for one. It names its key, its person by the
hub's own id, and its session by a digest: no personal data. What it cannot know, whether its key still holds, is asked
of the database at every call.
"""

import hmac
import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.core import signing
from django.utils import timezone
from django.utils.crypto import salted_hmac

from memoryhub.access.models import MemoryMode, Scope
from memoryhub.core.ids import uuid7

PREFIX = "mht_"
# Anything else cannot be a token: it is not worth a signature.
SHAPE = re.compile(r"mht_[A-Za-z0-9_-]{1,1000}\.[A-Za-z0-9_-]{43}\Z", re.ASCII)
SALT = "memoryhub.access.tokens"
SESSION_SALT = "memoryhub.access.tokens.session"
VERSION = 1

DEFAULT_TTL = timedelta(minutes=15)
LONGEST_TTL = timedelta(hours=24)
SKEW = timedelta(seconds=30)
"""How far the clocks of two processes of the hub may differ."""

TOKEN_SCOPES = frozenset(
    {Scope.TURNS_WRITE, Scope.MEMORY_READ, Scope.FACTS_WRITE, Scope.AUDIT_READ, Scope.SUBJECTS_MANAGE}
)
"""What a token may be good for. Whoever is given one does not approve what waits for a person's review."""


class BadToken(Exception):
    """Not a token of this hub, or not of now. The message may be shown to whoever sent it."""


@dataclass(frozen=True, slots=True)
class SubjectToken:
    """What a token says. `session` is '' when it is good for every session of the person."""

    id: UUID
    key_id: UUID
    subject_id: UUID
    mode: MemoryMode
    scopes: frozenset[Scope]
    issued_at: datetime
    expires_at: datetime
    session: str = ""


def new_token(
    *,
    key_id: UUID,
    subject_id: UUID,
    mode: MemoryMode,
    scopes: Collection[Scope],
    expires_at: datetime,
    session: str = "",
) -> SubjectToken:
    """A token from now until `expires_at`, in whole seconds. `session` is a `session_digest`."""
    return SubjectToken(
        id=uuid7(),
        key_id=key_id,
        subject_id=subject_id,
        mode=mode,
        scopes=frozenset(scopes),
        issued_at=timezone.now().replace(microsecond=0),
        expires_at=expires_at.replace(microsecond=0),
        session=session,
    )


def write_token(token: SubjectToken) -> str:
    """The token as it is handed out: `mht_<payload>.<signature>`."""
    payload = {
        "v": VERSION,
        "i": token.id.hex,
        "k": token.key_id.hex,
        "s": token.subject_id.hex,
        "m": token.mode.value,
        "c": sorted(scope.value for scope in token.scopes),
        "b": int(token.issued_at.timestamp()),
        "e": int(token.expires_at.timestamp()),
    } | ({"n": token.session} if token.session else {})
    return PREFIX + _signer().sign_object(payload)


def read_token(text: str, *, now: datetime | None = None) -> SubjectToken:
    """What `text` says, when it was signed here and holds at `now`. Raises BadToken."""
    if not SHAPE.match(text):
        raise BadToken("This is not a valid token.")
    try:
        payload = _signer().unsign_object(text.removeprefix(PREFIX))
    except signing.BadSignature:
        raise BadToken("This is not a valid token.") from None
    token = _token(payload)
    now = now or timezone.now()
    if token.issued_at > now + SKEW:
        raise BadToken("This token is not valid yet.")
    if token.expires_at <= now or token.expires_at > token.issued_at + LONGEST_TTL:
        raise BadToken("This token is expired.")
    return token


def session_digest(session_id: str) -> str:
    """What stands in a token for the session that callers call `session_id`, which may name a person."""
    return _digest(session_id, None)


def same_session(digest: str, session_id: str) -> bool:
    """Whether `digest` stands for `session_id`, under the present secret key or one that it followed."""
    secrets: list[str | bytes | None] = [None, *settings.SECRET_KEY_FALLBACKS]
    return any(hmac.compare_digest(digest, _digest(session_id, secret)) for secret in secrets)


def _digest(session_id: str, secret: str | bytes | None) -> str:
    return salted_hmac(SESSION_SALT, session_id, secret=secret, algorithm="sha256").hexdigest()[:32]


def _signer() -> signing.Signer:
    return signing.Signer(salt=SALT, sep=".", algorithm="sha256")


def _token(payload: Any) -> SubjectToken:
    """Raises BadToken for a payload of another version of the hub; nobody else could have signed it."""
    try:
        if payload["v"] != VERSION:
            raise BadToken("This token was made by another version of the hub.")
        return SubjectToken(
            id=UUID(payload["i"]),
            key_id=UUID(payload["k"]),
            subject_id=UUID(payload["s"]),
            mode=MemoryMode(payload["m"]),
            scopes=frozenset(Scope(scope) for scope in payload["c"]) & TOKEN_SCOPES,
            issued_at=datetime.fromtimestamp(payload["b"], UTC),
            expires_at=datetime.fromtimestamp(payload["e"], UTC),
            session=payload.get("n", ""),
        )
    except (KeyError, TypeError, ValueError):
        raise BadToken("This token was made by another version of the hub.") from None
