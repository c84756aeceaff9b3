"""What an entry's leaf hash is made of. Pure: the same entry gives the same 32 bytes anywhere, at any time.

docs/audit.md fixes the form for good; golden vectors in the tests hold it there. A change of form gets a new schema
number and leaves the old branch standing, because entries are never rewritten.
"""

import hashlib
import hmac
import json
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from audit.shapes import instant

SCHEMA = 1
LEAF_PREFIX = b"\x00"  # RFC 9162: keeps a leaf from being taken for an inner node
SALT_BYTES = 32


class EntryLike(Protocol):
    id: UUID
    workspace_id: UUID
    at: datetime
    actor_kind: str
    actor_id: str
    credential: str
    action: str
    object_kind: str
    object_id: str
    subject_id: UUID | None
    session_id: UUID | None
    request_id: str
    outcome: str
    reason: str
    data: dict[str, Any]
    schema: int


def canonical_json(value: Any) -> bytes:
    """RFC 8785 for values that passed `audit.shapes`; for anything else it may differ from the RFC."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode("ascii")


def canonical_form(entry: EntryLike) -> bytes:
    """The bytes that are hashed: every column but the leaf itself. Raises ValueError for an unknown schema."""
    if entry.schema != 1:
        raise ValueError(f"entry {entry.id} has schema {entry.schema}, which this version does not know")
    return canonical_json(
        {
            "action": entry.action,
            "actor_id": entry.actor_id,
            "actor_kind": entry.actor_kind,
            "at": instant(entry.at),
            "credential": entry.credential,
            "data": entry.data,
            "id": str(entry.id),
            "object_id": entry.object_id,
            "object_kind": entry.object_kind,
            "outcome": entry.outcome,
            "reason": entry.reason,
            "request_id": entry.request_id,
            "schema": entry.schema,
            "session_id": str(entry.session_id) if entry.session_id else None,
            "subject_id": str(entry.subject_id) if entry.subject_id else None,
            "workspace_id": str(entry.workspace_id),
        }
    )


def leaf_hash(entry: EntryLike) -> bytes:
    """SHA-256(0x00 || canonical form), the Merkle leaf of RFC 9162. 32 bytes."""
    return hashlib.sha256(LEAF_PREFIX + canonical_form(entry)).digest()


def commitment(salt: bytes, content: bytes) -> str:
    """HMAC-SHA-256 of `content` under a random salt, as 64 hexadecimal digits.

    With the salt it proves what the content was; once the salt is erased it says nothing about it, not even to
    someone who guesses the content.
    """
    return hmac.new(salt, content, hashlib.sha256).hexdigest()
