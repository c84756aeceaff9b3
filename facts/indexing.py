"""How facts are found again: each version by its words, with what it is about and whom it mentions, and its meaning."""

from collections.abc import Sequence
from uuid import UUID

from facts.models import FactVersion
from memoryhub.core.search.services import Document, index, remove
from memoryhub.core.search.words import lexemes
from sessions.models import Subject

KIND = "fact"


def index_versions(*, subject: Subject, versions: Sequence[FactVersion]) -> None:
    """Make `versions` findable by keyword at once, by meaning as soon as the indexer has seen them."""
    if not versions:
        return
    config = subject.workspace.text_config
    index(
        workspace_id=subject.workspace_id,
        subject_id=subject.id,
        kind=KIND,
        documents=[Document(version.id, lexemes(_searched(version), config)) for version in versions],
    )


def unindex_versions(*, subject: Subject, versions: Sequence[FactVersion]) -> None:
    """Take `versions` out of the index: they are found no more."""
    remove(
        workspace_id=subject.workspace_id,
        subject_id=subject.id,
        kind=KIND,
        items=[version.id for version in versions],
    )


def version_texts(workspace_id: UUID, ids: Sequence[UUID]) -> dict[UUID, list[str]]:
    """What the indexer embeds of each version: its content."""
    versions = FactVersion.objects.filter(workspace_id=workspace_id, pk__in=ids).values_list("id", "content")
    return {pk: [content] for pk, content in versions}


def _searched(version: FactVersion) -> str:
    attribute = version.fact.attribute.replace("_", " ")
    return " ".join((version.fact.entity, attribute, version.content, *version.mentions))
