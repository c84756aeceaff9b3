"""Writing to the audit log: one function, called in plain sight by every service that changes or surfaces anything."""

import base64
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any
from uuid import UUID

from django.db import connection
from django.utils import timezone

from audit.actions import Action, action_named
from audit.actors import Actor
from audit.errors import EntryRefused, NotInTransaction
from audit.ids import entry_id
from audit.integrity import SALT_BYTES, SCHEMA, canonical_json, commitment, leaf_hash
from audit.kinds import kind_of
from audit.models import Commitment, Entry, Outcome
from audit.reasons import known_reason
from audit.sealing.keys import Purpose, signer
from audit.shapes import Record
from memoryhub.core.observability.requests import current_request_id
from memoryhub.core.tenancy import current_workspace_id

MAX_DATA_BYTES = 256 * 1024

OBJECT_KIND = re.compile(r"[a-z][a-z_]{0,31}\Z")
OBJECT_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}\Z")
COMMITMENTS = "commitments"
TOKEN = "token"  # noqa: S105 - a key in an entry's data
"""In the data of every entry of somebody who came with a subject token: the token's id."""


_together: ContextVar[list[tuple[Entry, list[Commitment]]] | None] = ContextVar("_together", default=None)


def record(
    actor: Actor,
    action: str,
    obj: Any = None,
    *,
    subject: Any = None,
    session: Any = None,
    outcome: str = Outcome.OK,
    reason: str = "",
    data: Mapping[str, Any] | None = None,
    workspace_id: UUID | None = None,
    commit: Mapping[str, str | bytes] | None = None,
) -> Entry:
    """Write one entry in the caller's transaction: it stands or falls with what it tells of.

    `obj` is what was acted on: a model instance, anything with an `audit_ref` of (kind, id), or such a pair.
    `subject` and `session` are ids or instances. `reason` is a code of audit/reasons.py. `data` may hold what
    audit/actions.py allows for the action: ids, numbers, codes, digests. `commit` maps labels to contents that must be
    provable later; only a salted digest of each is kept, and its salt can be erased. The workspace is `workspace_id`,
    else that of `obj`, else the transaction's (which costs a round trip); the row-level policy refuses any other.

    One INSERT, a second one when something is committed to. Raises NotInTransaction outside a transaction and
    EntryRefused for an unknown action or reason and for anything that could be content.
    """
    if not connection.in_atomic_block:
        raise NotInTransaction(f"{action} must be recorded in the transaction that does it")
    known = action_named(action)
    at = timezone.now()
    salts = {label: secrets.token_bytes(SALT_BYTES) for label in commit or {}}
    kind, object_id = _reference(obj)
    entry = Entry(
        id=entry_id(at),
        workspace_id=workspace_id or getattr(obj, "workspace_id", None) or _transaction_workspace(action),
        at=at,
        actor_kind=actor.kind.value,
        actor_id=actor.id,
        credential=actor.credential,
        action=known.name,
        object_kind=kind,
        object_id=object_id,
        subject_id=_id_of(subject),
        session_id=_id_of(session),
        request_id=current_request_id(),
        outcome=Outcome(outcome).value,
        reason=known_reason(reason),
        data=_data(known, data or {}, commit or {}, salts, actor.token),
        schema=SCHEMA,
    )
    entry.leaf = leaf_hash(entry)
    commitments = [
        Commitment(
            workspace_id=entry.workspace_id, entry_id=entry.id, subject_id=entry.subject_id, label=label, salt=salt
        )
        for label, salt in salts.items()
    ]
    together = _together.get()
    if together is None:
        _write([(entry, commitments)])
    else:
        together.append((entry, commitments))
    return entry


@contextmanager
def entries_together() -> Iterator[None]:
    """What is recorded inside is written by one statement at the end, still in the caller's transaction.

    For a call that records many things. Inside another one it adds nothing.
    """
    if _together.get() is not None:
        yield
        return
    recorded: list[tuple[Entry, list[Commitment]]] = []
    token = _together.set(recorded)
    try:
        yield
    finally:
        _together.reset(token)
    _write(recorded)


def _write(recorded: Sequence[tuple[Entry, list[Commitment]]]) -> None:
    Entry.objects.bulk_create(entry for entry, _ in recorded)
    Commitment.objects.bulk_create(commitment for _, commitments in recorded for commitment in commitments)


def receipt(entry: Entry) -> str:
    """What the caller gets to keep: `mh2:<entry id>:<leaf, hexadecimal>:<key id>:<signature>`.

    Names the entry and pins its content; the signature shows that it was this hub that promised to keep it.
    """
    key = signer(Purpose.RECEIPTS)
    told = f"mh2:{entry.id}:{bytes(entry.leaf).hex()}:{key.id}"
    return f"{told}:{base64.urlsafe_b64encode(key.sign(told.encode())).decode().rstrip('=')}"


def commitment_holds(entry: Entry, label: str, content: str | bytes) -> bool | None:
    """Whether `content` is what `entry` committed to under `label`; None when its salt was erased or never was."""
    salt = Commitment.objects.filter(entry_id=entry.id, label=label).values_list("salt", flat=True).first()
    kept = entry.data.get(COMMITMENTS, {}).get(label)
    if salt is None or kept is None:
        return None
    return secrets.compare_digest(kept, commitment(bytes(salt), _bytes(content)))


def _data(
    action: Action,
    data: Mapping[str, Any],
    commit: Mapping[str, str | bytes],
    salts: Mapping[str, bytes],
    token: UUID | None,
) -> dict[str, Any]:
    canonical = Record(action.data).canonical(data, "data")
    if token:
        canonical[TOKEN] = str(token)
    unknown = sorted(set(commit) - set(action.commits))
    if unknown:
        raise EntryRefused(f"{action.name} may not commit to {', '.join(unknown)}")
    if commit:
        canonical[COMMITMENTS] = {label: commitment(salts[label], _bytes(text)) for label, text in commit.items()}
    if len(canonical_json(canonical)) > MAX_DATA_BYTES:
        raise EntryRefused(f"data of {action.name} is over {MAX_DATA_BYTES} bytes")
    return canonical


def _bytes(content: str | bytes) -> bytes:
    return content.encode() if isinstance(content, str) else content


def _reference(obj: Any) -> tuple[str, str]:
    if obj is None:
        return "", ""
    if isinstance(obj, tuple):
        kind, key = obj
    elif hasattr(obj, "audit_ref"):
        kind, key = obj.audit_ref
    else:
        kind, key = kind_of(type(obj)), obj.pk
    kind, key = str(kind), str(key)
    if not OBJECT_KIND.match(kind) or not OBJECT_ID.match(key):
        raise EntryRefused("an object is named by a kind and an id of letters, digits and . _ : -")
    return kind, key


def _id_of(value: Any) -> UUID | None:
    if value is None or isinstance(value, UUID):
        return value
    key = value.pk
    if not isinstance(key, UUID):
        raise EntryRefused("subject and session are named by their UUID")
    return key


def _transaction_workspace(action: str) -> UUID:
    workspace_id = current_workspace_id()
    if workspace_id is None:
        raise EntryRefused(f"{action} needs a workspace: none was given and the transaction has none")
    return workspace_id
