"""The certificate of an erasure: what went, what stays and why, who outside was told, and what cannot be said."""

import hashlib
import json
from typing import Any

from audit.erasure.models import Erasure, ErasureKind, ErasureState
from audit.erasure.verification import RETAINED
from audit.reasons import REASONS

FORM = "memoryhub.erasure-certificate/1"

LIMITS = (
    "What is erased stops being served at once. Its bytes can stay in free space of the database's files and in its "
    "write-ahead log until `manage.py purge_storage` has run; of a hosted Postgres its operator has to show that.",
    "Backups made before the erasure still hold it. When one is put back with `manage.py restore`, what the ledger of "
    "erasures names is erased again before anything is served.",
    "Who was given something before, listed under recipients, may have kept it: agents in their conversations, "
    "providers in their logs.",
    "What other people said of this person in their own conversations is theirs. It was looked for only by the texts "
    "that were searched; where it was found is named, and left.",
    "Texts shorter than 12 characters were not searched for: they would be found where they mean somebody else. Their "
    "rows were looked for by id.",
)

SUBJECTS = {
    ErasureKind.SUBJECT: "everything stored about the person",
    ErasureKind.SESSION: "one session of the person, with what was learned from it alone",
    ErasureKind.PERIOD: "what the person said in a period, with what was learned from it alone",
    ErasureKind.FACT: "one fact about the person, with its versions and the statements of it",
}


def certificate(erasure: Erasure) -> dict[str, Any]:
    """The certificate as a JSON-ready document. It says `completed` only when nothing was found left. Pure."""
    verified = erasure.verification
    return {
        "form": FORM,
        "erasure": str(erasure.id),
        "workspace": str(erasure.workspace_id),
        "subject": str(erasure.subject_id),
        "scope": {
            "kind": erasure.kind,
            "in_words": SUBJECTS[ErasureKind(erasure.kind)],
            "target": str(erasure.target) if erasure.target else None,
            "since": erasure.since.isoformat() if erasure.since else None,
            "until": erasure.until.isoformat() if erasure.until else None,
            "statement": erasure.statement or None,
        },
        "state": erasure.state,
        "in_words": _in_words(erasure),
        "reason": {"code": erasure.reason, "in_words": REASONS.get(erasure.reason, "")},
        "request": str(erasure.request_id) if erasure.request_id else None,
        "asked_by": f"{erasure.actor_kind}:{erasure.actor_id}",
        "began_at": erasure.sealed_at.isoformat() if erasure.sealed_at else None,
        "ended_at": erasure.finished_at.isoformat() if erasure.finished_at else None,
        "attempts": erasure.attempts,
        "stores": [
            {
                "store": name,
                "outcome": "failed" if name in erasure.failed else "erased",
                "planned": erasure.planned.get(name, {}),
                "erased": erasure.erased.get(name, {}),
                **({"error": erasure.failed[name]} if name in erasure.failed else {}),
            }
            for name in dict.fromkeys([*erasure.planned, *erasure.erased])
        ],
        "retained": [
            {
                "where": table,
                "ground": ground,
                **(
                    {"rows": verified["audit_entries"]}
                    if table == "audit_entry" and "audit_entries" in verified
                    else {}
                ),
            }
            for table, ground in RETAINED.items()
        ],
        "verification": {
            "how": "Every table of the database was read through its catalogue, by other code than erases: for the ids "
            "of what was erased, and for texts taken from it before. Queued tasks and sign-ins were unpacked and "
            "searched as well.",
            "tables": verified.get("tables", 0),
            "ids": verified.get("ids", 0),
            "texts": verified.get("texts", 0),
            "left": verified.get("left", 0),
            "where": erasure.residue,
            "same_words_of_others": verified.get("said_by_others", {}),
        },
        "recipients": erasure.recipients,
        "limits": list(LIMITS),
    }


def certificate_digest(erasure: Erasure) -> str:
    """SHA-256 over the certificate, as sorted compact JSON: it stands in the audit log."""
    text = json.dumps(certificate(erasure), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _in_words(erasure: Erasure) -> str:
    if erasure.state == ErasureState.COMPLETED:
        return "Completed: everything in the scope was erased, and nothing of it was found afterwards."
    if erasure.state == ErasureState.PARTIAL:
        return (
            "Not completed: something of it is left. The places are named below; it is kept back until they are empty."
        )
    return "Under way: nothing is certified yet."
