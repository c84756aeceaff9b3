"""Where this app holds personal data, for access and erasure."""

from audit.registry import PersonalDataStore
from audit.stores import ModelStore
from facts.models import (
    ErasedEvidence,
    Evidence,
    Extraction,
    Fact,
    FactTally,
    FactTransition,
    FactVersion,
    Recall,
    RecalledItem,
)


def fact_store() -> PersonalDataStore:
    return ModelStore(
        "facts",
        {
            RecalledItem: "recall__subject_id",
            Recall: "subject_id",
            Evidence: "version__fact__subject_id",
            FactTransition: "version__fact__subject_id",
            FactVersion: "fact__subject_id",
            FactTally: "subject_id",
            Fact: "subject_id",
            Extraction: "subject_id",
            ErasedEvidence: "subject_id",
        },
    )
