"""What can go wrong when a conversation is recorded."""


class RecordingError(Exception):
    """Base of this app's errors. `field` names the input at fault, `message` says what to do."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field
        self.message = message


class SessionOfAnother(RecordingError):
    """The session exists under another subject or another agent."""


class TurnConflict(RecordingError):
    """A turn with the same index or id holds other content."""


class UnknownSession(RecordingError):
    """No such session in this workspace."""


class UnknownSubject(RecordingError):
    """Nobody is known here by that id."""
