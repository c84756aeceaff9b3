"""What can go wrong when a conversation is recorded."""

from memoryhub.core.errors import InputError


class RecordingError(InputError):
    """Base of this app's errors."""


class SessionOfAnother(RecordingError):
    """The session exists under another subject or another agent."""


class TurnConflict(RecordingError):
    """A turn with the same index or id holds other content."""


class UnknownSession(RecordingError):
    """No such session in this workspace."""


class UnknownSubject(RecordingError):
    """Nobody is known here by that id."""
