"""Places with personal data that belong to no app of ours: the queue's tasks, and what people see at the console."""

import base64
import binascii
import json
import zlib
from collections.abc import Iterator, Sequence
from typing import Any
from uuid import UUID

from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.db import connection
from django.db.models import Model
from django_q.models import OrmQ, Task

from audit.registry import Part, Residue

CHUNK = 200


class QueueStore:
    """Tasks that wait, and what became of tasks: their arguments, results and the messages of their failures.

    Tasks of ours carry ids only, but a failure's message may quote anything. They name nobody in a column, so they are
    found by what stands in them: the person's id, what callers call them, and texts of theirs. They are read as bytes
    and never unpickled.
    """

    name = "queue"
    models: tuple[str, ...] = ()
    looks_itself = True

    def count(self, subject_id: UUID, part: Part | None = None, texts: Sequence[str] = ()) -> dict[str, int]:
        return {kind: len(list(self._theirs(model, _signs(subject_id, part, texts)))) for kind, model in _QUEUE.items()}

    def export(self, subject_id: UUID) -> Iterator[dict[str, Any]]:
        for kind, model in _QUEUE.items():
            for key in self._theirs(model, _signs(subject_id, None, ())):
                yield {"kind": kind, "row": {"id": str(key)}}

    def texts(self, subject_id: UUID, part: Part | None = None) -> Iterator[str]:
        yield from ()

    def erase(self, subject_id: UUID, part: Part | None = None, texts: Sequence[str] = ()) -> dict[str, int]:
        erased = {}
        for kind, model in _QUEUE.items():
            theirs = list(self._theirs(model, _signs(subject_id, part, texts)))
            model._default_manager.filter(pk__in=theirs).delete()
            erased[kind] = len(theirs)
        return erased

    def residue(self, subject_id: UUID, canaries: Sequence[str]) -> Iterator[Residue]:
        for model in _QUEUE.values():
            for key in self._theirs(model, _signs(subject_id, None, canaries)):
                yield Residue(self.name, model._meta.db_table, str(key), "text")

    @staticmethod
    def _theirs(model: type[Model], signs: Sequence[bytes]) -> Iterator[Any]:
        quote = connection.ops.quote_name
        key = quote(str(model._meta.pk.column)) if model._meta.pk else "ctid"
        columns = [quote(field.column) for field in model._meta.concrete_fields if field.column in _HOLDING]
        with connection.cursor() as cursor:
            # Names of the queue's own models. Read as text: unpickling would run what is in it.
            cursor.execute(f"select {key}, {', '.join(columns)} from {quote(model._meta.db_table)} order by 1")  # noqa: S608
            for row in cursor.fetchall():
                if any(sign in held for value in row[1:] if value for held in _decoded(value) for sign in signs):
                    yield row[0]


class SignInStore:
    """What the sign-ins of people at the console hold of somebody remembered: whom they were shown, and messages."""

    name = "sign_ins"
    models: tuple[str, ...] = ()
    looks_itself = True

    def count(self, subject_id: UUID, part: Part | None = None, texts: Sequence[str] = ()) -> dict[str, int]:
        return {"sign_in": len(list(self._theirs(_told(subject_id, part, texts))))}

    def export(self, subject_id: UUID) -> Iterator[dict[str, Any]]:
        yield from ()

    def texts(self, subject_id: UUID, part: Part | None = None) -> Iterator[str]:
        yield from ()

    def erase(self, subject_id: UUID, part: Part | None = None, texts: Sequence[str] = ()) -> dict[str, int]:
        """The people stay signed in: only what names the person goes."""
        told = _told(subject_id, part, texts)
        changed = list(self._theirs(told))
        for row in changed:
            kept = {
                key: cleaned
                for key, value in row.get_decoded().items()
                if (cleaned := _without(value, told)) is not None
            }
            row.session_data = SessionStore().encode(kept)
            row.save(update_fields=["session_data"])
        return {"sign_in": len(changed)}

    def residue(self, subject_id: UUID, canaries: Sequence[str]) -> Iterator[Residue]:
        for _ in self._theirs(_told(subject_id, None, canaries)):
            # The key of a session is a credential.
            yield Residue(self.name, Session._meta.db_table, "(a sign-in)", "text")

    @staticmethod
    def _theirs(told: Sequence[str]) -> Iterator[Session]:
        for row in Session.objects.iterator(chunk_size=CHUNK):
            held = json.dumps(row.get_decoded(), ensure_ascii=False, default=str)
            if any(one in held for one in told):
                yield row


_QUEUE: dict[str, type[Model]] = {"task_waiting": OrmQ, "task_done": Task}
_HOLDING = ("payload", "args", "kwargs", "result", "name", "group")


def _told(subject_id: UUID, part: Part | None, texts: Sequence[str]) -> list[str]:
    ids = [subject_id] if part is None else [*part.sessions, *part.facts][:50]
    plain = [*(str(one) for one in ids), *texts]
    return [*dict.fromkeys(one for text in plain for one in (text, json.dumps(text, ensure_ascii=False)[1:-1]))]


def _signs(subject_id: UUID, part: Part | None, texts: Sequence[str]) -> list[bytes]:
    """What gives a person away in bytes: ids as text, as hexadecimal and as they are pickled, and texts."""
    ids = [subject_id] if part is None else [*part.sessions, *part.facts][:50]
    as_bytes = [form for one in ids for form in (one.hex.encode(), _pickled(one))]
    return [*as_bytes, *(one.encode() for one in _told(subject_id, part, texts))]


def _pickled(one: UUID) -> bytes:
    """A UUID is pickled as its integer, low byte first."""
    return one.int.to_bytes(17, "little").rstrip(b"\x00")[:16]


def _decoded(value: str) -> Iterator[bytes]:
    """The bytes of a stored value: as they stand, and unpacked from base64 and compression."""
    yield value.encode()
    body = value.split(":")[0]
    packed = body.startswith(".")
    body = body.lstrip(".")
    try:
        data = base64.b64decode(body + "=" * (-len(body) % 4), altchars=b"-_" if "-" in body or "_" in body else None)
        yield zlib.decompress(data) if packed else data
    except (binascii.Error, ValueError, zlib.error):
        return


def _without(value: Any, told: Sequence[str]) -> Any:
    """The value without what names the person; None when nothing is left of it."""
    if isinstance(value, str):
        try:
            inner = json.loads(value)
        except ValueError:
            inner = None
        if isinstance(inner, list):  # messages are kept as JSON in JSON
            return json.dumps([one for one in inner if not _names(one, told)])
        return None if _names(value, told) else value
    if isinstance(value, dict):
        return {key: inner for key, inner in value.items() if not _names([key, inner], told)}
    if isinstance(value, list):
        return [inner for inner in value if not _names(inner, told)]
    return value


def _names(value: Any, told: Sequence[str]) -> bool:
    held = json.dumps(value, ensure_ascii=False, default=str)
    return any(one in held for one in told)
