"""How facts are found again: each version by its sentence, what it is about, and whom it mentions."""

from collections.abc import Sequence
from uuid import UUID

from facts.models import FactVersion
from memoryhub.access.models import Workspace
from memoryhub.core.search.services import Document, index
from memoryhub.core.search.texts import Text
from memoryhub.core.search.words import lexemes
from sessions.models import Subject

KIND = "fact"
SENTENCE, ABOUT = "sentence", "about"
"""Views: the content alone, and the content under its entity and attribute."""


def index_versions(*, subject: Subject, versions: Sequence[FactVersion]) -> None:
    """Make `versions` findable by keyword at once, by meaning as soon as the indexer has seen them."""
    if not versions:
        return
    config = Workspace.objects.values_list("text_config", flat=True).get(pk=subject.workspace_id)
    index(
        workspace_id=subject.workspace_id,
        subject_id=subject.id,
        kind=KIND,
        documents=[Document(version.id, {ABOUT: lexemes(_searched(version), config)}) for version in versions],
    )


def version_texts(workspace_id: UUID, ids: Sequence[UUID]) -> list[Text]:
    """What the indexer embeds of each version."""
    versions = FactVersion.objects.filter(workspace_id=workspace_id, pk__in=ids).select_related("fact")
    texts = []
    for version in versions:
        texts.append(Text(version.id, SENTENCE, version.content))
        texts.append(Text(version.id, ABOUT, f"{_about(version)}: {version.content}"))
    return texts


def _about(version: FactVersion) -> str:
    attribute = version.fact.attribute.replace("_", " ")
    return f"{version.fact.entity}, {attribute}" if attribute else version.fact.entity


def _searched(version: FactVersion) -> str:
    return " ".join((_about(version), version.content, *version.mentions))
