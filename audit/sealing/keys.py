"""The keys that sign: one for checkpoints, which the sealer alone has to read, and one for receipts.

Each is a file of the data directory, made with mode 0600 when it is first needed, or the environment's
(`AUDIT_SIGNING_KEY`, `AUDIT_RECEIPT_KEY`: 32 bytes in base64).
"""

import base64
import binascii
import contextlib
import os
import secrets
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from pathlib import Path

import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.conf import settings

from audit.sealing.models import SigningKey
from audit.verify import key_id_of

log = structlog.get_logger(__name__)


class Purpose(StrEnum):
    CHECKPOINTS = "checkpoints"
    RECEIPTS = "receipts"


FILES = {Purpose.CHECKPOINTS: "audit_signing_key", Purpose.RECEIPTS: "audit_receipt_key"}


class KeyUnusable(Exception):
    """What stands where the key should is none."""


@dataclass(frozen=True)
class Signer:
    id: str
    public: bytes
    private: Ed25519PrivateKey

    def sign(self, message: bytes) -> bytes:
        return self.private.sign(message)


def signer(purpose: Purpose) -> Signer:
    """The key that signs now. Raises KeyUnusable."""
    given = settings.AUDIT_SIGNING_KEY if purpose is Purpose.CHECKPOINTS else settings.AUDIT_RECEIPT_KEY
    if given:
        return _read(given)
    path = Path(settings.DATA_DIR) / FILES[purpose]
    try:
        changed = path.stat().st_mtime_ns
    except FileNotFoundError:
        _make(path, purpose)
        changed = path.stat().st_mtime_ns
    return _kept(path, changed)


def publish(one: Signer, purpose: Purpose) -> None:
    """Keep the public half for good, in the caller's transaction."""
    SigningKey.objects.bulk_create(
        [SigningKey(id=one.id, public=one.public, purpose=purpose.value)], ignore_conflicts=True
    )


def rotate(purpose: Purpose) -> Signer:
    """Put a new key in the place of the one in the data directory. Raises KeyUnusable when the environment gives it.

    The old private key is not kept: what it signed is checked with its public half.
    """
    if settings.AUDIT_SIGNING_KEY if purpose is Purpose.CHECKPOINTS else settings.AUDIT_RECEIPT_KEY:
        raise KeyUnusable("the key comes from the environment: replace it there and restart the hub")
    path = Path(settings.DATA_DIR) / FILES[purpose]
    fresh = _fresh(path)
    fresh.replace(path)
    return signer(purpose)


@lru_cache(maxsize=8)
def _kept(path: Path, changed: int) -> Signer:
    return _read(path.read_text().strip())


def _read(text: str) -> Signer:
    try:
        seed = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        seed = b""
    if len(seed) != 32:
        raise KeyUnusable("a signing key is 32 bytes in base64")
    private = Ed25519PrivateKey.from_private_bytes(seed)
    public = private.public_key().public_bytes_raw()
    return Signer(key_id_of(public), public, private)


def _make(path: Path, purpose: Purpose) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    fresh = _fresh(path)
    try:
        # Whoever comes second takes what the first one made.
        with contextlib.suppress(FileExistsError):
            os.link(fresh, path)
            log.warning("audit.key_made", kind=purpose.value)
    finally:
        fresh.unlink(missing_ok=True)


def _fresh(path: Path) -> Path:
    fresh = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(base64.b64encode(secrets.token_bytes(32)).decode() + "\n")
        file.flush()
        os.fsync(file.fileno())
    return fresh
