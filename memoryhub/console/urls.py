"""The console's addresses. Ids in them are ours, never the caller's id for a person."""

from django.urls import include, path

from memoryhub.console.views import (
    agents,
    audit_log,
    dead_letters,
    entrance,
    facts,
    overview,
    people,
    review,
    settings,
    subjects,
)

WORKSPACE = "w/<slug:workspace>/"

urlpatterns = [
    path("", entrance.home, name="home"),
    path("", include("memoryhub.console.account_urls")),
    path("invitations/<str:token>/", people.invitation, name="invitation"),
    path(f"{WORKSPACE}people/", people.people, name="people"),
    path(f"{WORKSPACE}people/invite/", people.invite, name="invite"),
    path(f"{WORKSPACE}people/<uuid:membership_id>/role/", people.member_role, name="member-role"),
    path(f"{WORKSPACE}people/<uuid:membership_id>/remove/", people.member_removal, name="member-remove"),
    path(f"{WORKSPACE}invitations/<uuid:invitation_id>/revoke/", people.invitation_take_back, name="invitation-revoke"),
    path(WORKSPACE, overview.overview, name="overview"),
    path(f"{WORKSPACE}subjects/", subjects.subject_list, name="subject-list"),
    path(f"{WORKSPACE}subjects/<uuid:subject_id>/", subjects.subject_facts, name="subject-facts"),
    path(f"{WORKSPACE}subjects/<uuid:subject_id>/sessions/", subjects.subject_sessions, name="subject-sessions"),
    path(f"{WORKSPACE}subjects/<uuid:subject_id>/preview/", subjects.subject_preview, name="subject-preview"),
    path(f"{WORKSPACE}subjects/<uuid:subject_id>/reveal/", subjects.subject_reveal, name="subject-reveal"),
    path(f"{WORKSPACE}subjects/<uuid:subject_id>/hide/", subjects.subject_hide, name="subject-hide"),
    path(f"{WORKSPACE}sessions/<uuid:session_id>/", subjects.session_detail, name="session-detail"),
    path(f"{WORKSPACE}facts/<uuid:fact_id>/", facts.fact_detail, name="fact-detail"),
    path(f"{WORKSPACE}facts/<uuid:fact_id>/correct/", facts.fact_correct_post, name="fact-correct"),
    path(f"{WORKSPACE}facts/<uuid:fact_id>/stale/", facts.fact_stale_post, name="fact-stale"),
    path(f"{WORKSPACE}facts/<uuid:fact_id>/restore/", facts.fact_restore_post, name="fact-restore"),
    path(f"{WORKSPACE}facts/<uuid:fact_id>/pin/", facts.fact_pin_post, name="fact-pin"),
    path(f"{WORKSPACE}dead-letters/", dead_letters.dead_letter_list, name="dead-letters"),
    path(f"{WORKSPACE}dead-letters/replay/", dead_letters.dead_letter_replay, name="dead-letter-replay"),
    path(
        f"{WORKSPACE}dead-letters/replays/<uuid:replay_id>/",
        dead_letters.dead_letter_progress,
        name="dead-letter-progress",
    ),
    path(f"{WORKSPACE}review/", review.review_list, name="review"),
    path(f"{WORKSPACE}review/roll-back/", review.roll_back_view, name="roll-back"),
    path(f"{WORKSPACE}review/<uuid:version_id>/", review.review_decide, name="review-decide"),
    path(f"{WORKSPACE}sessions/<uuid:session_id>/release/", review.session_release, name="session-release"),
    path(f"{WORKSPACE}audit/", audit_log.audit_log, name="audit-log"),
    path(f"{WORKSPACE}audit/export.csv", audit_log.audit_export, {"form": "csv"}, name="audit-export-csv"),
    path(f"{WORKSPACE}audit/export.jsonl", audit_log.audit_export, {"form": "jsonl"}, name="audit-export-jsonl"),
    path(f"{WORKSPACE}agents/", agents.agent_list, name="agent-list"),
    path(f"{WORKSPACE}agents/new/", agents.agent_create, name="agent-create"),
    path(f"{WORKSPACE}agents/<uuid:agent_id>/mode/", agents.agent_mode, name="agent-mode"),
    path(f"{WORKSPACE}agents/<uuid:agent_id>/keys/new/", agents.key_new, name="key-new"),
    path(f"{WORKSPACE}keys/<uuid:key_id>/rotate/", agents.key_rotate_view, name="key-rotate"),
    path(f"{WORKSPACE}keys/<uuid:key_id>/revoke/", agents.key_revoke_view, name="key-revoke"),
    path(f"{WORKSPACE}settings/", settings.workspace_settings, name="settings"),
]
