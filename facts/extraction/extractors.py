"""The extractor that the settings name. Loaded when it is asked for: the web server needs none of what they bring."""

from typing import Any

from django.conf import settings

from facts.extraction.breaker import Standing, standing
from facts.extraction.interface import Extractor


def make_extractor() -> Extractor | None:
    """A new one, for the whole process; None when nothing is to be extracted."""
    match settings.EXTRACTOR:
        case "claude":
            from facts.extraction.claude import ClaudeExtractor

            return ClaudeExtractor()
        case "patterns":
            from facts.extraction.patterns import PatternsExtractor

            return PatternsExtractor()
    return None


def extractor_state() -> dict[str, Any]:
    """How extraction stands, for /readyz and the console: `ok`, `name`, `breaker`, and a `cause` when it is not well.

    `patterns` and `none` are choices, not losses. `blocked` tells that a person has to act: a key is missing or wrong.
    """
    name = settings.EXTRACTOR
    if name == "none":
        return {"ok": True, "name": name}
    found: Standing = standing(name)
    state: dict[str, Any] = {"ok": found.state == "closed", "name": name, "breaker": found.state}
    if found.blocked:
        state |= {"blocked": found.blocked}
    if found.state != "closed" and found.error:
        state |= {"cause": found.error}
    return state
