"""The console's addresses. Ids in them are ours, never the caller's id for a person."""

from django.urls import path

from memoryhub.console.views import audit_log, entrance, facts, overview, subjects

WORKSPACE = "w/<slug:workspace>/"

urlpatterns = [
    path("", entrance.home, name="home"),
    path("sign-in/", entrance.SignInView.as_view(), name="sign-in"),
    path("sign-out/", entrance.SignOutView.as_view(), name="sign-out"),
    path(WORKSPACE, overview.overview, name="overview"),
    path(f"{WORKSPACE}subjects/", subjects.subject_list, name="subject-list"),
    path(f"{WORKSPACE}subjects/<uuid:subject_id>/", subjects.subject_facts, name="subject-facts"),
    path(f"{WORKSPACE}subjects/<uuid:subject_id>/sessions/", subjects.subject_sessions, name="subject-sessions"),
    path(f"{WORKSPACE}subjects/<uuid:subject_id>/preview/", subjects.subject_preview, name="subject-preview"),
    path(f"{WORKSPACE}subjects/<uuid:subject_id>/reveal/", subjects.subject_reveal, name="subject-reveal"),
    path(f"{WORKSPACE}sessions/<uuid:session_id>/", subjects.session_detail, name="session-detail"),
    path(f"{WORKSPACE}facts/<uuid:fact_id>/", facts.fact_detail, name="fact-detail"),
    path(f"{WORKSPACE}facts/<uuid:fact_id>/correct/", facts.fact_correct_post, name="fact-correct"),
    path(f"{WORKSPACE}facts/<uuid:fact_id>/stale/", facts.fact_stale_post, name="fact-stale"),
    path(f"{WORKSPACE}facts/<uuid:fact_id>/restore/", facts.fact_restore_post, name="fact-restore"),
    path(f"{WORKSPACE}facts/<uuid:fact_id>/pin/", facts.fact_pin_post, name="fact-pin"),
    path(f"{WORKSPACE}audit/", audit_log.audit_log, name="audit-log"),
]
