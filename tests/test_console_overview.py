"""The overview's figures."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from console_memory import Remembered, remember
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from audit.erasure.models import Erasure, ErasureKind
from facts.models import Extraction, ExtractionState, Recall, RecalledItem, RecallKind
from memoryhub.access.models import Agent, User, Workspace
from memoryhub.console import overview
from memoryhub.console.timeouts import SEEN
from memoryhub.core.charts import line, nice_top
from memoryhub.core.tenancy import in_workspace

pytestmark = pytest.mark.django_db


@pytest.fixture
def remembered(agent: Agent) -> Remembered:
    return remember(agent)


def ask(api: Client, message: str = "what is my budget?") -> None:
    body = {"user_id": "cust_48213", "message": message, "session_id": "next", "score_threshold": 0}
    assert api.post("/api/v1/working-memory", body, content_type="application/json").status_code == 200


def figures(workspace: Workspace) -> overview.Figures:
    with in_workspace(workspace.id):
        return overview.figures(workspace_id=workspace.id, now=timezone.now())


def broken(workspace: Workspace) -> dict[str, int]:
    with in_workspace(workspace.id):
        return {one.name: one.broken for one in overview.promises(workspace_id=workspace.id, now=timezone.now())}


def test_the_figures_count_what_happened_today(workspace: Workspace, api: Client, remembered: Remembered) -> None:
    before = figures(workspace)
    assert (before.surfaced, before.median_ms, before.learned, before.superseded) == (0, None, 1, 1)
    ask(api)
    after = figures(workspace)
    assert after.recalls == 1 and after.surfaced >= 1 and after.median_ms is not None and after.median_ms > 0


def test_what_waits_is_counted(workspace: Workspace, remembered: Remembered) -> None:
    with in_workspace(workspace.id):
        for place, state in enumerate((ExtractionState.DUE, ExtractionState.DEAD, ExtractionState.DONE)):
            Extraction.objects.create(
                workspace=workspace,
                subject=remembered.subject,
                session=remembered.session,
                first_index=place,
                last_index=place,
                state=state,
            )
        shown = overview.figures(workspace_id=workspace.id, now=timezone.now())
    assert (shown.dead, broken(workspace)["Accepted, then given up on"]) == (1, 1)
    # The turns and the fact wait for their vectors as well.
    assert shown.pending >= 2


def test_the_promises_hold_for_what_the_hub_did(workspace: Workspace, api: Client, remembered: Remembered) -> None:
    ask(api)
    assert set(broken(workspace).values()) == {0}


def test_a_recall_without_its_receipt_is_found(workspace: Workspace, remembered: Remembered) -> None:
    with in_workspace(workspace.id):
        Recall.objects.create(workspace=workspace, subject=remembered.subject, kind=RecallKind.SEARCH)
    assert broken(workspace)["Surfaced without a receipt"] == 1


def test_something_surfaced_of_a_restricted_person_is_found(
    workspace: Workspace, api: Client, remembered: Remembered
) -> None:
    ask(api)
    with in_workspace(workspace.id):
        remembered.subject.restricted_at = timezone.now() - timedelta(hours=1)
        remembered.subject.save()
    assert broken(workspace)["Restricted, yet surfaced"] >= 1


def test_the_chart_has_its_numbers_in_a_table(
    client: Client, viewer: User, workspace: Workspace, api: Client, remembered: Remembered
) -> None:
    ask(api)
    client.force_login(viewer)
    page = client.get(reverse("overview", args=["acme"])).content.decode()
    assert 'role="img" aria-labelledby="chart-title chart-says"' in page
    rows = re.findall(r'<tr><th scope="row">(\d\d):00</th><td>(\d+)</td><td>(\d+)</td></tr>', page)
    assert len(rows) == 24
    with in_workspace(workspace.id):
        chart = overview.chart(workspace_id=workspace.id, now=timezone.now())
    assert sum(int(surfaced) for _, surfaced, _ in rows) == chart.total_surfaced > 0
    assert sum(int(written) for _, _, written in rows) == chart.total_written == 6


def test_something_surfaced_of_an_erased_person_is_found(
    workspace: Workspace, api: Client, remembered: Remembered
) -> None:
    ask(api)
    with in_workspace(workspace.id):
        erasure = Erasure.objects.create(
            workspace_id=workspace.id,
            subject_id=remembered.subject.id,
            kind=ErasureKind.SUBJECT,
            reason="subject_request",
            actor_kind="command",
            actor_id="tests",
            sealed_at=timezone.now(),
        )
    assert broken(workspace)["Erased, yet surfaced"] == 0
    with in_workspace(workspace.id):
        Erasure.objects.filter(pk=erasure.pk).update(sealed_at=timezone.now() - timedelta(hours=1))
    assert broken(workspace)["Erased, yet surfaced"] == 1


def test_something_surfaced_of_another_person_is_found(
    workspace: Workspace, agent: Agent, api: Client, remembered: Remembered
) -> None:
    ask(api)
    assert broken(workspace)["Of another workspace or person, yet surfaced"] == 0
    other = remember(agent, user_id="somebody_else")
    with in_workspace(workspace.id):
        items = RecalledItem.objects.filter(version__isnull=False).update(version=other.fact.versions.last())
    assert broken(workspace)["Of another workspace or person, yet surfaced"] == items > 0


def test_a_block_is_measured_against_the_history_it_stands_for(
    client: Client, viewer: User, workspace: Workspace, agent: Agent, api: Client
) -> None:
    remember(agent, said="My budget is 500 EUR a month. " + "And much else was said. " * 500)
    with in_workspace(workspace.id):
        assert overview.block_size(workspace_id=workspace.id, now=timezone.now()) is None
    ask(api)
    with in_workspace(workspace.id):
        size = overview.block_size(workspace_id=workspace.id, now=timezone.now())
    assert size is not None
    assert size.blocks == 1 and 50 < size.tokens < 800 and 3_300 < size.history < 3_700
    assert size.times == pytest.approx(size.history / size.tokens)
    client.force_login(viewer)
    page = client.get(reverse("overview", args=["acme"])).content.decode()
    assert f'<dd class="figure">{size.history:,}</dd>' in page and "mean of the latest 1<" in page


def test_an_empty_workspace_is_a_guide_that_notices_the_first_turn(client: Client, viewer: User, agent: Agent) -> None:
    client.force_login(viewer)
    address, htmx = reverse("overview", args=["acme"]), {"hx-request": "true"}
    page = client.get(address).content.decode()
    assert "Nothing is remembered here yet" in page and "manage.py create_api_key" in page and "curl http" in page
    assert client.get(address + "?live=1&first=1", headers=htmx).status_code == 204
    remember(agent)
    assert client.get(address + "?live=1&first=1", headers=htmx).headers["HX-Refresh"] == "true"
    assert "Nothing is remembered here yet" not in client.get(address).content.decode()


def test_the_page_asks_few_queries_however_much_there_is(
    client: Client, viewer: User, agent: Agent, api: Client, remembered: Remembered
) -> None:
    client.force_login(viewer)

    def queries() -> int:
        with CaptureQueriesContext(connection) as asked:
            assert client.get(reverse("overview", args=["acme"])).status_code == 200
        return len(asked)

    queries()
    few = queries()
    for number in range(3):
        remember(agent, user_id=f"another_{number}")
        ask(api)
    assert queries() == few <= 25


def test_figures_are_asked_for_again_without_the_page_around_them(
    client: Client, viewer: User, remembered: Remembered
) -> None:
    client.force_login(viewer)
    part = client.get(reverse("overview", args=["acme"]) + "?live=1", headers={"hx-request": "true"}).content.decode()
    assert "Memories surfaced" in part and "Needs attention" in part
    assert "<html" not in part and "Must be zero" not in part


def test_what_a_page_asks_for_by_itself_does_not_keep_a_sign_in_alive(
    client: Client, viewer: User, workspace: Workspace
) -> None:
    client.force_login(viewer)
    client.get(reverse("overview", args=["acme"]))
    session = client.session
    session[SEEN] -= 300
    session.save()
    seen = session[SEEN]
    client.get(reverse("overview", args=["acme"]) + "?live=1", headers={"hx-request": "true"})
    assert client.session[SEEN] == seen
    client.get(reverse("overview", args=["acme"]))
    assert client.session[SEEN] > seen


@pytest.mark.parametrize(
    ("highest", "top"),
    [(0, 1), (1, 1), (2, 2), (3, 5), (6, 10), (11, 20), (21, 50), (99, 100), (101, 200), (4000, 5000)],
)
def test_the_axis_ends_at_a_round_number(highest: int, top: int) -> None:
    assert nice_top(highest) == top


def test_a_line_runs_from_corner_to_corner() -> None:
    drawn = line([0, 5, 10], top=10, left=0, right=100, above=20, bottom=120)
    assert drawn.points == "0.0,120.0 50.0,70.0 100.0,20.0"
    assert drawn.area == "0.0,120.0 0.0,120.0 50.0,70.0 100.0,20.0 100.0,120.0"
    assert line([], top=1, left=0, right=1, above=0, bottom=1).points == ""


def test_hours_begin_on_the_hour(workspace: Workspace) -> None:
    with in_workspace(workspace.id):
        chart = overview.chart(workspace_id=workspace.id, now=datetime(2026, 3, 1, 12, 59, tzinfo=UTC))
    assert chart.hours[0].at == datetime(2026, 2, 28, 13, tzinfo=UTC)
    assert chart.hours[-1].at == datetime(2026, 3, 1, 12, tzinfo=UTC)
