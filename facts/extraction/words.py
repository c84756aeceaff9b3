"""The words that the patterns know: kinds of tools, what is counted, what is too passing to remember. Pure."""

import json
import re
from decimal import Decimal
from pathlib import Path

from facts.extraction.speech import MASK

_LISTS = json.loads(Path(__file__).with_name("words.json").read_text(encoding="utf-8"))

KIND_OF: dict[str, str] = {name: kind for kind, names in _LISTS["kinds_of_tools"].items() for name in names}
PROFESSIONS, LANGUAGES, AIMS = (frozenset(_LISTS[name]) for name in ("professions", "languages", "aims"))
NOT_NAMES = frozenset(_LISTS["not_names"])

VERBS: dict[str, list[str]] = _LISTS["verbs_that_may_end"]
"""Verbs that may end ("I no longer …"): their third person and the type of the fact."""

MONEY = frozenset({"budget", "monthly budget", "annual budget", "price limit", "spending limit"})
ATTRIBUTES = (
    r"(?:monthly |annual )?budget|price limit|spending limit|deadline|time ?zone|birthday|first name|last name|"
    r"full name|"
    r"name|nickname|pronouns|(?:all-time )?favou?rite \w+(?: \w+)?|preferred \w+(?: \w+)?|(?:main |overall |"
    r"long-term )?goal|"
    r"objective|job title|title|position|profession|occupation|employer|company name|head office|office|headquarters|"
    r"(?:tech )?stack|cloud provider|database|crm|launch date|go-live date|release date|start date|native language|"
    r"mother tongue|shoe size|hometown|home town"
)
SAME_ATTRIBUTE = {
    "timezone": "time_zone", "first name": "name", "full name": "name", "objective": "goal", "main goal": "goal",
    "overall goal": "goal", "long term goal": "goal", "occupation": "profession", "headquarters": "head_office",
    "tech stack": "stack", "home town": "hometown", "mother tongue": "native_language", "job title": "title",
}  # fmt: skip
TYPE_OF = {
    "deadline": "constraint", "launch_date": "constraint", "go_live_date": "constraint", "release_date": "constraint",
    "favourite": "preference", "favorite": "preference", "preferred": "preference", "goal": "goal", "all": "preference",
}  # fmt: skip
NOTHING_SAID = re.compile(
    r"(?:not|unknown|unclear|undecided|still|tbd|to be|wrong|spel(?:t|led)|misspel\w*|often|correct|incorrect|"
    r"important|tight|"
    r"flexible|limited|ok|okay|fine|too|very|so|being|going|gone|coming|getting|stored|shown|listed|displayed|"
    r"visible|missing|"
    r"public|private|required|that|what|how|where|why|here|there|in your|on your|as follows|the same|different|"
    r"changing)\b",
    re.IGNORECASE,
)
# A day of the calendar: "in two hours" and "next Friday" mean another day tomorrow.
_DATE = re.compile(
    r"\b(?:january|february|march|april|may|june|july|august|september|october|november|december)\b|"
    r"\b\d{4}-\d\d(?:-\d\d)?\b|\b\d{1,2}[./]\d{1,2}(?:[./]\d{2,4})?\b|\bq[1-4]\b|\b(?:19|20)\d\d\b",
    re.IGNORECASE,
)
DATED = frozenset({"deadline", "launch_date", "go_live_date", "release_date", "start_date", "birthday"})
CAPITALISED = frozenset(
    {"name", "last_name", "nickname", "hometown", "employer", "company_name", "time_zone", "native_language"}
)

POINTS_ELSEWHERE = re.compile(
    r"(?:it|its|this|that|them|these|those|you|your|yours|him|her|his|hers|their|both|either|neither|some|any|all|"
    r"every\w*|something|"
    r"nothing|anything|everything|none|one|ones|up|a lot|lots|as|what|whatever|which|where|how|when|if|whether|"
    r"there|here|"
    r"not|to (?:be|see|know|ask|say|have you)|another|other|same|the (?:same|other|one|first|second|third|last|"
    r"former|latter|following|above|below|"
    r"idea|answer|way|fact|new|old))\b",
    re.IGNORECASE,
)
# One of several that were offered: it means nothing elsewhere.
CHOICE = re.compile(
    r"(?:option|variant|version|choice|answer|number|plan|solution|alternative|chapter|page|step|phase|part|tab|"
    r"seat|gate)\b"
    r"(?=\s(?:\w{1,3}|one|two|three)\b)",
    re.IGNORECASE,
)
PASSING = re.compile(
    r"(?:the|to (?!\w+ (?:in|at|on)\b)|having to|being|hearing|talking to|working with you|when|in|at|about)\b",
    re.IGNORECASE,
)
_TRAILING = re.compile(
    r"(?:[\s,]+(?:for (?:this|that)(?: purpose| project| one)?|lately|now|too|as well|these days|nowadays|"
    r"at the moment|right now|currently|today|anyway|though|"
    r"please|again|instead|"
    r"after all|by the way|btw|of course|by now|so far|already|for now|as of (?:now|today)|ok|okay|thanks|"
    r"thank you|always|actually|really|"
    r"a lot|very much|the most|so much|here|to be honest|honestly|personally|and so on|etc|and|or|but|so|because|"
    r"that|which|with|for|to|in|at|on|of))+"
    r"[\s,]*$",
    re.IGNORECASE,
)
_PERSONS = {
    "my": "their", "our": "their", "mine": "theirs", "ours": "theirs", "me": "them", "us": "them",
    "myself": "themselves",
    "ourselves": "themselves", "i": "they", "we": "they", "i'm": "they are", "we're": "they are", "i've": "they have",
    "we've": "they have",
}  # fmt: skip
_PERSON = re.compile(rf"(?<![\w'])(?:{'|'.join(sorted(_PERSONS, key=len, reverse=True))})(?![\w'])", re.IGNORECASE)
_ACRONYM = re.compile(r"(?<![\w'])US(?![\w'])")
_ITEM_PURPOSE = re.compile(r"\s+(?:for|as|to|on|in|at|with|from|when|because|since)\s", re.IGNORECASE)
_PROPER = re.compile(
    r"(?:the )?[A-ZÀ-ÖØ-ÞĀ-Ž][\w'’.&/-]*(?:\s(?:(?:&|and|of|the|de|la|le|van|von|der|den|du|da|di|am|an der|"
    r"upon)\s){0,2}[A-ZÀ-ÖØ-ÞĀ-Ž][\w'’.&/-]*){0,4}"
)
_NAMED = re.compile(r"(?:^|[\s(])(?=[\w.+#-]*[A-Z0-9])(?!I\b)[\w.+#-]{2,}|(?:^|\s)[A-Z]\b(?=\s|$)")

UNITS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty",
)  # fmt: skip
SPELT = {word: value for value, word in enumerate(UNITS)} | {
    "a dozen": 12,
    "thirty": 30,
    "forty": 40,
    "fifty": 50,
    "a hundred": 100,
}
NUMBER = r"\d{1,3}(?:,\d{3})+|\d{1,9}|" + "|".join(sorted(SPELT, key=len, reverse=True))
# What may follow a whole statement: nothing that makes it one of something else ("cancer research").
AFTER_ALL = re.compile(r"\s*(?:$|(?:and|so|since|as|now|too|as well|but|in|with|by|for)\b)", re.IGNORECASE)
AFTER_AMOUNT = re.compile(
    r"\s*(?:$|(?:for|in total|total|all in|at most|max(?:imum)?|including|excluding|plus|net|gross|on)\b)",
    re.IGNORECASE,
)
COMPARED = re.compile(r"\b(?:above|over|below|under|less|more|least|between|not|from)\b", re.IGNORECASE)
AFTER_COUNTED = re.compile(
    r"\s*(?:$|(?:and|in|across|worldwide|at|total|altogether|overall|so far|now|right now)\b)", re.IGNORECASE
)
COUNTED = (
    r"(?:full-time |part-time |active |paying |monthly |daily )?(?:employees|people|staff|customers|users|clients|"
    r"developers|engineers|"
    r"designers|members|subscribers|stores|shops|offices|warehouses|locations|branches|servers|kids|children|sons|"
    r"daughters|cats|dogs|"
    r"siblings|brothers|sisters|grandchildren|seats)"
)
CONDITIONS = (
    r"(?:type (?:1|2|one|two) )?diabetes|asthma|epilepsy|celiac disease|coeliac disease|crohn's(?: disease)?|"
    r"migraines?|arthritis|adhd|"
    r"dyslexia|depression|cancer|hypertension|high blood pressure|an? [\w-]{2,20} (?:allergy|intolerance)|"
    r"a heart condition"
)
OF_THE_MOMENT = re.compile(
    r"\b(?:you|your|today|tonight|yesterday|tomorrow|this (?:morning|afternoon|evening))\b"
    r"|^\s*(?:ask|call|write|contact|check|try|wait|reply|report|reach out|give it|go ahead|file|send|come back)\b",
    re.IGNORECASE,
)
LARGER_AIM = re.compile(
    r"run (?:a|an|the|my) (?:\w+ )?(?:marathon|triathlon)\b|(?:stop|quit) smoking\b|open \d", re.IGNORECASE
)
PASSING_AIM = re.compile(
    r"\b(?:the (?:font|page|app|chat|conversation|window|meeting|call|ticket|task|sentence|text|answer|list|file|"
    r"order|settings?)|this|that|it|"
    r"you|your|now|today|first|more about|about you|how|what|a (?:ticket|chat|new|different|file|case|return|"
    r"claim))\b",
    re.IGNORECASE,
)
COMPLIANCE = re.compile(
    r"^(?:be|stay|remain|comply with|follow|meet)\b.*\b(?:compliant|gdpr|hipaa|soc ?2|iso ?\d+|pci|wcag|ferpa|"
    r"fedramp)\b",
    re.IGNORECASE,
)

# GDPR art. 9, by words that name such things. What it misses, screening and people may find.
SPECIAL: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (name, re.compile(rf"\b(?:{text})\b", re.IGNORECASE))
    for name, text in (
        (
            "health",
            r"allerg\w+|intoleran\w+|diabet\w+|asthma\w*|epilep\w+|co?eliac|crohn's|migraines?|arthritis|adhd|"
            r"dyslexi\w+|depress(?:ion|ed)|"
            r"anxiety|cancer|chemotherapy|pregnan\w+|disab(?:led|ility)|wheelchair|hiv|insulin|medication|"
            r"antidepressants|therapist|"
            r"blood pressure|heart condition|diagnos\w+|autis\w+",
        ),
        (
            "religion_or_belief",
            r"christian|catholic|protestant|muslim|islam|jewish|judaism|hindu|buddhist|sikh|atheist|agnostic|"
            r"halal|kosher|ramadan|"
            r"church|mosque|synagogue",
        ),
        (
            "political_opinion",
            r"republican|democrat|conservative party|labour party|green party|socialist|communist|liberal party|"
            r"voted? for|party member",
        ),
        ("trade_union_membership", r"trade unions?|labou?r unions?|union member|workers' union|unionised|unionized"),
        ("sex_life_or_orientation", r"gay|lesbian|bisexual|homosexual|heterosexual|asexual|queer|sexual orientation"),
        ("ethnic_origin", r"ethnicity|ethnic|race is|of \w+ descent|roma people|indigenous"),
        ("genetic_data", r"genetic|genome|dna test|brca\d?"),
        ("biometric_data", r"fingerprints?|face scan|iris scan|voiceprint"),
    )
)


def trimmed(text: str) -> str:
    """`text` on one line, cut at what is masked, without what hangs on at its end."""
    cut = " ".join(text.split(MASK)[0].split()).strip(" ,.;:!\"'*_")
    for _ in range(3):
        shorter = _TRAILING.sub("", f" {cut}").strip(" ,.;:!\"'*_")
        if shorter == cut:
            break
        cut = shorter
    return cut


def third_person(text: str) -> str:
    """my → their, me → them: the fact is read by others. US, the country, stays."""
    return _PERSON.sub(lambda match: match[0] if _ACRONYM.fullmatch(match[0]) else _PERSONS[match[0].casefold()], text)


def without_article(text: str) -> str:
    return re.sub(r"^(?:the|a|an|my|our|their|this|that)\s+", "", text, flags=re.IGNORECASE)


def kind_of(thing: str) -> str:
    """What kind of tool it is, as an attribute; empty if that is not known."""
    plain = without_article(until_purpose(thing)).casefold()
    return KIND_OF.get(plain) or KIND_OF.get(re.sub(r"\s+v?\d[\d.]*$", "", plain), "")


def until_purpose(thing: str) -> str:
    """`thing` without what it is for, where, or since when."""
    parts = _ITEM_PURPOSE.split(f" {thing} ", maxsplit=1)
    return re.split(r"\s+(?:last|this|next|two|three|a few|some|back|already|completely|entirely)\b", parts[0].strip())[
        0
    ]


def listed(thing: str) -> list[str]:
    """A, B and C for a purpose → the items, without the purpose: nothing says whether it is that of all of them.

    What is no plain list of names is one item, with its purpose.
    """
    bare = until_purpose(thing)
    items = [item.strip() for item in re.split(r"\s*,\s*(?:and\s+)?|\s+(?:and|&|plus)\s+", bare) if item.strip()]
    if len(items) > 1 and all(len(item.split()) <= 3 and is_named(item) for item in items):
        return items[:10]
    return [thing] if bare else []


def is_named(thing: str) -> bool:
    """Whether something with a name is in it: a capital, a digit, or a tool that is known."""
    if not thing.strip() or CHOICE.match(thing) or thing.split()[0].casefold() in NOT_NAMES:
        return False
    return bool(_NAMED.search(thing)) or bool(kind_of(thing))


def proper(text: str) -> str:
    """The proper name that `text` begins with, or nothing."""
    match = _PROPER.match(text.lstrip())
    name = match[0].rstrip(".'’-/&") if match else ""
    if not name or name.split()[0].casefold() in NOT_NAMES:
        return ""
    return name if 1 < len(name) <= 60 or name.isupper() else ""


def names(content: str) -> list[str]:
    """The names in a fact's content, but for the word it begins with."""
    _, _, rest = content.partition(" ")
    found = (without_article(match[0].rstrip(".'’-/&")) for match in _PROPER.finditer(rest))
    return [name[:200] for name in found if len(name) > 1]


def number(text: str) -> Decimal | None:
    plain = text.casefold()
    if plain in SPELT:
        return Decimal(SPELT[plain])
    digits = plain.replace(",", "")
    return Decimal(digits) if digits.isdecimal() and digits.isascii() else None


def fits(attribute: str, thing: str) -> bool:
    """Whether `thing` can be what the attribute asks for: a date for a deadline, a name for a name."""
    if len(thing.split()) > 12:
        return False
    if attribute in DATED:
        return bool(_DATE.search(thing))
    if attribute in CAPITALISED:
        return proper(thing) == thing.rstrip(".") and len(thing.split()) <= 4
    return True


def special_category(content: str) -> str:
    """Which of the special categories of GDPR art. 9 the content names; empty if none."""
    return next((name for name, pattern in SPECIAL if pattern.search(content)), "")
