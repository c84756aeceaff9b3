"""Requests of the people remembered: their states, who decides, and what they bring about."""

from datetime import date, timedelta
from typing import Any

import pytest
from django.utils import timezone
from django_q.models import OrmQ
from memory_samples import learn, say, viewpoint

from audit.actors import Actor
from audit.erasure.models import Erasure
from audit.models import Entry
from audit.registry import Scope
from audit.requests.errors import ErasureRuns, NotNow, RequestError, SamePerson, Unacceptable
from audit.requests.models import DataRequest, Hold
from audit.requests.services import (
    Rules,
    request_decide,
    request_extend,
    request_locked,
    request_noted,
    request_receive,
)
from audit.requests.states import ENDED, TRANSITIONS, RequestState, Step, decisions_open
from facts.extraction.windows import may_be_read
from facts.working_memory import MemoryRequest, working_memory
from memoryhub import desk, erasing
from memoryhub.access.models import Agent, Workspace
from memoryhub.access.policy import WorkspacePolicy
from memoryhub.access.services import workspace_change
from memoryhub.core.tenancy import in_workspace
from sessions.models import Session, Subject

ANNA, BEN = Actor.command("anna"), Actor.command("ben")


@pytest.fixture
def maria(hub_db: str, agent: Agent, settings: Any, tmp_path: Any) -> Subject:
    settings.DATA_DIR = tmp_path
    said = say(agent, "I live in Rotterdam near the old harbour.", session="home", user="maria-of-rotterdam")
    learn(agent, "Lives in Rotterdam", user="maria-of-rotterdam", turn=said.turns[0])
    with in_workspace(agent.workspace_id):
        return Subject.objects.get()


def ask(maria: Subject, type_: str, *, identity: str = "verified", rules: Rules = Rules(), **more: Any) -> DataRequest:  # noqa: B008
    with in_workspace(maria.workspace_id):
        return request_receive(
            workspace_id=maria.workspace_id,
            scope=more.pop("scope", Scope(maria.id)),
            type_=type_,
            received_at=more.pop("received_at", timezone.now()),
            channel="email",
            identity=identity,
            actor=ANNA,
            rules=rules,
            **more,
        )


def decide(request: DataRequest, step: Step, actor: Actor = ANNA, rules: Rules = Rules(), **more: Any) -> DataRequest:  # noqa: B008
    with in_workspace(request.workspace_id):
        locked = request_locked(workspace_id=request.workspace_id, request_id=request.id)
        if step is Step.CARRY_OUT:
            return desk.request_carry_out(request=locked, actor=actor, **more)
        return request_decide(request=locked, step=step, actor=actor, rules=rules, **more)


def hold(maria: Subject, actor: Actor = ANNA, session: Session | None = None) -> Hold:
    with in_workspace(maria.workspace_id):
        return desk.person_hold(
            workspace_id=maria.workspace_id,
            subject_id=maria.id,
            session_id=session.id if session else None,
            reason="litigation",
            note="the case of the old harbour",
            actor=actor,
        )


def now_of(request: DataRequest) -> DataRequest:
    with in_workspace(request.workspace_id):
        return DataRequest.objects.get(pk=request.id)


def carried_out() -> str:
    task = OrmQ.objects.get().task
    OrmQ.objects.all().delete()
    return erasing.carry_out(*task["args"])


def surfaced(agent: Agent) -> int:
    ask_ = MemoryRequest("maria-of-rotterdam", "Where do I live?", "another")
    return len(working_memory(view=viewpoint(agent), ask=ask_).facts)


def test_the_table_of_states_has_no_dead_end_and_no_way_out_of_an_end() -> None:
    assert set(TRANSITIONS) == set(RequestState)
    assert {state for state, steps in TRANSITIONS.items() if not steps} == ENDED
    reached, todo = {RequestState.RECEIVED}, [RequestState.RECEIVED]
    while todo:
        for state in TRANSITIONS[todo.pop()].values():
            if state not in reached:
                reached.add(state)
                todo.append(state)
    assert reached == set(RequestState)


@pytest.mark.parametrize(("type_", "kept_back"), [("erasure", True), ("objection", True), ("access", False)])
def test_nothing_is_surfaced_from_the_moment_an_erasure_or_objection_is_received(
    maria: Subject, agent: Agent, type_: str, kept_back: bool
) -> None:
    assert surfaced(agent) == 1
    request = ask(maria, type_, identity="unverified")
    assert surfaced(agent) == (0 if kept_back else 1)
    with in_workspace(agent.workspace_id):
        read = Session.objects.filter(may_be_read()).exists()
        assert read is not kept_back
    decide(request, Step.REFUSE, reason="unfounded")
    assert surfaced(agent) == 1


def test_another_open_request_keeps_the_person_back(maria: Subject, agent: Agent) -> None:
    first, second = ask(maria, "erasure"), ask(maria, "objection")
    decide(first, Step.CANCEL)
    assert surfaced(agent) == 0
    decide(second, Step.CANCEL)
    assert surfaced(agent) == 1


def test_an_erasure_goes_from_its_request_to_its_certificate(maria: Subject, agent: Agent) -> None:
    request = ask(maria, "erasure", note="She wrote from the old harbour.")
    assert request.state == "review"
    decide(request, Step.APPROVE)
    running = decide(request, Step.CARRY_OUT)
    assert running.state == "running" and running.erasure_id
    assert carried_out() == "completed"
    done = now_of(request)
    assert (done.state, done.ended) == ("completed", True)
    with in_workspace(agent.workspace_id):
        assert not Subject.objects.exists()
        steps = [(one.step, one.after, one.note) for one in done.steps.order_by("id")]
        assert [after for _, after, _ in steps] == [
            "received",
            "review",
            "approved",
            "running",
            "verifying",
            "completed",
        ]
        assert not any(note for _, _, note in steps)  # somebody's words about the person are erased too
        moved = Entry.objects.filter(action="request.moved", object_id=str(request.id)).order_by("id")
        assert [one.data["state"] for one in moved] == ["review", "approved", "running", "verifying", "completed"]


def test_no_note_is_taken_that_nothing_would_erase_any_more(maria: Subject) -> None:
    request, other = ask(maria, "erasure"), ask(maria, "access")
    decide(request, Step.APPROVE)
    decide(request, Step.CARRY_OUT, note="She lives at the old harbour.")  # goes with her
    words = "She called about the old harbour."
    for state in ("queued", "completed"):
        with in_workspace(maria.workspace_id):
            assert Erasure.objects.get().state == state
            with pytest.raises(NotNow, match="nothing would erase"):
                request_noted(request=now_of(request), note=words, actor=ANNA)
        with pytest.raises(NotNow, match="nothing would erase"):
            decide(other, Step.CANCEL, note=words)
        if state == "queued":
            assert carried_out() == "completed"
    assert decide(other, Step.CANCEL).state == "cancelled"
    with in_workspace(maria.workspace_id):
        assert not any(step.note for one in (request, other) for step in one.steps.all())


def test_a_part_is_erased_and_the_person_is_surfaced_again(maria: Subject, agent: Agent) -> None:
    say(agent, "I have a red boat in the harbour.", session="boat", user="maria-of-rotterdam")
    with in_workspace(agent.workspace_id):
        boat = Session.objects.get(external_id="boat")
    request = ask(maria, "erasure", scope=Scope(maria.id, session_id=boat.id))
    decide(request, Step.APPROVE)
    decide(request, Step.CARRY_OUT)
    assert carried_out() == "completed"
    assert now_of(request).state == "completed"
    assert surfaced(agent) == 1
    with pytest.raises(Unacceptable):
        ask(maria, "access", scope=Scope(maria.id, session_id=boat.id))


def test_an_erasure_that_leaves_something_leaves_its_request_partial_until_it_is_gone(maria: Subject) -> None:
    request = ask(maria, "erasure")
    decide(request, Step.APPROVE)
    running = decide(request, Step.CARRY_OUT)
    # In a table that no store claims.
    with in_workspace(maria.workspace_id):
        copy = Agent.objects.create(workspace_id=maria.workspace_id, name=f"copy-{maria.id}")
    assert carried_out() == "partial"
    assert now_of(request).state == "partial" and not now_of(request).ended
    with in_workspace(maria.workspace_id):
        copy.delete()
        erasing.erasure_retry(Erasure.objects.get(pk=running.erasure_id), actor=ANNA)
    assert carried_out() == "completed"
    assert now_of(request).state == "completed"


def test_two_people_approve_where_the_workspace_says_so(maria: Subject, workspace: Workspace) -> None:
    two = Rules(two_approve_erasure=True)
    request = ask(maria, "erasure", rules=two)
    first = decide(request, Step.APPROVE, ANNA, two)
    assert (first.state, first.first_approval_by) == ("review", "command:anna")
    with pytest.raises(SamePerson):
        decide(request, Step.APPROVE, ANNA, two)
    assert decide(request, Step.APPROVE, BEN, two).state == "approved"
    access = ask(maria, "access", rules=two)
    assert decide(access, Step.APPROVE, ANNA, two).state == "approved"


def test_an_erasure_without_a_request_is_refused_where_two_approve(maria: Subject, workspace: Workspace) -> None:
    workspace_change(workspace=workspace, policy=WorkspacePolicy(two_approve_erasure=True), actor=ANNA)
    with pytest.raises(erasing.NeedsRequest), in_workspace(workspace.id):
        erasing.erasure_start(workspace_id=workspace.id, scope=Scope(maria.id), actor=ANNA, reason="requested")
    with in_workspace(workspace.id):
        assert not Erasure.objects.exists()


def test_a_doubt_stops_the_clock_and_a_second_doubt_takes_the_first_approval_away(maria: Subject) -> None:
    two = Rules(two_approve_erasure=True)
    request = ask(maria, "erasure", rules=two)
    decide(request, Step.APPROVE, ANNA, two)
    doubted = decide(request, Step.DOUBT_IDENTITY, reason="identity_doubtful")
    assert (doubted.state, doubted.first_approval_by) == ("identity_check", "")
    assert doubted.paused_on == two.today
    with in_workspace(maria.workspace_id):
        DataRequest.objects.update(paused_on=two.today - timedelta(days=11))
    again = decide(request, Step.CONFIRM_IDENTITY)
    assert (again.state, again.paused_on, again.paused_days) == ("review", None, 11)
    assert again.due_on >= request.due_on + timedelta(days=9)


def test_time_is_extended_once_and_only_with_a_notice_within_the_first_month(maria: Subject) -> None:
    rules = Rules()
    fresh, late = ask(maria, "access"), ask(maria, "access", received_at=timezone.now() - timedelta(days=60))

    def extend(request: DataRequest, told_on: date | None = None) -> DataRequest:
        with in_workspace(maria.workspace_id):
            locked = request_locked(workspace_id=maria.workspace_id, request_id=request.id)
            return request_extend(request=locked, told_on=told_on, reason="complex", actor=ANNA, rules=rules)

    extended = extend(fresh)
    assert timedelta(days=85) < extended.due_on - rules.today < timedelta(days=100)
    with pytest.raises(NotNow, match="once"):
        extend(fresh)
    with pytest.raises(NotNow, match="within the first month"):
        extend(late)
    assert extend(late, rules.today - timedelta(days=50)).extended_on == rules.today - timedelta(days=50)
    with pytest.raises(Unacceptable):
        extend(ask(maria, "access"), rules.today + timedelta(days=1))


def test_a_restriction_and_an_objection_are_done_at_once(maria: Subject, agent: Agent) -> None:
    for type_, more in (("restriction", {}), ("objection", {"pauses": ("recording",)})):
        request = ask(maria, type_)
        decide(request, Step.APPROVE)
        assert decide(request, Step.CARRY_OUT, **more).state == "completed"
    with in_workspace(agent.workspace_id):
        now = Subject.objects.get()
    assert now.restricted_at and now.recording_paused_at
    assert not now.extraction_paused_at and not now.surfacing_paused_at and not now.held_back_at
    assert surfaced(agent) == 0
    kept = say(agent, "One more thing.", session="home", user="maria-of-rotterdam")
    assert (kept.recorded, kept.paused) == (0, True)


def test_what_is_not_open_is_refused(maria: Subject) -> None:
    request = ask(maria, "erasure", identity="unverified")
    for step in (Step.APPROVE, Step.CARRY_OUT, Step.COMPLETE):
        with pytest.raises(NotNow):
            decide(request, step)
    with pytest.raises(Unacceptable):
        decide(request, Step.REFUSE)
    with pytest.raises(Unacceptable):
        ask(maria, "access", received_at=timezone.now() + timedelta(hours=1))
    decide(request, Step.CANCEL)
    assert decisions_open("erasure", now_of(request).state) == []


def test_nobody_calls_a_running_erasure_complete(maria: Subject) -> None:
    request = ask(maria, "erasure")
    decide(request, Step.APPROVE)
    decide(request, Step.CARRY_OUT)
    with pytest.raises(NotNow):
        decide(request, Step.COMPLETE)


def test_a_hold_blocks_an_erasure_until_somebody_else_releases_it(maria: Subject, agent: Agent) -> None:
    held = hold(maria, ANNA)
    request = ask(maria, "erasure")
    decide(request, Step.APPROVE)
    assert decide(request, Step.CARRY_OUT).state == "blocked"
    assert desk.sweep() == 0
    with pytest.raises(RequestError), in_workspace(maria.workspace_id):
        desk.hold_end(workspace_id=maria.workspace_id, hold_id=held.id, actor=ANNA)
    with in_workspace(maria.workspace_id):
        desk.hold_end(workspace_id=maria.workspace_id, hold_id=held.id, actor=BEN)
    assert now_of(request).state == "running"
    assert carried_out() == "completed"
    assert now_of(request).state == "completed"
    with in_workspace(maria.workspace_id):
        assert Hold.objects.get().note == ""


def test_a_hold_on_one_session_leaves_the_others_to_go(maria: Subject, agent: Agent) -> None:
    say(agent, "I have a red boat in the harbour.", session="boat", user="maria-of-rotterdam")
    with in_workspace(agent.workspace_id):
        home, boat = (Session.objects.get(external_id=name) for name in ("home", "boat"))
    hold(maria, ANNA, home)
    everything = ask(maria, "erasure")
    one = ask(maria, "erasure", scope=Scope(maria.id, session_id=boat.id))
    for request in (everything, one):
        decide(request, Step.APPROVE)
    assert decide(everything, Step.CARRY_OUT).state == "blocked"
    assert decide(one, Step.CARRY_OUT).state == "running"
    assert carried_out() == "completed"


def test_a_hold_comes_too_late_for_an_erasure_that_runs(maria: Subject) -> None:
    request = ask(maria, "erasure")
    decide(request, Step.APPROVE)
    decide(request, Step.CARRY_OUT)
    with pytest.raises(ErasureRuns) as refused:
        hold(maria)
    assert refused.value.left["sessions"] == 3
    assert "left" in refused.value.message
    with in_workspace(maria.workspace_id):
        assert not Hold.objects.exists()


def test_a_note_quoting_what_is_erased_in_part_goes_with_it(maria: Subject, agent: Agent) -> None:
    request = ask(maria, "access")
    with in_workspace(maria.workspace_id):
        locked = request_locked(workspace_id=maria.workspace_id, request_id=request.id)
        request_noted(request=locked, note="maria said: I live in Rotterdam near the old harbour.", actor=ANNA)
        request_noted(request=locked, note="Ask again on Monday.", actor=ANNA)
        home = Session.objects.get(external_id="home")
        erasing.erasure_start(
            workspace_id=maria.workspace_id, scope=Scope(maria.id, session_id=home.id), actor=ANNA, reason="requested"
        )
    assert carried_out() == "completed"
    with in_workspace(maria.workspace_id):
        assert [one.note for one in request.steps.exclude(note="")] == ["Ask again on Monday."]


def test_who_waits_for_another_erasure_goes_on_when_it_has_ended(maria: Subject) -> None:
    held = hold(maria, ANNA)
    first, second = ask(maria, "erasure"), ask(maria, "erasure")
    for request in (first, second):
        decide(request, Step.APPROVE)
        assert decide(request, Step.CARRY_OUT).state == "blocked"
    with in_workspace(maria.workspace_id):
        desk.hold_end(workspace_id=maria.workspace_id, hold_id=held.id, actor=BEN)
    assert (now_of(first).state, now_of(second).state) == ("running", "blocked")
    assert desk.sweep() == 0
    carried_out()
    assert desk.sweep() == 1
    assert now_of(second).state == "completed"
