"""A person's facts as resources. Listing them and reading one are surfacings, each with its receipt."""

import re
from typing import Any, cast
from uuid import UUID

from facts.exceptions import UnknownFact
from facts.handles import fact_named
from facts.reading import FactListing, fact_read, facts_page
from facts.recall import Receipted
from facts.retrieval.results import FactHit
from facts.working_memory import Viewpoint
from memoryhub.access.callers import Caller
from memoryhub.access.models import MemoryMode
from memoryhub.core.tenancy import in_workspace
from memoryhub.core.text import neutralised
from memoryhub.tools import wording
from sessions.models import Subject

ALL_FACTS = "memory://facts"
TEMPLATE = "memory://facts/{handle}"
ONE_FACT = re.compile(r"memory://facts/(F[1-9]\d{0,8})\Z", re.ASCII)
TEXT = "text/plain"
PAGE = 50
MOST = 200
"""Facts that are given out as one text."""

Result = tuple[dict[str, Any], Receipted | None]


class UnknownResource(Exception):
    """There is no such resource for this caller."""


class BadCursor(Exception):
    """Not a cursor that a page of this list ended with."""


def has_facts(caller: Caller) -> bool:
    return caller.mode in (MemoryMode.FULL, MemoryMode.MANAGED)


def templates() -> list[dict[str, Any]]:
    return [
        {
            "uriTemplate": TEMPLATE,
            "name": "fact",
            "title": "One fact about this person",
            "description": "By its handle, such as F12: what it says now, and since when.",
            "mimeType": TEXT,
        }
    ]


def resources_list(*, caller: Caller, cursor: str | None) -> Result:
    """A page of what can be read: all facts as one text, then each fact that holds now, the newest first."""
    if not has_facts(caller):
        return {"resources": []}, None
    try:
        after = UUID(hex=cursor) if cursor is not None else None
    except ValueError:
        raise BadCursor from None
    with in_workspace(caller.workspace_id):
        page = facts_page(view=Viewpoint.of(caller), listing=_listing(caller), after=after, limit=PAGE)
    everything = {
        "uri": ALL_FACTS,
        "name": "facts",
        "title": "Facts about this person",
        "description": "What is remembered of them and holds now, as one text.",
        "mimeType": TEXT,
    }
    result: dict[str, Any] = {"resources": [*([everything] if after is None else []), *map(_resource, page.hits)]}
    if page.next is not None:
        result["nextCursor"] = cast(UUID, page.next).hex
    return result, page.recall


def resource_read(*, caller: Caller, uri: str) -> Result:
    """Raises UnknownResource."""
    one = ONE_FACT.match(uri)
    if not has_facts(caller) or not (one or uri == ALL_FACTS):
        raise UnknownResource
    view = Viewpoint.of(caller)
    with in_workspace(caller.workspace_id):
        if one is None:
            page = facts_page(view=view, listing=_listing(caller), after=None, limit=MOST)
            text = wording.PAUSED if page.paused else wording.listed(page.hits, None)
            if page.next is not None:
                text += f"\nThere are more than these {MOST}: look for them with search_memory."
        elif not _subject(caller).surfaceable:
            return _contents(uri, wording.PAUSED), None
        else:
            try:
                fact = fact_named(
                    workspace_id=caller.workspace_id,
                    sight=view.sight(),
                    subject_id=_subject(caller).id,
                    handle=one[1],
                )
                page = fact_read(view=view, fact_id=fact.id)
            except UnknownFact:
                raise UnknownResource from None
            text = wording.line_of(page.hits[0])
    return _contents(uri, text), page.recall


def _subject(caller: Caller) -> Subject:
    if caller.subject_id is None:
        raise ValueError("resources are for the holders of subject tokens")
    return Subject.objects.get(pk=caller.subject_id)


def _listing(caller: Caller) -> FactListing:
    return FactListing(subject=_subject(caller))


def _resource(hit: FactHit) -> dict[str, Any]:
    fact = hit.version.fact
    about = " · ".join(neutralised(part) for part in (fact.entity, fact.attribute.replace("_", " ")) if part)
    return {
        "uri": f"{ALL_FACTS}/{fact.handle_text}",
        "name": fact.handle_text,
        "title": about,
        "description": f"{fact.type}, since {hit.version.valid_from.date().isoformat()}",
        "mimeType": TEXT,
    }


def _contents(uri: str, text: str) -> dict[str, Any]:
    return {"contents": [{"uri": uri, "mimeType": TEXT, "text": text}]}
