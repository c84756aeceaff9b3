"""The page of the log's integrity: verdict, a check at once, one entry's proof, a bundle; and the alarm elsewhere."""

import json
import re
from datetime import timedelta
from io import BytesIO
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from django_q.models import OrmQ
from memory_samples import learn, say
from test_audit_sealing import write

from audit import verify
from audit.actors import Actor
from audit.models import Entry, Handover, Verdict, Verification
from audit.sealing.services import seal_all
from audit.sealing.verifying import verification_ask, verification_run
from audit.services import receipt
from memoryhub import condition
from memoryhub.access.models import Agent, User, Workspace
from memoryhub.core.observability import metrics
from memoryhub.core.tenancy import in_workspace
from sessions.models import Subject

pytestmark = pytest.mark.django_db
PAGE = "/w/acme/audit/integrity/"


@pytest.fixture
def signed_in(client: Client, auditor: User) -> Client:
    client.force_login(auditor)
    return client


@pytest.fixture
def fresh_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(condition, "_last_look", None)


def bad_verdict(workspace: Workspace) -> None:
    with in_workspace(workspace.id):
        Verdict.objects.create(
            workspace_id=workspace.id, actor_kind="system", actor_id="verifier", verdict="MISSING", entries=7, size=8,
            checkpoints=2, found=1, findings=[["MISSING", "entry 3"]], elapsed_ms=4,
        )  # fmt: skip


def text(client: Client, address: str = PAGE, **query: str) -> str:
    return client.get(address, query).content.decode()


def test_the_page_tells_what_is_sealed_and_where(signed_in: Client, workspace: Workspace, actor: Actor) -> None:
    assert "never checked as a whole" in text(signed_in) and "Nothing is sealed yet" in text(signed_in)
    write(workspace, actor, 3)
    seal_all(workspace.id)
    page = text(signed_in)
    with in_workspace(workspace.id):
        sealed = Entry.objects.filter(action="request.noted").count()
    assert sealed == 3 and "entries sealed, none waits" in page
    assert "audit_checkpoints.jsonl" in page and "No place outside is named" in page
    [key] = set(re.findall(r'data-label="Key" class="mono">([0-9a-f]{16})<', page))
    assert page.count(key) >= 2


def test_a_check_is_asked_for_shown_and_ends_in_a_verdict(signed_in: Client, workspace: Workspace) -> None:
    seal_all(workspace.id)
    assert signed_in.post(f"{PAGE}verify/").status_code == 303
    assert OrmQ.objects.count() == 1
    page = text(signed_in)
    assert "It waits for the queue" in page and 'hx-trigger="every 2s"' in page and "Verify now" not in page
    with in_workspace(workspace.id):
        run = Verification.objects.get()
    verification_run(run.id, workspace_id=workspace.id)
    part = signed_in.get(PAGE, headers={"HX-Request": "true"}).content.decode()
    assert "<h1>" not in part and "hx-trigger" not in part and 'pill good">OK<' in part
    assert "amir" in part and "Verify now" in part


def test_a_run_without_a_verdict_is_not_taken_for_one(signed_in: Client, workspace: Workspace, actor: Actor) -> None:
    with in_workspace(workspace.id):
        verification_ask(workspace_id=workspace.id, actor=actor)
        Verification.objects.update(ended_at=timezone.now())
    assert "did not come to its end" in text(signed_in)


@pytest.mark.parametrize("asked", ["receipt", "leaf", "entry"])
def test_one_entry_is_proved(signed_in: Client, workspace: Workspace, actor: Actor, asked: str) -> None:
    entry = write(workspace, actor, 5)[2]
    named = {"receipt": receipt(entry), "leaf": bytes(entry.leaf).hex(), "entry": str(entry.id)}[asked]
    assert "waits</span>" in text(signed_in, f"{PAGE}entry/", q=named)
    seal_all(workspace.id)
    page = text(signed_in, f"{PAGE}entry/", q=named)
    assert "in the log</span>" in page and "checkpoint 1 of" in page
    with in_workspace(workspace.id):
        assert Entry.objects.filter(action="audit.read", data__returned=1).count() == 2


@pytest.mark.parametrize("asked", ["mh1:x:" + "0" * 64, "0" * 64, "zz" * 32, "nonsense"])
def test_what_is_not_there_is_said_to_be_missing(signed_in: Client, workspace: Workspace, asked: str) -> None:
    assert "not found</span>" in text(signed_in, f"{PAGE}entry/", q=asked)


def test_an_entry_of_another_workspace_is_not_found(
    signed_in: Client, workspace: Workspace, other_workspace: Workspace, actor: Actor
) -> None:
    [entry] = write(other_workspace, actor, 1)
    seal_all(other_workspace.id)
    assert "not found</span>" in text(signed_in, f"{PAGE}entry/", q=bytes(entry.leaf).hex())


@pytest.mark.parametrize(
    ("asked", "verdict"),
    [({}, "OK"), ({"subject": "alice"}, "OK_SUBSET"), ({"action": "fact."}, "OK_SUBSET"),
     ({"since": "2020-01-01", "until": "2020-01-02"}, "OK_SUBSET")],
    ids=["all", "a person", "an action", "a period"],
)  # fmt: skip
def test_a_bundle_is_taken_along(
    signed_in: Client, workspace: Workspace, agent: Agent, asked: dict[str, str], verdict: str
) -> None:
    say(agent, "I like tea.")
    learn(agent, "Likes tea")
    seal_all(workspace.id)
    answer: Any = signed_in.get(f"{PAGE}bundle.zip", asked)
    assert answer.streaming and ".zip" in answer["Content-Disposition"]
    bundle = verify.Bundle(BytesIO(b"".join(answer)))  # type: ignore[arg-type]
    assert verify.check(bundle).verdict == verdict
    actions = {json.loads(line)["action"] for _, line in bundle.entries()}
    if "action" in asked:
        assert actions == {"fact.added"}
    if "subject" in asked:
        with in_workspace(workspace.id):
            assert bundle.subject == str(Subject.objects.get().id)
    assert bool(actions) == ("since" not in asked)
    with in_workspace(workspace.id):
        began = Entry.objects.get(action="audit.export_began")
    assert began.data["form"] == "bundle"


@pytest.mark.parametrize(
    ("asked", "says"),
    [({"subject": "nobody"}, "Nobody is known by this id."), ({"action": "nonsense"}, "No action is called so."),
     ({"since": "soon"}, "Enter a valid date.")],
)  # fmt: skip
def test_a_bundle_of_nothing_known_is_refused(
    signed_in: Client, workspace: Workspace, asked: dict[str, str], says: str
) -> None:
    answer = signed_in.get(f"{PAGE}bundle.zip", asked)
    assert answer.status_code == 422 and says in answer.content.decode()
    with in_workspace(workspace.id):
        assert not Entry.objects.filter(action="audit.export_began").exists()


def test_a_bad_verdict_is_an_alarm_everywhere(
    client: Client, viewer: User, auditor: User, workspace: Workspace, fresh_look: None
) -> None:
    client.force_login(viewer)
    assert "not what was sealed" not in text(client, "/w/acme/")
    bad_verdict(workspace)
    page = text(client, "/w/acme/")
    assert "The audit log is not what was sealed: MISSING" in page and PAGE not in page
    condition._last_look = None
    ready = client.get("/readyz")
    assert ready.status_code == 200 and "audit" in ready.json()["degraded"]
    assert "memoryhub_audit_verdict_ok 0.0" in metrics.render()[0].decode()
    client.force_login(auditor)
    page = text(client)
    assert "The log is not what was sealed." in page and "entry 3" in page
    assert PAGE in text(client, "/w/acme/")


def test_an_old_verdict_is_named(signed_in: Client, workspace: Workspace, actor: Actor) -> None:
    with in_workspace(workspace.id):
        Verdict.objects.create(
            workspace_id=workspace.id, at=timezone.now() - timedelta(days=3), actor_kind="system",
            actor_id="verifier", verdict="OK", entries=7, size=7, checkpoints=2, found=0, elapsed_ms=4,
        )  # fmt: skip
    assert "older than it should be" in text(signed_in)
    assert "was last checked" in text(signed_in, "/w/acme/")


def test_a_place_that_takes_nothing_is_shown(
    signed_in: Client, workspace: Workspace, settings: Any, fresh_look: None
) -> None:
    settings.AUDIT_ANCHOR_COMMAND = "false"
    seal_all(workspace.id)
    with in_workspace(workspace.id):
        Handover.objects.create(
            workspace_id=workspace.id, place="command", failures=2, failed_at=timezone.now(), error="exit_1"
        )
    page = text(signed_in)
    assert "takes nothing" in page and "exit_1" in page and "1 checkpoint behind" in page
    figures = metrics.render()[0].decode()
    assert 'memoryhub_audit_anchor_failing{place="command"} 1.0' in figures
    assert 'memoryhub_audit_anchor_behind{place="command"} 1.0' in figures
