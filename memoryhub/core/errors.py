"""What every domain error of the house tells: which input is at fault, and what to do."""


class InputError(Exception):
    """Base of what a service refuses. `field` names the input at fault, `message` says what to do."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field
        self.message = message
