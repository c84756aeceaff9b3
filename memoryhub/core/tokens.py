"""How many tokens a text will be, without a tokenizer at hand."""

import math


def estimate_tokens(text: str) -> int:
    """Tokens that a Claude model will count for `text`, estimated on the high side.

    English prose runs at about four characters a token; identifiers, numbers and markup at fewer, and scripts outside
    ASCII at one or two. The estimate bounds a budget; it is not for billing.
    """
    ascii_characters = sum(character < "\x80" for character in text)
    return math.ceil(ascii_characters / 3.6 + (len(text) - ascii_characters) / 1.2)
