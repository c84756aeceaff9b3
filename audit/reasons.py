"""Why something was done, as codes.

The vocabulary is closed: agents and people choose a reason, and an open field would let content into the log one word
at a time. A person's own words go into a note on the domain row, which is erased with the subject.
"""

from collections.abc import Mapping

from audit.errors import EntryRefused

REASONS: Mapping[str, str] = {
    # How a statement was placed among what is known
    "new": "nothing was known about it",
    "same_content": "it says what is known already",
    "same_attribute": "it gives a known attribute another content",
    "replaces": "the writer named the fact it replaces",
    "coexists": "the writer said that both hold",
    "no_attribute": "without an attribute it stands beside what is known",
    "said_before": "it was said before what is known by now",
    "several_stand": "several stand side by side already, so it joins them",
    "said_by_subject": "the subject says what an agent wrote",
    # Why a version waits for a person
    "contradicts_pinned": "it contradicts a pinned fact",
    "contradicts_vouched": "it contradicts what a person stands behind",
    "contradicts_subject": "an agent contradicts what the subject said",
    "of_another": "it would change what another agent brought in",
    "marks_stale": "an agent says that it is no longer true",
    "restores": "an agent wants an earlier version back",
    "asks_erasure": "the person asked an agent to have it erased",
    "rejected_before": "a person turned it down before",
    "low_confidence": "who read it out of the turns was not sure",
    "special_category": "it tells of health, religion or the like (GDPR art. 9)",
    "sensitive_data": "it holds sensitive data",
    "echo": "its evidence only repeats what memory told before",
    "withheld": "it comes from a turn that is withheld",
    "too_many": "its writer wrote more about this person today than it may",
    "too_many_versions": "its writer changed this fact more often today than it may",
    "too_long": "it is longer than a sentence can be",
    # Why a fact was put right, marked stale, restored or turned down
    "corrected": "a person put it right",
    "contradicted": "the subject said otherwise",
    "outdated": "it was true and no longer is",
    "wrong": "it never was true",
    "duplicate": "another fact says the same",
    "not_about_subject": "it is about somebody or something else",
    "not_stated": "the turn does not say it",
    "sensitive": "it should not be kept",
    "expired": "its time ran out",
    "restored": "it holds after all",
    "superseded": "a newer version took its place",
    "reviewed": "a person looked at it and let it in",
    "suspicious": "it looks like an attempt to plant something",
    "untrusted_source": "it came from a tool or an import",
    "rolled_back": "what its writer wrote was taken back",
    "not_shared": "it was for its own agent alone until now",
    # Requests of the person remembered, and rules
    "subject_request": "the person remembered asked for it",
    "legal_obligation": "a law or a court asks for it",
    "retention": "the time it is kept for ended",
    "legal_hold": "a legal hold keeps it",
    "litigation": "it is needed to establish, exercise or defend legal claims",
    "authority": "an authority asks that it be kept",
    "identity_doubtful": "there is reasonable doubt that the asker is the person",
    "identity_not_shown": "the asker did not show to be the person",
    "not_this_person": "it is about somebody else",
    "unfounded": "the request is manifestly unfounded",
    "excessive": "the request is excessive",
    "overriding_grounds": "compelling grounds to go on override it",
    "exempt": "the law exempts it",
    "complex": "the request is complex",
    "many_requests": "there are many requests",
    "withdrawn": "the asker took it back",
    "nothing_left": "nothing was there any more",
    "support_case": "somebody asked for help",
    "quality_check": "what agents remember is being checked",
    "investigation": "an incident is being looked into",
    # Why nothing, or less, was done
    "recording_paused": "recording is paused for this subject",
    "extraction_paused": "extraction is paused for this subject",
    "surfacing_paused": "surfacing is paused for this subject",
    "restricted": "the subject is restricted",
    "unknown_subject": "nobody is known by that id",
    "missing_scope": "the key lacks the scope",
    "not_bound": "the token is bound to another person or session",
    "keys_only": "the call is for keys, and came with a token",
    "tokens_only": "the call is for subject tokens, and came with a key",
    "missing_role": "the person lacks the role",
    "memory_mode": "the agent's memory mode forbids it",
    "wrong_credentials": "the name or the password was not right",
    "too_many_attempts": "too many attempts",
    "embedder_unavailable": "the embedder failed or was too slow",
    "extractor_unavailable": "the extractor failed or was too slow",
    "extractor_refused": "the model declined to answer",
    "answer_unreadable": "the model's answer did not fit",
    "attempts_exhausted": "every attempt failed",
    "hopeless": "trying again would change nothing",
    # Housekeeping
    "requested": "somebody asked for it",
    "demonstration_over": "the demonstration was removed",
    "rotated": "another took its place",
    "compromised": "it may be in the wrong hands",
    "no_longer_needed": "nobody needs it any more",
    "first_start": "the hub was started for the first time",
    "other": "none of the others; see the note",
}


def known_reason(reason: str) -> str:
    """`reason` itself, '' included. Raises EntryRefused for one that is not in the table."""
    if reason and reason not in REASONS:
        raise EntryRefused("a reason is one of the codes in audit/reasons.py; a person's own words go into a note")
    return str(reason)
