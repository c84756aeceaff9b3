"""What the desk refuses."""

from collections.abc import Mapping

from memoryhub.core.errors import InputError


class RequestError(InputError):
    """Base of what can go wrong here."""


class UnknownRequest(RequestError):
    """There is no such person, request or hold here."""


class Unacceptable(RequestError):
    """What was sent cannot be."""


class NotNow(RequestError):
    """It is not open in the state that things are in."""


class SamePerson(RequestError):
    """A second person has to do it."""


class ErasureRuns(RequestError):
    """A hold comes too late: an erasure is under way. `left` says what is still there, rows by store."""

    def __init__(self, left: Mapping[str, int]) -> None:
        rows = sum(left.values())
        told = ", ".join(f"{count} in {store}" for store, count in left.items() if count) or "nothing"
        super().__init__("subject_id", f"An erasure of this person is under way; {rows} rows are left: {told}.")
        self.left = dict(left)
