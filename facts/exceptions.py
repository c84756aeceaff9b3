"""What can go wrong when facts are written. `field` names the input at fault, `message` says what to do."""

from memoryhub.core.errors import InputError


class FactError(InputError):
    """Base of this app's errors."""


class UnknownFact(FactError):
    """No such fact, version or turn here."""


class VersionConflict(FactError):
    """The fact has moved past the version that the caller saw."""


class NotPossible(FactError):
    """The fact's present state does not allow it."""


class PlanChanged(FactError):
    """What was decided on is not what would be done by now."""


class OwnWork(FactError):
    """Nobody reviews what they wrote themselves."""


class TooManyFacts(FactError):
    """The agent wrote far more about this person today than it may. Nothing was kept of this."""


class RecordingPaused(FactError):
    """Nothing is kept about this subject now."""


class SurfacingPaused(FactError):
    """Nothing about this subject is given out now."""
