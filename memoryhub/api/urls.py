"""Addresses of the API, without trailing slashes."""

from django.urls import path

from memoryhub.api.views.audit import AuditBundle, AuditExport, AuditLog, ReceiptProof
from memoryhub.api.views.erasures import (
    ErasureDetail,
    ErasurePlans,
    ErasureRetry,
    Erasures,
    FactErase,
    SubjectErasures,
)
from memoryhub.api.views.extractions import (
    DeadLetterDetail,
    DeadLetterReplay,
    DeadLetters,
    DeadLettersReplay,
    ExtractionDetail,
    Extractions,
    Replay,
)
from memoryhub.api.views.facts import FactDetail, FactRestore, Facts, FactStale, FactVersions
from memoryhub.api.views.memory import Cited, Search, WorkingMemoryView
from memoryhub.api.views.register import Register
from memoryhub.api.views.requests import (
    HoldRelease,
    Holds,
    RequestAssign,
    RequestDetail,
    RequestExtend,
    RequestNotes,
    Requests,
    RequestSteps,
    SubjectDisclosures,
    SubjectHolds,
    SubjectRequests,
)
from memoryhub.api.views.review import Review, ReviewApprove, ReviewReject
from memoryhub.api.views.subjects import (
    SubjectDetail,
    SubjectLookup,
    SubjectPause,
    SubjectRestrict,
    SubjectResume,
    Subjects,
    SubjectUnrestrict,
)
from memoryhub.api.views.tokens import SubjectTokens
from memoryhub.api.views.tools import ToolCall, Tools
from memoryhub.api.views.turns import SessionClose, Turns

app_name = "api"

urlpatterns = [
    # Callers' session ids may hold slashes.
    path("sessions/<path:session_id>/turns", Turns.as_view(), name="turns"),
    path("sessions/<path:session_id>/close", SessionClose.as_view(), name="session-close"),
    path("working-memory", WorkingMemoryView.as_view(), name="working-memory"),
    path("search", Search.as_view(), name="search"),
    path("recalls/<uuid:recall_id>/cited", Cited.as_view(), name="cited"),
    path("facts", Facts.as_view(), name="facts"),
    path("facts/<uuid:fact_id>", FactDetail.as_view(), name="fact"),
    path("facts/<uuid:fact_id>/versions", FactVersions.as_view(), name="fact-versions"),
    path("facts/<uuid:fact_id>/stale", FactStale.as_view(), name="fact-stale"),
    path("facts/<uuid:fact_id>/restore", FactRestore.as_view(), name="fact-restore"),
    path("review", Review.as_view(), name="review"),
    path("review/<uuid:version_id>/approve", ReviewApprove.as_view(), name="review-approve"),
    path("review/<uuid:version_id>/reject", ReviewReject.as_view(), name="review-reject"),
    path("subjects", Subjects.as_view(), name="subjects"),
    path("subjects/lookup", SubjectLookup.as_view(), name="subject-lookup"),
    path("subjects/<uuid:subject_id>", SubjectDetail.as_view(), name="subject"),
    path("subjects/<uuid:subject_id>/restrict", SubjectRestrict.as_view(), name="subject-restrict"),
    path("subjects/<uuid:subject_id>/unrestrict", SubjectUnrestrict.as_view(), name="subject-unrestrict"),
    path("subjects/<uuid:subject_id>/pause", SubjectPause.as_view(), name="subject-pause"),
    path("subjects/<uuid:subject_id>/resume", SubjectResume.as_view(), name="subject-resume"),
    path("subjects/<uuid:subject_id>/erasures/plan", ErasurePlans.as_view(), name="erasure-plan"),
    path("subjects/<uuid:subject_id>/erasures", SubjectErasures.as_view(), name="subject-erasures"),
    path("facts/<uuid:fact_id>/erase", FactErase.as_view(), name="fact-erase"),
    path("erasures", Erasures.as_view(), name="erasures"),
    path("erasures/<uuid:erasure_id>", ErasureDetail.as_view(), name="erasure"),
    path("erasures/<uuid:erasure_id>/retry", ErasureRetry.as_view(), name="erasure-retry"),
    path("subjects/<uuid:subject_id>/requests", SubjectRequests.as_view(), name="subject-requests"),
    path("subjects/<uuid:subject_id>/holds", SubjectHolds.as_view(), name="subject-holds"),
    path("subjects/<uuid:subject_id>/disclosures", SubjectDisclosures.as_view(), name="subject-disclosures"),
    path("requests", Requests.as_view(), name="requests"),
    path("requests/<uuid:request_id>", RequestDetail.as_view(), name="request"),
    path("requests/<uuid:request_id>/steps", RequestSteps.as_view(), name="request-steps"),
    path("requests/<uuid:request_id>/extend", RequestExtend.as_view(), name="request-extend"),
    path("requests/<uuid:request_id>/assign", RequestAssign.as_view(), name="request-assign"),
    path("requests/<uuid:request_id>/notes", RequestNotes.as_view(), name="request-notes"),
    path("register", Register.as_view(), name="register"),
    path("holds", Holds.as_view(), name="holds"),
    path("holds/<uuid:hold_id>/release", HoldRelease.as_view(), name="hold-release"),
    path("subject-tokens", SubjectTokens.as_view(), name="subject-tokens"),
    path("tools", Tools.as_view(), name="tools"),
    path("tools/<str:tool>", ToolCall.as_view(), name="tool-call"),
    path("extractions", Extractions.as_view(), name="extractions"),
    path("extractions/<uuid:extraction_id>", ExtractionDetail.as_view(), name="extraction"),
    path("dead-letters", DeadLetters.as_view(), name="dead-letters"),
    path("dead-letters/replay", DeadLettersReplay.as_view(), name="dead-letters-replay"),
    path("dead-letters/<uuid:extraction_id>", DeadLetterDetail.as_view(), name="dead-letter"),
    path("dead-letters/<uuid:extraction_id>/replay", DeadLetterReplay.as_view(), name="dead-letter-replay"),
    path("replays/<uuid:replay_id>", Replay.as_view(), name="replay"),
    path("audit", AuditLog.as_view(), name="audit"),
    path("audit/export", AuditExport.as_view(), name="audit-export"),
    path("audit/bundle", AuditBundle.as_view(), name="audit-bundle"),
    path("audit/receipts/<str:leaf>/proof", ReceiptProof.as_view(), name="receipt-proof"),
]
