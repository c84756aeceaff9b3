"""Amounts of money in English text: how much, of what, how often. Pure."""

import re
from dataclasses import dataclass
from decimal import Decimal

SYMBOLS = {
    "us$": "USD", "a$": "AUD", "c$": "CAD", "r$": "BRL", "$": "USD", "€": "EUR", "£": "GBP", "¥": "JPY", "₹": "INR",
}  # fmt: skip
CODES = frozenset(
    [
        "AUD",
        "BRL",
        "CAD",
        "CHF",
        "CNY",
        "CZK",
        "DKK",
        "EUR",
        "GBP",
        "HUF",
        "IDR",
        "ILS",
        "INR",
        "JPY",
        "KRW",
        "MXN",
        "NOK",
        "NZD",
        "PLN",
        "RON",
        "SEK",
        "SGD",
        "THB",
        "TRY",
        "UAH",
        "USD",
        "ZAR",
    ]
)
WORDS = {
    "dollar": "USD", "dollars": "USD", "bucks": "USD", "euro": "EUR", "euros": "EUR", "quid": "GBP", "yen": "JPY",
    "rupees": "INR", "zloty": "PLN",
}  # fmt: skip
MULTIPLIERS = {
    "k": 10**3, "thousand": 10**3, "grand": 10**3, "m": 10**6, "mio": 10**6, "million": 10**6, "bn": 10**9,
    "billion": 10**9,
}  # fmt: skip
PERIODS = {"monthly": "month", "yearly": "year", "annually": "year", "weekly": "week", "daily": "day"}

# A narrow or ordinary space groups digits too, but only between digits.
_NUMBER = (
    r"\d{1,3}(?:[,'’\u00a0\u202f ]\d{3})+(?:\.\d{1,9})?(?!\d)"
    r"|\d{1,3}(?:\.\d{3}){2,5}(?:,\d{1,9})?(?!\d)"
    r"|\d{1,15}(?:[.,]\d{1,9})?"
)
_MULTIPLIER = rf"(?:\s?(?P<multiplier>{'|'.join(MULTIPLIERS)})\b)?"
_BEFORE = rf"(?P<before>{'|'.join(re.escape(one) for one in SYMBOLS)}|\b(?:{'|'.join(sorted(CODES))})\b)"
_AFTER = rf"(?P<after>[$€£¥₹]|(?:{'|'.join(sorted(CODES))}|{'|'.join(WORDS)})\b)"
_PERIOD = (
    r"(?:\s?(?:/|\bper\b|\ba\b|\bevery\b|\beach\b)\s?(?P<period>month|year|week|day|hour|quarter|night|user|seat|"
    r"person)\b"
    rf"|\s(?P<often>{'|'.join(PERIODS)})\b)?"
)
_LEADING = re.compile(
    rf"{_BEFORE}\s?(?P<number>{_NUMBER}){_MULTIPLIER}(?:\s(?:{'|'.join(sorted(CODES))})\b)?{_PERIOD}", re.IGNORECASE
)
_TRAILING = re.compile(rf"(?<![\w.,])(?P<number>{_NUMBER}){_MULTIPLIER}\s?{_AFTER}{_PERIOD}", re.IGNORECASE)
_RANGE = re.compile(
    rf"(?:{_BEFORE}\s?)?(?:{_NUMBER})\s?\w{{0,8}}\s?(?:-|–|\bto\b|\band\b|\bor\b)\s?(?:[$€£¥₹]\s?)?\d", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Amount:
    """`value` is None when the number can be read in two ways (1.500) or is a range. `unit` such as "EUR/month"."""

    value: Decimal | None
    unit: str
    start: int
    end: int


def find_amount(text: str) -> Amount | None:
    """The first amount of money in `text`."""
    found = [match for match in (_LEADING.search(text), _TRAILING.search(text)) if match]
    if not found:
        return None
    match = min(found, key=lambda one: one.start())
    groups = match.groupdict()
    named = (groups.get("before") or groups.get("after") or "").casefold()
    currency = SYMBOLS.get(named) or WORDS.get(named) or named.upper()
    period = groups["period"] or PERIODS.get((groups["often"] or "").casefold(), "")
    value = read_number(match["number"])
    if value is not None and match["multiplier"]:
        value *= MULTIPLIERS[match["multiplier"].casefold()]
    if (ranged := _RANGE.search(text)) and ranged.start() <= match.end() and match.start() <= ranged.end():
        value = None
    return Amount(value, f"{currency}/{period.casefold()}" if period else currency, match.start(), match.end())


def read_number(text: str) -> Decimal | None:
    """12'000, 1,500.50, 1.234.567 and 0.5 as a number; None for what reads in two ways, such as 1.500."""
    plain = re.sub(r"['’\u00a0\u202f ]", "", text)
    if re.fullmatch(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?", plain):
        return Decimal(plain.replace(",", ""))
    if re.fullmatch(r"\d{1,3}(?:\.\d{3}){2,}(?:,\d+)?", plain):
        return Decimal(plain.replace(".", "").replace(",", "."))
    if re.fullmatch(r"[1-9]\d{0,2}\.\d{3}", plain):
        return None
    if re.fullmatch(r"\d+(?:[.,]\d+)?", plain):
        return Decimal(plain.replace(",", "."))
    return None
