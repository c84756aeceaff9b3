"""A change of embedder: what has no vector of the new model waits for the indexer, and only that."""

from io import StringIO

import pytest
from django.conf import LazySettings
from django.core.management import CommandError, call_command
from memory_samples import embed_all, learn, say

from audit.models import Entry
from memoryhub.access.models import Agent
from memoryhub.core.search.models import Pending
from memoryhub.core.tenancy import in_workspace


def reembedded() -> str:
    out = StringIO()
    call_command("reembed", stdout=out)
    return out.getvalue()


@pytest.fixture
def remembered(agent: Agent) -> Agent:
    say(agent, "We run on AWS.", "We moved to GCP.")
    learn(agent, "Runs on GCP")
    embed_all(agent.workspace_id)
    return agent


def test_nothing_waits_while_the_model_is_the_same(remembered: Agent) -> None:
    assert ": 0 items wait" in reembedded()


def test_everything_waits_under_a_new_model(remembered: Agent, settings: LazySettings) -> None:
    settings.EMBEDDER, settings.EMBEDDER_MODEL, settings.EMBEDDER_DIMENSIONS = "openai", "other", 8
    assert ": 3 items wait for vectors of openai:other" in reembedded()
    assert ": 0 items wait" in reembedded()
    with in_workspace(remembered.workspace_id):
        assert Pending.objects.count() == 3
        assert Entry.objects.filter(action="memory.reindexed").count() == 2


def test_without_an_embedder_there_is_nothing_to_do(remembered: Agent, settings: LazySettings) -> None:
    settings.EMBEDDER = "none"
    with pytest.raises(CommandError, match="no vectors"):
        reembedded()
