"""What a workspace states about its processing (GDPR art. 30): the part of its policy that nobody can derive."""

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field


class LegalBasis(StrEnum):
    """Of GDPR art. 6(1)."""

    CONSENT = "consent"
    CONTRACT = "contract"
    LEGAL_OBLIGATION = "legal_obligation"
    VITAL_INTERESTS = "vital_interests"
    PUBLIC_TASK = "public_task"
    LEGITIMATE_INTERESTS = "legitimate_interests"


PURPOSE = "Agents of this service remember you between conversations: what was said, and what was learned from it."
TEXT = 2_000

WORDS: dict[str, tuple[str, str]] = {
    "register_controller": ("Controller", "Who decides: name and address; joint controllers and representative too."),
    "register_contact": (
        "Contact",
        "How to reach the controller and, where there is one, the data protection officer.",
    ),
    "register_purpose": ("Purpose", "What memory is for. Copies for the people remembered say it in these words."),
    "register_basis": ("Legal basis", "Of GDPR art. 6(1)."),
    "register_people": ("People", "Whose data it is, as categories."),
    "register_transfers": (
        "Transfers",
        "To which countries outside of the EEA it goes, and on which ground. Empty: none.",
    ),
    "register_security": ("Further security measures", "What your organisation does besides what the hub does."),
}


class RegisterRules(BaseModel):
    """The statements, in the workspace's own words."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    register_controller: str = Field(default="", max_length=TEXT)
    register_contact: str = Field(default="", max_length=TEXT)
    register_purpose: str = Field(default=PURPOSE, min_length=1, max_length=TEXT)
    register_basis: LegalBasis = LegalBasis.LEGITIMATE_INTERESTS
    register_people: str = Field(default="People who talk with the service's agents.", max_length=TEXT)
    register_transfers: str = Field(default="", max_length=TEXT)
    register_security: str = Field(default="", max_length=TEXT)
