"""Subject tokens: what their holders may do, whom they never reach, and when they end."""

import base64
import json
import random
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any, ClassVar
from uuid import UUID, uuid4

import pytest
from api_contract import ContractClient
from api_state import state_of
from django.apps import apps
from django.core import signing
from django.db import connection, models
from django.http import StreamingHttpResponse
from django.test import RequestFactory
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st
from memory_samples import learn, say
from rest_framework.request import Request

from audit.actors import Actor
from audit.models import Entry
from facts.models import Fact, FactVersion
from memoryhub.access.models import Agent, ApiKey, MemoryMode, Scope, Workspace
from memoryhub.access.permissions import Permission
from memoryhub.access.services import NewKey, agent_change, agent_get_or_create, key_create, key_revoke
from memoryhub.access.tokens import (
    LONGEST_TTL,
    SALT,
    TOKEN_SCOPES,
    BadToken,
    SubjectToken,
    new_token,
    read_token,
    same_session,
    session_digest,
    write_token,
)
from memoryhub.api.base import ApiView
from memoryhub.api.urls import urlpatterns
from memoryhub.core.tenancy import confined_to, in_workspace
from sessions.models import Session, Subject
from sessions.services import subject_restrict

ALL = sorted(scope.value for scope in TOKEN_SCOPES)
NOBODY = str(uuid4())


def token_for(api: ContractClient, user: str = "alice", **wanted: Any) -> ContractClient:
    """A client that holds a token for `user` with every scope that a token may have."""
    answer = api.send("POST", "/subject-tokens", {"user_id": user, "scopes": ALL} | wanted)
    assert answer.status_code == 201, answer.content
    return ContractClient(headers={"authorization": f"Bearer {answer.json()['token']}"})


def subject_of(workspace: Workspace, user: str) -> Subject:
    with in_workspace(workspace.id):
        return Subject.objects.get(external_id=user)


@pytest.fixture
def alice(agent: Agent) -> FactVersion:
    """A fact of alice, who has a session too."""
    say(agent, "We run on AWS.", session="alice-1")
    return learn(agent, "Runs on AWS").version


@pytest.fixture
def bob(agent: Agent) -> FactVersion:
    """A fact of bob, who has a session too."""
    say(agent, "We run on Azure.", session="bob-1", user="bob")
    return learn(agent, "Runs on Azure", user="bob").version


# What it is good for


def test_with_a_token_nobody_needs_to_be_named(api: ContractClient, alice: FactVersion, bob: FactVersion) -> None:
    client = token_for(api)
    memory = client.send("POST", "/working-memory", {"session_id": "alice-2", "message": "Where do we run?"})
    assert [fact["content"] for fact in memory.json()["facts"]] == ["Runs on AWS"]
    found = client.send("POST", "/search", {"query": "where do we run"})
    assert {hit["content"] for hit in found.json()["hits"]} == {"Runs on AWS", "We run on AWS."}
    assert [fact["content"] for fact in client.ask("/facts").json()["facts"]] == ["Runs on AWS"]
    turns = {"turns": [{"role": "user", "content": "We moved to Lisbon."}]}
    assert client.send("POST", "/sessions/alice-2/turns", turns).status_code == 201
    fact = {"type": "goal", "entity": "move", "content": "Wants to move to Porto."}
    assert client.send("POST", "/facts", fact).status_code == 201
    assert client.send("POST", "/facts", {"facts": [fact, fact | {"entity": "house"}]}).status_code == 201


def test_the_person_may_be_named(api: ContractClient, alice: FactVersion) -> None:
    client = token_for(api)
    assert client.send("POST", "/search", {"user_id": "alice", "query": "where do we run"}).json()["hits"]
    assert client.ask("/facts", subject_id=alice.fact.subject_id).json()["facts"]


def test_lists_show_one_person(api: ContractClient, alice: FactVersion, bob: FactVersion) -> None:
    client = token_for(api)
    assert [one["user_id"] for one in client.ask("/subjects").json()["subjects"]] == ["alice"]
    entries = client.ask("/audit").json()["entries"]
    assert {entry["subject_id"] for entry in entries} == {str(alice.fact.subject_id)}
    assert {one["user_id"] for one in api.ask("/subjects").json()["subjects"]} == {"alice", "bob"}


def test_somebody_new_is_made_known_by_a_key_that_may_write(
    workspace: Workspace, agent: Agent, api: ContractClient, actor: Actor
) -> None:
    token_for(api, "carol")
    assert subject_of(workspace, "carol")
    reader = key_create(agent=agent, actor=actor, scopes=[Scope.MEMORY_READ, Scope.TOKENS_CREATE])
    answer = ContractClient.of(reader).send("POST", "/subject-tokens", {"user_id": "dora"})
    assert answer.status_code == 404
    with in_workspace(workspace.id):
        assert not Subject.objects.filter(external_id="dora").exists()


# Whom it never reaches


def calls_about(user: str, subject_id: str, fact_id: str, recall_id: str, session: str) -> list[tuple[str, str, Any]]:
    """Every way in which a request can name somebody or something of theirs."""
    fact = {"type": "goal", "entity": "move", "content": "Wants to move."}
    return [
        ("POST", f"/sessions/{session}/turns", {"turns": [{"role": "user", "content": "Planted."}]}),
        ("POST", "/sessions/new/turns", {"user_id": user, "turns": [{"role": "user", "content": "Planted."}]}),
        ("POST", f"/sessions/{session}/close", None),
        ("POST", "/working-memory", {"user_id": user, "session_id": "x", "message": "Hi"}),
        ("POST", "/working-memory", {"session_id": "x", "message": "Hi", "previous_session_id": session}),
        ("POST", "/search", {"user_id": user, "query": "run"}),
        ("POST", f"/recalls/{recall_id}/cited", {"fact_ids": [fact_id]}),
        ("GET", f"/facts?user_id={user}", None),
        ("GET", f"/facts?subject_id={subject_id}", None),
        ("POST", "/facts", fact | {"user_id": user}),
        ("POST", "/facts", {"facts": [fact, fact | {"user_id": user}]}),
        ("POST", "/facts", fact | {"replaces": fact_id}),
        ("POST", "/facts", fact | {"session_id": session, "turn_index": 0}),
        ("GET", f"/facts/{fact_id}", None),
        ("PATCH", f"/facts/{fact_id}", {"expected_version": 1, "content": "Planted."}),
        ("GET", f"/facts/{fact_id}/versions", None),
        ("POST", f"/facts/{fact_id}/stale", {"reason": "wrong"}),
        ("POST", f"/facts/{fact_id}/restore", {"version": 1}),
        ("POST", "/subjects/lookup", {"user_id": user}),
        ("GET", f"/subjects/{subject_id}", None),
        ("POST", f"/subjects/{subject_id}/restrict", {}),
        ("POST", f"/subjects/{subject_id}/unrestrict", {}),
        ("POST", f"/subjects/{subject_id}/pause", {"what": ["recording"]}),
        ("POST", f"/subjects/{subject_id}/resume", {"what": ["recording"]}),
        ("GET", f"/audit?subject_id={subject_id}", None),
    ]


def test_whatever_is_somebody_elses_answers_as_if_it_were_not_there(
    api: ContractClient, workspace: Workspace, alice: FactVersion, bob: FactVersion
) -> None:
    client = token_for(api)
    recall = api.send("POST", "/search", {"user_id": "bob", "query": "run"}).json()["recall_id"]
    theirs = calls_about("bob", str(bob.fact.subject_id), str(bob.fact_id), recall, "bob-1")
    absent = calls_about("nobody", NOBODY, NOBODY, NOBODY, "no-session")
    before = state_of(workspace)
    for foreign, missing in zip(theirs, absent, strict=True):
        answer = client.send(*foreign)
        assert answer.status_code == 404, (foreign, answer.content)
        # A session that nobody has comes into being with its first turns.
        if foreign[1] != "/sessions/bob-1/turns":
            assert client.send(*missing).json() == answer.json(), foreign
    after = state_of(workspace)
    changed = {table for table in after if after[table] != before[table]}
    assert changed <= {"audit_entry", "audit_pending", "memory_sessions_session"}


def test_a_handle_means_the_persons_own_fact(api: ContractClient, alice: FactVersion, bob: FactVersion) -> None:
    assert alice.fact.handle == bob.fact.handle == 1
    learn_more = {"type": "goal", "entity": "move", "content": "Wants to move.", "replaces": "F1"}
    written = token_for(api).send("POST", "/facts", learn_more).json()["facts"][0]
    assert written["fact_id"] == str(alice.fact_id)


def test_naming_somebody_else_is_recorded(
    api: ContractClient, workspace: Workspace, alice: FactVersion, bob: FactVersion
) -> None:
    token_for(api).send("POST", "/search", {"user_id": "bob", "query": "run"})
    with in_workspace(workspace.id):
        entry = Entry.objects.get(action="access.denied")
    assert (entry.outcome, entry.reason, entry.subject_id) == ("denied", "not_bound", alice.fact.subject_id)


def test_the_database_confines_even_a_query_without_a_filter(
    workspace: Workspace, alice: FactVersion, bob: FactVersion
) -> None:
    with confined_to(alice.fact.subject_id), in_workspace(workspace.id):
        assert list(FactVersion.objects.all()) == [alice]
        assert set(Entry.objects.values_list("subject_id", flat=True)) == {alice.fact.subject_id}
        assert Fact.objects.filter(pk=bob.fact_id).update(entity="planted") == 0
    with in_workspace(workspace.id):
        assert FactVersion.objects.count() == 2


def persons_models() -> set[type[models.Model]]:
    """Every model whose rows belong to a person: by a column `subject_id`, or through a row that does."""
    found: set[type[models.Model]] = {Subject}
    while True:
        more = {
            model
            for model in apps.get_models()
            for field in model._meta.concrete_fields
            if field.attname == "subject_id" or (field.related_model in found and not field.null)
        } - found
        if not more:
            return found
        found |= more


@pytest.mark.django_db
def test_every_table_of_a_person_is_confined() -> None:
    with connection.cursor() as cursor:
        cursor.execute("select tablename from pg_policies where policyname = 'subject' and permissive = 'RESTRICTIVE'")
        confined = {table for (table,) in cursor.fetchall()}
    tables = {model._meta.db_table for model in persons_models()}
    assert len(tables) > 10, "the walk found next to nothing: it no longer understands the models"
    assert tables - confined == set(), "put subject_policy() beside tenant_policy() in the table's migration"


def test_many_tries_across_people_reach_nobody(api: ContractClient, agent: Agent, workspace: Workspace) -> None:
    """Requests of ten holders of tokens, each about somebody else's things; benchmarks/access.py makes many more."""
    chance = random.Random(20)
    people = {}
    for number in range(10):
        user = f"user-{number}"
        say(agent, f"My secret is number {number}.", session=f"{user}-1", user=user)
        version = learn(agent, f"Has the secret number {number}", user=user).version
        people[user] = (str(version.fact.subject_id), str(version.fact_id), token_for(api, user))
    tries = 0
    for _ in range(1_000):
        mine, other = chance.sample(sorted(people), 2)
        subject_id, fact_id, _ = people[other]
        method, path, body = chance.choice(calls_about(other, subject_id, fact_id, NOBODY, f"{other}-1"))
        answer = people[mine][2].send(method, path, body)
        assert answer.status_code == 404, (method, path, body, answer.content)
        assert f"secret number {other[-1]}" not in answer.content.decode()
        tries += 1
    assert tries == 1_000
    with in_workspace(workspace.id):
        assert Subject.objects.filter(restricted_at__isnull=False).count() == 0
        assert Session.objects.count() == 10


def test_confinement_ends_with_the_request(api: ContractClient, alice: FactVersion, bob: FactVersion) -> None:
    client = token_for(api)
    for _ in range(2):
        assert client.ask(f"/facts/{bob.fact_id}").status_code == 404
        assert api.ask(f"/facts/{bob.fact_id}").status_code == 200


class Streamed(ApiView):
    """Reads people while the answer is under way, after the view has returned."""

    permissions: ClassVar = {"GET": Permission.SUBJECTS_MANAGE}

    def get(self, request: Request) -> StreamingHttpResponse:
        return StreamingHttpResponse(self.names(self.caller.workspace_id))

    def names(self, workspace_id: UUID) -> Iterator[str]:
        for _ in range(2):
            with in_workspace(workspace_id):
                yield from Subject.objects.order_by("external_id").values_list("external_id", flat=True)


def test_what_is_streamed_is_confined_too(api: ContractClient, alice: FactVersion, bob: FactVersion) -> None:
    def streamed(client: ContractClient) -> list[str]:
        request = RequestFactory().get("/", headers={"authorization": client.defaults["HTTP_AUTHORIZATION"]})
        return [name.decode() for name in Streamed.as_view()(request)]

    assert streamed(token_for(api)) == ["alice", "alice"]
    assert streamed(api) == ["alice", "bob", "alice", "bob"]


def test_every_address_of_the_api_confines() -> None:
    views = [pattern.callback.cls for pattern in urlpatterns]  # type: ignore[union-attr]
    assert views
    assert all(issubclass(view, ApiView) for view in views)


# One session


def test_a_token_for_a_session_writes_to_no_other(api: ContractClient, alice: FactVersion) -> None:
    client = token_for(api, session_id="alice-2")
    turns = {"turns": [{"role": "user", "content": "We moved to Lisbon."}]}
    assert client.send("POST", "/sessions/alice-2/turns", turns).status_code == 201
    assert client.send("POST", "/sessions/alice-1/turns", turns).status_code == 404
    assert client.send("POST", "/sessions/alice-1/close").status_code == 404
    assert client.send("POST", "/sessions/alice-2/close").status_code == 202
    ask = {"message": "Where do we run?"}
    assert client.send("POST", "/working-memory", ask | {"session_id": "alice-2"}).json()["facts"]
    assert client.send("POST", "/working-memory", ask | {"session_id": "alice-1"}).status_code == 404
    # Reading earlier sessions is what memory is for.
    earlier = ask | {"session_id": "alice-2", "previous_session_id": "alice-1"}
    assert client.send("POST", "/working-memory", earlier).json()["recent_turns"]


def test_no_token_is_made_for_somebody_elses_session(
    api: ContractClient, workspace: Workspace, actor: Actor, alice: FactVersion, bob: FactVersion
) -> None:
    answer = api.send("POST", "/subject-tokens", {"user_id": "alice", "session_id": "bob-1"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "session_of_another")
    another = agent_get_or_create(workspace_id=workspace.id, name="another", actor=actor)
    client = ContractClient.of(key_create(agent=another, actor=actor))
    assert client.send("POST", "/subject-tokens", {"user_id": "alice", "session_id": "alice-1"}).status_code == 409


# Scopes


def test_a_token_has_a_part_of_its_keys_scopes(api: ContractClient, agent: Agent, actor: Actor) -> None:
    client = token_for(api, scopes=["memory:read"])
    assert client.send("POST", "/search", {"query": "run"}).status_code == 200
    answer = client.send("POST", "/facts", {"type": "goal", "entity": "x", "content": "y"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "scope_missing")
    reader = ContractClient.of(
        key_create(agent=agent, actor=actor, scopes=[Scope.MEMORY_READ, Scope.TOKENS_CREATE, Scope.AUDIT_READ])
    )
    answer = reader.send("POST", "/subject-tokens", {"user_id": "alice", "scopes": ["facts:write"]})
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "scope_missing")
    made = reader.send("POST", "/subject-tokens", {"user_id": "alice"}).json()
    assert made["scopes"] == ["memory:read"]


@pytest.mark.parametrize("scope", sorted(set(Scope) - TOKEN_SCOPES))
def test_no_token_may_review_replay_or_make_tokens(api: ContractClient, scope: Scope) -> None:
    answer = api.send("POST", "/subject-tokens", {"user_id": "alice", "scopes": [scope.value]})
    assert answer.status_code == 400


def test_a_token_makes_no_token(api: ContractClient, alice: FactVersion) -> None:
    answer = token_for(api).send("POST", "/subject-tokens", {})
    assert answer.status_code == 403


# When it ends


def revoke_the_key(key: NewKey, agent: Agent, actor: Actor) -> None:
    key_revoke(key=key.key, actor=actor)


def let_the_key_expire(key: NewKey, agent: Agent, actor: Actor) -> None:
    with in_workspace(agent.workspace_id):
        ApiKey.objects.filter(pk=key.key.pk).update(expires_at=timezone.now() - timedelta(hours=1))


def change_the_mode(key: NewKey, agent: Agent, actor: Actor) -> None:
    agent_change(agent=agent, mode=MemoryMode.MANAGED, actor=actor)


def restrict_the_person(key: NewKey, agent: Agent, actor: Actor) -> None:
    with in_workspace(agent.workspace_id):
        subject_restrict(subject=Subject.objects.get(external_id="alice"), restricted=True, actor=actor)


def remove_the_person(key: NewKey, agent: Agent, actor: Actor) -> None:
    with in_workspace(agent.workspace_id):
        Subject.objects.get(external_id="alice").delete()


@pytest.mark.parametrize(
    "happens", [revoke_the_key, let_the_key_expire, change_the_mode, restrict_the_person, remove_the_person]
)
def test_a_token_ends_at_once(
    api: ContractClient,
    agent_key: NewKey,
    agent: Agent,
    actor: Actor,
    happens: Callable[[NewKey, Agent, Actor], None],
) -> None:
    client = token_for(api)
    assert client.send("POST", "/search", {"query": "run"}).status_code == 200
    happens(agent_key, agent, actor)
    answer = client.send("POST", "/search", {"query": "run"})
    assert (answer.status_code, answer.json()["error"]["message"]) == (401, "This token is no longer valid.")


def test_there_is_no_token_for_somebody_restricted(
    api: ContractClient, agent_key: NewKey, agent: Agent, actor: Actor, alice: FactVersion
) -> None:
    restrict_the_person(agent_key, agent, actor)
    answer = api.send("POST", "/subject-tokens", {"user_id": "alice"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "surfacing_paused")


def test_a_token_never_outlasts_its_key(agent: Agent, actor: Actor) -> None:
    ends = timezone.now() + timedelta(minutes=5)
    client = ContractClient.of(key_create(agent=agent, actor=actor, expires_at=ends))
    made = client.send("POST", "/subject-tokens", {"user_id": "alice", "ttl": 3600}).json()
    assert made["expires_at"] == ends.replace(microsecond=0).isoformat().replace("+00:00", "Z")


@pytest.mark.parametrize("ttl", [0, -1, int(LONGEST_TTL.total_seconds()) + 1, "900", 1.5])
def test_a_token_lasts_a_day_at_most(api: ContractClient, ttl: Any) -> None:
    assert api.send("POST", "/subject-tokens", {"user_id": "alice", "ttl": ttl}).status_code == 400


def test_it_lasts_a_quarter_of_an_hour_unless_asked_otherwise(api: ContractClient) -> None:
    made = read_token(api.send("POST", "/subject-tokens", {"user_id": "alice"}).json()["token"])
    assert made.expires_at - made.issued_at <= timedelta(minutes=15)
    assert made.expires_at - made.issued_at > timedelta(minutes=14)


def test_its_requests_count_as_its_keys(agent: Agent, actor: Actor) -> None:
    key = key_create(agent=agent, actor=actor, scopes=list(Scope), rate_per_minute=4)
    client = token_for(ContractClient.of(key))
    answers = [client.ask("/audit") for _ in range(9)]
    late = next(answer for answer in answers if answer.status_code != 200)
    assert late.status_code == 429
    assert 1 <= int(late["Retry-After"]) <= 60


# What stands in the log, and in the token


def test_the_log_names_key_and_token(api: ContractClient, agent_key: NewKey, workspace: Workspace) -> None:
    made = api.send("POST", "/subject-tokens", {"user_id": "alice", "session_id": "s9"}).json()
    client = ContractClient(headers={"authorization": f"Bearer {made['token']}"})
    client.send("POST", "/sessions/s9/turns", {"turns": [{"role": "user", "content": "Hello."}]})
    with in_workspace(workspace.id):
        created = Entry.objects.get(action="token.created")
        recorded = Entry.objects.get(action="turns.recorded")
    assert (created.object_kind, created.object_id) == ("subject_token", made["token_id"])
    assert created.data["session"] is True
    assert "token" not in created.data
    assert (recorded.credential, recorded.data["token"]) == (agent_key.key.prefix, made["token_id"])


def test_a_token_carries_no_personal_data(api: ContractClient) -> None:
    user, session = "maria@example.com", "chat-with-maria@example.com"
    made = api.send("POST", "/subject-tokens", {"user_id": user, "session_id": session}).json()
    payload = made["token"].removeprefix("mht_").split(".")[0]
    readable = base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)).decode()
    assert "maria" not in readable
    assert UUID(json.loads(readable)["s"]) == UUID(made["subject_id"])


# Reading what is sent


def made_now(**changed: Any) -> SubjectToken:
    given = {
        "key_id": uuid4(),
        "subject_id": uuid4(),
        "mode": MemoryMode.FULL,
        "scopes": [Scope.MEMORY_READ],
        "expires_at": timezone.now() + timedelta(minutes=5),
    }
    return new_token(**given | changed)  # type: ignore[arg-type]


@given(
    st.sets(st.sampled_from(sorted(TOKEN_SCOPES)), min_size=1),
    st.sampled_from(MemoryMode),
    st.integers(1, 86_399),
    st.one_of(st.just(""), st.text(min_size=1, max_size=256)),
)
def test_what_is_written_is_read(scopes: set[Scope], mode: MemoryMode, seconds: int, session: str) -> None:
    token = made_now(
        scopes=scopes,
        mode=mode,
        expires_at=timezone.now() + timedelta(seconds=seconds + 1),
        session=session_digest(session) if session else "",
    )
    assert read_token(write_token(token)) == token


@given(st.text(max_size=400))
def test_anything_else_is_refused(text: str) -> None:
    for sent in (text, f"mht_{text}", f"mht_{text}.{'x' * 43}"):
        with pytest.raises(BadToken):
            read_token(sent)


@given(st.data())
def test_a_token_with_any_character_changed_is_refused(data: st.DataObject) -> None:
    text = write_token(made_now())
    at = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.characters().filter(lambda character: character != text[at]))
    with pytest.raises(BadToken):
        read_token(text[:at] + other + text[at + 1 :])


@given(st.data())
def test_a_part_of_a_token_is_refused(data: st.DataObject) -> None:
    text = write_token(made_now())
    begins = data.draw(st.integers(0, len(text) - 1))
    ends = data.draw(st.integers(begins, len(text) - (begins == 0)))
    with pytest.raises(BadToken):
        read_token(text[begins:ends])


def test_what_the_hub_signs_for_something_else_is_no_token() -> None:
    payload = signing.Signer(salt=SALT, sep=".").unsign_object(write_token(made_now()).removeprefix("mht_"))
    for salt in ("django.core.signing", SALT + ".session", ""):
        with pytest.raises(BadToken):
            read_token("mht_" + signing.Signer(salt=salt or None, sep=".").sign_object(payload))


def test_times_are_held(monkeypatch: pytest.MonkeyPatch) -> None:
    token = made_now()
    text = write_token(token)
    assert read_token(text, now=token.expires_at - timedelta(seconds=1)) == token
    for moment, says in (
        (token.expires_at, "expired"),
        (token.expires_at + timedelta(days=1), "expired"),
        (token.issued_at - timedelta(minutes=1), "not valid yet"),
    ):
        with pytest.raises(BadToken, match=says):
            read_token(text, now=moment)
    # A process whose clock is a little behind takes it all the same.
    assert read_token(text, now=token.issued_at - timedelta(seconds=20)) == token


def test_no_signed_token_lasts_longer_than_a_day() -> None:
    with pytest.raises(BadToken, match="expired"):
        read_token(write_token(made_now(expires_at=timezone.now() + LONGEST_TTL + timedelta(minutes=1))))


def test_the_secret_key_may_be_changed_while_tokens_live(settings: Any) -> None:
    text, session = write_token(made_now()), session_digest("chat-42")
    before, settings.SECRET_KEY = settings.SECRET_KEY, "another secret key of the hub"
    with pytest.raises(BadToken):
        read_token(text)
    assert not same_session(session, "chat-42")
    settings.SECRET_KEY_FALLBACKS = [before]
    assert read_token(text)
    assert same_session(session, "chat-42")
    assert not same_session(session, "chat-43")


def test_a_token_of_another_hubs_key_is_refused(db: None, api: ContractClient) -> None:
    """Signed here, for a key that is not here."""
    answer = ContractClient(headers={"authorization": f"Bearer {write_token(made_now())}"}).ask("/subjects")
    assert answer.status_code == 401


def test_a_token_reaches_nobody_of_another_workspace(
    api: ContractClient, agent_key: NewKey, outsider_api: ContractClient, other_workspace: Workspace
) -> None:
    """Signed here, of one workspace's key for another workspace's person."""
    token_for(outsider_api, "olga")
    theirs = made_now(key_id=agent_key.key.id, subject_id=subject_of(other_workspace, "olga").id, mode=MemoryMode.FULL)
    answer = ContractClient(headers={"authorization": f"Bearer {write_token(theirs)}"}).ask("/facts")
    assert answer.status_code == 401
