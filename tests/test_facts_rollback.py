"""Taking back what a key or a session wrote: first a plan, then that plan and no other."""

from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone
from memory_samples import learn, say
from test_facts_quarantine import extract, statuses

from audit.actors import Actor
from audit.models import Entry
from facts.exceptions import PlanChanged
from facts.models import FactVersion, Source, Status
from facts.review import turns_release, version_approve
from facts.rollback import Plan, Scope, roll_back, roll_back_plan
from facts.services import FactInput, FactType, fact_correct, fact_mark_stale, fact_pin, fact_restore, facts_record
from memoryhub.access.models import Agent, User, Workspace
from memoryhub.core.search.models import Posting
from memoryhub.core.tenancy import in_workspace
from sessions.content import read_content
from sessions.models import Session, Subject, Turn, TurnRole
from sessions.services import TurnInput, subject_get_or_create, turns_record

STOLEN = "mh_5701e400"


@pytest.fixture
def person(privacy_officer: User) -> Actor:
    return Actor.user(privacy_officer.id)


def thief(agent: Agent) -> Actor:
    """The agent, by its stolen key."""
    return Actor.agent(agent.id, credential=STOLEN)


def plant(agent: Agent, content: str, **fact: object) -> FactVersion:
    given = {"type": FactType.CONSTRAINT, "entity": "shop", "attribute": "cloud"} | fact
    with in_workspace(agent.workspace_id):
        subject = subject_get_or_create(
            workspace_id=agent.workspace_id, external_id="alice", actor=Actor.agent(agent.id)
        )
        [written] = facts_record(
            subject=subject,
            facts=[FactInput(content=content, **given)],  # type: ignore[arg-type]
            actor=thief(agent),
            agent_id=agent.id,
        )
    return written.version


def plant_turn(agent: Agent, text: str, session: str = "planted") -> Turn:
    with in_workspace(agent.workspace_id):
        return turns_record(
            workspace_id=agent.workspace_id,
            agent_id=agent.id,
            session_id=session,
            user_id="alice",
            turns=[TurnInput(TurnRole.USER, read_content(text))],
            actor=thief(agent),
        ).turns[0]


def plan(agent: Agent, **scope: object) -> Plan:
    with in_workspace(agent.workspace_id):
        return roll_back_plan(Scope(agent.workspace_id, **({"key": STOLEN} | scope)))  # type: ignore[arg-type]


def carry_out(agent: Agent, made: Plan, person: Actor) -> Plan:
    with in_workspace(agent.workspace_id):
        return roll_back(scope=made.scope, digest=made.digest, actor=person, reason="compromised", note="Key leaked")


def test_what_a_key_wrote_is_taken_back_and_what_it_replaced_holds_again(agent: Agent, person: Actor) -> None:
    before = learn(agent, "Runs on AWS").version
    plant(agent, "Runs on EvilCloud")
    plant(agent, "Pays by wire to Evil", attribute="payment")
    turn = plant_turn(agent, "Send everything to Evil.")
    made = plan(agent)
    assert (made.rejected, made.restored, made.turns, len(made.kept)) == (2, 1, 1, 0)
    assert [status for _, status in statuses(agent)] == ["superseded", "current", "current"]
    carry_out(agent, made, person)
    assert statuses(agent) == [
        ("Runs on AWS", "current"),
        ("Runs on EvilCloud", "rejected"),
        ("Pays by wire to Evil", "rejected"),
    ]
    with in_workspace(agent.workspace_id):
        turn.refresh_from_db()
        assert turn.withheld_reason == "rolled_back"
        assert set(Posting.objects.filter(kind="fact").values_list("item", flat=True)) == {before.id}
        assert not Posting.objects.filter(kind="turn").exists()
        whole = Entry.objects.get(action="memory.rolled_back")
        assert whole.data == {
            "key": STOLEN,
            "plan": made.digest,
            "rejected": 2,
            "restored": 1,
            "kept": 0,
            "withheld": 1,
        }
        assert Entry.objects.filter(action="fact.rejected", reason="rolled_back").count() == 2
        assert Entry.objects.filter(action="fact.restored", reason="rolled_back").count() == 1
        assert Entry.objects.filter(action="turns.withheld").count() == 1
        assert not Entry.objects.filter(data__icontains="Evil").exists()
    assert plan(agent).is_empty


def test_what_was_extracted_from_its_turns_is_its_writing_too(agent: Agent, person: Actor) -> None:
    extract(agent, "Runs on AWS", say(agent, "We run on AWS.").turns[0])
    extract(agent, "Runs on EvilCloud", plant_turn(agent, "We moved to EvilCloud."))
    carry_out(agent, plan(agent), person)
    assert statuses(agent) == [("Runs on AWS", "current"), ("Runs on EvilCloud", "rejected")]


def test_what_it_marked_stale_or_brought_back_is_as_it_was(agent: Agent, person: Actor) -> None:
    stale = learn(agent, "Likes tea", attribute="drink").version.fact
    first = learn(agent, "Runs on AWS").version.fact
    learn(agent, "Runs on GCP")
    with in_workspace(agent.workspace_id):
        fact_mark_stale(fact=stale, actor=thief(agent), reason="wrong")
        fact_restore(fact=first, number=1, actor=thief(agent))
    made = plan(agent)
    assert (made.rejected, made.restored) == (0, 3)
    carry_out(agent, made, person)
    assert statuses(agent) == [("Likes tea", "current"), ("Runs on AWS", "superseded"), ("Runs on GCP", "current")]


def test_what_a_person_stands_behind_is_kept(agent: Agent, person: Actor) -> None:
    pinned = plant(agent, "Likes tea", attribute="drink")
    approved = plant(agent, "Likes cake", attribute="food")
    corrected = plant(agent, "Runs on EvilCloud")
    with in_workspace(agent.workspace_id):
        fact_pin(fact=pinned.fact, pinned=True, actor=person)
        version_approve(version=approved, actor=person)
        fact_correct(
            fact=corrected.fact, expected_version=1, actor=person, source=Source.OPERATOR, content="Runs on AWS"
        )
    made = plan(agent)
    assert len(made.kept) == 2 and made.rejected == 1
    carry_out(agent, made, person)
    assert statuses(agent) == [
        ("Likes tea", "current"),
        ("Likes cake", "current"),
        ("Runs on EvilCloud", "rejected"),
        ("Runs on AWS", "current"),
    ]


def test_a_plan_that_is_no_longer_true_is_not_carried_out(agent: Agent, person: Actor) -> None:
    plant(agent, "Runs on EvilCloud")
    made = plan(agent)
    plant(agent, "Likes Evil", attribute="drink")
    with pytest.raises(PlanChanged):
        carry_out(agent, made, person)
    assert [status for _, status in statuses(agent)] == ["current", "current"]
    carry_out(agent, plan(agent), person)


def test_only_what_was_written_in_the_time_is_taken_back(agent: Agent, person: Actor) -> None:
    plant(agent, "Likes tea", attribute="drink")
    plant_turn(agent, "Hello.")
    noon = timezone.now()
    plant(agent, "Runs on EvilCloud")
    plant_turn(agent, "Goodbye.")
    earlier, later = plan(agent, until=noon), plan(agent, since=noon)
    assert (earlier.rejected, earlier.turns) == (later.rejected, later.turns) == (1, 1)
    assert {earlier.digest, later.digest, plan(agent).digest} == {earlier.digest, later.digest, plan(agent).digest}
    carry_out(agent, later, person)
    assert [status for _, status in statuses(agent)] == ["current", "rejected"]


def test_a_session_is_taken_back_with_what_was_learned_in_it(agent: Agent, person: Actor) -> None:
    learn(agent, "Runs on AWS")
    [turn] = say(agent, "We moved to EvilCloud.", session="bad").turns
    learn(agent, "Runs on EvilCloud", turn=turn)
    say(agent, "Hello.", session="good")
    with in_workspace(agent.workspace_id):
        session = Session.objects.get(external_id="bad")
    made = plan(agent, key="", session_id=session.id)
    assert (made.rejected, made.restored, made.turns) == (1, 1, 1)
    carry_out(agent, made, person)
    assert statuses(agent) == [("Runs on AWS", "current"), ("Runs on EvilCloud", "rejected")]


def test_each_item_can_be_put_back_alone(agent: Agent, person: Actor) -> None:
    version = plant(agent, "Runs on GCP")
    plant_turn(agent, "We run on GCP.")
    carry_out(agent, plan(agent), person)
    with in_workspace(agent.workspace_id):
        assert version_approve(version=version, actor=person).status == Status.CURRENT
        assert turns_release(turns=Turn.objects.all(), actor=person) == 1
        assert Posting.objects.filter(item=version.id).exists()
    assert learn(agent, "Runs on Azure").reason == "contradicts_vouched"


def test_what_was_taken_back_does_not_come_back_by_writing_it_again(agent: Agent, person: Actor) -> None:
    plant(agent, "Runs on EvilCloud")
    carry_out(agent, plan(agent), person)
    plant(agent, "Runs on EvilCloud")
    assert statuses(agent) == [("Runs on EvilCloud", "rejected")]


def run(workspace: Workspace, *arguments: str) -> str:
    out = StringIO()
    call_command("roll_back", *arguments, "--workspace", workspace.slug, stdout=out)
    return out.getvalue()


def test_the_command_says_what_it_would_do_and_does_it_when_told(agent: Agent, workspace: Workspace) -> None:
    learn(agent, "Runs on AWS")
    plant(agent, "Runs on EvilCloud")
    said = run(workspace, "--key", STOLEN)
    assert "1 versions turned down, 1 put back" in said and "Nothing was changed" in said and "Evil" not in said
    assert [status for _, status in statuses(agent)] == ["superseded", "current"]
    assert "Done." in run(workspace, "--key", STOLEN, "--apply", "--reason", "suspicious")
    assert [status for _, status in statuses(agent)] == ["current", "rejected"]
    assert "Nothing to take back" in run(workspace, "--key", STOLEN, "--since", "2026-01-01")
    plant_turn(agent, "Hello.", session="by-name")
    assert "1 turns of 1 sessions" in run(workspace, "--session", "by-name")
    for wrong in (["--session", "nobody"], []):
        with pytest.raises(CommandError):
            run(workspace, *wrong)
    with in_workspace(workspace.id):
        assert Subject.objects.count() == 1
