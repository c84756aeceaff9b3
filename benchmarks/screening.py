"""What screening finds and what it takes for something that it is not, on labelled texts; and what it costs.

    python -m benchmarks.screening [--misses] [--small]

Reads benchmarks/data/screening (see the README there): a half for tuning and a half that was not looked at meanwhile.
For sensitive data every marked value counts: it is found when no letter or digit of it is left. A finding where nothing
of its class is marked is a false one. Suspicious passages count by text, since all that follows from them is an order
of work.

Promises, on the held-out half: what has check digits or forms of its own (cards, accounts, ids, keys) recall ≥ 0.90 and
precision ≥ 0.95, since what is missed is kept and what is wrongly redacted is lost; e-mail and telephone numbers recall
≥ 0.80, as numbers written without a country are found only beside a word that announces them; instructions recall
≥ 0.60 with false ones in at most 1 of 10 harmless texts, since detectors only sort what waits anyway; the other
suspicious kinds recall ≥ 0.85. A kilobyte of talk takes at most 2 ms for what is redacted by default, and a
text twice as long at most 3.4 times as long, whatever stands in it: no pattern goes back and forth without bound.

`--misses` names what went wrong, of the half for tuning only. `--small` times fewer repetitions.
"""

import argparse
import base64
import json
import random
import re
import string
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.harness import print_table
from memoryhub.access.policy import WorkspacePolicy
from memoryhub.core.screening import SENSITIVE, SUSPICIOUS, Finding, Kind, screen

DATA = Path(__file__).parent / "data" / "screening"
HALVES = ("tuning", "held_out")
MARKED = re.compile(r"⟦(\w+)\|([^⟧]*)⟧")
STRONG = frozenset({Kind.PAYMENT_CARD, Kind.IBAN, Kind.NATIONAL_ID, Kind.SECRET})
LETTERS = string.ascii_letters + string.digits
HEX = "0123456789abcdef"


@dataclass(frozen=True)
class Sample:
    """A text, the sensitive values in it as (kind, start, end), and the suspicious kinds."""

    text: str
    values: tuple[tuple[Kind, int, int], ...]
    suspicious: frozenset[Kind]

    @property
    def harmless(self) -> bool:
        return not self.values and not self.suspicious


@dataclass
class Tally:
    wanted: int = 0
    found: int = 0
    right: int = 0
    wrong: int = 0
    misses: list[str] = field(default_factory=list)
    false: list[str] = field(default_factory=list)

    @property
    def recall(self) -> float:
        return self.found / self.wanted if self.wanted else 1.0

    @property
    def precision(self) -> float:
        return self.right / (self.right + self.wrong) if self.right + self.wrong else 1.0


def keys(seed: int) -> dict[str, Callable[[], str]]:
    """Makers of keys in the forms of their issuers, out of nothing but a seed."""
    chance = random.Random(seed)  # noqa: S311 - nothing is kept secret by it

    def some(alphabet: str, length: int) -> str:
        return "".join(chance.choice(alphabet) for _ in range(length))

    def unpadded(value: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    return {
        "aws_access": lambda: "AKIA" + some(string.ascii_uppercase + "234567", 16),
        "aws_secret": lambda: some(LETTERS + "/+", 40),
        "openai": lambda: f"sk-proj-{some(LETTERS, 74)}T3BlbkFJ{some(LETTERS, 74)}",
        "openai_old": lambda: f"sk-{some(LETTERS, 20)}T3BlbkFJ{some(LETTERS, 20)}",
        "anthropic": lambda: f"sk-ant-api03-{some(LETTERS + '_-', 93)}AA",
        "github": lambda: f"ghp_{some(LETTERS, 36)}",
        "github_pat": lambda: f"github_pat_{some(LETTERS, 22)}_{some(LETTERS, 59)}",
        "gitlab": lambda: f"glpat-{some(LETTERS, 20)}",
        "slack": lambda: f"xoxb-{some(string.digits, 12)}-{some(string.digits, 13)}-{some(LETTERS, 24)}",
        "slack_hook": lambda: (
            f"https://hooks.slack.com/services/T{some(string.ascii_uppercase, 8)}"
            f"/B{some(string.ascii_uppercase, 8)}/{some(LETTERS, 24)}"
        ),
        "stripe": lambda: f"sk_live_{some(LETTERS, 24)}",
        "jwt": lambda: ".".join(
            (unpadded({"alg": "HS256", "typ": "JWT"}), unpadded({"sub": "77", "exp": 1}), some(LETTERS, 43))
        ),
        "password": lambda: some(LETTERS, 14),
        "private_key": lambda: "\n".join(
            (
                "-----BEGIN " + "RSA PRIVATE KEY-----",
                *(some(LETTERS + "/+", 64) for _ in range(12)),
                "-----END " + "RSA PRIVATE KEY-----",
            )
        ),
        "google": lambda: f"AIza{some(LETTERS + '_-', 35)}",
        "npm": lambda: f"npm_{some(LETTERS, 36)}",
        "azure": lambda: some(LETTERS + "/+", 86) + "==",
        "sendgrid": lambda: f"SG.{some(LETTERS, 22)}.{some(LETTERS, 43)}",
        "telegram": lambda: f"{some('123456789', 10)}:AA{some(LETTERS, 33)}",
        "memoryhub": lambda: f"mh_{some(HEX, 8)}_{some(LETTERS, 43)}",
        "huggingface": lambda: f"hf_{some(LETTERS, 34)}",
        "digitalocean": lambda: f"dop_v1_{some(HEX, 64)}",
        "shopify": lambda: f"shpat_{some(HEX, 32)}",
        "vault": lambda: f"hvs.{some(LETTERS, 90)}",
        "pypi": lambda: f"pypi-AgEIcHlwaS5vcmc{some(LETTERS, 120)}",
        "grafana": lambda: f"glsa_{some(LETTERS, 32)}_{some(HEX, 8)}",
        "linear": lambda: f"lin_api_{some(LETTERS, 40)}",
        "notion": lambda: f"ntn_{some(string.digits, 11)}{some(LETTERS, 35)}",
        "mailchimp": lambda: f"{some(HEX, 32)}-us14",
    }


def read_samples(path: Path) -> list[Sample]:
    make = keys(seed=20_261_123)
    return [_sample(json.loads(line), make) for line in path.read_text(encoding="utf-8").splitlines()]


def _sample(stored: dict[str, Any], make: dict[str, Callable[[], str]]) -> Sample:
    parts: list[str] = []
    values: list[tuple[Kind, int, int]] = []
    text, length, done = str(stored["text"]), 0, 0
    for mark in MARKED.finditer(text):
        value = make[mark[2][1:]]() if mark[2].startswith("@") else mark[2]
        parts += [text[done : mark.start()], value]
        start = length + mark.start() - done
        length = start + len(value)
        values.append((Kind(mark[1]), start, length))
        done = mark.end()
    return Sample("".join([*parts, text[done:]]), tuple(values), frozenset(map(Kind, stored["suspicious"])))


def judge(samples: Iterable[Sample]) -> dict[Kind, Tally]:
    tallies: dict[Kind, Tally] = defaultdict(Tally)
    for sample in samples:
        found = screen(sample.text, kinds=SENSITIVE)
        for kind, start, end in sample.values:
            tally = tallies[kind]
            tally.wanted += 1
            if _gone(sample.text, start, end, found):
                tally.found += 1
            else:
                tally.misses.append(sample.text)
        for one in found:
            tally = tallies[one.kind]
            if any(kind == one.kind and start < one.end and one.start < end for kind, start, end in sample.values):
                tally.right += 1
            else:
                tally.wrong += 1
                tally.false.append(f"{sample.text[one.start : one.end]!r} in {sample.text!r}")
        noticed = {one.kind for one in screen(sample.text, kinds=SUSPICIOUS)}
        for kind in noticed | sample.suspicious:
            tally = tallies[kind]
            tally.wanted += kind in sample.suspicious
            tally.found += kind in sample.suspicious & noticed
            tally.right += kind in sample.suspicious & noticed
            tally.wrong += kind not in sample.suspicious
            if kind not in noticed:
                tally.misses.append(sample.text)
            elif kind not in sample.suspicious:
                tally.false.append(sample.text)
    return tallies


def _gone(text: str, start: int, end: int, found: Sequence[Finding]) -> bool:
    """Whether nothing that could be read of the value is left when what was found is taken out."""
    left = [place for place in range(start, end) if not any(one.start <= place < one.end for one in found)]
    return not any(text[place].isalnum() for place in left)


def microseconds_per_kilobyte(text: str, kinds: frozenset[Kind], repetitions: int) -> float:
    best = float("inf")
    for _ in range(repetitions):
        began = time.perf_counter()
        screen(text, kinds=kinds)
        best = min(best, time.perf_counter() - began)
    return best * 1e9 / len(text.encode())


def cost(samples: Sequence[Sample], *, small: bool) -> tuple[float, float, float]:
    """Microseconds a kilobyte over ordinary talk: of what is redacted by default, of everything sensitive, of all."""
    talk = [sample.text for sample in samples if sample.harmless]
    chance = random.Random(1)  # noqa: S311 - an order, not a secret
    texts = [" ".join(chance.sample(talk, 10)) for _ in range(20 if small else 200)]
    by_default = WorkspacePolicy().screened_kinds

    def over(kinds: frozenset[Kind]) -> float:
        return sum(microseconds_per_kilobyte(text, kinds, 5) for text in texts) / len(texts)

    return over(by_default), over(SENSITIVE), over(frozenset(Kind))


def hostile_texts(length: int) -> dict[str, str]:
    """Texts of about `length` characters that are slow for patterns which go back and forth."""

    def filled(part: str) -> str:
        return (part * (length // len(part) + 1))[:length]

    return {
        "digits": filled("4"),
        "digits and spaces": filled("4111 "),
        "single digits": filled("1 "),
        "card after card": filled("4111 1111 1111 1112 "),
        "accounts": filled("DE89 3704 0044 0532 0130 01 "),
        "account of one word": filled("DE893704"),
        "ids in context": filled("bsn 111222334 pesel 44051401358 "),
        "letters": filled("a"),
        "new lines": filled("\n"),
        "spaces": filled(" "),
        "dots and at": filled("a.b@"),
        "at": filled("@"),
        "percent": filled("%"),
        "plus": filled("+1 2"),
        "telephones": filled("+44 20 7946 09 "),
        "announced telephones": filled("tel 030 23125 "),
        "passwords": filled("password is a "),
        "schemes": filled("a://b:c"),
        "web tokens": filled("eyJhbGciOi.eyJ"),
        "web token of one word": filled("eyJ"),
        "key headers": filled("-----BEGIN RSA PRIVATE KEY-----"),
        "sk": filled("sk-"),
        "slack": filled("xoxb-1-"),
        "aws": filled("aws key "),
        "headings": filled("\n#"),
        "roles": filled("\nsystem "),
        "ignore": filled("ignore the the the "),
        "whenever": filled("whenever the user "),
        "brackets": filled("["),
        "images": filled("![a]("),
        "tags": filled("<"),
        "braces": filled("{{a"),
        "base64": filled("QUJD"),
        "hexadecimal": filled("41"),
        "invisible": filled("\u200b"),
        "joined digits": filled("4\u200b1"),
        "full width": filled("\uff14\uff11"),
        "long compatibility forms": filled("\ufdfa"),
        "lookalikes": filled("\u0456gn\u043ere "),
        "accents": filled("e\u0301"),
        "Chinese": filled("忽略"),
    }


def slowest(length: int) -> tuple[str, float, float]:
    """The hostile text that takes longest of all kinds, its microseconds a kilobyte, and the most that any takes more
    than the same at half its length, by the kilobyte: 1 where the time grows with the length, 2 with its square."""
    worst, growth = ("", 0.0), 0.0
    halves = hostile_texts(length // 2)
    for name, text in hostile_texts(length).items():
        whole = microseconds_per_kilobyte(text, frozenset(Kind), 2)
        growth = max(growth, whole / microseconds_per_kilobyte(halves[name], frozenset(Kind), 2))
        worst = max(worst, (name, whole), key=lambda one: one[1])
    return *worst, growth


def report(half: str, tallies: dict[Kind, Tally], samples: Sequence[Sample]) -> None:
    print(f"{half}: {len(samples)} texts, {sum(sample.harmless for sample in samples)} of them harmless")
    print_table(
        ("kind", "wanted", "found", "recall", "false", "precision"),
        [
            (kind.value, t.wanted, t.found, f"{t.recall:.2f}", t.wrong, f"{t.precision:.2f}")
            for kind in Kind
            if (t := tallies[kind])
        ],
    )
    print()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--misses", action="store_true", help="name what went wrong in the half for tuning")
    parser.add_argument("--small", action="store_true", help="a reduced size, as CI runs it")
    arguments = parser.parse_args()
    for half in HALVES:
        samples = read_samples(DATA / f"{half}.jsonl")
        tallies = judge(samples)
        report(half, tallies, samples)
        if arguments.misses and half == "tuning":
            for kind, tally in tallies.items():
                for text in tally.misses:
                    print(f"missed {kind.value}: {text!r}")
                for text in tally.false:
                    print(f"false {kind.value}: {text}")
    by_default, sensitive, everything = cost(samples, small=arguments.small)
    name, hostile, growth = slowest(20_000 if arguments.small else 100_000)
    print_table(
        ("what is looked for in ordinary talk", "µs a kilobyte"),
        [
            ("what is redacted by default", f"{by_default:.0f}"),
            ("everything sensitive", f"{sensitive:.0f}"),
            ("everything", f"{everything:.0f}"),
            (f"everything, in the slowest hostile text ({name})", f"{hostile:.0f}"),
        ],
    )
    print()
    verdict(tallies, harmless=sum(sample.harmless for sample in samples), talk=by_default, growth=growth)


def verdict(tallies: dict[Kind, Tally], *, harmless: int, talk: float, growth: float) -> None:
    """Print PASS or FAIL with the figures of the held-out half, and end."""

    def pooled(kinds: Iterable[Kind]) -> Tally:
        some = [tallies[kind] for kind in kinds]
        return Tally(*(sum(getattr(one, name) for one in some) for name in ("wanted", "found", "right", "wrong")))

    strong, told = pooled(STRONG), pooled(SENSITIVE - STRONG)
    instructions, others = tallies[Kind.INSTRUCTION], pooled(SUSPICIOUS - {Kind.INSTRUCTION})
    kept = (
        strong.recall >= 0.90
        and strong.precision >= 0.95
        and told.recall >= 0.80
        and instructions.recall >= 0.60
        and instructions.wrong <= harmless / 10
        and others.recall >= 0.85
        and talk <= 2000
        and growth <= 1.7
    )
    print(
        f"{'PASS' if kept else 'FAIL'} held out: cards, accounts, ids, keys recall {strong.recall:.2f} precision "
        f"{strong.precision:.2f}; telephones and e-mail recall {told.recall:.2f}; instructions recall "
        f"{instructions.recall:.2f}, {instructions.wrong} false in {harmless} harmless texts; other suspicious kinds "
        f"recall {others.recall:.2f}; {talk:.0f} µs a kilobyte; twice the length takes at most "
        f"{2 * growth:.1f} times as long"
    )
    sys.exit(not kept)


if __name__ == "__main__":
    main()
