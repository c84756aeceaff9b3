"""The audit log, for those who check."""

import re
from typing import Any, ClassVar
from uuid import UUID

from django.http import StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from audit.export import MEDIA_TYPES, ExportForm, export_begin, export_chunks, file_name
from audit.query import QueryRefused
from audit.sealing.bundle import MEDIA_TYPE, bundle_begin, bundle_chunks
from audit.sealing.bundle import file_name as bundle_name
from audit.sealing.services import proof_of
from audit.selectors import EntryFilters, entry_page
from audit.services import record
from memoryhub.access.permissions import Permission
from memoryhub.api.base import ANY_MODE, ApiView, shown
from memoryhub.api.errors import FieldRefused, NotFound
from memoryhub.api.inputs import AuditExportQuery, AuditQuery, BundleQuery
from memoryhub.api.outputs import EntryPageOut, ProofOut
from memoryhub.api.paging import cursor_after, cursor_id
from sessions.log_search import log_filters

LEAF = re.compile(r"[0-9a-f]{64}")
DISPOSITION = OpenApiParameter(
    "Content-Disposition",
    OpenApiTypes.STR,
    OpenApiParameter.HEADER,
    response=[200],
    required=True,
    description="The file's name.",
)


class AuditLog(ApiView):
    permissions: ClassVar = {"GET": Permission.AUDIT_READ}
    modes = ANY_MODE

    @extend_schema(
        operation_id="list_audit_entries",
        summary="List entries of the audit log",
        description="Who did what, newest first. Entries hold no content. Reading the log is itself recorded.",
        parameters=[AuditQuery],
        responses={200: EntryPageOut},
        tags=["Audit"],
    )
    def get(self, request: Request) -> Response:
        query = self.query(AuditQuery)
        before = cursor_id(query.pop("cursor")) if "cursor" in query else None
        limit = query.pop("limit")
        caller = self.caller
        with self.workspace():
            filters = _filters(query, caller.workspace_id)
            page = entry_page(caller.workspace_id, filters, before=before, limit=limit)
            record(
                caller.actor,
                "audit.read",
                workspace_id=caller.workspace_id,
                subject=filters.one_subject,
                data={"returned": len(page.entries), "filters": filters.used},
            )
        answer = {"entries": page.entries, "next": cursor_after(page.next) if page.next else None}
        return Response(shown(EntryPageOut, answer))


class AuditExport(ApiView):
    permissions: ClassVar = {"GET": Permission.AUDIT_EXPORT}
    modes = ANY_MODE
    # An export leaves an entry, so nobody may ask for its headers alone.
    http_method_names = ["get"]

    @extend_schema(
        operation_id="export_audit_log",
        summary="Export the audit log",
        description="Every entry that matches, newest first, as a file that is streamed. `csv`: RFC 4180 with a header "
        "line; a cell that a spreadsheet would calculate begins with an apostrophe. `jsonl`: one object a line, "
        '`{"entry": …, "leaf": …}`, where `leaf` is the SHA-256 of a zero byte and the bytes of `entry`. That the '
        "export begins is recorded before the first byte; its end with the number of entries and the SHA-256 of the "
        "whole file.",
        parameters=[AuditExportQuery, DISPOSITION],
        responses={
            (200, "text/csv"): OpenApiResponse(OpenApiTypes.STR, description="The file."),
            (200, "application/x-ndjson"): OpenApiResponse(OpenApiTypes.STR, description="The file."),
        },
        tags=["Audit"],
    )
    def get(self, request: Request) -> StreamingHttpResponse:
        query = self.query(AuditExportQuery)
        form = ExportForm(query.pop("format"))
        caller = self.caller
        with self.workspace():
            filters = _filters(query, caller.workspace_id)
        began = export_begin(workspace_id=caller.workspace_id, filters=filters, form=form, actor=caller.actor)
        return StreamingHttpResponse(
            export_chunks(began=began, filters=filters, form=form, actor=caller.actor),
            content_type=MEDIA_TYPES[form],
            headers={"Content-Disposition": f'attachment; filename="{file_name(caller.workspace_slug, began, form)}"'},
        )


class AuditBundle(ApiView):
    permissions: ClassVar = {"GET": Permission.AUDIT_EXPORT}
    modes = ANY_MODE
    # It holds leaves of the whole log.
    keys_only = True
    http_method_names = ["get"]

    @extend_schema(
        operation_id="download_audit_bundle",
        summary="Download the audit log with its proofs",
        description="A ZIP file that is streamed: entries, the leaf hashes of the whole log, signed checkpoints, "
        "public keys, and a program that checks all of it without the hub. With a filter it is a part of the log: that "
        "shows that each entry in it is in the log, and for `subject_id` alone also that none about the person is left "
        "out. "
        "It reaches to the last checkpoint.",
        parameters=[BundleQuery, DISPOSITION],
        responses={(200, MEDIA_TYPE): OpenApiResponse(OpenApiTypes.BINARY, description="The file.")},
        tags=["Audit"],
    )
    def get(self, request: Request) -> StreamingHttpResponse:
        filters = EntryFilters(**self.query(BundleQuery))
        caller = self.caller
        began = bundle_begin(workspace_id=caller.workspace_id, filters=filters, actor=caller.actor)
        return StreamingHttpResponse(
            bundle_chunks(workspace_id=caller.workspace_id, filters=filters),
            content_type=MEDIA_TYPE,
            headers={"Content-Disposition": f'attachment; filename="{bundle_name(caller.workspace_slug, began)}"'},
        )


class ReceiptProof(ApiView):
    permissions: ClassVar = {"GET": Permission.AUDIT_READ}
    modes = ANY_MODE
    # A leaf does not say whose it is.
    keys_only = True

    @extend_schema(
        operation_id="prove_receipt",
        summary="Prove that an entry is in the log",
        description="By the leaf of a receipt, its third part: the entry's position, the last checkpoint, and the "
        "inclusion proof of RFC 9162 from the leaf to the root in it. `pending` while the entry waits to be sealed, "
        "which takes a second or two.",
        responses={200: ProofOut},
        tags=["Audit"],
    )
    def get(self, request: Request, leaf: str) -> Response:
        caller = self.caller
        with self.workspace():
            proof = proof_of(caller.workspace_id, bytes.fromhex(leaf)) if LEAF.fullmatch(leaf) else None
            if proof is None:
                raise NotFound("There is no such entry.")
            record(caller.actor, "audit.read", workspace_id=caller.workspace_id, data={"returned": 1})
        return Response(shown(ProofOut, proof))


def _filters(query: dict[str, Any], workspace_id: UUID) -> EntryFilters:
    text = query.pop("q", "")
    try:
        return log_filters(text, workspace_id=workspace_id, also=EntryFilters(**query))
    except QueryRefused as error:
        raise FieldRefused("q", str(error)) from error
