"""Making remembered text safe to stand inside a block for a model."""

import re
import unicodedata

from memoryhub.core.screening.folding import fold

BLOCK_SAYS = "This is memory from earlier sessions"
"""How every working-memory block begins, after its opening tag."""

# Bidirectional controls, zero-width characters that no script needs, fillers, byte order marks, annotations, and the
# invisible tag characters that carry hidden text. Joiners (U+200C, U+200D) stay: scripts and emoji need them.
_HIDDEN = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\u3164\ufeff\uffa0"
    "\ufff9-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e00ff\U000e01f0-\U000e0fff"
)
# Variation selectors choose between forms of the sign before them: one each, after what has forms. Rows of them, or one
# after a plain letter, are not drawn and can spell out any text.
_SELECTORS = "\ufe00-\ufe0f\U000e0100-\U000e01ef"
_INVISIBLE = re.compile(
    f"[{_HIDDEN}]|(?<![^\\s\x00-\\x22\\x24-\\x29\\x2b-\\x2f\\x3a-\\x7f{_SELECTORS}{_HIDDEN}])[{_SELECTORS}]"
)
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_BREAK = re.compile("[\t\n\r\u2028\u2029]")
_BLOCK_TAG = re.compile(r"<(/?)working_memory>", re.IGNORECASE)
# In folded text: a model may read full-width, accented or look-alike letters as the plain ones.
_TAG_LIKE = re.compile(r"<(?=\s*/?\s*[a-z_]*memory)")
_ANGLES = re.compile("[<\uff1c\ufe64]")


def one_line(text: str, limit: int | None = None) -> str:
    """`text` on one line without control or invisible characters, cut at `limit` characters with an ellipsis.

    A line of the block cannot be faked when no item can hold a line break.
    """
    visible = _INVISIBLE.sub("", text)
    spaced = "".join(
        " " if unicodedata.category(character) in ("Cc", "Zl", "Zp") else character for character in visible
    )
    joined = " ".join(spaced.split())
    if limit is not None and len(joined) > limit:
        return joined[: limit - 1].rstrip() + "…"
    return joined


def neutralised(text: str, limit: int | None = None) -> str:
    """`text` as data inside the block: one line, and unable to close or open the block's own delimiters."""
    line = one_line(text, limit)
    if not _ANGLES.search(line):
        return line
    folded = fold(line)
    angles = {folded.span(tag.start(), tag.end())[0] for tag in _TAG_LIKE.finditer(folded.text)}
    return "".join("&lt;" if place in angles else character for place, character in enumerate(line))


def visible(text: str) -> str:
    """`text` with every character that would not be seen, or would reorder others, replaced by its number."""
    return _INVISIBLE.sub(_number, _CONTROL.sub(_number, text))


def visible_line(text: str) -> str:
    """`text` as a terminal may be given it: on one line, without a character that a terminal would obey."""
    return _BREAK.sub(_number, visible(text))


def _number(found: re.Match[str]) -> str:
    return f"⟨U+{ord(found[0]):04X}⟩"


def memory_blocks(text: str) -> list[tuple[int, int]]:
    """Where working-memory blocks stand in `text`: (start, end) of each, its tags included.

    One that was cut off reaches to the end, if it begins as blocks do.
    """
    blocks = []
    begins: re.Match[str] | None = None
    for tag in _BLOCK_TAG.finditer(text):
        if not tag[1]:
            begins = begins or tag
        elif begins:
            blocks.append((begins.start(), tag.end()))
            begins = None
    if begins and text[begins.end() : begins.end() + 200].lstrip().startswith(BLOCK_SAYS):
        blocks.append((begins.start(), len(text)))
    return blocks


def without_memory_blocks(text: str) -> str:
    """`text` without the working-memory blocks in it: what is repeated to a model is not what somebody said."""
    blocks = memory_blocks(text) if "<" in text else []
    if not blocks:
        return text
    starts, ends = [0, *(end for _, end in blocks)], [*(start for start, _ in blocks), len(text)]
    return " ".join(text[start:end].strip() for start, end in zip(starts, ends, strict=True)).strip()
