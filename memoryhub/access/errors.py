"""What changing access can refuse."""


class AccessError(Exception):
    """A change that cannot be made as asked. The message may be shown to whoever asked."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class KeyNotLive(AccessError):
    """The key is revoked or expired."""


class StillRotating(AccessError):
    """Of this key two are live already."""


class NotYourScope(AccessError):
    """A token was to have a scope that its key lacks, or that no token may have."""


class PolicyMoved(AccessError):
    """The settings were changed by somebody else meanwhile."""


class LastAdministrator(AccessError):
    """Somebody has to administer the workspace."""

    def __init__(self) -> None:
        super().__init__("This is the workspace's only administrator: make somebody else one first.")


class InvitationRefused(AccessError):
    """The link is wrong, used, taken back or too old. Nothing says which."""

    def __init__(self) -> None:
        super().__init__("This invitation does not work.")
