"""Making remembered text safe to stand inside a block for a model."""

import re
import unicodedata

BLOCK_SAYS = "This is memory from earlier sessions"
"""How every working-memory block begins, after its opening tag."""

# Bidirectional controls, zero-width characters that no script needs, byte order marks, and the invisible tag
# characters that carry hidden text. Joiners (U+200C, U+200D) stay: scripts and emoji are written with them.
_INVISIBLE = re.compile("[\u00ad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\U000e0000-\U000e007f]")
_BLOCK_TAG = re.compile(r"<(/?)working_memory>", re.IGNORECASE)
# Compatibility forms of "<" count: a model may read them as one.
_TAG_LIKE = re.compile(r"[<\uff1c\ufe64](?=\s*/?\s*[a-z_]*memory)", re.IGNORECASE)


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
    return _TAG_LIKE.sub("&lt;", one_line(text, limit))


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
