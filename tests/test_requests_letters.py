"""What a privacy officer writes to the person who asked: said by type and outcome, and safe whatever stands in it."""

from datetime import UTC, date, datetime
from html.parser import HTMLParser
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.erasure.certificate import certificate_digest
from audit.erasure.models import Erasure
from audit.requests.letters import DONE, RIGHTS, WHY, About, Sender, letter_file, letter_of, letters_open
from audit.requests.models import DataRequest, RequestStep
from audit.requests.states import RequestType
from memoryhub.desk import EXTENSION_REASONS, STEP_REASONS

SENDER = Sender("Example Ltd\n1 Example Road", "privacy@example.com")


def asked(type_: str = "access", state: str = "review", **more: Any) -> DataRequest:
    ended = datetime(2026, 3, 20, tzinfo=UTC) if state in ("completed", "refused", "cancelled") else None
    given_: dict[str, Any] = {"received_on": date(2026, 3, 3), "due_on": date(2026, 4, 7), "ended_at": ended}
    return DataRequest(subject_id=uuid4(), type=type_, state=state, **(given_ | more))


def ended_by(request: DataRequest, reason: str) -> list[RequestStep]:
    return [RequestStep(request=request, step="approve", after="approved"),
            RequestStep(request=request, step="end", after=request.state, reason=reason)]  # fmt: skip


def erased() -> Erasure:
    return Erasure(
        kind="subject",
        state="completed",
        reason="subject_request",
        erased={"sessions": {"turn": 1_200}, "facts": {"fact": 4}},
        recipients=[{"who": "agent:assistant", "what": "working_memory", "times": 3}],
    )


def test_which_letters_there_are_to_write() -> None:
    assert letters_open(asked()) == [About.RECEIPT]
    extended: dict[str, Any] = {"extended_on": date(2026, 3, 10), "extension_reason": "complex"}
    assert letters_open(asked(**extended)) == [About.EXTENSION, About.RECEIPT]
    assert letters_open(asked(state="refused", **extended)) == [About.ANSWER, About.EXTENSION, About.RECEIPT]
    assert letters_open(asked("erasure", "partial")) == [About.RECEIPT]  # it has not ended


@pytest.mark.parametrize("type_", RequestType.values)
def test_every_answer_says_what_was_done_and_which_rights_there_are(type_: str) -> None:
    request = asked(type_, "completed")
    letter = letter_of(request, About.ANSWER, steps=[], sender=SENDER, erasure=erased())
    assert letter.title == "Your request was carried out" and letter.rights == RIGHTS
    assert type_ == "erasure" or DONE[type_] in letter.paragraphs
    assert dict(letter.facts) == {
        "Our reference": str(request.id),
        "You asked for": type_,
        "Received": "3 March 2026",
        "To be answered by": "7 April 2026",
        "Decided": "20 March 2026",
    }


def test_an_erasure_is_told_with_its_certificate_and_what_stays() -> None:
    erasure = erased()
    letter = letter_of(asked("erasure", "completed"), About.ANSWER, steps=[], sender=SENDER, erasure=erasure)
    told = " ".join(letter.paragraphs)
    assert "1,204 entries" in told and certificate_digest(erasure) in told
    assert any("agent assistant" in one for one in letter.points) and any("Backups" in one for one in letter.points)


def test_nothing_that_was_there_is_told_as_that() -> None:
    request = asked("erasure", "completed")
    letter = letter_of(request, About.ANSWER, steps=ended_by(request, "nothing_left"), sender=SENDER)
    assert "Nothing of what you named was there any more." in letter.paragraphs and not letter.points


def test_a_refusal_and_a_cancellation_tell_why() -> None:
    for state, reason, says in (
        ("refused", "excessive", "The reason: the request is excessive (GDPR art. 12(5))."),
        ("cancelled", "withdrawn", "The reason: you took it back."),
    ):
        request = asked("erasure", state)
        letter = letter_of(request, About.ANSWER, steps=ended_by(request, reason), sender=SENDER)
        assert says in letter.paragraphs and letter.rights == RIGHTS


def test_each_reason_has_words_for_the_person_and_other_asks_for_some() -> None:
    assert set(WHY) == {*STEP_REASONS, *EXTENSION_REASONS}
    request = asked("access", "refused")
    letter = letter_of(request, About.ANSWER, steps=ended_by(request, "other"), sender=SENDER)
    assert letter.incomplete and "The reason: […]." in letter.paragraphs
    assert not letter_of(request, About.ANSWER, steps=ended_by(request, "exempt"), sender=SENDER).incomplete


def test_an_extension_tells_why_until_when_and_when_it_was_told() -> None:
    request = asked(extended_on=date(2026, 3, 10), extension_reason="many_requests", due_on=date(2026, 6, 3))
    letter = letter_of(request, About.EXTENSION, steps=[], sender=SENDER)
    told = " ".join(letter.paragraphs)
    assert "by 3 June 2026" in told and "there are many requests" in told and "on 10 March 2026" in told


@pytest.mark.parametrize(
    ("type_", "more", "says"),
    [
        ("access", {}, "We will answer by 7 April 2026."),
        ("access", {"paused_on": date(2026, 3, 4)}, "sure that it is you who asks"),
        ("erasure", {}, "no assistant is given anything"),
    ],
)
def test_a_receipt_tells_by_when_and_what_holds_until_then(type_: str, more: dict[str, Any], says: str) -> None:
    letter = letter_of(asked(type_, **more), About.RECEIPT, steps=[], sender=SENDER)
    assert says in " ".join(letter.paragraphs) and not letter.rights


class Elements(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, tuple[str, ...]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, tuple(name for name, _ in attrs)))


@given(name=st.text(max_size=200), contact=st.text(max_size=200))
def test_whatever_a_register_says_the_file_has_the_same_elements(name: str, contact: str) -> None:
    def elements(sender: Sender) -> list[tuple[str, tuple[str, ...]]]:
        return Elements(letter_file(letter_of(asked(), About.RECEIPT, steps=[], sender=sender))).found

    assert elements(Sender(name, contact)) == elements(SENDER)


def test_a_file_needs_no_network_and_runs_nothing() -> None:
    request = asked("erasure", "completed")
    text = letter_file(letter_of(request, About.ANSWER, steps=[], sender=SENDER, erasure=erased()))
    tags = {tag for tag, _ in Elements(text).found}
    assert not tags & {"script", "link", "img", "iframe", "form", "a"} and "url(" not in text
