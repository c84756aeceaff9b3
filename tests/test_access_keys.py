"""Keys over their life: made, rotated, limited, revoked. Everything that changes one is in the log."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import httpx
import pytest
from api_contract import ContractClient
from django.core.management import CommandError, call_command
from django.db import connection, connections
from django.utils import timezone
from rest_framework.exceptions import AuthenticationFailed, Throttled
from test_commands_up import ROOT, Hub, running

from audit.actors import Actor
from audit.models import Entry
from memoryhub.access.errors import KeyNotLive, PolicyMoved, StillRotating
from memoryhub.access.models import Agent, ApiKey, KeyUsage, MemoryMode, Scope, Workspace
from memoryhub.access.policy import WorkspacePolicy, stored_policy
from memoryhub.access.selectors import agents_with_keys, key_by_prefix, key_shown, requests_of_workspace
from memoryhub.access.services import (
    NewKey,
    agent_change,
    key_create,
    key_revoke,
    key_rotate,
    workspace_change,
)
from memoryhub.api.authentication import caller_of
from memoryhub.core.tenancy import in_workspace

HOUR = timedelta(hours=1)


def entries(workspace: Workspace, action: str) -> list[Entry]:
    with in_workspace(workspace.id):
        return list(Entry.objects.filter(action=action).order_by("id"))


def limit(workspace: Workspace, actor: Actor, **policy: Any) -> None:
    workspace_change(workspace=workspace, policy=WorkspacePolicy(**policy), actor=actor)


def lives(key: NewKey) -> bool:
    try:
        caller_of(key.secret)
    except AuthenticationFailed:
        return False
    return True


def fresh(key: ApiKey) -> ApiKey:
    with in_workspace(key.workspace_id):
        return ApiKey.objects.get(pk=key.pk)


def put_back(key: ApiKey, ago: timedelta) -> None:
    """Let the key expire that long ago."""
    with in_workspace(key.workspace_id):
        ApiKey.objects.filter(pk=key.pk).update(expires_at=timezone.now() - ago)


# Rotation


def test_both_keys_work_until_the_overlap_ends(agent: Agent, actor: Actor, workspace: Workspace) -> None:
    old = key_create(agent=agent, actor=actor, scopes=[Scope.MEMORY_READ], rate_per_minute=90)
    new = key_rotate(key=old.key, actor=actor, overlap=HOUR)
    assert lives(old)
    assert lives(new)
    assert (new.key.scopes, new.key.rate_per_minute, new.key.expires_at) == (["memory:read"], 90, None)
    ends = fresh(old.key).expires_at
    assert ends is not None
    assert timedelta(minutes=59) < ends - timezone.now() <= HOUR
    put_back(old.key, HOUR)
    assert not lives(old)
    assert lives(new)
    [entry] = entries(workspace, "key.rotated")
    assert (entry.object_id, entry.data["replaced_by"]) == (str(old.key.id), str(new.key.id))
    assert entries(workspace, "key.created")[-1].data["replaces"] == str(old.key.id)


def test_of_a_key_at_most_two_are_live(agent: Agent, actor: Actor) -> None:
    first = key_create(agent=agent, actor=actor)
    second = key_rotate(key=first.key, actor=actor, overlap=HOUR)
    for key in (first.key, second.key):
        with pytest.raises(StillRotating):
            key_rotate(key=key, actor=actor)
    put_back(first.key, HOUR)
    third = key_rotate(key=second.key, actor=actor, overlap=HOUR)
    # One that turned out wrong is revoked, and the rotation tried again.
    key_revoke(key=third.key, actor=actor)
    assert lives(key_rotate(key=second.key, actor=actor))


def test_an_agents_other_keys_do_not_stand_in_the_way(agent: Agent, actor: Actor) -> None:
    keys = [key_create(agent=agent, actor=actor) for _ in range(3)]
    assert all(lives(key_rotate(key=key.key, actor=actor)) for key in keys)


def test_two_rotations_at_once_make_one_key(hub_db: str, agent: Agent, actor: Actor) -> None:
    key = key_create(agent=agent, actor=actor).key
    ready = threading.Barrier(4)

    def rotate() -> bool:
        ready.wait()
        try:
            key_rotate(key=key, actor=actor)
        except StillRotating:
            return False
        finally:
            connections.close_all()
        return True

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(lambda _: rotate(), range(4))) == [False, False, False, True]


def test_without_overlap_the_old_key_ends_at_once(hub_db: str, agent: Agent, actor: Actor) -> None:
    old = key_create(agent=agent, actor=actor)
    assert lives(key_rotate(key=old.key, actor=actor, overlap=timedelta(0)))
    assert not lives(old)


def test_an_overlap_does_not_lengthen_a_keys_life(agent: Agent, actor: Actor) -> None:
    ends = timezone.now() + timedelta(minutes=10)
    old = key_create(agent=agent, actor=actor, expires_at=ends)
    new = key_rotate(key=old.key, actor=actor, overlap=HOUR)
    assert fresh(old.key).expires_at == ends
    # The new one is made to last as long as the old one was.
    assert new.key.expires_at is not None
    assert timedelta(minutes=9) < new.key.expires_at - timezone.now() <= timedelta(minutes=10)


@pytest.mark.parametrize("ended", ["revoked", "expired"])
def test_an_ended_key_is_not_rotated(agent: Agent, actor: Actor, ended: str) -> None:
    key = key_create(agent=agent, actor=actor).key
    if ended == "revoked":
        key_revoke(key=key, actor=actor)
    else:
        put_back(key, HOUR)
    with pytest.raises(KeyNotLive, match=ended):
        key_rotate(key=key, actor=actor)


# Revoking, changing


def test_revoking_says_why_and_is_recorded_once(agent: Agent, actor: Actor, workspace: Workspace) -> None:
    key = key_create(agent=agent, actor=actor).key
    for _ in range(2):
        key_revoke(key=key, actor=actor, reason="compromised")
    assert [entry.reason for entry in entries(workspace, "key.revoked")] == ["compromised"]


def test_another_memory_mode_holds_from_the_next_request(agent: Agent, actor: Actor, workspace: Workspace) -> None:
    key = key_create(agent=agent, actor=actor)
    for _ in range(2):
        agent_change(agent=agent, mode=MemoryMode.EPISODIC, actor=actor)
    assert caller_of(key.secret).mode is MemoryMode.EPISODIC
    [entry] = entries(workspace, "agent.changed")
    assert entry.data == {"mode": "episodic", "fields": ["mode"]}


# Limits


def admitted(key: NewKey) -> bool:
    try:
        caller_of(key.secret)
    except Throttled:
        return False
    return True


def this_minute() -> datetime:
    with connection.cursor() as cursor:
        cursor.execute("select date_trunc('minute', clock_timestamp())")
        return cursor.fetchone()[0]


def admitted_of(attempts: list[NewKey], threads: int) -> int:
    """How many of `attempts` were let in, made by many connections at once within one minute."""

    def attempt(mine: list[NewKey]) -> int:
        try:
            return sum(admitted(key) for key in mine)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(threads) as pool:
        return sum(pool.map(attempt, [attempts[at::threads] for at in range(threads)]))


def within_a_minute(tries: Iterator[int]) -> Any:
    """Run the loop's body again while a minute turned in it."""
    for _ in tries:
        begun = this_minute()
        yield
        if this_minute() == begun:
            return
    pytest.fail("a minute turned in every try")


def test_the_workspaces_limit_is_exact_over_its_keys_and_connections(
    hub_db: str, workspace: Workspace, agent: Agent, actor: Actor
) -> None:
    limit(workspace, actor, requests_per_minute=100)
    for _ in within_a_minute(iter(range(3))):
        keys = [key_create(agent=agent, actor=actor) for _ in range(5)]
        with connections["owner"].cursor() as cursor:
            cursor.execute("truncate access_workspaceusage")
        let_in = admitted_of(keys * 60, threads=6)
    assert let_in == 100


def test_a_keys_limit_is_exact_over_connections(hub_db: str, agent: Agent, actor: Actor) -> None:
    for _ in within_a_minute(iter(range(3))):
        key = key_create(agent=agent, actor=actor, rate_per_minute=50)
        let_in = admitted_of([key] * 200, threads=6)
    assert let_in == 50


def test_what_a_keys_own_limit_refuses_is_not_taken_from_the_others(
    hub_db: str, workspace: Workspace, agent: Agent, actor: Actor
) -> None:
    limit(workspace, actor, requests_per_minute=20)
    for _ in within_a_minute(iter(range(3))):
        with connections["owner"].cursor() as cursor:
            cursor.execute("truncate access_workspaceusage")
        busy = key_create(agent=agent, actor=actor, rate_per_minute=5)
        calm = key_create(agent=agent, actor=actor)
        let_in = [sum(admitted(key) for _ in range(50)) for key in (busy, calm)]
    assert let_in == [5, 15]


def test_a_request_that_waited_does_not_turn_the_minute_back(hub_db: str, agent: Agent, actor: Actor) -> None:
    """Its transaction began in the minute before the one in which the row was counted last."""
    key = key_create(agent=agent, actor=actor, rate_per_minute=10)
    caller_of(key.secret)
    with in_workspace(agent.workspace_id):
        ahead = timezone.now() + timedelta(minutes=5)
        KeyUsage.objects.filter(key=key.key).update(minute=ahead, requests=10)
    with pytest.raises(Throttled):
        caller_of(key.secret)
    with in_workspace(agent.workspace_id):
        assert KeyUsage.objects.get(key=key.key).minute == ahead


def test_a_throttled_caller_is_told_who_is_limited_and_for_how_long(
    workspace: Workspace, agent: Agent, actor: Actor
) -> None:
    limit(workspace, actor, requests_per_minute=1)
    client = ContractClient.of(key_create(agent=agent, actor=actor, scopes=list(Scope)))
    assert client.ask("/subjects").status_code == 200
    late = client.ask("/subjects")
    assert late.status_code == 429
    assert "workspace" in late.json()["error"]["message"]
    assert 1 <= int(late["Retry-After"]) <= 60


def test_one_workspaces_limit_is_not_anothers(
    workspace: Workspace, other_workspace: Workspace, outsider_key: NewKey, agent_key: NewKey, actor: Actor
) -> None:
    limit(workspace, actor, requests_per_minute=1)
    assert [admitted(agent_key) for _ in range(3)] == [True, False, False]
    assert all(admitted(outsider_key) for _ in range(3))


# Every process


def test_a_revoked_key_is_refused_within_a_second_by_every_web_worker(capsys: pytest.CaptureFixture[str]) -> None:
    """Two workers, eight clients that never pause. Printed: how long after it a request was still served."""
    place = Path(tempfile.mkdtemp(prefix="mh-revoke-"))
    place.chmod(0o755)
    try:
        with running(place / "data", WEB_WORKERS="2", THROTTLE_PER_MINUTE="1000000") as hub:
            key = re.search(r"mh_[0-9a-f]{8}_[A-Za-z0-9_-]{43}", hub.output())
            assert key, hub.output()
            served, refused, revoked_at = revoke_under_load(hub, key[0])
    finally:
        shutil.rmtree(place)
    assert len(served) > 100, "there was no load"
    assert len(refused) >= 8
    delay = (max(served) - revoked_at).total_seconds()
    with capsys.disabled():
        sys.stdout.write(f" [served {len(served)}, the last {delay * 1000:.0f} ms after the revocation]")
    assert delay < 1


def revoke_under_load(hub: Hub, key: str) -> tuple[list[datetime], list[datetime], datetime]:
    """When requests were answered 200, when 401 for the first time, and when the key was revoked."""

    def ask_until_refused(_: int) -> tuple[list[datetime], datetime]:
        served: list[datetime] = []
        with httpx.Client(headers={"authorization": f"Bearer {key}"}, timeout=30) as client:
            while True:
                answer = client.get(f"{hub.url}/api/v1/subjects?limit=1")
                at = datetime.now(UTC)
                if answer.status_code == 401:
                    return served, at
                assert answer.status_code == 200, answer.text
                served.append(at)

    with ThreadPoolExecutor(8) as pool:
        asking = pool.map(ask_until_refused, range(8))
        said = subprocess.run(
            [sys.executable, "manage.py", "revoke_api_key", key[:11], "--reason", "compromised"],
            cwd=ROOT,
            env=os.environ | {"MEMORYHUB_DATA_DIR": str(hub.data_dir)},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        answers = list(asking)
    revoked_at = datetime.fromisoformat(said.split()[-1])
    return [at for served, _ in answers for at in served], [at for _, at in answers], revoked_at


# Sizes


def turns(characters: int) -> dict[str, Any]:
    return {"user_id": "maria", "turns": [{"role": "user", "content": "a" * characters}]}


def test_a_workspace_takes_shorter_turns_than_the_deployment(
    api: ContractClient, workspace: Workspace, actor: Actor, settings: Any
) -> None:
    limit(workspace, actor, max_turn_characters=1_000)
    assert api.send("POST", "/sessions/s1/turns", turns(1_000)).status_code == 201
    refused = api.send("POST", "/sessions/s1/turns", turns(1_001))
    assert (refused.status_code, list(refused.json()["error"]["fields"])) == (413, ["turns[0].content"])
    limit(workspace, actor, max_turn_characters=1_000_000)
    settings.MAX_TURN_CHARACTERS = 500
    assert api.send("POST", "/sessions/s1/turns", turns(501)).status_code == 413


def test_a_workspace_takes_smaller_bodies_than_the_deployment(
    api: ContractClient, outsider_api: ContractClient, workspace: Workspace, actor: Actor
) -> None:
    limit(workspace, actor, max_body_bytes=10_000)
    assert api.send("POST", "/sessions/s1/turns", turns(9_000)).status_code == 201
    refused = api.send("POST", "/sessions/s1/turns", turns(10_000))
    assert (refused.status_code, refused.json()["error"]["code"]) == (413, "too_large")
    assert outsider_api.send("POST", "/sessions/s1/turns", turns(10_000)).status_code == 201


# Settings of a workspace


def test_what_changed_is_recorded_by_name(workspace: Workspace, actor: Actor, agent_key: NewKey) -> None:
    policy = WorkspacePolicy(requests_per_minute=500, idle_minutes=30)
    assert workspace_change(workspace=workspace, policy=policy, actor=actor) == ["requests_per_minute", "idle_minutes"]
    assert workspace_change(workspace=workspace, policy=policy, actor=actor) == []
    [entry] = entries(workspace, "workspace.changed")
    assert entry.data == {"fields": ["requests_per_minute", "idle_minutes"]}
    assert caller_of(agent_key.secret).policy == policy
    assert Workspace.objects.get(pk=workspace.pk).policy == {"requests_per_minute": 500, "idle_minutes": 30}


def test_settings_that_moved_are_not_written_over(workspace: Workspace, actor: Actor) -> None:
    seen = WorkspacePolicy()
    limit(workspace, actor, idle_minutes=30)
    with pytest.raises(PolicyMoved):
        workspace_change(workspace=workspace, policy=WorkspacePolicy(idle_minutes=10), actor=actor, seen=seen)
    assert (
        stored_policy('{"idle_minutes": 30}')
        == stored_policy('{"idle_minutes":30}')
        == WorkspacePolicy(idle_minutes=30)
    )


def test_a_setting_of_a_newer_hub_is_passed_over_and_kept(
    workspace: Workspace, actor: Actor, agent_key: NewKey
) -> None:
    Workspace.objects.filter(pk=workspace.pk).update(policy={"from_next_year": 1, "idle_minutes": 30})
    assert caller_of(agent_key.secret).policy == WorkspacePolicy(idle_minutes=30)
    limit(workspace, actor, idle_minutes=20)
    assert Workspace.objects.get(pk=workspace.pk).policy == {"from_next_year": 1, "idle_minutes": 20}


# What is shown of them


def test_keys_are_shown_with_their_use(workspace: Workspace, agent: Agent, actor: Actor) -> None:
    old = key_create(agent=agent, actor=actor, rate_per_minute=7)
    gone = key_create(agent=agent, actor=actor)
    key_revoke(key=gone.key, actor=actor)
    new = key_rotate(key=old.key, actor=actor)
    for _ in within_a_minute(iter(range(3))):
        with in_workspace(workspace.id):
            KeyUsage.objects.all().delete()
        for _ in range(3):
            caller_of(old.secret)
        with in_workspace(workspace.id):
            [shown] = agents_with_keys(workspace)
    assert [key.key.prefix for key in shown.live] == [new.key.prefix, old.key.prefix]
    assert [key.rotating for key in shown.live] == [True, True]
    assert [key.key.prefix for key in shown.ended] == [gone.key.prefix]
    assert shown.live[0].last_used_at is None
    assert shown.live[1].limit == 7
    with in_workspace(workspace.id):
        assert key_shown(old.key).rotating
        assert not key_shown(gone.key).rotating
        assert requests_of_workspace(workspace) == 0


def test_a_key_is_found_by_its_prefix_in_any_workspace(agent_key: NewKey, outsider_key: NewKey) -> None:
    assert key_by_prefix(agent_key.key.prefix) == agent_key.key
    assert key_by_prefix(outsider_key.key.prefix) == outsider_key.key
    assert key_by_prefix("mh_00000000") is None


# Commands


def run(name: str, *arguments: str, **options: Any) -> str:
    out = StringIO()
    call_command(name, *arguments, stdout=out, **options)
    return out.getvalue().strip()


def test_a_key_can_be_made_rotated_and_revoked_by_command(workspace: Workspace) -> None:
    made = run("create_api_key", "--agent", "bot", "--workspace", "acme", "--expires-in-days", "30", "--rate", "60")
    caller = caller_of(made)
    assert caller.key_expires_at is not None
    assert timedelta(days=29) < caller.key_expires_at - timezone.now() <= timedelta(days=30)
    rotated = run("rotate_api_key", caller.key_prefix, "--overlap-hours", "2", "--expires-in-days", "10")
    assert {caller_of(made).agent_id, caller_of(rotated).agent_id} == {caller.agent_id}
    assert run("revoke_api_key", caller.key_prefix, "--reason", "compromised").startswith(caller.key_prefix)
    with pytest.raises(AuthenticationFailed):
        caller_of(made)
    assert entries(workspace, "key.revoked")[0].reason == "compromised"
    with in_workspace(workspace.id):
        assert ApiKey.objects.get(prefix=caller.key_prefix).rate_per_minute == 60


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (("create_api_key", "--agent", "bot", "--workspace", "acme", "--expires-in-days", "0"), "from 1 on"),
        (("create_api_key", "--agent", "bot", "--workspace", "acme", "--rate", "0"), "--rate"),
        (("rotate_api_key", "mh_00000000"), "no key"),
        (("rotate_api_key", "mh_00000000", "--overlap-hours", "-1"), "--overlap-hours"),
        (("rotate_api_key", "mh_00000000", "--expires-in-days", "0"), "from 1 on"),
        (("revoke_api_key", "mh_00000000"), "no key"),
    ],
)
def test_what_cannot_be_is_said(workspace: Workspace, command: tuple[str, ...], says: str) -> None:
    with pytest.raises(CommandError, match=says):
        run(*command)


def test_a_key_is_revoked_and_rotated_once(workspace: Workspace, agent_key: NewKey) -> None:
    run("rotate_api_key", agent_key.key.prefix)
    with pytest.raises(CommandError, match="rotated already"):
        run("rotate_api_key", agent_key.key.prefix)
    run("revoke_api_key", agent_key.key.prefix)
    with pytest.raises(CommandError, match="was revoked"):
        run("revoke_api_key", agent_key.key.prefix)
