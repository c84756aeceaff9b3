"""System checks: each dangerous or impossible configuration is named, and a sound one is not."""

import re
from pathlib import Path

import pytest
from django.core.checks import Error, Warning, run_checks
from django.db import connections
from memory_samples import ledger_line

from audit.erasure import ledger
from memoryhub import checks

ROOT = Path(__file__).resolve().parent.parent
SECRET = "k7Jx0mQe4vB9tZpL2sWnYd8RuC5aHfGi"


@pytest.fixture(autouse=True)
def sound(settings, tmp_path):
    """A public deployment without a fault, which each test then spoils in one way."""
    tmp_path.chmod(0o700)
    settings.DEBUG = False
    settings.SECRET_KEY = SECRET
    settings.ALLOWED_HOSTS = ["memory.example.com"]
    settings.HTTPS = True
    settings.EMBEDDER = "minilm"
    settings.EMBEDDER_URL = settings.EMBEDDER_API_KEY = settings.EMBEDDER_MODEL = ""
    settings.EMBEDDER_DIMENSIONS = 0
    settings.METRICS_TOKEN = ""
    settings.DATA_DIR = tmp_path
    settings.PROCESS = "web"
    settings.LOG_MESSAGES = False
    return settings


def found(*functions) -> dict[str, object]:
    chosen = functions or [check for check in checks.CHECKS if check.__name__ not in DATABASE_CHECKS]
    return {message.id: message for check in chosen for message in check(databases=None)}


DATABASE_CHECKS = {
    "runtime_role_is_bound",
    "runtime_role_owns_nothing",
    "database_is_new_enough",
    "tenant_tables_have_policies",
    "audit_log_is_append_only",
}


def asked(check, role: str = "default") -> dict[str, object]:
    return {message.id: message for message in check(databases=[role])}


def test_a_sound_configuration_has_nothing_to_say():
    assert found() == {}


def test_debug_with_a_public_host_is_refused(sound):
    sound.DEBUG = True
    assert isinstance(found()["memoryhub.E001"], Error)
    assert "memory.example.com" in found()["memoryhub.E001"].msg


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]", "hub.localhost"])
def test_debug_on_this_host_alone_is_fine(sound, host):
    sound.DEBUG = True
    sound.ALLOWED_HOSTS = [host]
    assert found() == {}


@pytest.mark.parametrize("host", ["*", ".example.com", "10.0.0.5"])
def test_every_other_host_counts_as_public(sound, host):
    sound.DEBUG = True
    sound.ALLOWED_HOSTS = ["localhost", host]
    assert "memoryhub.E001" in found()


@pytest.mark.parametrize(
    "key", ["insecure-" + "x" * 60, "django-insecure-" + "x" * 60, "changeme" * 8, "short", SECRET[:31]]
)
def test_a_guessable_secret_key_is_refused(sound, key):
    sound.SECRET_KEY = key
    assert isinstance(found()["memoryhub.E002"], Error)


def test_a_command_may_work_with_a_throw_away_key_but_not_with_a_bad_one(sound, monkeypatch):
    sound.PROCESS = "command"
    sound.SECRET_KEY = "insecure-" + "x" * 60
    monkeypatch.delenv("SECRET_KEY", raising=False)
    assert found() == {}
    monkeypatch.setenv("SECRET_KEY", sound.SECRET_KEY)
    assert "memoryhub.E002" in found()
    monkeypatch.delenv("SECRET_KEY")
    sound.SECRET_KEY = "short"
    assert "memoryhub.E002" in found()


def test_debug_does_not_need_a_secret_key(sound):
    sound.DEBUG, sound.ALLOWED_HOSTS, sound.SECRET_KEY = True, ["localhost"], "short"
    assert found() == {}


def test_no_embedder_is_a_warning(sound):
    sound.EMBEDDER = "none"
    assert isinstance(found()["memoryhub.W001"], Warning)


@pytest.mark.parametrize(("url", "model"), [("", "m"), ("http://localhost:11434/v1", ""), ("not a url", "m")])
def test_openai_needs_an_address_and_a_model(sound, url, model):
    sound.EMBEDDER, sound.EMBEDDER_URL, sound.EMBEDDER_MODEL, sound.EMBEDDER_DIMENSIONS = "openai", url, model, 768
    assert isinstance(found()["memoryhub.E003"], Error)


def test_openai_itself_needs_a_key_and_a_local_server_does_not(sound):
    sound.EMBEDDER, sound.EMBEDDER_MODEL, sound.EMBEDDER_DIMENSIONS = "openai", "text-embedding-3-small", 512
    sound.EMBEDDER_URL = "https://api.openai.com/v1"
    assert isinstance(found()["memoryhub.E004"], Error)
    sound.EMBEDDER_API_KEY = "sk-test"
    assert found() == {}
    sound.EMBEDDER_URL, sound.EMBEDDER_API_KEY = "http://localhost:11434/v1", ""
    assert found() == {}


@pytest.mark.parametrize("dimensions", [0, -1, 1025])
def test_vectors_need_a_size_that_can_be_stored(sound, dimensions):
    sound.EMBEDDER, sound.EMBEDDER_MODEL, sound.EMBEDDER_URL = "openai", "m", "http://localhost:11434/v1"
    sound.EMBEDDER_DIMENSIONS = dimensions
    assert isinstance(found()["memoryhub.E005"], Error)


@pytest.mark.parametrize(
    ("mode", "private"), [(0o700, True), (0o711, True), (0o750, False), (0o755, False), (0o770, False)]
)
def test_the_data_directory_is_for_the_hub_alone(sound, mode, private):
    sound.DATA_DIR.chmod(mode)
    assert ("memoryhub.W002" not in found()) == private


def test_a_data_directory_that_is_not_there_yet_is_fine(sound):
    sound.DATA_DIR = sound.DATA_DIR / "later"
    assert found() == {}


def test_a_short_metrics_token_is_a_warning(sound):
    sound.METRICS_TOKEN = "12345"
    assert "memoryhub.W003" in found()
    sound.METRICS_TOKEN = SECRET
    assert found() == {}


def test_a_public_host_without_https_is_a_warning(sound):
    sound.HTTPS = False
    assert "memoryhub.W004" in found()
    sound.ALLOWED_HOSTS = ["localhost"]
    assert found() == {}


def test_logs_that_may_quote_people_are_a_warning(sound):
    sound.LOG_MESSAGES = True
    assert "memoryhub.W006" in found()


# What the database is asked. `as_role` gives the alias `default` another role, as a wrong DATABASE_URL would.


@pytest.fixture
def as_role(hub_db, database_server, django_db_blocker):
    def switch(role: str) -> None:
        connections["default"].close()
        connections["default"].settings_dict["USER"] = role

    before = connections["default"].settings_dict["USER"]
    yield switch
    switch(before)


ALL_DATABASE_CHECKS = [check for check in checks.CHECKS if check.__name__ in DATABASE_CHECKS]


@pytest.mark.django_db
@pytest.mark.parametrize("check", ALL_DATABASE_CHECKS, ids=lambda check: check.__name__)
def test_the_hubs_own_two_roles_and_tables_pass(check):
    assert asked(check) == {}


def test_a_superuser_is_refused(as_role):
    as_role("postgres")
    assert isinstance(asked(checks.runtime_role_is_bound)["memoryhub.E006"], Error)


def test_bypassing_row_level_security_is_refused(as_role, database_server):
    import psycopg

    with psycopg.connect(database_server.dsn("postgres"), autocommit=True) as server:
        server.execute("create role bypasser login bypassrls")
        try:
            as_role("bypasser")
            assert isinstance(asked(checks.runtime_role_is_bound)["memoryhub.E006"], Error)
            connections["default"].close()
        finally:
            server.execute("drop role bypasser")


def test_one_role_for_everything_is_refused(as_role):
    as_role("memoryhub_owner")
    assert isinstance(asked(checks.runtime_role_owns_nothing)["memoryhub.E013"], Error)
    assert asked(checks.runtime_role_is_bound) == {}


def test_a_member_of_the_owner_role_counts_as_the_owner(as_role, database_server):
    import psycopg

    with psycopg.connect(database_server.dsn("postgres"), autocommit=True) as server:
        server.execute("create role heir login in role memoryhub_owner")
        try:
            as_role("heir")
            assert "memoryhub.E013" in asked(checks.runtime_role_owns_nothing)
            connections["default"].close()
        finally:
            server.execute("drop role heir")


@pytest.mark.django_db
@pytest.mark.parametrize(("oldest", "expected"), [(15, set()), (99, {"memoryhub.E007"})])
def test_an_old_postgres_is_refused(monkeypatch, oldest, expected):
    monkeypatch.setattr(checks, "OLDEST_POSTGRES", oldest)
    assert asked(checks.database_is_new_enough).keys() == expected


@pytest.mark.django_db
def test_an_old_pgvector_is_refused(monkeypatch):
    monkeypatch.setattr(checks, "OLDEST_PGVECTOR", (99, 0))
    message = asked(checks.database_is_new_enough)["memoryhub.E008"]
    assert re.search(r"pgvector is \d", message.msg)


@pytest.mark.django_db
def test_a_missing_pgvector_is_refused(monkeypatch):
    monkeypatch.setattr(checks, "PGVECTOR", checks.PGVECTOR.replace("'vector'", "'vector_of_another_name'"))
    assert "missing" in asked(checks.database_is_new_enough)["memoryhub.E008"].msg


def test_a_tenant_table_without_a_policy_is_named(hub_db):
    with connections["owner"].cursor() as cursor:
        cursor.execute("create table forgotten (id int, workspace_id uuid)")
    assert "forgotten" in asked(checks.tenant_tables_have_policies)["memoryhub.E009"].msg
    with connections["owner"].cursor() as cursor:
        cursor.execute("alter table forgotten enable row level security")
    assert "forgotten" in asked(checks.tenant_tables_have_policies)["memoryhub.E009"].msg


@pytest.mark.parametrize(
    "statement",
    [
        "alter table audit_entry disable trigger audit_entry_append_only",
        "alter table audit_entry enable trigger audit_entry_append_only",  # no longer in replica mode
        "drop trigger audit_entry_append_only on audit_entry",
        "grant update on audit_entry to memoryhub",
        "grant delete on audit_entry to memoryhub",
        "grant truncate on audit_entry to public",
    ],
)
def test_an_alterable_audit_log_is_refused(hub_db, statement):
    assert asked(checks.audit_log_is_append_only) == {}
    with connections["owner"].cursor() as cursor:
        cursor.execute(statement)
    assert isinstance(asked(checks.audit_log_is_append_only)["memoryhub.E010"], Error)


def test_a_trigger_that_is_off_is_noticed_even_when_one_role_does_everything(as_role):
    as_role("memoryhub_owner")
    assert asked(checks.audit_log_is_append_only) == {}
    with connections["owner"].cursor() as cursor:
        cursor.execute("alter table audit_entry disable trigger audit_entry_append_only")
    assert "memoryhub.E010" in asked(checks.audit_log_is_append_only)


def test_a_database_that_is_not_asked_for_is_left_alone(django_assert_num_queries, db):
    with django_assert_num_queries(0):
        for check in ALL_DATABASE_CHECKS:
            assert check(databases=None) == []
            assert check(databases=["owner"]) == []


def test_a_database_that_is_away_is_no_wrong_configuration(as_role):
    as_role("nobody_by_this_name")
    for check in ALL_DATABASE_CHECKS:
        assert asked(check) == {}


@pytest.mark.django_db
def test_the_checks_are_registered_and_the_suite_itself_passes_them(sound):
    sound.DEBUG = False
    assert [message for message in run_checks(databases=["default"]) if message.id.startswith("memoryhub.")] == []
    sound.EMBEDDER = "none"
    assert "memoryhub.W001" in {message.id for message in run_checks()}


def test_each_message_has_an_id_of_its_own_a_hint_and_a_line_in_the_docs():
    source = Path(checks.__file__).read_text()
    ids = re.findall(r'id="(memoryhub\.[EW]\d{3})"', source)
    assert len(ids) == len(set(ids)) == source.count("hint=")
    documented = re.findall(r"^\| `(memoryhub\.[EW]\d{3})`", (ROOT / "docs" / "operations.md").read_text(), re.M)
    assert sorted(documented) == sorted(ids)


def test_another_key_than_the_ledger_was_written_with_is_told(settings, sound):
    assert "memoryhub.E014" not in found(checks.erasure_key_is_the_one)
    ledger.append(ledger_line())
    assert "memoryhub.E014" not in found(checks.erasure_key_is_the_one)
    settings.ERASURE_KEY = "another"
    assert isinstance(found(checks.erasure_key_is_the_one)["memoryhub.E014"], Error)
