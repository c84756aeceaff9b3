"""The audit log, for those who check."""

from typing import ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from audit.selectors import EntryFilters, entry_page
from audit.services import record
from memoryhub.access.permissions import Permission
from memoryhub.api.base import ANY_MODE, ApiView, shown
from memoryhub.api.inputs import AuditQuery
from memoryhub.api.outputs import EntryPageOut
from memoryhub.api.paging import cursor_after, cursor_id


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
            page = entry_page(caller.workspace_id, EntryFilters(**query), before=before, limit=limit)
            record(
                caller.actor,
                "audit.read",
                workspace_id=caller.workspace_id,
                subject=query.get("subject_id"),
                data={"returned": len(page.entries), "filters": sorted(query)},
            )
        answer = {"entries": page.entries, "next": cursor_after(page.next) if page.next else None}
        return Response(shown(EntryPageOut, answer))
