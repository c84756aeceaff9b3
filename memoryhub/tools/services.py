"""Carrying out what a model calls: one function for every door. Whoever calls is bound to one person by a token.

What a model can put right comes back as an answer that says what to do. What the credential may not do raises, before
anything is looked at.
"""

import base64
import hmac
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, cast
from uuid import UUID

from django.utils.crypto import salted_hmac

from audit.registry import Scope as Part
from audit.registry import memory
from facts.decision import attribute_key, entity_key
from facts.exceptions import NotPossible, UnknownFact
from facts.handles import fact_named
from facts.models import Fact, FactType, FactVersion, RecalledItem, Source, Status
from facts.reading import FactListing, FactPage, fact_read, facts_page
from facts.recall import Receipted
from facts.search import Kind, SearchRequest, memory_search
from facts.services import FactInput, fact_ask_erasure, fact_mark_stale, facts_record, may_put_away
from facts.working_memory import Viewpoint
from memoryhub.access.callers import Binding, Caller
from memoryhub.access.models import MemoryMode
from memoryhub.access.policy import Forgetting
from memoryhub.core.errors import InputError
from memoryhub.core.tenancy import in_workspace
from memoryhub.erasing import erasure_start
from memoryhub.tools import wording
from memoryhub.tools.definitions import ALL, Tool, offered
from memoryhub.tools.parameters import BadInput, read_input
from sessions.models import Subject, Turn

FOUND, LISTED = 8, 20
CONFIRM_SALT = "memoryhub.tools.forget"
CONFIRM_SECONDS = 900
"""For how long at least a code holds; at most twice as long."""


class NoSuchTool(Exception):
    """There is no tool of this name."""


class NotOffered(Exception):
    """The agent's memory mode, or the token's scopes, do not go with the tool."""

    def __init__(self, tool: Tool, *, lacks: str = "") -> None:
        super().__init__(tool.name)
        self.tool = tool
        self.lacks = lacks
        """The scope that is missing; '' when it is the mode."""


@dataclass(frozen=True)
class Answer:
    """What a tool says. `recall` is set where it gave something out."""

    text: str
    is_error: bool = False
    recall: Receipted | None = None


def tools_of(caller: Caller) -> list[Tool]:
    """The tools that are offered to `caller`."""
    return offered(caller.mode, caller.scopes)


def tool_call(*, caller: Caller, name: str, given: Mapping[str, Any]) -> Answer:
    """Carry a call out, in a transaction of its own: all of it, or nothing and an answer that says why.

    Raises NoSuchTool and NotOffered.
    """
    tool = ALL.get(name)
    if tool is None:
        raise NoSuchTool(name)
    if tool not in tools_of(caller):
        lacks = sorted(scope.value for scope in tool.scopes if scope not in caller.scopes)
        raise NotOffered(tool, lacks=lacks[0] if lacks else "")
    try:
        return CARRY_OUT[name](_Call(caller), **read_input(tool.parameters, given))
    except BadInput as refused:
        return Answer(str(refused), is_error=True)
    except InputError as refused:
        return Answer(refused.message, is_error=True)


@dataclass(frozen=True)
class _Call:
    """Who calls, and what they see."""

    caller: Caller

    @property
    def view(self) -> Viewpoint:
        return Viewpoint.of(self.caller)

    @property
    def bound(self) -> Binding:
        if self.caller.bound is None:
            raise ValueError("tools are for the holders of subject tokens")
        return self.caller.bound

    def subject(self) -> Subject:
        return Subject.objects.get(pk=self.bound.subject_id)

    def fact(self, handle: str) -> Fact:
        return fact_named(
            workspace_id=self.caller.workspace_id,
            sight=self.view.sight(),
            subject_id=self.bound.subject_id,
            handle=handle,
        )


def _search_memory(call: _Call, *, query: str, limit: int = FOUND) -> Answer:
    knows = call.caller.mode in (MemoryMode.FULL, MemoryMode.MANAGED)
    kinds: tuple[Kind, ...] = ("fact", "turn") if knows else ("turn",)
    ask = SearchRequest(user_id=call.bound.user_id, query=query, kinds=kinds, top_k=limit)
    found = memory_search(view=call.view, ask=ask)
    if found.paused:
        return Answer(wording.PAUSED)
    return Answer(wording.found(found.hits, found.degraded), recall=found.recall)


def _list_facts(
    call: _Call,
    *,
    type: str | None = None,
    entity: str | None = None,
    status: str = Status.CURRENT,
    limit: int = LISTED,
    more: str | None = None,
) -> Answer:
    after = _page_after(more) if more is not None else None
    with in_workspace(call.caller.workspace_id):
        listing = FactListing(
            subject=call.subject(),
            type=FactType(type) if type is not None else None,
            entity=entity,
            statuses=(Status(status),),
        )
        page = facts_page(view=call.view, listing=listing, after=after, limit=limit)
    if page.paused:
        return Answer(wording.PAUSED)
    return Answer(wording.listed(page.hits, cast(UUID, page.next).hex if page.next else None), recall=page.recall)


def _mark_fact_stale(call: _Call, *, fact: str, reason: str) -> Answer:
    with in_workspace(call.caller.workspace_id):
        known = call.fact(fact)
        if known.subject.surfaceable and (changed := _changed_since_shown(call, known)):
            text = f"{known.handle_text} has changed since you saw it, so nothing was marked. Now it says:\n"
            return Answer(text + wording.line_of(changed.hits[0]), is_error=True, recall=changed.recall)
        version = fact_mark_stale(fact=known, actor=call.caller.actor, reason=reason)
    if version.status == Status.QUARANTINED:
        why = next((one["code"] for one in version.findings if one["code"] != "marks_stale"), "")
        return Answer(wording.waits(known.handle_text, why))
    return Answer(f"{known.handle_text} is marked as no longer true, and will not be brought up again.")


def _remember(
    call: _Call,
    *,
    type: str,
    entity: str,
    content: str,
    attribute: str = "",
    value: Decimal | None = None,
    unit: str = "",
    replaces: str | None = None,
) -> Answer:
    if not entity_key(entity):
        raise BadInput("entity has to name what the fact is about, in a word or two.")
    with in_workspace(call.caller.workspace_id):
        stated = FactInput(
            type=FactType(type),
            entity=entity,
            content=content,
            attribute=attribute,
            value=value,
            unit=unit,
            replaces=call.fact(replaces).id if replaces is not None else None,
        )
        [written] = facts_record(
            subject=call.subject(), facts=[stated], actor=call.caller.actor, agent_id=call.caller.agent_id
        )
    handle = written.version.fact.handle_text
    if written.outcome == "added":
        beside = "" if attribute_key(attribute) else " It replaces nothing: it has no attribute."
        return Answer(f"Remembered as {handle}.{beside}")
    if written.outcome == "quarantined":
        return Answer(wording.waits(handle, written.reason))
    told = {"superseded": f"{handle} now says this; what it said before is kept as history."}
    return Answer(told.get(written.outcome, f"This was known already, as {handle}."))


def _forget(call: _Call, *, fact: str, confirm: str | None = None) -> Answer:
    with in_workspace(call.caller.workspace_id):
        known = call.fact(fact)
        part = Part(known.subject_id, fact_id=known.id)
        versions = list(known.versions.order_by("-number"))
        if confirm is None:
            # What would go is shown, which is a surfacing.
            try:
                page = fact_read(view=call.view, fact_id=known.id)
            except UnknownFact:
                raise NotPossible(
                    "fact", f"{known.handle_text} waits for a person to look at it, and is not used."
                ) from None
            counts = {"versions": len(versions), "turns": len(memory().part_of(part).redacted)}
            return Answer(
                wording.would_go(page.hits[0], counts, _code(call, known, versions[0].number, _now())),
                recall=page.recall,
            )
        if not _is_code(call, known, versions[0].number, confirm):
            raise BadInput(
                "This is not the code of a call about this fact as it is now, or it is too old. Call forget with the "
                "fact alone, show the person what would go, and ask them."
            )
        if _may_forget(call, known, versions):
            erasure_start(
                workspace_id=call.caller.workspace_id,
                scope=part,
                actor=call.caller.actor,
                reason="subject_request",
            )
            return Answer(f"{known.handle_text} is being erased, and is not brought up again.")
        fact_ask_erasure(fact=known, actor=call.caller.actor, agent_id=call.caller.agent_id)
    return Answer(
        f"{known.handle_text} is not for you alone to erase: a person was asked to decide. {wording.UNTIL_THEN}"
    )


CARRY_OUT: Mapping[str, Callable[..., Answer]] = {
    "search_memory": _search_memory,
    "list_facts": _list_facts,
    "mark_fact_stale": _mark_fact_stale,
    "remember": _remember,
    "forget": _forget,
}


def _changed_since_shown(call: _Call, fact: Fact) -> FactPage | None:
    """The fact as it is now, given out, where the agent was last shown a version that others have replaced."""
    shown = (
        RecalledItem.objects.filter(version__fact=fact, recall__agent_id=call.caller.agent_id)
        .select_related("recall")
        .order_by("-recall__at", "-recall_id")
        .first()
    )
    current = fact.versions.filter(status=Status.CURRENT).first()
    if shown is None or current is None or shown.version_id == current.id:
        return None
    if current.source == Source.AGENT and current.agent_id == call.caller.agent_id:
        return None  # its own words: it knows them
    try:
        return fact_read(view=call.view, fact_id=fact.id)
    except UnknownFact:
        return None


def _may_forget(call: _Call, fact: Fact, versions: list[FactVersion]) -> bool:
    """Whether the agent may erase the fact by itself: all of it is its own, and so are the words that would go."""
    if call.caller.policy.forgetting is not Forgetting.CONFIRMED:
        return False
    agent_id = call.caller.agent_id
    if not all(may_put_away(fact, version, agent_id) for version in versions):
        return False
    said = memory().part_of(Part(fact.subject_id, fact_id=fact.id)).redacted
    return not Turn.objects.filter(pk__in=list(said)).exclude(session__agent_id=agent_id).exists()


def _page_after(more: str) -> UUID:
    try:
        return UUID(hex=more)
    except ValueError:
        raise BadInput("more has to be the value that the last answer of list_facts ended with.") from None


def _now() -> int:
    return int(time.time() // CONFIRM_SECONDS)


def _code(call: _Call, fact: Fact, number: int, period: int) -> str:
    """The code that confirms forgetting a fact as it is now: short, since a model has to copy it."""
    told = f"{call.caller.agent_id} {call.bound.subject_id} {fact.id} {number} {period}"
    digest = salted_hmac(CONFIRM_SALT, told, algorithm="sha256").digest()
    return base64.b32encode(digest[:5]).decode()


def _is_code(call: _Call, fact: Fact, number: int, given: str) -> bool:
    sent = given.strip().upper().encode()
    return any(hmac.compare_digest(sent, _code(call, fact, number, period).encode()) for period in (_now(), _now() - 1))
