"""Keyed digests: without the key nobody can try names or ids against what was kept of erased ones.

The key is a file of the data directory, made when it is first needed, or `ERASURE_KEY`. It is not the secret key: that
one is replaced from time to time, and digests that nobody can compute any more recognise nothing.
"""

import contextlib
import hashlib
import hmac
import os
import secrets
from functools import lru_cache
from pathlib import Path

from django.conf import settings

FILE = "erasure_key"


def digest_of(kind: str, *parts: str) -> bytes:
    """HMAC-SHA-256 of what `kind` of thing this is and what it is called."""
    message = b"\x00".join(part.encode() for part in (kind, *parts))
    return hmac.new(_key(), message, hashlib.sha256).digest()


def key_id() -> str:
    """Tells keys apart, and tells nothing of them."""
    return hashlib.sha256(b"memoryhub erasure key" + _key()).hexdigest()[:16]


def _key() -> bytes:
    return settings.ERASURE_KEY.encode() if settings.ERASURE_KEY else _kept(settings.DATA_DIR / FILE)


@lru_cache(maxsize=8)
def _kept(path: Path) -> bytes:
    """The key in that file, made when there is none; whoever comes second takes what the first one made."""
    with contextlib.suppress(FileExistsError):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        fresh = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
        try:
            with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(secrets.token_urlsafe(48) + "\n")
                file.flush()
                os.fsync(file.fileno())
            os.link(fresh, path)
        finally:
            fresh.unlink(missing_ok=True)
    return path.read_text().strip().encode()
