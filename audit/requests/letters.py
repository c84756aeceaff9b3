"""What a privacy officer writes to the person who asked: what was done, by when, and their rights. Pure.

GDPR art. 12(3) and (4): what was done on a request, or that it takes longer and why, or why it is not done; and that
one may complain to a supervisory authority and go to court. The person is not named: by the end of an erasure nobody
knows the name here any more.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from html import escape

from audit.erasure.certificate import SUBJECTS, certificate_digest
from audit.erasure.models import Erasure, ErasureKind
from audit.erasure.verification import RETAINED
from audit.requests.models import DataRequest, RequestStep
from audit.requests.states import HELD_BACK, RequestState, RequestType
from memoryhub.core.text import visible

ASKED: dict[str, str] = {
    RequestType.ACCESS: "a copy of what is remembered about you (GDPR art. 15)",
    RequestType.PORTABILITY: "what is remembered about you in a form that other services can read (GDPR art. 20)",
    RequestType.RECTIFICATION: "to put right what is remembered about you (GDPR art. 16)",
    RequestType.RESTRICTION: "to restrict what is done with what is remembered about you (GDPR art. 18)",
    RequestType.OBJECTION: "to stop remembering you (GDPR art. 21)",
    RequestType.ERASURE: "to erase what is remembered about you (GDPR art. 17)",
}
DONE: dict[str, str] = {
    RequestType.ACCESS: (
        "A copy was made for you. It holds what is remembered, what for, where it came from, who was given something "
        "of it and how long each kind is kept: as a page to read, and as JSON and CSV."
    ),
    RequestType.PORTABILITY: (
        "A copy was made for you in structured, common formats that machines read: JSON, and CSV with a table for each "
        "kind."
    ),
    RequestType.RECTIFICATION: (
        "What was wrong was put right. Assistants are given the corrected statements. The earlier ones are kept as the "
        "past of these, marked as no longer true."
    ),
    RequestType.RESTRICTION: (
        "What is remembered about you is kept and nothing else: no assistant is given any of it, and nothing is "
        "learned from it. You will be told before that ends."
    ),
    RequestType.OBJECTION: "Your objection was carried out.",
}
STOPPED = {
    "recording": "what you say is not recorded",
    "extraction": "nothing is learned from what you said",
    "surfacing": "no assistant is given anything that is remembered about you",
}
TO_WRITE = "[…]"
"""Stands where somebody has to write in what no code says."""
WHY: dict[str, str] = {
    "identity_doubtful": "we have reasonable doubt that you are the person it is about (GDPR art. 12(6))",
    "identity_not_shown": "you did not show us that you are the person it is about (GDPR art. 12(2))",
    "not_this_person": "what you named is not about you",
    "unfounded": "the request is manifestly unfounded (GDPR art. 12(5))",
    "excessive": "the request is excessive (GDPR art. 12(5))",
    "overriding_grounds": "we have compelling grounds to go on that override yours (GDPR art. 21(1))",
    "legal_obligation": "a law obliges us",
    "exempt": "the law makes an exception for it",
    "withdrawn": "you took it back",
    "nothing_left": "nothing of it was there any more",
    "complex": "the request is complex",
    "many_requests": "there are many requests",
    "other": TO_WRITE,
}
"""Reasons as the person is told them."""
STAYS = (
    RETAINED["audit_entry"],
    "We keep that you asked, when, and what was decided: ids, codes and dates (GDPR art. 5(2)).",
    "Backups made before may hold it until they are replaced. When one is put back, it is erased from it before "
    "anything is used.",
    "Who was given something of it before may have kept that.",
    "What others said of you in their own conversations is theirs.",
)
RIGHTS = (
    "If you do not agree with this answer, you can write to us again.",
    "You can complain to a data protection supervisory authority, such as that of the place where you live or work, or "
    "where you think that the law was broken (GDPR art. 77).",
    "You can go to court (GDPR art. 79).",
)
SHEET = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:42rem;margin:2.5rem auto;padding:0 1.25rem;color:#1d1f24}"
    "h1{font-size:1.4rem}h2{font-size:1.05rem;margin-top:1.6rem}.from{white-space:pre-line}"
    "p{overflow-wrap:anywhere}"
    "dl{display:grid;grid-template-columns:max-content 1fr;gap:.2rem 1.2rem}dt{color:#5c5f68}dd{margin:0;"
    "overflow-wrap:anywhere}@media print{body{margin:0;max-width:none;font-size:11pt}}"
)


class About(StrEnum):
    ANSWER = "answer"
    EXTENSION = "extension"
    RECEIPT = "receipt"


@dataclass(frozen=True)
class Sender:
    """Who answers, in the words of the workspace's register."""

    name: str = ""
    contact: str = ""


@dataclass(frozen=True)
class Letter:
    """Text alone, ready to be shown, printed or written into a file."""

    about: About
    title: str
    sender: Sender
    facts: tuple[tuple[str, str], ...]
    paragraphs: tuple[str, ...]
    points: tuple[str, ...]
    """What else has to be known of what was done."""
    rights: tuple[str, ...]

    @property
    def incomplete(self) -> bool:
        """Whether something has to be written in before it is sent."""
        return any(TO_WRITE in one for one in self.paragraphs)


def letters_open(request: DataRequest) -> list[About]:
    """Which letters there are to write, the latest first."""
    ended = [About.ANSWER] if request.ended else []
    return ended + ([About.EXTENSION] if request.extended_on else []) + [About.RECEIPT]


def letter_of(
    request: DataRequest,
    about: About,
    *,
    steps: Sequence[RequestStep],
    sender: Sender,
    erasure: Erasure | None = None,
    stopped: Sequence[str] = (),
) -> Letter:
    """The letter about a request; `about` is one of its `letters_open`.

    `steps` is its history in order, `erasure` what an erasure came to, `stopped` what is paused for who objected.
    """
    facts = [
        ("Our reference", str(request.id)),
        ("You asked for", RequestType(request.type).label),
        ("Received", in_words(request.received_on)),
    ]
    points: list[str] = []
    if about is About.EXTENSION and request.extended_on:
        facts += [("You are answered by", in_words(request.due_on))]
        title, paragraphs = "Your request takes longer", _extended(request, request.extended_on)
    elif about is About.RECEIPT:
        facts += [("You are answered by", in_words(request.due_on))]
        title, paragraphs = "We received your request", _received(request)
    else:
        ended = request.ended_at.date() if request.ended_at else request.due_on
        facts += [("To be answered by", in_words(request.due_on)), ("Decided", in_words(ended))]
        title, paragraphs, points = _answer(request, steps, erasure, stopped)
    rights = () if about is About.RECEIPT else RIGHTS
    return Letter(about, title, sender, tuple(facts), tuple(paragraphs), tuple(points), rights)


def letter_file(letter: Letter) -> str:
    """The letter as one HTML document that needs no network: to be printed, or sent as it is."""
    facts = "".join(f"<dt>{_shown(name)}</dt><dd>{_shown(value)}</dd>" for name, value in letter.facts)
    points = "".join(f"<li>{_shown(one)}</li>" for one in letter.points)
    rights = "".join(f"<li>{_shown(one)}</li>" for one in letter.rights)
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{_shown(letter.title)}</title>'
        f"<style>{SHEET}</style></head><body><main>"
        f'<p class="from" dir="auto">{_lines(letter.sender.name)}</p>'
        f'<p class="from" dir="auto">{_lines(letter.sender.contact)}</p>'
        f"<h1>{_shown(letter.title)}</h1><dl>{facts}</dl>"
        + "".join(f"<p>{_shown(one)}</p>" for one in letter.paragraphs)
        + (f"<h2>What else to know</h2><ul>{points}</ul>" if points else "")
        + (f"<h2>Your rights</h2><ul>{rights}</ul>" if rights else "")
        + "</main></body></html>\n"
    )


def in_words(day: date) -> str:
    """`3 March 2026`."""
    return f"{day.day} {day:%B} {day.year}"


def _answer(
    request: DataRequest, steps: Sequence[RequestStep], erasure: Erasure | None, stopped: Sequence[str]
) -> tuple[str, list[str], list[str]]:
    why = next((step.reason for step in reversed(steps) if step.after == request.state and step.reason), "")
    asked = f"You asked us {_to(request)}."
    reason = [f"The reason: {WHY[why]}."] if why in WHY else []
    if request.state == RequestState.REFUSED:
        return "Your request is refused", [asked, "We do not do what you asked for.", *reason], []
    if request.state == RequestState.CANCELLED:
        return "Your request is closed", [asked, "It was closed without anything being done.", *reason], []
    if request.type == RequestType.ERASURE:
        told, points = _erased(erasure, gone_before=why == "nothing_left")
        return "Your request was carried out", [asked, *told], points
    told = [asked, DONE[request.type]]
    if request.type == RequestType.OBJECTION and stopped:
        told.append(f"From now on {' and '.join(STOPPED[one] for one in stopped)}.")
    return "Your request was carried out", told, []


def _erased(erasure: Erasure | None, *, gone_before: bool) -> tuple[list[str], list[str]]:
    if erasure is None or gone_before:
        return ["Nothing of what you named was there any more."], []
    rows = sum(sum(kinds.values()) for kinds in erasure.erased.values())
    told = [
        f"This was erased: {SUBJECTS[ErasureKind(erasure.kind)]}, {rows:,} entries in all. Afterwards every table was "
        "searched by other software than erased it, and nothing was found.",
        f"A certificate says so in detail; we give it to you when you ask for it. Its SHA-256: "
        f"{certificate_digest(erasure)}",
    ]
    outside = list(dict.fromkeys(str(one["who"]).replace(":", " ") for one in erasure.recipients))
    given = [f"Before, something of it had been given to: {', '.join(outside)}."] if outside else []
    return told, [*given, *STAYS]


def _received(request: DataRequest) -> list[str]:
    told = [f"You asked us {_to(request)}. We will answer by {in_words(request.due_on)}."]
    if request.paused_on:
        told.append(
            "Before we go on we have to be sure that it is you who asks. The time to answer stands still until then, "
            "and the day above moves by as much."
        )
    if request.type in HELD_BACK and not request.ended:
        told.append("Until it is decided no assistant is given anything that is remembered about you.")
    return told


def _extended(request: DataRequest, told_on: date) -> list[str]:
    return [
        f"You asked us {_to(request)}. We need two further months, as GDPR art. 12(3) allows, and will answer by "
        f"{in_words(request.due_on)}.",
        f"The reason: {WHY[request.extension_reason]}.",
        f"We tell you of this on {in_words(told_on)}, within the first month.",
    ]


def _to(request: DataRequest) -> str:
    words = ASKED[request.type]
    return words if words.startswith("to ") else f"for {words}"


def _shown(text: str) -> str:
    return escape(visible(text))


def _lines(text: str) -> str:
    return "\n".join(_shown(line) for line in text.splitlines())
