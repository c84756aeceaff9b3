"""A little memory for the console's tests, written by the services that agents and people use."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from audit.actors import Actor
from facts.models import Fact, FactType
from facts.services import FactInput, facts_record
from memoryhub.access.models import Agent
from memoryhub.core.tenancy import in_workspace
from sessions.content import read_content
from sessions.models import Session, Subject, TurnRole
from sessions.services import TurnInput, turns_record

BEGAN = datetime(2026, 3, 3, 9, 30, tzinfo=UTC)
TOOL_CALL = [
    {"type": "text", "text": "Let me look."},
    {"type": "tool_use", "id": "call_1", "name": "get_invoice", "input": {"month": "March"}},
]
TOOL_RESULT = [{"type": "tool_result", "tool_use_id": "call_1", "content": "Invoice 77: 480 EUR"}]


@dataclass(frozen=True)
class Remembered:
    """One person with one session of four turns and one fact, "Budget is 500 EUR a month", in its second version."""

    subject: Subject
    session: Session
    fact: Fact


def remember(agent: Agent, *, user_id: str = "cust_48213", said: str = "My budget is 500 EUR a month.") -> Remembered:
    actor = Actor.agent(agent.id)
    with in_workspace(agent.workspace_id):
        recorded = turns_record(
            workspace_id=agent.workspace_id,
            agent_id=agent.id,
            session_id=f"{user_id}-1",
            user_id=user_id,
            turns=[
                TurnInput(TurnRole.USER, read_content(said), occurred_at=BEGAN),
                TurnInput(TurnRole.ASSISTANT, read_content(TOOL_CALL), occurred_at=BEGAN + timedelta(minutes=1)),
                TurnInput(TurnRole.TOOL, read_content(TOOL_RESULT), occurred_at=BEGAN + timedelta(minutes=2)),
                TurnInput(TurnRole.ASSISTANT, read_content("Noted."), occurred_at=BEGAN + timedelta(minutes=3)),
            ],
            actor=actor,
            extract=False,
        )
        session = Session.objects.select_related("subject").get(external_id=f"{user_id}-1")
        for content, value in (("Budget is 300 EUR a month", 300), ("Budget is 500 EUR a month", 500)):
            [written] = facts_record(
                subject=session.subject,
                facts=[
                    FactInput(
                        FactType.CONSTRAINT,
                        entity="budget",
                        attribute="limit",
                        content=content,
                        value=Decimal(value),
                        unit="EUR/month",
                        turn=recorded.turns[0],
                    )
                ],
                actor=actor,
                agent_id=agent.id,
                extracted_by="patterns/1",
            )
        return Remembered(session.subject, session, Fact.objects.get(pk=written.version.fact_id))


def many_facts(agent: Agent, subject: Subject, count: int) -> None:
    """`count` more facts of `subject`, each about something else."""
    with in_workspace(agent.workspace_id):
        facts_record(
            subject=subject,
            facts=[
                FactInput(
                    FactType.ENTITY, entity=f"thing {number}", attribute="colour", content=f"Thing {number} is red"
                )
                for number in range(count)
            ],
            actor=Actor.agent(agent.id),
            agent_id=agent.id,
        )
