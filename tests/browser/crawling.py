"""Going through the console link by link, one page of each kind, as its crawl, its pictures and axe do."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import parse_qsl, urljoin, urlsplit

from playwright.sync_api import Page, Response

UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
LINKS = "[...document.querySelectorAll('a[href]')].map((link) => [link.href, link.hasAttribute('download')])"
# Served by others' code under a policy of their own, or ends the sign-in.
FILES = (".csv", ".json", ".jsonl")
LEFT_OUT = ("/api/", "/sign-out/", "/static/")


@dataclass(frozen=True)
class Link:
    url: str
    kind: str
    found_on: str
    is_file: bool = False

    @property
    def name(self) -> str:
        """The kind as it can name a file: `subjects-id-sessions`."""
        path, _, query = self.kind.partition("?")
        inside = re.sub(r"^/w/[^/]+/", "/", path).strip("/").replace("/", "-").replace(".", "-") or "overview"
        return inside.replace("{id}", "id") + (f"-by-{query.replace('&', '-')}" if query else "")


def kind_of(url: str) -> str:
    """The page that an address names, whoever it is about and whatever it is filtered by."""
    parts = urlsplit(url)
    names = "&".join(sorted({name for name, _ in parse_qsl(parts.query, keep_blank_values=True)}))
    return UUID.sub("{id}", parts.path) + (f"?{names}" if names else "")


def crawl(page: Page, *, start: str) -> Iterator[tuple[Link, Response | None]]:
    """Open one page of each kind that can be reached from `start`; yields each as it is open, files unopened."""
    waiting, known = [Link(start, kind_of(start), "")], {kind_of(start)}
    host = urlsplit(page.url).netloc
    while waiting:
        link = waiting.pop(0)
        if link.is_file:
            yield link, None
            continue
        yield link, page.goto(link.url)
        for href, is_file in page.evaluate(LINKS):
            url = urljoin(page.url, href.split("#")[0])
            kind = kind_of(url)
            if urlsplit(url).netloc != host or kind in known or urlsplit(url).path.startswith(LEFT_OUT):
                continue
            known.add(kind)
            waiting.append(Link(url, kind, link.url, is_file or urlsplit(url).path.endswith(FILES)))
