"""Where this app holds personal data, for access and erasure."""

from audit.registry import PersonalDataStore
from audit.stores import ModelStore
from memoryhub.core.search.models import Corpus, Pending, Posting, Vector
from sessions.models import Session, Subject, Turn


def stores() -> list[PersonalDataStore]:
    """The index too: it lies below the subjects it serves and cannot register itself. It holds facts as well."""
    return [
        ModelStore("sessions", {Turn: "session__subject_id", Session: "subject_id", Subject: "pk"}),
        ModelStore(
            "search",
            {Pending: "subject_id", Vector: "subject_id", Posting: "subject_id", Corpus: "subject_id"},
            exported=False,
        ),
    ]
