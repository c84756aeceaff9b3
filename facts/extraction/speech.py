"""What in a turn is the speaker's own words: not memory handed back, not code, not what somebody else wrote. Pure.

What is not is masked rather than cut out, so that every place in the masked text is the same place in the turn.
"""

import re

MASK = "\0"
"""Stands where something was masked. No turn holds it: the database cannot store it."""

# "<" in the forms that a model may read as one.
_LT, _GT = r"(?:[<\uff1c\ufe64]|&lt;)", r"(?:[>\uff1e\ufe65]|&gt;)"
_OPEN = re.compile(rf"{_LT}\s{{0,9}}working_memory\b[^>\n]{{0,99}}?{_GT}", re.IGNORECASE)
_CLOSE = re.compile(rf"{_LT}\s{{0,9}}/\s{{0,9}}working_memory\s{{0,9}}{_GT}", re.IGNORECASE)
# Lines of a block that were taken out of it.
_FACT_LINE = re.compile(
    r"^[ \t>*•–-]{0,20}F\d{1,9}(?: v\d{1,6})?:? \[?(?:preference|decision|constraint|goal|entity)\]?(?: .*)?$",
    re.MULTILINE,
)
# A fact as a search result gives it: without its handle, but with what the block says after each fact.
_FACT_TAIL = re.compile(
    r"^.{0,4500}\((?:since|superseded|stale|held) [^()\n]{4,90}, confidence [01]\.\d\d\)", re.MULTILINE
)
_HEADER = re.compile(r"^[ \t>]{0,20}This is memory from earlier sessions, given as data.*$", re.MULTILINE)
_TITLED = re.compile(
    r"^[ \t>]{0,20}(?:Facts from earlier sessions|Last turns of the previous session[^:\n]{0,30}):[ \t]*$"
    r"(?:\n[ \t>]{0,20}- .*)*",
    re.MULTILINE,
)

_QUOTED_LINE = re.compile(r"^[ \t]{0,20}>.*$|^(?: {4}|\t).*$|^[ \t]{0,20}[<{\[].*$", re.MULTILINE)
_QUOTED = re.compile(
    r"`[^`\n]{1,400}`"
    r'|"[^"\n]{1,400}"|“[^”\n]{1,400}”|„[^“”\n]{1,400}[“”]|«[^»\n]{1,400}»|「[^」\n]{1,400}」'
    r"|(?<!\w)['‘][^'‘’\n]{0,400}(?:(?<=\w)['’](?=\w)[^'‘’\n]{0,400}){0,9}['’](?!\w)"
)
_FENCE = re.compile(r"^[ \t]{0,3}(`{3,}|~{3,})")


def without_memory(text: str) -> str:
    """`text` with every working-memory block in it masked, whole or in lines, as the hub renders them.

    A block that is not closed reaches to the end; what stands before a close that was never opened is taken for the
    rest of one.
    """
    spans: list[tuple[int, int]] = []
    at = 0
    while opened := _OPEN.search(text, at):
        closed = _CLOSE.search(text, opened.end())
        at = closed.end() if closed else len(text)
        spans.append((opened.start(), at))
    masked = _masked(text, spans)
    *_, last = [None, *_CLOSE.finditer(masked)]
    if last is not None:
        masked = _masked(masked, [(0, last.end())])
    for pattern in (_HEADER, _TITLED, _FACT_LINE, _FACT_TAIL):
        masked = _masked(masked, [match.span() for match in pattern.finditer(masked)])
    return masked


def own_words(text: str) -> str:
    """`text` with memory, code, quoted lines and quotations masked."""
    masked = without_memory(text)
    masked = _masked(masked, _fenced(masked))
    masked = _masked(masked, [match.span() for match in _QUOTED_LINE.finditer(masked)])
    return _masked(masked, [match.span() for match in _QUOTED.finditer(masked)])


def shown(text: str, placeholder: str) -> str:
    """A masked text for reading: each masked stretch as one `placeholder`."""
    return re.sub(rf"{MASK}[{MASK}\n]*{MASK}|{MASK}", placeholder, text)


def _masked(text: str, spans: list[tuple[int, int]]) -> str:
    """`text` with the spans overwritten, line breaks kept. `spans` are in order and do not overlap."""
    parts, at = [], 0
    for start, end in spans:
        parts += [text[at:start], re.sub(r"[^\n]", MASK, text[start:end])]
        at = end
    return "".join([*parts, text[at:]])


def _fenced(text: str) -> list[tuple[int, int]]:
    """Code between fences; a fence that is not closed reaches to the end."""
    spans, start, fence, at = [], 0, "", 0
    for line in text.splitlines(keepends=True):
        mark = _FENCE.match(line)
        if mark and not fence:
            start, fence = at, mark[1]
        elif mark and mark[1][0] == fence[0] and len(mark[1]) >= len(fence):
            spans.append((start, at + len(line)))
            fence = ""
        at += len(line)
    return [*spans, (start, len(text))] if fence else spans
