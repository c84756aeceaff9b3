"""Facts without a model: plain first-person statements in English, found by patterns. Pure and deterministic.

Precise rather than complete. Only what a user says of themselves ("I") or of their own ("we") counts, in a sentence
that is neither a question nor a hypothesis, neither quoted nor told by another. What is not understood is left alone.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from facts.decision import attribute_key, entity_key
from facts.extraction import words
from facts.extraction.amounts import find_amount
from facts.extraction.interface import Extracted, ExtractedFact, KnownFact, Window
from facts.extraction.speech import MASK, own_words
from facts.models import FactType

NAME = "patterns-v1"
"""What each fact carries as `extracted_by`. A change of what is found is a new number."""

LONGEST_SENTENCE = 600  # characters; a longer one is no plain statement
LONGEST_OBJECT = 120


class PatternsExtractor:
    """The extractor that needs no key and no network."""

    name = "patterns"

    def problem(self) -> str:
        return ""

    def extract(self, window: Window) -> Extracted:
        return Extracted(tuple(statement.fact for statement in statements(window)), model=NAME, prompt_version="")


@dataclass(frozen=True, slots=True)
class Statement:
    """A fact, and the stretch of its turn's text that states it."""

    fact: ExtractedFact
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Found:
    """What a pattern makes of a clause, before it is compared with what is known. `of` is who speaks: user or team.

    `instead_of` is what it says no longer holds; without it, `coexists` tells whether it stands beside its like.
    """

    type: FactType
    content: str
    attribute: str = ""
    entity: str = ""
    value: Decimal | None = None
    unit: str = ""
    confidence: float = 0.9
    coexists: bool = True
    instead_of: str = ""
    about: str = ""
    """The thing in it that other facts may name."""


def statements(window: Window) -> list[Statement]:
    """The facts that the users of the window state, in the order they are stated."""
    made: list[Statement] = []
    for turn in window.turns:
        if turn.role != "user":
            continue
        for found, start, end in _found_in(turn.text):
            fact = _compared(found, turn.index, window.known, [one.fact for one in made])
            made.append(Statement(fact, start, end))
    return made


def _found_in(text: str) -> Iterator[tuple[Found, int, int]]:
    """What a turn states, with its places. Nothing after a line that announces somebody else's words or a game."""
    said = own_words(text).replace("’", "'").replace("\u00a0", " ")
    if JOKE.search(said):
        return
    for start, end in _sentences(said):
        sentence = said[start:end]
        if ANNOUNCED.search(sentence):
            return
        if len(sentence) > LONGEST_SENTENCE or sentence.rstrip().endswith("?") or ASKS.match(sentence):
            continue
        if HYPOTHETICAL.search(sentence) or DOUBTED.search(sentence) or LABELLED.match(sentence):
            continue
        for found, first, last in _found_in_sentence(sentence):
            yield found, start + first, start + last


def _sentences(text: str) -> Iterator[tuple[int, int]]:
    """The places of the sentences, their closing mark included. A line break always ends one."""
    at = 0
    for match in SENTENCE_END.finditer(text):
        if match[0].startswith(".") and ABBREVIATION.search(text, max(at, match.start() - 8), match.start() + 1):
            continue
        if text[at : match.end()].strip(f" \t\r\n{MASK}"):
            yield at, match.end()
        at = match.end()
    if text[at:].strip(f" \t\r\n{MASK}"):
        yield at, len(text)


def _found_in_sentence(sentence: str) -> Iterator[tuple[Found, int, int]]:
    past = 0
    for clause in CLAUSE.finditer(sentence):
        start = clause.end()
        if start < past or TOLD.search(SAID_BEFORE.sub("", sentence[:start])):
            continue
        for pattern, make in PATTERNS:
            match = pattern.match(sentence, start)
            if match is None:
                continue
            rest = sentence[match.end() : match.end() + _clause_length(sentence, match.end())]
            found = [] if MASK in match[0] + rest else make(match, rest)
            found = [one for one in found if not UNTRUSTWORTHY.search(f"{one.content} {rest}")]
            if found:
                past = match.end() + len(rest.rstrip())
                for one in found:
                    yield one, start, past
                break


def _clause_length(sentence: str, start: int) -> int:
    """How far what a verb is about reaches: to the next clause, in characters."""
    ends = CLAUSE_END.search(sentence, start)
    return min((ends.start() if ends else len(sentence)) - start, LONGEST_OBJECT)


def _compared(
    found: Found, turn_index: int, known: Sequence[KnownFact], made: Sequence[ExtractedFact]
) -> ExtractedFact:
    """The fact under the name that the same thing already has, so that it confirms or replaces what it should."""
    fact = ExtractedFact(
        type=found.type,
        entity=found.entity,
        content=found.content,
        turn_index=turn_index,
        attribute=found.attribute,
        value=found.value,
        unit=found.unit,
        mentions=_mentions(found.content),
        confidence=found.confidence,
        coexists=found.coexists,
        special_category=words.special_category(found.content),
    )
    there: list[KnownFact | ExtractedFact] = [*known, *reversed(made)]
    for same in there:
        if _plain(same.content) == _plain(fact.content):
            return replace(
                fact, type=FactType(same.type), entity=same.entity, attribute=same.attribute, content=same.content
            )
    if found.instead_of:
        return _replacing(fact, found, known, made)
    slot = {
        one.type
        for one in there
        if fact.attribute
        and (entity_key(one.entity), attribute_key(one.attribute)) == (entity_key(fact.entity), fact.attribute)
    }
    return replace(fact, type=FactType(slot.pop())) if len(slot) == 1 else fact


def _replacing(
    fact: ExtractedFact, found: Found, known: Sequence[KnownFact], made: Sequence[ExtractedFact]
) -> ExtractedFact:
    """`fact` in place of the one fact that says what no longer holds; beside everything when there is no such one."""
    told_now = [one for one in made if _says(one.content, found.instead_of)]
    if told_now:
        last = told_now[-1]
        content = _instead(found, last.content)
        return replace(
            fact,
            type=last.type,
            entity=last.entity,
            attribute=last.attribute,
            replaces=last.replaces,
            # Without an attribute nothing tells the decision that the two are about the same thing.
            coexists=not last.attribute,
            content=content,
            mentions=_mentions(content),
        )
    told_before = [one for one in known if _says(one.content, found.instead_of)]
    fitting = [one for one in told_before if attribute_key(one.attribute) == fact.attribute] or told_before
    if not fitting:
        return fact
    before = max(fitting, key=lambda one: (one.date, one.handle))
    content = _instead(found, before.content)
    return replace(
        fact,
        type=FactType(before.type),
        entity=before.entity,
        attribute=before.attribute,
        replaces=before.handle,
        coexists=False,
        content=content,
        mentions=_mentions(content),
    )


def _mentions(content: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(words.names(content)))[:10]


def _instead(found: Found, before: str) -> str:
    """What holds now, in the words in which it was told what held before: Lives in …, Works at …, else Uses …."""
    if not found.about:
        return found.content
    same = re.match(r"(?:Lives|Based) in |Works at |Runs on ", before)
    return f"{same[0] if same else 'Uses '}{found.about}"


def _says(content: str, what: str) -> bool:
    """Whether a fact says, and does not deny, something of `what`."""
    return bool(re.search(rf"(?<!\w){re.escape(what)}(?!\w)", content, re.IGNORECASE)) and not DENIES.search(content)


def _plain(content: str) -> str:
    """Content for comparing: 1,200 and 1200 are one number."""
    return re.sub(r"(?<=\d),(?=\d{3})", "", " ".join(content.casefold().split())).rstrip(".!")


ADVERB = (
    r"(?:(?:also|always|already|currently|now|really|mostly|mainly|usually|generally|typically|normally|still|"
    r"only|just|"
    r"definitely|strongly|much|recently|finally|actually|both|all|primarily|therefore|personally|often|absolutely|"
    r"severely|very|happily|together|since|fully|completely)\s+)*"
)
WHO = r"(?P<who>i|we)"
WHOSE = r"(?P<whose>my|our)"
BE = r"(?:'m|'re|\s+am|\s+are)"
HAVE = r"(?:'ve|\s+have)?"

LEAD_IN = (
    r"(?:(?:hi|hello|hey|yes|yep|yeah|no|nope|ok|okay|sure|thanks|thank you|well|actually|also|btw|by the way|fyi|"
    r"currently|right now|at the moment|these days|nowadays|today|yesterday|now|so|and|but|oh|ah|as (?:i|we) said|"
    r"like i said|just so you know|"
    r"for (?:the record|context|reference)|(?:please )?(?:remember|note|keep in mind|be aware|know)(?: that)?|"
    r"reminder|"
    r"quick reminder|correction|update|news|good news|big news|wait|sorry|honestly|personally|usually|generally|"
    r"in general|unfortunately|luckily|i changed my mind|one more thing|again|please)\b[,:!.]?\s+)*"
)
# Before "we": an opening that only says when.
INTRO = (
    r"(?:(?:after|since|as of|from|in|on|this|last|at|starting)\b[^,.;:?!]{0,45}?\b(?:demos?|trials?|meetings?|"
    r"planning|"
    r"reviews?|discussions?|evaluation|weeks?|months?|years?|today|yesterday|january|february|march|april|may|"
    r"june|july|august|september|"
    r"october|november|december|\d{4})\b,?\s+)?"
)
CLAUSE = re.compile(
    rf"(?:^[\s\-*•\d.)\0]{{0,9}}{INTRO}|[,;:—–(]\s*|\s-\s+|\b(?:and|but|so|because|since|also|though|yet|then|"
    rf"while|whereas)\s+)"
    rf"{LEAD_IN}(?=(?:i|we|my|our|call)\b)",
    re.IGNORECASE,
)
SENTENCE_END = re.compile(r"[.!?]+(?=\s|$|\0)|\n|;")
ABBREVIATION = re.compile(r"(?:^|\W)(?:e\.g|i\.e|etc|approx|mr|mrs|ms|dr|st|vs|no|inc|ltd|co|[A-Z])\.$", re.IGNORECASE)
CLAUSE_END = re.compile(
    r"[;:!?()\n—–]|[.](?=\s|$)|\s-\s|"
    # A comma ends it, unless it parts the items of a list of names.
    r",\s(?!(?-i:(?:[A-Z][\w.+#-]*)(?:\s[A-Z\d][\w.+#-]*)?)(?:,\s|\s(?:and|&)\s)|and\s(?-i:[A-Z])[\w.+#-]*(?:[.!]|"
    r"$|\sfor\s))|"
    r"\s(?:but|because|since|which|who|so|though|although|whereas|while|until|unless|except)\s|"
    r"\s(?:and|as|when|where|then|plus|or)\s+(?=(?:i|we|my|our|it|its|they|their|he|she|his|her|you|your|that|"
    r"this|there|these|please|"
    r"can|could|do|don't|not|is|are|has|have|had|was|were|will|would|should|no|what|how|why|thanks|use|mostly|"
    r"want|need|am|try|hope)\b)|$",
    re.IGNORECASE,
)
ASKS = re.compile(
    rf"\s*{LEAD_IN}(?:what|why|how|when|where|who|whom|whose|which|do|does|did|should|shall|could|can|is|are|am|"
    rf"was|were|will|would|"
    r"may|might|have|has|any|tell me)\b",
    re.IGNORECASE,
)
HYPOTHETICAL = re.compile(
    r"\b(?:if|whether|unless|would|could|might|maybe|perhaps|possibly|probably|hypothetical(?:ly)?|wish|wouldn't|"
    r"couldn't|were to|"
    r"thinking (?:of|about)|consider(?:ing)?|not sure|unsure|i think|i guess|i suppose|i believe|in theory|"
    r"in case|for example|for instance|"
    r"e\.g\.|sample|placeholder|in (?:my|the|our|his|her|a) (?:story|novel|game|dreams?|book|movie|film|play|script|"
    r"scenario|example|past))\b"
    r"|(?i:^\s*say,?\s)|\b(?:i|we)'d\b",
    re.IGNORECASE,
)
ANNOUNCED = re.compile(
    r"\b(?:translat|proofread|rewrit|rephras|paraphras|summari[sz]|transcrib)\w*\b"
    r"|\b(?:suppose|supposing|imagine|pretend|role-?play\w*|hypothetically|let's (?:say|assume|imagine)|assum(?:e|"
    r"ing)|act as)\b"
    r"|^\s*say\s+(?:i|we|my|our)\b"
    r"|\b(?:wrote|writes|written|says|said|reads|e-?mails?|messages?|reviews?|letters?|texts?|draft|drafts|script|"
    r"dialogue|story|poem|lyrics|"
    r"ticket|log|quotes?|paragraph|following|template|bio|ad|posted|replied|answered|excerpt|"
    r"transcript)\b[^.!?\n]{0,60}:\s*$"
    r"|\b(?:write|draft|compose|make up|invent)\b.{0,60}\b(?:saying|that says|who says|in which|where|"
    r"from the perspective)\b"
    r"|\b(?:fix|correct|improve|shorten|edit|check|polish)\s+(?:this|the|my)\s+(?:text|e-?mail|letter|essay|"
    r"grammar|draft|paragraph|sentence)",
    re.IGNORECASE,
)
JOKE = re.compile(
    r"\b(?:just kidding|only kidding|i'm kidding|scratch that|only joking|just joking|jk|never ?mind|"
    r"just testing)\b|[.!]\s+not[.!]+(?:\s|$)|\bor do (?:we|i)\b",
    re.IGNORECASE,
)
# What follows takes it back, asks for agreement, or makes fun of it.
DOUBTED = re.compile(
    r",\s*(?:[\w']+\s+){1,3}(?:says|said|claims|thinks|told me|tells me|reckons|believes)\b"
    r"|,\s*(?:(?:don't|do|isn't|aren't|haven't|right|correct|no|yes|is)\s*(?:we|i|it)?)\s*[.!]*\s*$"
    r"|\b(?:haha\w*|lol|rofl|lmao)\b|[;:]-?[)P](?:\s|$)",
    re.IGNORECASE,
)
# A transcript, a form, somebody else's line. What only announces one's own word is none.
LABELLED = re.compile(
    r"\s*(?!(?:\w+\s)?(?:reminder|correction|updates?|news|change|note|context|background|thing|facts?|recap|summary)\s?:)"
    r"(?!(?:ps|p\.s|fyi|btw|hi|hello|hey|also|sorry|so|and|well|about (?:me|us)|again|first|second|third|finally)\b)"
    r"[\w.'-]{1,20}(?:\s[\w.'-]{1,20}){0,2}\s?:",
    re.IGNORECASE,
)
SAID_BEFORE = re.compile(r"\b(?:as|like)\s+(?:i|we)\s+(?:said|mentioned|told you|wrote)\b", re.IGNORECASE)
# What stands behind these is another's word, a doubt, or a denial.
TOLD = re.compile(
    r"\b(?:said|says|say|saying|tells?|told|telling|claims?|claimed|thinks?|thought|believes?|believed|assumes?|"
    r"assumed|asks?|asked|wrote|writes|"
    r"heard|reads?|texted|texts|mentions|mentioned|announced?|according to|suggests?|suggested|insists?|"
    r"guess(?:es)?|hopes?|wonders?|rumou?rs?|apparently|"
    r"supposedly|allegedly|"
    r"record|save|store|add|log|memori[sz]e|deny|denied|doubt|never|not true|false|incorrect|wrong that|forget|"
    r"used to|"
    r"when|where|how|what|why|until|before|once|whenever|in theory)\b",
    re.IGNORECASE,
)
# Instructions and claims of authority are nothing a person can make true by saying them.
UNTRUSTWORTHY = re.compile(
    r"\b(?:admin\w*|root|superusers?|sudo|developer mode|your developer|your (?:creator|owner|boss)|"
    r"authori[sz]\w+|verified|clearance|privileges?|permissions?|"
    r"entitled|unlimited|jailbreak\w*|bypass\w*|ignor\w+|disregard\w*|override\w*|instructions?|system prompt|"
    r"polic(?:y|ies)|guardrails?|"
    r"passwords?|passphrase|credentials?|api keys?|secrets?|tokens?|refund\w*|discounts?|without (?:asking|"
    r"confirmation|approval|checking|confirming)|"
    r"always (?:approve|allow|grant|accept|agree)|owner|moderator|staff account|full access)\b|https?://",
    re.IGNORECASE,
)
DENIES = re.compile(r"^(?:No longer|Does not|Do not|Cannot|Decided against|Moved from|Dislikes)\b", re.IGNORECASE)


def _of(match: re.Match[str]) -> str:
    """Who a clause is about."""
    groups = match.groupdict()
    spoken = (groups.get("who") or groups.get("whose") or "i").casefold()
    return "team" if spoken in ("we", "our") else "user"


def _object(rest: str) -> str:
    """What the verb is about, in the third person, without what only says when or how sure; empty if it is nothing."""
    thing = words.trimmed(rest)
    if not thing or words.POINTS_ELSEWHERE.match(thing):
        return ""
    return words.third_person(thing)


def _prefers(match: re.Match[str], rest: str) -> list[Found]:
    thing = _object(rest)
    if not thing or words.CHOICE.match(thing):
        return []
    over = re.search(r"\s(?:over|to|rather than|instead of)\s+(?P<other>.+)$", thing)
    return [
        Found(
            FactType.PREFERENCE,
            f"Prefers {thing}",
            entity=_of(match),
            instead_of=f"prefers {over['other']}" if over else "",
        )
    ]


def _likes(match: re.Match[str], rest: str) -> list[Found]:
    thing = _object(rest)
    if not thing or len(thing.split()) > 6 or words.PASSING.match(thing):
        return []
    verb = {"like": "Likes", "love": "Loves", "enjoy": "Enjoys"}.get(match["verb"].casefold(), "Dislikes")
    return [Found(FactType.PREFERENCE, f"{verb} {thing}", entity=_of(match), confidence=0.8)]


def _uses(match: re.Match[str], rest: str) -> list[Found]:
    thing = _object(rest)
    if not thing or not words.is_named(thing):
        return []
    return [_used(match, item) for item in words.listed(thing)]


def _used(match: re.Match[str], thing: str) -> Found:
    attribute = words.kind_of(thing) or "tool"
    return Found(FactType.ENTITY, f"Uses {thing}", attribute=attribute, entity=_of(match), about=thing)


def _moved(match: re.Match[str], rest: str) -> list[Found]:
    old, new = words.trimmed(match["old"]), words.until_purpose(words.trimmed(rest))
    if not old or not new or words.POINTS_ELSEWHERE.match(new) or not words.is_named(f"{old} {new}"):
        return []
    kind = words.kind_of(new) or words.kind_of(old)
    verb = match["verb"].casefold()
    if not kind and verb in ("moved", "relocated") and _of(match) == "user":
        kind = "residence"
    content = f"{verb.capitalize()} from {old} to {new}"
    return [
        Found(
            FactType.ENTITY,
            content,
            attribute=kind or "tool",
            entity=_of(match),
            instead_of=old,
            about=new,
            confidence=0.9,
        )
    ]


def _moved_to(match: re.Match[str], rest: str) -> list[Found]:
    new = words.until_purpose(words.trimmed(rest))
    kind = words.kind_of(new)
    if not kind:
        return []
    return [Found(FactType.ENTITY, f"Uses {new}", attribute=kind, entity=_of(match), about=new, coexists=False)]


def _decided(match: re.Match[str], rest: str) -> list[Found]:
    thing = words.third_person(words.trimmed(rest))
    if not thing or words.POINTS_ELSEWHERE.match(thing) or words.OF_THE_MOMENT.search(rest):
        return []
    how = " ".join(match["how"].casefold().split())
    return [Found(FactType.DECISION, f"{match['verb'].capitalize()} {how} {thing}", entity=_of(match))]


def _chose(match: re.Match[str], rest: str) -> list[Found]:
    thing = _object(rest)
    if not thing or not words.is_named(thing):
        return []
    return [Found(FactType.DECISION, f"Chose {thing}", entity=_of(match))]


def _no_longer(match: re.Match[str], rest: str) -> list[Found]:
    thing = _object(rest)
    verb = match["verb"].casefold()
    if not thing or verb not in words.VERBS:
        return []
    plain, kind = words.VERBS[verb]
    what = re.sub(r"^(?:in|at|for|as|to|on)\s+", "", thing)
    return [Found(FactType(kind), f"No longer {plain} {thing}", entity=_of(match), instead_of=what)]


def _does_not(match: re.Match[str], rest: str) -> list[Found]:
    verb = match["verb"].casefold()
    ended = re.search(r"\s*\b(?:anymore|any more|any longer)\b", rest, re.IGNORECASE)
    if ended:
        return _no_longer(match, rest[: ended.start()])
    thing = _object(rest)
    if verb == "use":
        if not thing or not words.is_named(thing):
            return []
        thing = words.until_purpose(thing)
        return [Found(FactType.ENTITY, f"Does not use {thing}", entity=_of(match), instead_of=thing)]
    if verb not in ("eat", "drink", "smoke") or (not thing and verb != "smoke"):
        return []
    return [Found(FactType.CONSTRAINT, f"Does not {verb} {thing}".strip(), entity=_of(match))]


def _cannot_eat(match: re.Match[str], rest: str) -> list[Found]:
    thing = _object(rest)
    if not thing or len(thing.split()) > 6 or re.match(r"(?:and|or)\b", thing):
        return []
    return [Found(FactType.CONSTRAINT, f"Cannot {match['verb'].casefold()} {thing}", entity=_of(match))]


def _own(match: re.Match[str], rest: str) -> list[Found]:
    """My or our something is so."""
    name = re.sub(r"[\s-]+", " ", match["attribute"].casefold())
    said = words.trimmed(rest)
    entity, qualifier = _of(match), words.trimmed(match["on"] or "")
    if not said or words.NOTHING_SAID.match(said):
        return []
    if name in words.MONEY:
        return _budget(name, said, entity, qualifier)
    if qualifier:
        entity = words.without_article(words.third_person(qualifier))
    about = f" for {words.third_person(qualifier)}" if qualifier else ""
    attribute = attribute_key(words.SAME_ATTRIBUTE.get(name, name))
    verb = "are" if match["is"].casefold() == "are" else "is"
    thing = words.third_person(said)
    if not words.fits(attribute, thing):
        return []
    kind = FactType(words.TYPE_OF.get(attribute, words.TYPE_OF.get(attribute.split("_")[0], "entity")))
    title = name[0].upper() + name[1:]
    if attribute in ("goal",) and not thing.startswith("to "):
        return []
    return [
        Found(kind, f"{title}{about} {verb} {thing}", attribute=attribute, entity=entity, coexists=attribute == "goal")
    ]


def _budget(name: str, said: str, of: str, qualifier: str) -> list[Found]:
    amount = find_amount(said)
    if amount is None or not words.AFTER_AMOUNT.match(said[amount.end :]):
        return []
    value = None if words.COMPARED.search(said[: amount.start]) else amount.value
    after = re.match(r"\s+for\s+(?P<on>.+)$", said[amount.end :])
    if after and not qualifier:
        qualifier, said = words.trimmed(after["on"]), said[: amount.end]
    about = f" for {words.third_person(qualifier)}" if qualifier else ""
    return [
        Found(
            FactType.CONSTRAINT,
            f"{name[0].upper()}{name[1:]}{about} is {said}",
            attribute=attribute_key(name),
            entity=words.without_article(words.third_person(qualifier)) if qualifier else of,
            value=value,
            unit=amount.unit,
            coexists=False,
        )
    ]


def _has_budget(match: re.Match[str], rest: str) -> list[Found]:
    return _budget("budget", words.trimmed(rest), _of(match), "")


def _counts(match: re.Match[str], rest: str) -> list[Found]:
    number = words.number(match["number"])
    noun = match["noun"].casefold()
    if number is None or not words.AFTER_COUNTED.match(rest) or (noun == "people" and _of(match) == "user"):
        return []
    content = f"Has {match['number']} {noun}"
    return [Found(FactType.ENTITY, content, attribute_key(noun), _of(match), number, noun, coexists=False)]


def _team_of(match: re.Match[str], rest: str) -> list[Found]:
    number = words.number(match["number"])
    if number is None:
        return []
    content = f"Is a {match['group'].casefold()} of {match['number']}"
    return [Found(FactType.ENTITY, content, "team_size", "team", number, "people", coexists=False)]


def _age(match: re.Match[str], rest: str) -> list[Found]:
    number = words.number(match["number"])
    if number is None:
        return []
    return [Found(FactType.ENTITY, f"Is {match['number']} years old", "age", "user", number, "years", coexists=False)]


def _place(match: re.Match[str], rest: str) -> list[Found]:
    place = words.proper(rest)
    if not place:
        return []
    if _of(match) == "team":
        return [Found(FactType.ENTITY, f"Based in {place}", "location", "team", coexists=False)]
    return [Found(FactType.ENTITY, f"Lives in {place}", "residence", "user", coexists=False, about=place)]


def _origin(match: re.Match[str], rest: str) -> list[Found]:
    place = words.proper(rest)
    return [Found(FactType.ENTITY, f"Comes from {place}", "origin", _of(match), coexists=False)] if place else []


def _employer(match: re.Match[str], rest: str) -> list[Found]:
    name = words.proper(rest)
    return [Found(FactType.ENTITY, f"Works at {name}", "employer", "user", coexists=False)] if name else []


def _profession(match: re.Match[str], rest: str) -> list[Found]:
    role = re.split(r"\s(?:and|at|in|for|with|on|from|by)\s", words.trimmed(rest), maxsplit=1)[0]
    certain = match["as"] is not None
    last = role.split()[-1].casefold() if role else ""
    if not role or len(role.split()) > 4 or (last not in words.PROFESSIONS and not (certain and last.isalpha())):
        return []
    article = "an" if role[0].casefold() in "aeiou" else "a"
    return [Found(FactType.ENTITY, f"Works as {article} {role}", "profession", "user", coexists=False)]


def _speaks(match: re.Match[str], rest: str) -> list[Found]:
    return [
        Found(FactType.ENTITY, f"Speaks {item}", "language", _of(match))
        for item in words.listed(words.until_purpose(words.trimmed(rest)))
        if words.LANGUAGES & set(item.casefold().split())
    ]


def _allergic(match: re.Match[str], rest: str) -> list[Found]:
    thing = _object(rest)
    return [Found(FactType.CONSTRAINT, f"Allergic to {thing}", "allergy", "user")] if thing else []


def _condition(match: re.Match[str], rest: str) -> list[Found]:
    thing = words.trimmed(match["condition"])
    if not words.AFTER_ALL.match(rest):
        return []
    return [Found(FactType.CONSTRAINT, f"Has {thing}", "health", "user")]


def _diet(match: re.Match[str], rest: str) -> list[Found]:
    if not words.AFTER_ALL.match(rest):
        return []
    return [Found(FactType.PREFERENCE, f"Is {match['diet'].casefold()}", "diet", "user", coexists=False)]


def _belongs(match: re.Match[str], rest: str) -> list[Found]:
    thing = _object(rest)
    return [Found(FactType.ENTITY, f"Is a member of {thing}", "membership", "user")] if thing else []


def _called(match: re.Match[str], rest: str) -> list[Found]:
    name = words.proper(rest)
    if not name or len(name.split()) > 2 or name.casefold() in words.NOT_NAMES:
        return []
    return [Found(FactType.PREFERENCE, f"Prefers to be called {name}", "preferred_name", "user", coexists=False)]


def _is_called(match: re.Match[str], rest: str) -> list[Found]:
    name = words.proper(rest)
    return [Found(FactType.ENTITY, f"Name is {name}", "name", "user", coexists=False)] if name else []


def _wants(match: re.Match[str], rest: str) -> list[Found]:
    thing = words.third_person(words.trimmed(rest))
    first = thing.split(maxsplit=1)[0].casefold() if thing else ""
    if not words.LARGER_AIM.match(thing) and (
        first not in words.AIMS or len(thing.split()) < 2 or words.PASSING_AIM.search(thing)
    ):
        return []
    return [Found(FactType.GOAL, f"Wants to {thing}", entity=_of(match), confidence=0.8)]


def _must(match: re.Match[str], rest: str) -> list[Found]:
    thing = words.third_person(words.trimmed(rest))
    amount = find_amount(thing)
    if amount is not None and re.match(r"(?:stay|remain|keep|be)\s+(?:under|below|within)\b", thing):
        return [Found(FactType.CONSTRAINT, f"Must {thing}", entity=_of(match), value=amount.value, unit=amount.unit)]
    if words.COMPLIANCE.search(thing):
        return [Found(FactType.CONSTRAINT, f"Must {thing}", entity=_of(match))]
    return []


Maker = Callable[[re.Match[str], str], list[Found]]

_SPECIFIC: list[tuple[str, Maker]] = [
    (rf"{WHO}\s+{ADVERB}prefer\s+", _prefers),
    (rf"{WHO}\s+{ADVERB}(?P<verb>like|love|enjoy|hate|dislike|can't stand|don't like|do not like)\s+", _likes),
    (
        rf"{WHO}{HAVE}\s+{ADVERB}(?P<verb>moved|migrated|switched|changed|relocated)\s+(?:everything\s+|it all\s+|"
        rf"over\s+)?"
        r"from\s+(?P<old>[^,.;:!?\n\0]{1,60}?)\s+(?:over\s+)?to\s+",
        _moved,
    ),
    (rf"{WHO}{HAVE}\s+{ADVERB}(?:moved|migrated|switched)\s+(?:over\s+)?to\s+", _moved_to),
    (
        rf"{WHO}(?:(?:{BE})?\s+{ADVERB}(?:use|run on|rely on)|{BE}\s+{ADVERB}(?:using|running on|relying on|"
        rf"hosted on))\s+",
        _uses,
    ),
    (
        rf"{WHO}{HAVE}\s+{ADVERB}(?P<verb>decided|opted|settled)\s+(?:yesterday\s+|today\s+|"
        rf"last \w+\s+|finally\s+)?"
        r"(?P<how>to|on|against|not to|that|for)\s+",
        _decided,
    ),
    (rf"(?:{WHO}{HAVE}\s+{ADVERB}(?:chosen|chose|picked|went with)|we're\s+going\s+with)\s+", _chose),
    (rf"{WHO}\s+no longer\s+(?P<verb>\w+)\s+", _no_longer),
    (rf"{WHO}{HAVE}\s+{ADVERB}(?:stopped|quit)\s+(?P<verb>\w+ing)\s+", _no_longer),
    (rf"{WHO}\s+(?:don't|do not)\s+{ADVERB}(?P<verb>\w+)\b\s*", _does_not),
    (rf"{WHO}\s+(?:can't|cannot|can not|must not|mustn't)\s+(?P<verb>eat|drink)\s+", _cannot_eat),
    (
        rf"{WHOSE}\s+(?:new\s+|current\s+|"
        rf"total\s+)?(?P<attribute>{words.ATTRIBUTES})(?:\s+for\s+(?P<on>[^,.;:!?\n\0]{{1,40}}?))?\s+"
        r"(?P<is>is|are)\b(?!n't)\s+(?:now\s+|currently\s+|still\s+|only\s+|about\s+|around\s+|roughly\s+|called\s+)*",
        _own,
    ),
    (rf"{WHO}(?:'ve got|\s+have(?: got)?)\s+a\s+(?:total\s+|fixed\s+|strict\s+)?budget of\s+", _has_budget),
    (
        rf"{WHO}(?:'ve got|\s+have(?: got)?|\s+employ)\s+(?:about\s+|around\s+|over\s+|"
        rf"roughly\s+)?(?P<number>{words.NUMBER})\s+"
        rf"(?P<noun>{words.COUNTED})\b",
        _counts,
    ),
    (
        rf"(?P<who>we)(?:'re|\s+are)\s+a\s+(?:small\s+|tiny\s+)?(?P<group>team|group|family|company|"
        rf"startup) of\s+(?P<number>{words.NUMBER})\b",
        _team_of,
    ),
    (r"(?P<who>i)(?:'m|\s+am)\s+(?P<number>\d{1,3})\s+years old\b", _age),
    (rf"{WHO}(?:\s+{ADVERB}(?:live|reside)|{BE}\s+{ADVERB}(?:based|located|living))\s+in\s+", _place),
    (rf"{WHO}(?:{BE}\s+{ADVERB}(?:originally\s+)?from|\s+come from)\s+", _origin),
    (rf"(?P<who>i)\s+{ADVERB}work\s+(?:at|for)\s+", _employer),
    (rf"(?P<who>i)(?:\s+{ADVERB}work (?P<as>as)|'m|\s+am)\s+an?\s+", _profession),
    (rf"{WHO}\s+{ADVERB}speak\s+(?:fluent\s+|native\s+|some\s+)?", _speaks),
    (rf"(?P<who>i)(?:'m|\s+am)\s+{ADVERB}allergic to\s+", _allergic),
    (rf"(?P<who>i)(?:'ve got|\s+have(?: got)?)\s+(?P<condition>{words.CONDITIONS})\b", _condition),
    (r"(?P<who>i)(?:'m|\s+am)\s+(?:an?\s+)?(?:strict\s+)?(?P<diet>vegan|vegetarian|pescatarian)\b", _diet),
    (rf"(?P<who>i)(?:'m|\s+am)\s+{ADVERB}a member of\s+", _belongs),
    (r"call me\s+", _called),
    (r"(?P<who>i)(?:'m|\s+am)\s+called\s+", _is_called),
    (rf"{WHO}(?:\s+{ADVERB}(?:want|aim|plan|hope)|{BE}\s+{ADVERB}(?:aiming|planning|hoping|trying))\s+to\s+", _wants),
    (rf"{WHO}\s+(?:must|have to|need to)\s+", _must),
]  # fmt: skip
PATTERNS: list[tuple[re.Pattern[str], Maker]] = [(re.compile(text, re.IGNORECASE), make) for text, make in _SPECIFIC]
