"""What can be found, and where it was."""

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    PAYMENT_CARD = "payment_card"
    IBAN = "iban"
    NATIONAL_ID = "national_id"
    SECRET = "secret"  # noqa: S105 - a name
    PHONE = "phone"
    EMAIL = "email"
    INSTRUCTION = "instruction"
    LINK = "link"
    MARKUP = "markup"
    BIDI = "bidi"
    INVISIBLE = "invisible"
    ENCODED = "encoded"


SENSITIVE = frozenset({Kind.PAYMENT_CARD, Kind.IBAN, Kind.NATIONAL_ID, Kind.SECRET, Kind.PHONE, Kind.EMAIL})
SUSPICIOUS = frozenset(Kind) - SENSITIVE
LABELS: dict[Kind, str] = {
    Kind.PAYMENT_CARD: "payment card",
    Kind.IBAN: "IBAN",
    Kind.NATIONAL_ID: "national id",
    Kind.SECRET: "secret",
    Kind.PHONE: "telephone number",
    Kind.EMAIL: "e-mail address",
    Kind.INSTRUCTION: "instruction to the model",
    Kind.LINK: "link",
    Kind.MARKUP: "markup",
    Kind.BIDI: "control of text direction",
    Kind.INVISIBLE: "invisible characters",
    Kind.ENCODED: "encoded text",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """Something of `kind` in a text, from `start` up to `end`, in characters."""

    kind: Kind
    start: int
    end: int
