"""The table of who may do what: complete, without surprises, and what the documentation shows."""

from pathlib import Path

import pytest
from django.core.management import call_command
from drf_spectacular.generators import SchemaGenerator

from memoryhub.access.models import Role, Scope
from memoryhub.access.permissions import RULES, Permission, role_may
from memoryhub.management.commands.permission_tables import TABLES, with_table

ROOT = Path(__file__).resolve().parent.parent
WITHOUT_CONTENT = {Role.VIEWER, Role.AUDITOR}
ONLY_LOOKS = {
    Permission.REQUESTS_VIEW,
    Permission.METADATA_VIEW,
    Permission.EXTRACTIONS_VIEW,
    Permission.REQUESTS_VIEW,
    Permission.RECORDS_VIEW,
    Permission.AUDIT_READ,
    Permission.AUDIT_EXPORT,
    Permission.INTEGRITY_VERIFY,
}


def may(role: Role) -> set[Permission]:
    return {permission for permission in Permission if role_may(role, permission)}


def test_every_permission_has_a_rule_and_somebody_who_may() -> None:
    assert set(RULES) == set(Permission)
    for permission, rule in RULES.items():
        assert rule.roles or rule.scope, permission
        assert rule.meaning


def test_every_scope_opens_something() -> None:
    assert {rule.scope for rule in RULES.values() if rule.scope} == set(Scope)


def test_each_role_adds_to_the_one_before_it() -> None:
    assert may(Role.VIEWER) < may(Role.OPERATOR) < may(Role.PRIVACY_OFFICER) < may(Role.ADMIN)
    assert may(Role.ADMIN) == {permission for permission, rule in RULES.items() if rule.roles}


def test_an_auditor_looks_and_never_at_content() -> None:
    assert may(Role.AUDITOR) == ONLY_LOOKS


def test_a_viewer_sees_metadata_and_may_give_a_reason() -> None:
    assert may(Role.VIEWER) == {Permission.METADATA_VIEW, Permission.CONTENT_REVEAL}


@pytest.mark.parametrize("permission", [Permission.CONTENT_VIEW, Permission.MEMORY_CORRECT, Permission.MEMORY_REVIEW])
def test_what_shows_content_is_for_those_who_see_content(permission: Permission) -> None:
    assert not RULES[permission].roles & WITHOUT_CONTENT


@pytest.mark.parametrize("name", TABLES)
def test_the_documentation_shows_the_table(name: str) -> None:
    mark, table = TABLES[name]
    document = (ROOT / name).read_text()
    assert with_table(document, mark, table()) == document, "make tables"


def test_the_command_prints_both_tables(capsys: pytest.CaptureFixture[str]) -> None:
    call_command("permission_tables")
    printed = capsys.readouterr().out
    assert "| correct, mark stale, restore and pin facts |  | yes | yes |  | yes |" in printed
    assert "`audit:read`" in printed


def test_a_document_without_a_place_for_its_table_is_refused() -> None:
    with pytest.raises(ValueError, match="no place"):
        with_table("# Security\n", "people", "| a |")


def test_the_description_of_the_api_names_the_scope_of_every_operation() -> None:
    schema = SchemaGenerator().get_schema(public=True)
    told = [operation["description"] for path in schema["paths"].values() for operation in path.values()]
    scopes = {scope for scope in Scope for text in told if f"Needs the scope `{scope.value}`." in text}
    assert all("Needs the scope `" in text for text in told)
    assert scopes == set(Scope)
