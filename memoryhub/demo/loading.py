"""A small demonstration memory, so that the first look at the console is not at nothing."""

import json
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

from django.utils import timezone

from audit.actors import Actor
from audit.services import record
from facts.models import FactType
from facts.services import FactInput, facts_record
from memoryhub.access.models import Agent
from memoryhub.core.tenancy import in_workspace
from sessions.content import read_content
from sessions.models import TurnRole
from sessions.services import TurnInput, subject_get_or_create, turns_record

CONVERSATIONS = Path(__file__).with_name("conversations.json")
MINUTES_BETWEEN_TURNS = 2


def load_demo(*, agent: Agent, actor: Actor) -> None:
    """Write the demonstration's three people, weeks of sessions and superseded facts, all in one transaction."""
    today = timezone.now().replace(hour=9, minute=30, second=0, microsecond=0)
    subjects = json.loads(CONVERSATIONS.read_text(encoding="utf-8"))["subjects"]
    counts = {"subjects": len(subjects), "sessions": 0, "turns": 0, "facts": 0}
    with in_workspace(agent.workspace_id):
        for subject in subjects:
            for session in subject["sessions"]:
                began = today - timedelta(days=session["days_ago"])
                counts["sessions"] += 1
                counts["turns"] += len(session["turns"])
                counts["facts"] += len(session["facts"])
                _load_session(agent, actor, subject["user_id"], session, began)
        record(actor, "demo.loaded", agent, data=counts)


def _load_session(agent: Agent, actor: Actor, user_id: str, session: dict, began: datetime) -> None:
    recorded = turns_record(
        workspace_id=agent.workspace_id,
        agent_id=agent.id,
        session_id=session["id"],
        user_id=user_id,
        turns=[
            TurnInput(
                role=TurnRole(role),
                message=read_content(text),
                index=index,
                occurred_at=began + timedelta(minutes=MINUTES_BETWEEN_TURNS * index),
            )
            for index, (role, text) in enumerate(session["turns"])
        ],
        actor=actor,
        extract=False,
    )
    facts_record(
        subject=subject_get_or_create(workspace_id=agent.workspace_id, external_id=user_id, actor=actor),
        facts=[
            FactInput(
                type=FactType(fact["type"]),
                entity=fact["entity"],
                attribute=fact["attribute"],
                content=fact["content"],
                value=Decimal(fact["value"]) if "value" in fact else None,
                unit=fact.get("unit", ""),
                mentions=tuple(fact.get("mentions", ())),
                confidence=fact.get("confidence", 1.0),
                turn=recorded.turns[fact["turn"]],
            )
            for fact in session["facts"]
        ],
        actor=actor,
        agent_id=agent.id,
        extracted_by="demonstration",
    )
