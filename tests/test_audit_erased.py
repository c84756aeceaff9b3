"""A person is erased, and an auditor's bundle says so and holds nothing of theirs.

Marked texts are written into every free-text field of the API and every form of the console, as the description and the
pages list them. No bundle may hold one of them, before or after everybody in the workspace was erased.
"""

import zipfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from uuid import UUID

import pytest
from django.conf import settings
from payloads import PAYLOADS
from test_audit_sealing import bundle, verified
from test_payloads import ACTOR, Walk, World, _world, submit_all

from audit import verify
from audit.erasure.models import ErasureState
from audit.erasure.services import erasure_begin, erasure_run
from audit.registry import Scope
from audit.requests.models import Hold
from audit.sealing.services import seal_all
from audit.selectors import EntryFilters
from memoryhub.access.models import Role
from memoryhub.core.tenancy import in_workspace
from sessions.models import Subject

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
MARK = "mrmld47"
_numbers = count(1)


class Marked(World):
    """Each field and each form gets a text of its own: no person's words stand in an agent's name, too."""

    def packs(self, limit: int) -> list[str]:
        return [f"{MARK}x{next(_numbers)}"[:limit]]


@pytest.fixture(scope="module")
def world(module_db: str) -> Iterator[World]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(settings, "EMBEDDER", "none")
        world = _world("acme", PAYLOADS, Marked)
        submit_all(Walk(world).look(Role.ADMIN, 2))
        yield world


def test_no_bundle_holds_what_was_written_and_erased(world: World, tmp_path: Path) -> None:
    workspace = world.workspace
    # The marks got in: through nearly every field there is.
    assert sum(bool(texts) for texts in world.accepted.values()) >= 40
    seal_all(workspace.id)
    people = erase_everybody(workspace.id, also=UUID(world.tenant.ids["subject_id"]))
    seal_all(workspace.id)

    report = verified(workspace.id)
    assert (report.verdict, report.erasures, report.exit_code) == ("ERASED_OK", len(people), 0)
    whole = bundle(workspace, tmp_path / "whole.zip")
    assert verify.check(verify.Bundle(whole)).verdict == "ERASED_OK"
    assert not holds_mark(whole)
    for number, subject_id in enumerate(people):
        part = bundle(workspace, tmp_path / f"{number}.zip", EntryFilters(subject_id=subject_id))
        assert verify.check(verify.Bundle(part)).verdict == "OK_SUBSET"
        assert not holds_mark(part)


def erase_everybody(workspace_id: UUID, *, also: UUID) -> list[UUID]:
    with in_workspace(workspace_id):
        Hold.objects.all().delete()
        people = list(Subject.objects.values_list("id", flat=True))
        assert also in people and len(people) > 5
        begun = [
            erasure_begin(workspace_id=workspace_id, scope=Scope(one), actor=ACTOR, reason="subject_request")
            for one in people
        ]
    for erasure in begun:
        assert erasure_run(erasure.id, workspace_id=workspace_id).state == ErasureState.COMPLETED
    return people


def holds_mark(path: Path) -> bool:
    with zipfile.ZipFile(path) as archive:
        files = [archive.read(name) for name in archive.namelist()]
    assert any(b"subject.erased" in one for one in files)
    return any(MARK.encode() in one.lower() for one in files)
