"""Who did what, provably. `audit.record(...)` is called by every service, in its own transaction.

This app lies under the domain: it imports none of the other apps and has no foreign keys, so what it names by plain
ids may go while the entries stay.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from audit.actors import Actor
    from audit.services import receipt, record

__all__ = ["Actor", "receipt", "record"]


def __getattr__(name: str) -> Any:
    # Models cannot be imported while Django is still loading the apps, so these resolve at first use.
    if name == "Actor":
        from audit.actors import Actor

        return Actor
    if name in {"receipt", "record"}:
        from audit import services

        return getattr(services, name)
    raise AttributeError(f"module 'audit' has no attribute {name!r}")
