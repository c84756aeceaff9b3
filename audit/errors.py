"""What `audit` refuses, by name."""


class AuditError(Exception):
    """Base of everything this app raises."""


class NotInTransaction(AuditError):
    """An entry must commit or roll back together with what it tells of."""


class EntryRefused(AuditError, ValueError):
    """The entry holds something the log must never keep, or names an action nobody registered."""
