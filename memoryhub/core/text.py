"""Making remembered text safe to stand inside a block for a model."""

import re
import unicodedata

# Bidirectional controls, zero-width characters that no script needs, byte order marks, and the invisible tag
# characters that carry hidden text. Joiners (U+200C, U+200D) stay: scripts and emoji are written with them.
_INVISIBLE = re.compile("[\u00ad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\U000e0000-\U000e007f]")
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
