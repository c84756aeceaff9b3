"""Reading pages as a browser does, to tell what somebody's text turned into; and filling in their forms."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from urllib.parse import urljoin, urlsplit
from xml.etree.ElementTree import Comment, Element

import html5lib  # type: ignore[import-untyped]
from django.utils.html import escape

LINKS = {"action", "data", "formaction", "href", "src", "xlink:href", "hx-get", "hx-post"}
OWN = re.compile(r"(/(?!/)|#|\?|\Z)")
CONTROLS = {"input", "select", "textarea"}
NO_TEXT = {"checkbox", "radio", "submit", "button", "password", "file", "image", "reset"}

Shape = tuple[str, str, tuple[str, ...]]


@dataclass(frozen=True)
class Form:
    """A form as it stands in a page: where it goes, what it would send untouched, and what can be typed into."""

    method: str
    action: str
    sends: tuple[tuple[str, str], ...]
    """With the token."""
    free: tuple[tuple[str, int], ...]
    """What takes any words, and how many characters the page says it takes."""
    chosen: tuple[str, ...]
    """What is chosen, counted or carried along, but may come back as anything."""

    @property
    def names(self) -> frozenset[str]:
        return frozenset(name for name, _ in self.sends) | {name for name, _ in self.free}


class Page:
    def __init__(self, url: str, markup: str) -> None:
        self.url = url
        self.markup = markup

    @cached_property
    def root(self) -> Element:
        root: Element = html5lib.parse(self.markup, treebuilder="etree", namespaceHTMLElements=False)
        return root

    @cached_property
    def shapes(self) -> set[Shape]:
        """Each kind of element with the one around it and the names of its attributes."""
        return {
            (parent.tag, one.tag, tuple(sorted(one.attrib)))
            for parent in self.root.iter()
            if parent.tag is not Comment
            for one in parent
            if one.tag is not Comment
        }

    @cached_property
    def texts(self) -> list[str]:
        """What a reader is shown, and the values of attributes."""
        found = []
        for one in self.root.iter():
            if one.tag is not Comment and one.tag in ("p", "td", "dd", "li", "pre", "blockquote", "main", "textarea"):
                found.append("".join(one.itertext()))
            found += one.attrib.values()
        return found

    def faults(self) -> Iterator[str]:
        """What no page of the hub has, whatever is in it."""
        for one in self.root.iter():
            if one.tag is Comment:
                yield f"a comment: {str(one.text)[:80]!r}"
                continue
            for name, value in one.attrib.items():
                if name.startswith(("on", "hx-on", "data-hx-on")) or name in ("style", "srcdoc"):
                    yield f"<{one.tag} {name}={value[:80]!r}>"
                if name in LINKS and not OWN.match(value):
                    yield f"<{one.tag} {name}={value[:80]!r}> leads elsewhere"

    def unescaped(self, texts: list[str]) -> list[str]:
        """Those of `texts` that stand in the page's source as they are, though they need escaping."""
        return [one for one in texts if one in self.markup and escape(one) != one]

    def links(self) -> Iterator[str]:
        for one in self.root.iter("a"):
            if href := one.attrib.get("href"):
                yield urljoin(self.url, href)

    def forms(self) -> Iterator[Form]:
        for form in self.root.iter("form"):
            sends: list[tuple[str, str]] = []
            free: list[tuple[str, int]] = []
            chosen: list[str] = []
            for one in form.iter():
                if one.tag is Comment or one.tag not in CONTROLS or not one.attrib.get("name"):
                    continue
                name, kind = one.attrib["name"], one.attrib.get("type", "text")
                if kind in ("checkbox", "radio"):
                    if "checked" in one.attrib:
                        sends.append((name, one.attrib.get("value", "on")))
                elif kind not in NO_TEXT:
                    sends.append((name, _value(one)))
                if name == "csrfmiddlewaretoken":
                    continue
                if one.tag == "textarea" or (one.tag == "input" and kind in ("text", "search", "email")):
                    free.append((name, int(one.attrib.get("maxlength", 2_000))))
                elif kind != "password":
                    chosen.append(name)
            for button in form.iter("button"):
                if button.attrib.get("name") and button.attrib["name"] not in dict(sends):
                    sends.append((button.attrib["name"], button.attrib.get("value", "")))
            yield Form(
                method=form.attrib.get("method", "get").upper(),
                action=urlsplit(urljoin(self.url, form.attrib.get("action", ""))).path,
                sends=tuple(sends),
                free=tuple(free),
                chosen=tuple(dict.fromkeys(chosen)),
            )


def _value(control: Element) -> str:
    if control.tag == "textarea":
        return control.text or ""
    if control.tag == "select":
        options = [one.attrib.get("value", one.text or "") for one in control.iter("option")]
        chosen = [one.attrib.get("value", "") for one in control.iter("option") if "selected" in one.attrib]
        return next((one for one in [*chosen, *options] if one), "")
    return control.attrib.get("value", "")
