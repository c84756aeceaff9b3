"""Text into lexemes, the same for what is stored and for what is asked. Pure.

Words are runs of letters and digits, folded and, in a language that has a stemmer, stemmed. Scripts written without
spaces are cut into overlapping pairs of characters.
"""

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache

import snowballstemmer

LONGEST = 64
_WORD = re.compile(r"[^\W_]+")
_CLITIC = re.compile(r"['\u2019](s|re|ve|ll|m|d|t)\b")
_UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]+")

# Words that tell nothing of what a sentence is about. They only cost work: idf weighs them next to nothing anyway.
_ENGLISH = """
    a about after again all also am an and any are as at be because been before being between both but by can
    could d did do does doing don down during each few for from further had has have having he her here hers
    herself him himself his how i if in into is it its itself just ll m me more most my myself no nor not now of
    off on once only or other our ours ourselves out over own re s same she should so some such t than that the
    their theirs them themselves then there these they this those through to too under until up ve very was we
    were what when where which while who whom why will with would you your yours yourself yourselves
"""
STOP_WORDS = {"english": frozenset(_ENGLISH.split())}


@lru_cache(maxsize=8_192)
def name_lexemes(name: str, config: str) -> tuple[str, ...]:
    """The lexemes of something short that is looked at again and again: a name, a fact's sentence."""
    return tuple(lexemes(name, config))


def lexemes(text: str, config: str = "english") -> list[str]:
    """The lexemes of `text` in order, with repeats. `config` is a Snowball language, or `simple` for no stemming."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    if config == "english":
        folded = _CLITIC.sub("", folded)
    return [lexeme for word in _WORD.findall(folded) for lexeme in _of_word(word, config)]


@lru_cache(maxsize=65_536)
def _of_word(word: str, config: str) -> tuple[str, ...]:
    """Usually one; none for a word that says nothing; the pairs of characters of a script without spaces."""
    if word in STOP_WORDS.get(config, frozenset()):
        return ()
    if word.isascii() or not _UNSPACED.search(word):
        return (_stem(config, word),)
    return tuple(_pairs(word, config))


def _pairs(word: str, config: str) -> Iterator[str]:
    at = 0
    for run in _UNSPACED.finditer(word):
        if run.start() > at:
            yield _stem(config, word[at : run.start()])
        characters = run.group()
        if len(characters) == 1:
            yield characters
        yield from (characters[i : i + 2] for i in range(len(characters) - 1))
        at = run.end()
    if at < len(word):
        yield _stem(config, word[at:])


def _stem(config: str, word: str) -> str:
    if config not in _languages() or len(word) > LONGEST:
        return word[:LONGEST]
    # A stemmer keeps its word in itself and is not for several threads at once; making one is cheap.
    return str(snowballstemmer.stemmer(config).stemWord(word))[:LONGEST]


@lru_cache(maxsize=1)
def _languages() -> frozenset[str]:
    return frozenset(snowballstemmer.algorithms())
