"""Sensitive data by its form and its check digits. Every pattern is anchored or bounded, so that no text is slow.

Check digits come from python-stdnum, telephone numbers from phonenumbers, the forms of most secrets from
detect-secrets. Of the latter the three patterns that backtrack without bound (JWT, npm, private keys) are written
anew, and none that goes by entropy is used: in ordinary talk they find mostly nothing that matters.
"""

import re
from collections.abc import Callable, Iterator, Mapping

import phonenumbers
from detect_secrets.plugins.aws import AWSKeyDetector
from detect_secrets.plugins.azure_storage_key import AzureStorageKeyDetector
from detect_secrets.plugins.basic_auth import BasicAuthDetector
from detect_secrets.plugins.discord import DiscordBotTokenDetector
from detect_secrets.plugins.github_token import GitHubTokenDetector
from detect_secrets.plugins.gitlab_token import GitLabTokenDetector
from detect_secrets.plugins.mailchimp import MailchimpDetector
from detect_secrets.plugins.openai import OpenAIDetector
from detect_secrets.plugins.pypi_token import PypiTokenDetector
from detect_secrets.plugins.sendgrid import SendGridDetector
from detect_secrets.plugins.slack import SlackDetector
from detect_secrets.plugins.square_oauth import SquareOAuthDetector
from detect_secrets.plugins.stripe import StripeDetector
from detect_secrets.plugins.telegram_token import TelegramBotTokenDetector
from stdnum import iban, luhn
from stdnum.br import cpf
from stdnum.ch import ssn as ch_ssn
from stdnum.de import idnr
from stdnum.es import dni, nie
from stdnum.fi import hetu
from stdnum.fr import nir
from stdnum.gb import nhs
from stdnum.in_ import aadhaar
from stdnum.it import codicefiscale
from stdnum.nl import bsn
from stdnum.pl import pesel
from stdnum.se import personnummer
from stdnum.us import ssn as us_ssn

from memoryhub.core.screening.findings import Kind

Place = tuple[int, int]
Detector = Callable[[str], Iterator[Place]]

# Where something that has check digits may be, and how far it may reach to both sides of that.
_DIGITS = re.compile(r"\d[ .-]?\d[ .-]?\d[ .-]?\d[ .-]?\d|\d\d[A-Za-z]\d\d")
_REACH = 48
# Shorter words hold no key or token.
_LONG_WORD = 20

# A card of a known network, by its first digits and length; https://en.wikipedia.org/wiki/Payment_card_number
_CARD = re.compile(r"(?<![\w.+-])\d(?:[ -]?\d){11,18}(?![\w]|[.,-]\d)")
_NETWORK = re.compile(
    r"(?:4\d{12}(?:\d{3}){0,2}"
    r"|5[1-5]\d{14}|2(?:22[1-9]|2[3-9]\d|[3-6]\d\d|7[01]\d|720)\d{12}"
    r"|3[47]\d{13}|3(?:0[0-5]|[689]\d)\d{11}"
    r"|6(?:011|4[4-9]\d|5\d\d)\d{12,15}|35(?:2[89]|[3-8]\d)\d{12,15}|62\d{14,17})\Z"
)

_IBAN = re.compile(r"(?<![A-Za-z0-9])[A-Za-z]{2}\d{2}(?: ?[A-Za-z0-9]){11,30}(?![A-Za-z0-9])")

_CONTEXT = re.compile(
    r"\b(?:ssn|social[ -]security|national (?:id|identity|insurance)|id(?:entity)? (?:card|number|no)|tax[ -]?id"
    r"|steuer|idnr|identifikationsnummer|bsn|burgerservicenummer|pesel|nhs|aadhaar|aadhar|personnummer|cpf|nir|dni"
    r"|sécu|securite sociale|sécurité sociale|ahv|avs|henkilötunnus|codice fiscale)",
    re.IGNORECASE,
)
_CONTEXT_REACH = 60

# (form, check, whether the form and check alone are too weak without a word that says what it is)
_NATIONAL_IDS: tuple[tuple[re.Pattern[str], Callable[[str], bool], bool], ...] = (
    (re.compile(r"(?<![\w-])\d{3}-\d{2}-\d{4}(?![\w-])"), us_ssn.is_valid, False),
    (
        re.compile(r"(?<![\w-])[12][ ]?\d{2}[ ]?\d{2}[ ]?(?:\d{2}|2[AB])[ ]?\d{3}[ ]?\d{3}[ ]?\d{2}(?![\w-])"),
        nir.is_valid,
        False,
    ),
    (
        re.compile(r"(?<![\w-])[A-Za-z]{6}\d{2}[A-Za-z]\d{2}[A-Za-z]\d{3}[A-Za-z](?![\w-])"),
        codicefiscale.is_valid,
        False,
    ),
    (re.compile(r"(?<![\w-])\d{3}\.\d{3}\.\d{3}-\d{2}(?![\w-])"), cpf.is_valid, False),
    (re.compile(r"(?<![\w-])756\.?\d{4}\.?\d{4}\.?\d{2}(?![\w-])"), ch_ssn.is_valid, False),
    (re.compile(r"(?<![\w-])\d{6}[-+A]\d{3}[0-9A-Y](?![\w-])"), hetu.is_valid, False),
    (re.compile(r"(?<![\w-])(?:\d{2})?\d{6}[-+]\d{4}(?![\w-])"), personnummer.is_valid, False),
    (re.compile(r"(?<![\w-])\d{8}-?[A-Za-z](?![\w-])"), dni.is_valid, False),
    (re.compile(r"(?<![\w-])[XYZxyz]-?\d{7}-?[A-Za-z](?![\w-])"), nie.is_valid, False),
    (re.compile(r"(?<![\w-])\d{2} ?\d{3} ?\d{3} ?\d{3}(?![\w-])"), idnr.is_valid, True),
    (re.compile(r"(?<![\w-])\d{11}(?![\w-])"), pesel.is_valid, True),
    (re.compile(r"(?<![\w-])\d{9}(?![\w-])"), bsn.is_valid, True),
    (re.compile(r"(?<![\w-])\d{3}[ -]\d{3}[ -]\d{4}(?![\w-])"), nhs.is_valid, True),
    (re.compile(r"(?<![\w-])\d{4} ?\d{4} ?\d{4}(?![\w-])"), aadhaar.is_valid, True),
)


def _library(plugin: type, *, edge: bool = True) -> list[re.Pattern[str]]:
    """The patterns of a detect-secrets plugin; with `edge` they begin only where no word is under way."""
    patterns = [re.compile(one) if isinstance(one, str) else one for one in plugin().denylist]
    return [re.compile(rf"(?<![A-Za-z0-9_-])(?:{one.pattern})", one.flags) for one in patterns] if edge else patterns


# What has to be in the text before the pattern is worth trying; () for those without anything to look for.
_SECRETS: tuple[tuple[tuple[str, ...], list[re.Pattern[str]]], ...] = (
    (("AKIA", "ASIA", "ABIA", "ACCA", "A3T", "aws"), _library(AWSKeyDetector)),
    (("AccountKey=",), _library(AzureStorageKeyDetector)),
    (("://",), _library(BasicAuthDetector, edge=False)),
    (("ghp_", "gho_", "ghu_", "ghs_", "ghr_"), _library(GitHubTokenDetector)),
    (
        (
            "glpat-",
            "gldt-",
            "glft-",
            "glsoat-",
            "glrt-",
            "GR1348941",
            "glcbt-",
            "glimt-",
            "glptt-",
            "glagent-",
            "gloas-",
        ),
        _library(GitLabTokenDetector),
    ),
    (("-us",), _library(MailchimpDetector)),
    (("T3BlbkFJ",), _library(OpenAIDetector)),
    (("pypi-",), _library(PypiTokenDetector)),
    (("SG.",), _library(SendGridDetector)),
    (("xox", "hooks.slack.com"), _library(SlackDetector)),
    (("sq0csp-",), _library(SquareOAuthDetector)),
    (("k_live_",), _library(StripeDetector)),
    ((), _library(TelegramBotTokenDetector)),
    ((), _library(DiscordBotTokenDetector)),
    (("sk-",), [re.compile(r"(?<![A-Za-z0-9_-])sk-(?:ant-|proj-|svcacct-|or-v1-)?[A-Za-z0-9_-]{32,220}")]),
    (("AIza",), [re.compile(r"(?<![A-Za-z0-9_-])AIza[A-Za-z0-9_-]{35}(?![A-Za-z0-9_-])")]),
    (
        ("mh_", "mht_"),
        [re.compile(r"(?<![A-Za-z0-9_-])(?:mh_[0-9a-f]{8}_[A-Za-z0-9_-]{43}|mht_[A-Za-z0-9_.:-]{40,1024})")],
    ),
    (("github_pat_",), [re.compile(r"(?<![A-Za-z0-9_-])github_pat_[A-Za-z0-9_]{60,100}")]),
    (("npm_",), [re.compile(r"(?<![A-Za-z0-9_-])npm_[A-Za-z0-9]{36}(?![A-Za-z0-9])")]),
    (("hf_",), [re.compile(r"(?<![A-Za-z0-9_-])hf_[A-Za-z]{34}(?![A-Za-z0-9])")]),
    (
        ("eyJ",),
        [re.compile(r"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{8,4096}\.eyJ[A-Za-z0-9_-]{8,8192}\.[A-Za-z0-9_-]{16,2048}")],
    ),
    (
        ("PRIVATE KEY",),
        [
            re.compile(
                r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----(?:[^-]|-(?!----)){0,20000}"
                r"(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----)?"
            )
        ],
    ),
)
_SECRET_GROUP_ONE = frozenset(id(one) for one in (*_SECRETS[0][1][1:], *_SECRETS[2][1]))

_EMAIL = re.compile(r"(?<![\w.+-])[A-Za-z0-9._%+-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24}(?![\w-])")
_INTERNATIONAL = re.compile(r"\+\s?\(?\d")


def _regions(text: str) -> list[Place]:
    """The parts of `text` around enough digits, apart from each other."""
    regions: list[Place] = []
    for found in _DIGITS.finditer(text):
        start, end = max(0, found.start() - _REACH), min(len(text), found.end() + _REACH)
        if regions and start <= regions[-1][1]:
            start = regions.pop()[0]
        regions.append((start, end))
    return regions


def _payment_cards(text: str) -> Iterator[Place]:
    for start, end in _regions(text):
        for found in _CARD.finditer(text, start, end):
            digits = re.sub(r"\D", "", found[0])
            if _NETWORK.match(digits) and len(set(digits)) > 1 and luhn.is_valid(digits):
                yield found.span()


def _ibans(text: str) -> Iterator[Place]:
    for start, end in _regions(text):
        for found in _IBAN.finditer(text, start, end):
            # The words that follow may look like a part of it: the longest beginning that ends at a space and checks.
            candidate = found[0]
            lengths = [len(candidate), *(at for at in range(len(candidate) - 1, 14, -1) if candidate[at] == " ")]
            for length in lengths:
                if iban.is_valid(candidate[:length]):
                    yield found.start(), found.start() + length
                    break


def _national_ids(text: str) -> Iterator[Place]:
    for start, end in _regions(text):
        for form, is_valid, wants_context in _NATIONAL_IDS:
            for found in form.finditer(text, start, end):
                before = text[max(0, found.start() - _CONTEXT_REACH) : found.start()]
                if is_valid(found[0]) and (not wants_context or _CONTEXT.search(before)):
                    yield found.span()


def _secrets(text: str) -> Iterator[Place]:
    if not ("PRIVATE KEY" in text or "://" in text or any(len(word) >= _LONG_WORD for word in text.split())):
        return
    for hints, patterns in _SECRETS:
        if hints and not any(hint in text for hint in hints):
            continue
        for pattern in patterns:
            group = 1 if id(pattern) in _SECRET_GROUP_ONE else 0
            for found in pattern.finditer(text):
                yield found.span(group)


def _phones(text: str) -> Iterator[Place]:
    if _INTERNATIONAL.search(text):
        for found in phonenumbers.PhoneNumberMatcher(text, None, max_tries=1000):
            yield found.start, found.end


def _emails(text: str) -> Iterator[Place]:
    if "@" in text:
        yield from (found.span() for found in _EMAIL.finditer(text))


SENSITIVE_DETECTORS: Mapping[Kind, Detector] = {
    Kind.PAYMENT_CARD: _payment_cards,
    Kind.IBAN: _ibans,
    Kind.NATIONAL_ID: _national_ids,
    Kind.SECRET: _secrets,
    Kind.PHONE: _phones,
    Kind.EMAIL: _emails,
}
