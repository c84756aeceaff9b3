"""Whether the audit log holds: checkpoints, the last verdict, a check at once, one entry's proof, a bundle to take."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from django import forms
from django.conf import settings
from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET, require_POST

from audit.actions import actions_under
from audit.models import Checkpoint, Entry, Prune, SigningKey, Verdict, Verification
from audit.sealing import anchors
from audit.sealing.bundle import MEDIA_TYPE, bundle_begin, bundle_chunks, file_name
from audit.sealing.handover import handovers
from audit.sealing.services import LogForked, lag, proof_of
from audit.sealing.verifying import GIVEN_UP
from audit.selectors import EntryFilters
from audit.services import record
from audit.verify import included, receipt_parts
from memoryhub.access.models import Workspace
from memoryhub.access.permissions import Permission
from memoryhub.console.access import ConsoleRequest, actor_of, permission_required
from memoryhub.console.pages import page, wants_part
from memoryhub.console.selectors import actor_names
from memoryhub.console.views.disclosures import PeriodForm
from memoryhub.core.tenancy import in_workspace
from memoryhub.verifying import overdue_after, verification_start
from sessions.models import Subject

SHOWN = 25
VERDICTS = 5


class ProofForm(forms.Form):
    q = forms.CharField(
        label="Receipt, leaf hash or entry id",
        max_length=500,
        widget=forms.TextInput(attrs={"class": "mono", "autocomplete": "off", "spellcheck": "false"}),
    )


class BundleForm(PeriodForm):
    subject = forms.CharField(required=False, max_length=256, label="Of one person", help_text="Your id, or ours.")
    action = forms.CharField(
        required=False, max_length=64, label="Of one action", help_text="For example fact.corrected, or fact."
    )

    def clean_action(self) -> str:
        action: str = self.cleaned_data["action"].strip()
        if action and not actions_under(action):
            raise forms.ValidationError("No action is called so.")
        return action

    def filters(self, workspace: Workspace) -> EntryFilters:
        """In the workspace's transaction. A person whom nobody knows is an error of the form."""
        told = self.cleaned_data
        subject_id = _subject_id(workspace, told["subject"].strip()) if told["subject"].strip() else None
        period = self.period
        return EntryFilters(
            subject_id=subject_id, action=told["action"], since=period.get("since"), until=period.get("until")
        )


class UnknownPerson(Exception):
    """No subject of the workspace goes by that id."""


@dataclass(frozen=True)
class Proof:
    """What is known of one entry: `state` is sealed, pruned, pending, unknown or broken."""

    asked: str
    state: str
    entry: Entry | None = None
    leaf: str = ""
    position: int = 0
    path: tuple[str, ...] = ()
    checkpoint: dict[str, Any] | None = None


@require_GET
@permission_required(Permission.INTEGRITY_VERIFY)
def integrity(request: ConsoleRequest, workspace: Workspace) -> HttpResponse:
    """The page; for htmx only how far the check is."""
    return _page(request, workspace, BundleForm(), ProofForm())


@require_POST
@permission_required(Permission.INTEGRITY_VERIFY)
def integrity_verify(request: ConsoleRequest, workspace: Workspace) -> HttpResponse:
    """Queue a check of the whole log; while one is under way that one is shown."""
    verification_start(workspace_id=workspace.id, actor=actor_of(request))
    messages.success(request, "The log is being checked. You may leave this page.")
    response = redirect(reverse("integrity", args=[workspace.slug]))
    response.status_code = 303
    return response


@require_GET
@permission_required(Permission.INTEGRITY_VERIFY)
def integrity_entry(request: ConsoleRequest, workspace: Workspace) -> HttpResponse:
    """The inclusion proof of one entry, followed here from the leaf to the root."""
    form = ProofForm(request.GET)
    if not form.is_valid():
        return _page(request, workspace, BundleForm(), form)
    found = _proof(workspace.id, form.cleaned_data["q"].strip())
    record(
        actor_of(request),
        "audit.read",
        workspace,
        workspace_id=workspace.id,
        data={"returned": int(found.state in ("sealed", "pruned", "pending"))},
    )
    return _page(request, workspace, BundleForm(), form, {"proof": found})


@require_GET
@permission_required(Permission.AUDIT_EXPORT, transaction=False)
def integrity_bundle(request: ConsoleRequest, workspace: Workspace) -> HttpResponseBase:
    """The log, or the part that the form names, with its proofs, as a file that is streamed."""
    form = BundleForm(request.GET)
    try:
        with in_workspace(workspace.id):
            if not form.is_valid():
                return _page(request, workspace, form, ProofForm(), status=422)
            filters = form.filters(workspace)
    except UnknownPerson:
        form.add_error("subject", "Nobody is known by this id.")
        with in_workspace(workspace.id):
            return _page(request, workspace, form, ProofForm(), status=422)
    began = bundle_begin(workspace_id=workspace.id, filters=filters, actor=actor_of(request))
    return StreamingHttpResponse(
        bundle_chunks(workspace_id=workspace.id, filters=filters),
        content_type=MEDIA_TYPE,
        headers={"Content-Disposition": f'attachment; filename="{file_name(workspace.slug, began)}"'},
    )


def _page(
    request: ConsoleRequest,
    workspace: Workspace,
    bundle: BundleForm,
    entry: ProofForm,
    more: dict[str, Any] | None = None,
    *,
    status: int = 200,
) -> HttpResponse:
    verdicts = list(Verdict.objects.filter(workspace_id=workspace.id).order_by("-id")[:VERDICTS])
    run = Verification.objects.filter(workspace_id=workspace.id).order_by("-id").first()
    last = verdicts[0] if verdicts else None
    too_old = overdue_after()
    context: dict[str, Any] = {
        "run": run,
        "running": run is not None and run.ended_at is None and run.asked_at > timezone.now() - GIVEN_UP,
        "given_up": run is not None and run.ended_at is not None and (last is None or last.id != run.id),
        "last": last,
        "overdue": last is not None and too_old is not None and timezone.now() - last.at > too_old,
        "every": settings.AUDIT_VERIFY_HOURS,
        "verdicts": _with_names(verdicts),
    }
    if not wants_part(request):
        rows = Checkpoint.objects.filter(workspace_id=workspace.id).order_by("-number").defer("peaks")
        waiting, oldest = lag(workspace.id)
        context |= {
            "page": Paginator(rows, SHOWN).get_page(request.GET.get("page")),
            "newest": rows.first(),
            "waiting": waiting,
            "oldest": timezone.now() - timedelta(seconds=oldest),
            "late": oldest > 30,
            "keys": [(one, bytes(one.public).hex()) for one in SigningKey.objects.order_by("since")],
            "places": [(place.value, state, behind) for place, state, behind in handovers(workspace.id)],
            "prunes": Prune.objects.filter(workspace_id=workspace.id).order_by("-size")[:SHOWN],
            "anchors": anchors.path(),
            "bundle_form": bundle,
            "proof_form": entry,
        }
    return page(
        request,
        workspace,
        "audit/integrity.html",
        context | (more or {}),
        section="integrity",
        partial="audit/integrity_run.html",
        status=status,
    )


def _with_names(verdicts: list[Verdict]) -> list[tuple[Verdict, str]]:
    names = actor_names((one.actor_kind, one.actor_id) for one in verdicts)
    return [(one, names[one.actor_kind, one.actor_id]) for one in verdicts]


def _proof(workspace_id: UUID, asked: str) -> Proof:
    leaf = _leaf_of(workspace_id, asked)
    if leaf is None:
        return Proof(asked, "unknown")
    entry = Entry.objects.filter(workspace_id=workspace_id, leaf=leaf).first()
    try:
        found = proof_of(workspace_id, leaf)
    except LogForked:
        return Proof(asked, "broken", entry, leaf.hex())
    if found is None:
        return Proof(asked, "unknown", entry, leaf.hex())
    if found["state"] == "pending":
        return Proof(asked, "pending", entry, leaf.hex())
    checkpoint, position = found["checkpoint"], found["position"]
    path = tuple(found["path"])
    steps = [bytes.fromhex(step) for step in path]
    holds = included(leaf, position, checkpoint["size"], steps, bytes.fromhex(checkpoint["root"]))
    state = "broken"
    if holds and (entry is not None or found["pruned"]):
        state = "sealed" if entry is not None else "pruned"
    return Proof(asked, state, entry, leaf.hex(), position, path, checkpoint)


def _leaf_of(workspace_id: UUID, asked: str) -> bytes | None:
    """The leaf that a receipt, an entry's id or 64 digits name."""
    parts = receipt_parts(asked)
    if parts is not None:
        return parts[1]
    try:
        if len(asked) == 64:
            return bytes.fromhex(asked)
        return bytes(Entry.objects.get(workspace_id=workspace_id, pk=UUID(asked)).leaf)
    except (ValueError, Entry.DoesNotExist):
        return None


def _subject_id(workspace: Workspace, asked: str) -> UUID:
    known = Subject.objects.filter(workspace=workspace, external_id=asked).values_list("id", flat=True).first()
    if known is not None:
        return known
    try:
        # Whoever was erased is known by our id alone, which their entries keep.
        return UUID(asked)
    except ValueError:
        raise UnknownPerson from None
