"""Versions of the Model Context Protocol, and which one a message is in. Pure.

Up to 2025-11-25 a client begins with `initialize` and names the version in a header from then on. Since 2026-07-28
every request carries what it is about in `_meta`, and the headers repeat it for whoever routes by them. No version
keeps anything between requests here, so no session is ever given out.
"""

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass

from memoryhub.mcp.messages import HEADER_MISMATCH, INVALID_PARAMS, UNSUPPORTED_VERSION, Message, Refusal

HANDSHAKE = ("2025-06-18", "2025-11-25")
"""Versions that begin with `initialize`. Before them one request held several messages, and would count as one."""
MODERN = ("2026-07-28",)
SUPPORTED = (*HANDSHAKE, *MODERN)

VERSION_HEADER, METHOD_HEADER, NAME_HEADER = "MCP-Protocol-Version", "Mcp-Method", "Mcp-Name"
VERSION_KEY = "io.modelcontextprotocol/protocolVersion"
CAPABILITIES_KEY = "io.modelcontextprotocol/clientCapabilities"
SERVER_KEY = "io.modelcontextprotocol/serverInfo"
NAMED_BY = {"tools/call": "name", "resources/read": "uri"}
"""What of a message's parameters the name header repeats."""
ENCODED = re.compile(r"=\?base64\?([A-Za-z0-9+/=]*)\?=\Z")


@dataclass(frozen=True)
class Spoken:
    """The version that a message is in. None before it is agreed."""

    version: str | None

    @property
    def modern(self) -> bool:
        return self.version in MODERN


def agreed(asked: object) -> str:
    """The version to go on with, of what a client asks for in `initialize`."""
    return asked if isinstance(asked, str) and asked in HANDSHAKE else HANDSHAKE[-1]


def spoken(message: Message, headers: Mapping[str, str]) -> Spoken:
    """Raises Refusal where header and message do not agree, or the version is not one of ours."""
    version = headers.get(VERSION_HEADER)
    if version not in MODERN and VERSION_KEY not in message.meta:
        if version is not None and version not in HANDSHAKE:
            raise _unsupported(version)
        return Spoken(version)
    if message.id is not None:
        _check_envelope(message, headers)
    return Spoken(version)


def _check_envelope(message: Message, headers: Mapping[str, str]) -> None:
    missing = [key for key in (VERSION_KEY, CAPABILITIES_KEY) if key not in message.meta]
    if missing:
        raise Refusal(INVALID_PARAMS, f"params._meta lacks {', '.join(missing)}.", status=400)
    version = message.meta[VERSION_KEY]
    if headers.get(VERSION_HEADER) != version:
        raise _mismatch(VERSION_HEADER)
    if headers.get(METHOD_HEADER) != message.method:
        raise _mismatch(METHOD_HEADER)
    named = message.params.get(NAMED_BY.get(message.method, ""))
    if named is not None and decoded(headers.get(NAME_HEADER)) != named:
        raise _mismatch(NAME_HEADER)
    if version not in MODERN:
        raise _unsupported(version)


def decoded(value: str | None) -> str | None:
    """The value of a header, which may be in base64 between marks; None for one that cannot be read."""
    found = ENCODED.match(value or "")
    if found is None:
        return value
    try:
        return base64.b64decode(found[1], validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None


def _mismatch(header: str) -> Refusal:
    return Refusal(HEADER_MISMATCH, f"The header {header} does not say what the message says.", status=400)


def _unsupported(version: object) -> Refusal:
    data = {"supported": list(SUPPORTED), "requested": version}
    return Refusal(UNSUPPORTED_VERSION, "This version of the protocol is not spoken here.", data=data, status=400)
