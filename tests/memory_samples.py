"""A workspace with a row of everything, written by the product's own services."""

from datetime import date, timedelta
from uuid import UUID, uuid4

from django.utils import timezone

from audit.actors import Actor
from audit.erasure import tombstones
from audit.erasure.ledger import Line
from audit.erasure.models import Erasure, ErasureState, ErasureTrace
from audit.registry import Scope, Stone
from audit.requests.holds import hold_place
from audit.requests.models import DataRequest, Hold
from audit.requests.services import Rules, request_decide, request_receive
from audit.requests.states import Step
from audit.retention.models import RetentionSweep
from audit.sealing.models import Handover
from audit.sealing.pruning import prune
from audit.sealing.services import seal_all
from audit.sealing.verifying import verification_ask, verification_run
from facts.models import (
    ErasedEvidence,
    Evidence,
    Extraction,
    ExtractionBatch,
    ExtractionDay,
    FactType,
    RemovedEvidence,
)
from facts.services import FactInput, Written, facts_record
from facts.visibility import policy_of
from facts.working_memory import MemoryRequest, Viewpoint, working_memory
from memoryhub.access.models import Agent, MemoryMode, Role, Workspace
from memoryhub.access.people import invitation_create, user_create
from memoryhub.access.policy import WorkspacePolicy
from memoryhub.access.services import agent_get_or_create, key_create, workspace_change
from memoryhub.api.authentication import caller_of
from memoryhub.core.search.indexing import index_pending
from memoryhub.core.tenancy import in_workspace
from sessions.content import read_content
from sessions.models import Subject, TurnRole
from sessions.services import Recorded, TurnInput, subject_get_or_create, turns_record


def say(
    agent: Agent, *texts: str, session: str = "s1", user: str = "alice", role: TurnRole = TurnRole.USER, **turn: object
) -> Recorded:
    """Record one turn for each text."""
    with in_workspace(agent.workspace_id):
        return turns_record(
            workspace_id=agent.workspace_id,
            agent_id=agent.id,
            session_id=session,
            user_id=user,
            turns=[TurnInput(role, read_content(text), **turn) for text in texts],  # type: ignore[arg-type]
            actor=Actor.agent(agent.id),
        )


def learn(agent: Agent, content: str, *, user: str = "alice", **fact: object) -> Written:
    """Write one fact, by default about an entity and attribute that tell it apart from none."""
    given = {"type": FactType.CONSTRAINT, "entity": "shop", "attribute": "cloud"} | fact
    with in_workspace(agent.workspace_id):
        subject = subject_get_or_create(workspace_id=agent.workspace_id, external_id=user, actor=Actor.agent(agent.id))
        [written] = facts_record(
            subject=subject,
            facts=[FactInput(content=content, **given)],  # type: ignore[arg-type]
            actor=Actor.agent(agent.id),
            agent_id=agent.id,
        )
    return written


def viewpoint(agent: Agent, mode: MemoryMode = MemoryMode.FULL) -> Viewpoint:
    policy = policy_of(agent.workspace_id)
    return Viewpoint(agent.workspace_id, "english", Actor.agent(agent.id), agent.id, mode, policy=policy)


def embed_all(workspace_id: UUID) -> None:
    while index_pending(workspace_id):
        pass


def fill_workspace(workspace: Workspace, actor: Actor, *, pruned: bool = True) -> Subject:
    """Leave at least one row in every table of the workspace, one of them still waiting for its vector.

    Without `pruned` the log keeps its first entries, and no record says otherwise.
    """
    agent = agent_get_or_create(workspace_id=workspace.id, name="sampler", actor=actor)
    user_create(username=f"person-{uuid4()}", actor=actor, workspace=workspace, role=Role.VIEWER)
    invitation_create(workspace=workspace, role=Role.VIEWER, actor=actor)
    key = key_create(agent=agent, actor=actor)
    workspace_change(workspace=workspace, policy=WorkspacePolicy(requests_per_minute=1_000_000), actor=actor)
    caller_of(key.secret)
    suffix = str(workspace.id)
    recorded = say(agent, "We run on AWS.", session=f"s-{suffix}")
    learn(agent, "Runs on AWS", turn=recorded.turns[0])
    embed_all(workspace.id)
    seal_all(workspace.id)
    with in_workspace(workspace.id):
        asked, _ = verification_ask(workspace_id=workspace.id, actor=actor)
        Handover.objects.create(workspace_id=workspace.id, place="folder", number=1, at=timezone.now())
    verification_run(asked.id, workspace_id=workspace.id)
    if pruned:
        prune(workspace_id=workspace.id, before=timezone.now(), actor=actor)
    say(agent, "We like it.", session=f"s-{suffix}")
    working_memory(view=viewpoint(agent), ask=MemoryRequest("alice", "Where do we run?", f"next-{suffix}"))
    with in_workspace(workspace.id):
        subject = Subject.objects.get(workspace=workspace)
        session = subject.sessions.get()
        batch = ExtractionBatch.objects.create(workspace=workspace, size=1)
        Extraction.objects.create(
            workspace=workspace, subject=subject, session=session, first_index=0, last_index=1, batch=batch
        )
        ExtractionDay.objects.create(workspace=workspace, day=date(2026, 3, 1), model="patterns")
        ErasedEvidence.objects.create(workspace=workspace, subject=subject, turn=recorded.turns[0])
        stated = Evidence.objects.get(turn=recorded.turns[0])
        RemovedEvidence.objects.create(
            workspace=workspace,
            version_id=stated.version_id,
            kind=stated.kind,
            said_at=timezone.now(),
            digest=bytes(32),
        )
        RetentionSweep.objects.create(
            workspace_id=workspace.id, kind="turns", before=timezone.now(), ended_at=timezone.now()
        )
        erasure_sample(subject)
        request_sample(subject)
    return subject


def ledger_line() -> Line:
    """An erasure of somebody who is not there."""
    return Line(uuid4(), uuid4(), uuid4(), "subject", timezone.now(), "subject_request")


def erasure_sample(subject: Subject) -> Erasure:
    """An erasure that left something, in the transaction of the subject's workspace."""
    erasure = Erasure.objects.create(
        workspace_id=subject.workspace_id,
        subject_id=subject.id,
        kind="session",
        target=uuid4(),
        state=ErasureState.PARTIAL,
        reason="subject_request",
        actor_kind="command",
        actor_id="tests",
        erased={"sessions": {"turn": 1}},
    )
    ErasureTrace.objects.create(erasure=erasure, workspace_id=subject.workspace_id, ids=b"")
    stone = Stone(tombstones.of_session(subject.workspace_id, f"erased-{subject.id}"))
    tombstones.lay(workspace_id=subject.workspace_id, erasure_id=erasure.id, stones=[stone])
    return erasure


def request_sample(subject: Subject) -> tuple[DataRequest, Hold]:
    """A request that was just received, and a hold on a session that is not there, in the subject's workspace.

    Beside them one that was approved, and should have been answered long ago.
    """
    request = request_receive(
        workspace_id=subject.workspace_id,
        scope=Scope(subject.id),
        type_="access",
        received_at=timezone.now(),
        channel="email",
        identity="unverified",
        actor=Actor.command("tests"),
        rules=Rules(),
    )
    hold = hold_place(
        workspace_id=subject.workspace_id,
        subject_id=subject.id,
        session_id=uuid4(),
        reason="litigation",
        note="",
        actor=Actor.command("somebody"),
    )
    ready = request_receive(
        workspace_id=subject.workspace_id,
        scope=Scope(subject.id),
        type_="portability",
        received_at=timezone.now() - timedelta(days=200),
        channel="letter",
        identity="verified",
        actor=Actor.command("tests"),
        rules=Rules(),
    )
    request_decide(request=ready, step=Step.APPROVE, actor=Actor.command("tests"), rules=Rules())
    return request, hold
