"""Sensitive data by its form and its check digits. Every pattern is anchored or bounded, so that no text is slow.

Check digits come from python-stdnum, telephone numbers from phonenumbers, the forms of most secrets from
detect-secrets. Of the latter the three patterns that backtrack without bound (JWT, npm, private keys) are written
anew, and none that goes by entropy is used: in ordinary talk they find mostly nothing that matters.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial

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
from stdnum.ar import cuit
from stdnum.au import tfn
from stdnum.be import nn as be_nn
from stdnum.bg import egn
from stdnum.br import cpf
from stdnum.ca import sin
from stdnum.ch import ssn as ch_ssn
from stdnum.cl import rut
from stdnum.cn import ric
from stdnum.cz import rc
from stdnum.de import idnr
from stdnum.dk import cpr
from stdnum.ee import ik
from stdnum.es import dni, nie
from stdnum.es import nif as es_nif
from stdnum.fi import hetu
from stdnum.fr import nir
from stdnum.gb import nhs
from stdnum.gr import amka
from stdnum.hr import oib
from stdnum.ie import pps
from stdnum.il import idnr as il_idnr
from stdnum.in_ import aadhaar
from stdnum.it import codicefiscale
from stdnum.kr import rrn
from stdnum.mx import curp
from stdnum.nl import bsn
from stdnum.no import fodselsnummer
from stdnum.pl import pesel
from stdnum.pt import nif as pt_nif
from stdnum.ro import cnp
from stdnum.ru import inn
from stdnum.se import personnummer
from stdnum.tr import tckimlik
from stdnum.us import ssn as us_ssn
from stdnum.za import idnr as za_idnr

from memoryhub.core.screening.findings import Kind
from memoryhub.core.screening.folding import Folded, fold

Place = tuple[int, int]
Detector = Callable[[str], Iterator[Place]]

# Where something that has check digits may be, and how far it, or what announces it, may reach to both sides of that.
_DIGITS = re.compile(r"\d[ .-]?\d[ .-]?\d[ .-]?\d[ .-]?\d|\d\d[A-Za-z]\d\d")
_REACH = 64
# Shorter words hold no key or token.
_LONG_WORD = 20

# A card of a known network, by its first digits and length; https://en.wikipedia.org/wiki/Payment_card_number
_CARD = re.compile(r"(?<![0-9A-Za-z.+-])\d(?:[ .-]?\d){11,24}(?![0-9A-Za-z])")
_NETWORK = re.compile(
    r"(?:4\d{12}(?:\d{3}){0,2}"
    r"|5[1-5]\d{14}|2(?:22[1-9]|2[3-9]\d|[3-6]\d\d|7[01]\d|720)\d{12}"
    r"|3[47]\d{13}|3(?:0[0-5]|[689]\d)\d{11}"
    r"|6(?:011|4[4-9]\d|5\d\d)\d{12,15}|35(?:2[89]|[3-8]\d)\d{12,15}|62\d{14,17})\Z"
)
# In groups as they are printed.
_PRINTED = re.compile(r"\d{4}([ .-]?)\d{4}\1\d{4}\1\d{4}(?:\1\d{3})?|\d{4}([ .-]?)\d{6}\2\d{4,5}")

_IBAN = re.compile(r"(?<![A-Za-z0-9])[A-Za-z]{2}\d{2}(?: ?[A-Za-z0-9]){11,30}(?![A-Za-z0-9])")

# Forms that tell by themselves, with their check.
_NATIONAL_IDS: tuple[tuple[re.Pattern[str], Callable[[str], bool]], ...] = tuple(
    (re.compile(rf"(?<![0-9A-Za-z-]){form}(?![0-9A-Za-z-])"), check)
    for form, check in (
        (r"\d{3}-\d{2}-\d{4}", us_ssn.is_valid),
        (r"[12][ ]?\d{2}[ ]?\d{2}[ ]?(?:\d{2}|2[ABab])[ ]?\d{3}[ ]?\d{3}[ ]?\d{2}", nir.is_valid),
        (r"[A-Za-z]{6}\d{2}[A-Za-z]\d{2}[A-Za-z]\d{3}[A-Za-z]", codicefiscale.is_valid),
        (r"\d{3}\.\d{3}\.\d{3}-\d{2}", cpf.is_valid),
        (r"756\.?\d{4}\.?\d{4}\.?\d{2}", ch_ssn.is_valid),
        (r"\d{6}[-+A]\d{3}[0-9A-Y]", hetu.is_valid),
        (r"(?:\d{2})?\d{6}[-+]\d{4}", personnummer.is_valid),
        (r"\d{8}-?[A-Za-z]", dni.is_valid),
        (r"[XYZxyz]-?\d{7}-?[A-Za-z]", nie.is_valid),
        (r"\d{17}[0-9Xx]", ric.is_valid),
        (r"[A-Za-z]{4}\d{6}[HMhm][A-Za-z]{5}[0-9A-Za-z]\d", curp.is_valid),
    )
)
# Numbers that could be anything else, beside a word that says what they are.
_ANNOUNCED_IDS: dict[str, tuple[Callable[[str], bool], ...]] = {
    "us": (us_ssn.is_valid,),
    "nl": (bsn.is_valid,),
    "gb": (nhs.is_valid,),
    "be": (be_nn.is_valid,),
    "cn": (ric.is_valid,),
    "mx": (curp.is_valid,),
    "tr": (tckimlik.is_valid,),
    "nordic": (personnummer.is_valid, fodselsnummer.is_valid),
    "dk": (cpr.is_valid,),
    "ro": (cnp.is_valid,),
    "bg": (egn.is_valid,),
    "cz": (rc.is_valid,),
    "hr": (oib.is_valid,),
    "ie": (pps.is_valid,),
    "ca": (sin.is_valid,),
    "au": (tfn.is_valid,),
    "za": (za_idnr.is_valid,),
    "il": (il_idnr.is_valid,),
    "kr": (rrn.is_valid,),
    "iberian": (pt_nif.is_valid, es_nif.is_valid),
    "cl": (rut.is_valid,),
    "ar": (cuit.is_valid,),
    "pl": (pesel.is_valid,),
    "india": (aadhaar.is_valid,),
    "de": (idnr.is_valid,),
    "br": (cpf.is_valid,),
    "ee": (ik.is_valid,),
    "ru": (inn.is_valid,),
    "gr": (amka.is_valid,),
}
# Words that announce them, as they begin.
_WORDS_FOR_IDS: dict[str, tuple[str, ...]] = {
    "us": ("ssn", "social security"),
    "nl": ("bsn", "burgerservicenummer"),
    "gb": ("nhs",),
    "be": ("numero national", "rijksregister", "registre national", "nationaal nummer"),
    "cn": ("身份证",),
    "mx": ("curp",),
    "tr": ("kimlik", "tc ", "t.c. "),
    "nordic": ("personnummer", "fodselsnummer", "personal identity number"),
    "dk": ("cpr",),
    "ro": ("cnp",),
    "bg": ("egn", "егн"),
    "cz": ("rodne cislo", "rc "),
    "hr": ("oib",),
    "ie": ("pps",),
    "ca": ("sin ", "social insurance"),
    "au": ("tfn", "tax file"),
    "za": ("south african id", "sa id"),
    "il": ("israeli id", "teudat zehut", "תעודת זהות"),
    "kr": ("주민",),
    "iberian": ("nif", "contribuinte"),
    "cl": ("rut ", "run "),
    "ar": ("cuit", "cuil"),
    "pl": ("pesel",),
    "india": ("aadhaar", "aadhar", "आधार"),
    "de": ("steuer-id", "steuerid", "steuernummer", "idnr", "identifikationsnummer"),
    "br": ("cpf",),
    "ee": ("isikukood",),
    "ru": ("инн",),
    "gr": ("amka", "αμκα"),
}
_ANNOUNCING: dict[str, tuple[str, ...]] = {
    country: tuple(fold(word).text for word in words) for country, words in _WORDS_FOR_IDS.items()
}
_ANNOUNCED_REACH = 48
# At most four letters stand before the first digit, or a word that leads to the number would be taken for a part of it.
_GROUP = re.compile(r"[0-9A-Za-z]+")
_ID_LIKE = re.compile(r"(?<![0-9A-Za-z])(?=[A-Za-z]{0,4}\d)[0-9A-Za-z](?:[ .\-/]?[0-9A-Za-z]){5,20}")


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
    (("://",), [re.compile(r"://:([^\s@/]{6,128})@")]),
    (("hf_",), [re.compile(r"(?<![A-Za-z0-9_-])hf_[A-Za-z0-9]{34}(?![A-Za-z0-9])")]),
    (("dop_v1_",), [re.compile(r"(?<![A-Za-z0-9_-])dop_v1_[0-9a-f]{64}")]),
    (("shpat_", "shpca_", "shppa_", "shpss_"), [re.compile(r"(?<![A-Za-z0-9_-])shp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}")]),
    (("hvs.",), [re.compile(r"(?<![A-Za-z0-9_-])hvs\.[A-Za-z0-9_-]{24,300}")]),
    (("glsa_",), [re.compile(r"(?<![A-Za-z0-9_-])glsa_[A-Za-z0-9]{32}_[0-9a-f]{8}")]),
    (("lin_api_",), [re.compile(r"(?<![A-Za-z0-9_-])lin_api_[A-Za-z0-9]{40}")]),
    (("ntn_",), [re.compile(r"(?<![A-Za-z0-9_-])ntn_[A-Za-z0-9]{40,60}")]),
    (
        ("aws_secret", "AWS_SECRET"),
        [re.compile(r"(?i:aws_secret_access_key)[\"']?\s{0,3}[=:]\s{0,3}[\"']?([A-Za-z0-9/+]{40})")],
    ),
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
_SECRET_GROUP_ONE = frozenset(
    id(one)
    for hints, patterns in _SECRETS
    for one in patterns
    if one.groups and ("://" in hints or "aws" in one.pattern)
)
# A password that somebody tells: what follows the word and holds more than letters.
_PASSWORD_WORDS = re.compile(
    r"passwor[td]|passwd|passphrase|\bpwd\b|kennwort|contrasena|mot de passe|\bsenha\b|wachtwoord|\bhaslo\b|"
    + "|".join(fold(word).text for word in ("пароль", "密码", "密碼", "パスワード", "비밀번호"))
)
_TOLD = re.compile(
    r"[\"']?\s{0,3}(?:[=:]|\b(?:is|ist|lautet|es|est|e|er|jest)\b|是|は)\s{0,3}[\"'“]?(?P<value>[^\s\"'”,，;]{6,64})"
)

# Words, numbers, calls in a program, and what was redacted already.
_NO_PASSWORD = re.compile(r"[^\W\d_]+|\d+|[\w.]+\(.*|\[redacted:.*")

_EMAIL = re.compile(
    r"(?<![A-Za-z0-9À-ÖØ-öø-ÿ.+_-])[A-Za-z0-9À-ÖØ-öø-ÿ._%+-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24}(?![A-Za-z0-9-])"
)
_PHONE_WORDS = re.compile(
    r"\b(?:phone|telephone|mobile|cell|tel|telefon|telefono|telefone|fax|handy|whatsapp|call|text|rufen?|appel\w{0,4})\b",
    re.IGNORECASE,
)
_PHONE_REACH = 30
_NATIONAL_PHONE = re.compile(r"(?<![0-9A-Za-z.-])\(?0?\d(?:[ ()./-]{0,2}\d){6,14}(?![0-9A-Za-z])")
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
    plain = _plain(text)
    for start, end in _regions(plain.text):
        for place in _checked(_CARD, plain.text, start, end, 13, _is_card, amid=_PRINTED):
            yield plain.span(*place)


def _is_card(text: str) -> bool:
    digits = re.sub(r"\D", "", text)
    return _NETWORK.match(digits) is not None and len(set(digits)) > 1 and bool(luhn.is_valid(digits))


def _ibans(text: str) -> Iterator[Place]:
    plain = _plain(text)
    for start, end in _regions(plain.text):
        for place in _checked(_IBAN, plain.text, start, end, 15, partial(iban.is_valid, check_country=False)):
            yield plain.span(*place)


def _national_ids(text: str) -> Iterator[Place]:
    plain = _plain(text)
    regions = _regions(plain.text)
    for start, end in regions:
        for form, is_valid in _NATIONAL_IDS:
            for found in form.finditer(plain.text, start, end):
                if is_valid(found[0]):
                    yield plain.span(*found.span())
    lower = plain.text.lower()
    for country, words in _ANNOUNCING.items():
        is_any = _any_of(_ANNOUNCED_IDS[country])
        for word in words:
            for said in _beginnings(word, lower):
                for place in _checked(_ID_LIKE, plain.text, said, said + _ANNOUNCED_REACH, 6, is_any):
                    yield plain.span(*place)


def _any_of(checks: tuple[Callable[[str], bool], ...]) -> Callable[[str], bool]:
    return lambda text: any(check(text) for check in checks)


def _checked(
    pattern: re.Pattern[str],
    text: str,
    start: int,
    end: int,
    least: int,
    is_valid: Callable[[str], bool],
    *,
    amid: re.Pattern[str] | None = None,
) -> Iterator[Place]:
    """What checks, one after the other: from where a group begins, as many groups as check together.

    Other numbers and words may stand before and behind it, and look like parts of it. Behind others it has to have the
    form `amid`: of many groups some will check.
    """
    form: re.Pattern[str] | None = None
    while found := pattern.search(text, start, end):
        begin, piece = found.start(), found[0]
        cut = next(
            (n for n in _cuts(piece, least) if is_valid(piece[:n]) and (not form or form.fullmatch(piece[:n]))), 0
        )
        if cut:
            yield begin, begin + cut
        group = _GROUP.match(piece)
        start = begin + (cut or (group.end() if group else 1))
        form = None if cut or start >= found.end() else amid


def _beginnings(word: str, text: str) -> Iterator[int]:
    """Where `word`, at the beginning of one in `text`, has ended; anywhere in scripts without spaces."""
    at = text.find(word)
    while at >= 0:
        if at == 0 or not text[at - 1].isalnum() or not word.isascii():
            yield at + len(word)
        at = text.find(word, at + 1)


def _cuts(candidate: str, least: int) -> Iterator[int]:
    """The lengths of the beginnings of `candidate` that end where a group does, the longest first."""
    yield len(candidate)
    yield from (at for at in range(len(candidate) - 1, least - 1, -1) if candidate[at] in " .-/")


def _plain(text: str) -> Folded:
    """`text` with digits and letters of any width as ASCII and nothing invisible between them."""
    return Folded(text, None) if text.isascii() else fold(text)


def _secrets(text: str) -> Iterator[Place]:
    yield from _passwords(text)
    if not ("PRIVATE KEY" in text or "://" in text or any(len(word) >= _LONG_WORD for word in text.split())):
        return
    for hints, patterns in _SECRETS:
        if hints and not any(hint in text for hint in hints):
            continue
        for pattern in patterns:
            group = 1 if id(pattern) in _SECRET_GROUP_ONE else 0
            for found in pattern.finditer(text):
                yield found.span(group)


def _passwords(text: str) -> Iterator[Place]:
    folded = fold(text)
    for word in _PASSWORD_WORDS.finditer(folded.text):
        told = _TOLD.match(folded.text, word.end())
        if told:
            value = told["value"].rstrip(".!?)，。！")
            if len(value) >= 6 and not _NO_PASSWORD.fullmatch(value):
                start = told.start("value")
                yield folded.span(start, start + len(value))


def _phones(text: str) -> Iterator[Place]:
    if _INTERNATIONAL.search(text):
        # Numbers kept free for examples count too, so `possible` instead of `valid`.
        matcher = phonenumbers.PhoneNumberMatcher(text, None, phonenumbers.Leniency.POSSIBLE, max_tries=1000)
        yield from ((found.start, found.end) for found in matcher)
    plain = _plain(text)
    for word in _PHONE_WORDS.finditer(plain.text):
        found = _NATIONAL_PHONE.search(plain.text, word.end(), word.end() + _PHONE_REACH)
        if found and 7 <= sum(character.isdigit() for character in found[0]) <= 15:
            yield plain.span(*found.span())


def _emails(text: str) -> Iterator[Place]:
    if "@" in text:
        for found in _EMAIL.finditer(text):
            # What stands before the @ of an address of the web is a password.
            if "://" not in text[max(0, found.start() - 80) : found.start()].split(" ")[-1]:
                yield found.span()


SENSITIVE_DETECTORS: Mapping[Kind, Detector] = {
    Kind.PAYMENT_CARD: _payment_cards,
    Kind.IBAN: _ibans,
    Kind.NATIONAL_ID: _national_ids,
    Kind.SECRET: _secrets,
    Kind.PHONE: _phones,
    Kind.EMAIL: _emails,
}
