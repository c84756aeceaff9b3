"""Who may do what: one table, read by the console, the API and docs/security.md."""

from dataclasses import dataclass
from enum import StrEnum

from memoryhub.access.models import Role, Scope

VIEWER, OPERATOR, OFFICER, AUDITOR, ADMIN = (
    Role.VIEWER,
    Role.OPERATOR,
    Role.PRIVACY_OFFICER,
    Role.AUDITOR,
    Role.ADMIN,
)


class Permission(StrEnum):
    METADATA_VIEW = "metadata.view"
    CONTENT_REVEAL = "content.reveal"
    CONTENT_VIEW = "content.view"
    MEMORY_CORRECT = "memory.correct"
    MEMORY_REVIEW = "memory.review"
    MEMORY_ROLL_BACK = "memory.roll_back"
    EXTRACTIONS_VIEW = "extractions.view"
    EXTRACTIONS_REPLAY = "extractions.replay"
    SUBJECTS_MANAGE = "subjects.manage"
    REQUESTS_VIEW = "requests.view"
    REQUESTS_MANAGE = "requests.manage"
    SUBJECTS_EXPORT = "subjects.export"
    SUBJECTS_ERASE = "subjects.erase"
    RECORDS_VIEW = "records.view"
    RECORDS_MANAGE = "records.manage"
    AUDIT_READ = "audit.read"
    AUDIT_EXPORT = "audit.export"
    INTEGRITY_VERIFY = "integrity.verify"
    AGENTS_MANAGE = "agents.manage"
    KEYS_MANAGE = "keys.manage"
    PEOPLE_MANAGE = "people.manage"
    SETTINGS_MANAGE = "settings.manage"
    SYSTEM_VIEW = "system.view"
    # What only agents do.
    TURNS_WRITE = "turns.write"
    MEMORY_READ = "memory.read"
    FACTS_WRITE = "facts.write"
    TOKENS_CREATE = "tokens.create"


@dataclass(frozen=True)
class Rule:
    """`roles` may do it in the console; a key needs `scope` for it (None: no key may)."""

    meaning: str
    roles: frozenset[Role]
    scope: Scope | None = None


def _rule(meaning: str, *roles: Role, scope: Scope | None = None) -> Rule:
    return Rule(meaning, frozenset(roles), scope)


RULES: dict[Permission, Rule] = {
    Permission.METADATA_VIEW: _rule(
        "find people; see their ids, counts, types, dates and states",
        VIEWER,
        OPERATOR,
        OFFICER,
        AUDITOR,
        ADMIN,
        scope=Scope.SUBJECTS_MANAGE,
    ),
    Permission.CONTENT_REVEAL: _rule("see content after giving a reason", VIEWER, OPERATOR, OFFICER, ADMIN),
    Permission.CONTENT_VIEW: _rule("see what is remembered", OPERATOR, OFFICER, ADMIN),
    Permission.MEMORY_CORRECT: _rule("correct, mark stale, restore and pin facts", OPERATOR, OFFICER, ADMIN),
    Permission.MEMORY_REVIEW: _rule(
        "approve and reject what waits for review", OPERATOR, OFFICER, ADMIN, scope=Scope.FACTS_REVIEW
    ),
    Permission.MEMORY_ROLL_BACK: _rule("take back what a key or a session wrote", OFFICER, ADMIN),
    Permission.EXTRACTIONS_VIEW: _rule(
        "see extractions and dead letters", OPERATOR, OFFICER, AUDITOR, ADMIN, scope=Scope.EXTRACTIONS_MANAGE
    ),
    Permission.EXTRACTIONS_REPLAY: _rule(
        "replay dead letters", OPERATOR, OFFICER, ADMIN, scope=Scope.EXTRACTIONS_MANAGE
    ),
    Permission.SUBJECTS_MANAGE: _rule("restrict and pause people", OFFICER, ADMIN, scope=Scope.SUBJECTS_MANAGE),
    Permission.REQUESTS_VIEW: _rule(
        "see people's requests, holds and who was shown what, without content",
        OFFICER,
        AUDITOR,
        ADMIN,
        scope=Scope.SUBJECTS_MANAGE,
    ),
    Permission.REQUESTS_MANAGE: _rule(
        "handle people's requests and legal holds", OFFICER, ADMIN, scope=Scope.SUBJECTS_MANAGE
    ),
    Permission.SUBJECTS_EXPORT: _rule("export a person's data", OFFICER, ADMIN, scope=Scope.SUBJECTS_MANAGE),
    Permission.SUBJECTS_ERASE: _rule("erase a person's data", OFFICER, ADMIN, scope=Scope.SUBJECTS_MANAGE),
    Permission.RECORDS_VIEW: _rule(
        "see how long what is kept, and the register of processing",
        OFFICER,
        AUDITOR,
        ADMIN,
        scope=Scope.SUBJECTS_MANAGE,
    ),
    Permission.RECORDS_MANAGE: _rule("change how long what is kept, and the register of processing", OFFICER, ADMIN),
    Permission.AUDIT_READ: _rule("read the audit log", OFFICER, AUDITOR, ADMIN, scope=Scope.AUDIT_READ),
    Permission.AUDIT_EXPORT: _rule("export the audit log", OFFICER, AUDITOR, ADMIN, scope=Scope.AUDIT_READ),
    Permission.INTEGRITY_VERIFY: _rule("check the audit log's integrity", OFFICER, AUDITOR, ADMIN),
    Permission.AGENTS_MANAGE: _rule("add agents and set their memory mode", ADMIN),
    Permission.KEYS_MANAGE: _rule("make, rotate and revoke keys", ADMIN),
    Permission.PEOPLE_MANAGE: _rule("invite and remove people, change their roles", ADMIN),
    Permission.SETTINGS_MANAGE: _rule("change the workspace's settings", ADMIN),
    Permission.SYSTEM_VIEW: _rule("see the state of the hub's parts", ADMIN),
    Permission.TURNS_WRITE: _rule("record turns and close sessions", scope=Scope.TURNS_WRITE),
    Permission.MEMORY_READ: _rule("read working memory, search and facts", scope=Scope.MEMORY_READ),
    Permission.FACTS_WRITE: _rule("add, correct, mark stale and restore facts", scope=Scope.FACTS_WRITE),
    Permission.TOKENS_CREATE: _rule("make short-lived tokens for one person", scope=Scope.TOKENS_CREATE),
}


def role_may(role: Role | str, permission: Permission) -> bool:
    """Whether a person in `role` may do it in the console."""
    return Role(role) in RULES[permission].roles


def roles_that_may(permission: Permission) -> frozenset[Role]:
    return RULES[permission].roles


def people_table() -> str:
    """Who may do what in the console, as Markdown."""
    head = ["in the console", *(role.label for role in Role)]
    rows = [
        [rule.meaning, *("yes" if role in rule.roles else "" for role in Role)] for rule in RULES.values() if rule.roles
    ]
    return _markdown(head, rows)


def scopes_table() -> str:
    """What a key with each scope may do, as Markdown."""
    meanings = {scope: [rule.meaning for rule in RULES.values() if rule.scope is scope] for scope in Scope}
    return _markdown(
        ["scope", "allows to"], [[f"`{scope.value}`", "; ".join(told)] for scope, told in meanings.items()]
    )


def _markdown(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] + [":-:"] * (len(head) - 1) if len(head) > 2 else ["---"] * 2, *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
