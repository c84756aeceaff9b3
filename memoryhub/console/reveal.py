"""Content behind a reason: whoever needs only metadata sees a person's content for a while, after saying why."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django import forms
from django.http import Http404, HttpRequest, HttpResponse
from django.utils import timezone
from django_htmx.http import HttpResponseClientRefresh

from audit.reasons import REASONS
from facts.models import Fact, Recall
from memoryhub.access.models import Workspace
from memoryhub.access.permissions import Permission, role_may
from memoryhub.console.pages import page, wants_part
from memoryhub.console.selectors import facts_without_content, subject_summary
from sessions.models import Session, Subject

if TYPE_CHECKING:
    from memoryhub.console.access import ConsoleRequest

LASTS = timedelta(minutes=15)
WHY = ("support_case", "subject_request", "quality_check", "investigation", "legal_obligation")
SESSION_KEY = "revealed"


class RevealForm(forms.Form):
    """Why somebody has to see what is remembered."""

    reason = forms.ChoiceField(
        choices=[("", "Choose…"), *((code, REASONS[code]) for code in WHY)],
        error_messages={"required": "Say why you need to see it."},
    )


@dataclass(frozen=True)
class Revealed:
    """Whose content is shown for a reason, and until when."""

    subject: Subject
    until: datetime


def subject_of(kwargs: dict[str, Any]) -> Subject:
    """The person that a page with these parameters is about, in the workspace of the running transaction.

    Raises Http404 when there is none.
    """
    people = Subject.objects.all()
    if "subject_id" in kwargs:
        found = people.filter(pk=kwargs["subject_id"])
    elif "fact_id" in kwargs:
        found = people.filter(pk__in=Fact.objects.filter(pk=kwargs["fact_id"]).values("subject"))
    elif "session_id" in kwargs:
        found = people.filter(pk__in=Session.objects.filter(pk=kwargs["session_id"]).values("subject"))
    elif "recall_id" in kwargs:
        found = people.filter(pk__in=Recall.objects.filter(pk=kwargs["recall_id"]).values("subject"))
    else:
        found = people.none()
    subject = found.first()
    if subject is None:
        raise Http404
    return subject


def reveal_to(request: HttpRequest, subject_id: UUID) -> datetime:
    """Show this person's content in this sign-in from now on; returns until when."""
    until = timezone.now() + LASTS
    kept = {who: when for who, when in request.session.get(SESSION_KEY, {}).items() if not _is_over(when)}
    request.session[SESSION_KEY] = kept | {str(subject_id): until.isoformat()}
    return until


def revealed_until(request: HttpRequest, subject_id: UUID) -> datetime | None:
    """Until when this person's content is shown in this sign-in; None when it is not."""
    when = request.session.get(SESSION_KEY, {}).get(str(subject_id), "")
    return None if _is_over(when) else datetime.fromisoformat(when)


def content_shown(request: "ConsoleRequest", subject_id: UUID | None) -> bool:
    """Whether this person's content may be on a page that also shows what is not content, or is about several people.

    Such a page asks for `Permission.METADATA_VIEW` alone, and leaves out what this does not allow.
    """
    role = request.membership.role
    if role_may(role, Permission.CONTENT_VIEW):
        return True
    if subject_id is None or not role_may(role, Permission.CONTENT_REVEAL):
        return False
    return revealed_until(request, subject_id) is not None


def hide_from(request: HttpRequest, subject_id: UUID) -> None:
    """End the showing of this person's content before its time is over."""
    kept = request.session.get(SESSION_KEY, {})
    request.session[SESSION_KEY] = {who: when for who, when in kept.items() if who != str(subject_id)}


def hidden_page(
    request: "ConsoleRequest", workspace: Workspace, subject: Subject, form: RevealForm | None = None
) -> HttpResponse:
    """What is known of a person without any of it: counts, types, states and dates; and the form that reveals."""
    if wants_part(request):
        # A part was asked for after the time was over: the whole page has to be asked for again.
        return HttpResponseClientRefresh()
    context = {
        "subject": subject,
        "summary": subject_summary(subject),
        "tab": "facts",
        "facts": facts_without_content(subject),
    } | reveal_context(request, form)
    status = 422 if form is not None else 200 if request.method == "GET" else 403
    return page(request, workspace, "sessions/subject_hidden.html", context, section="subjects", status=status)


def reveal_context(request: "ConsoleRequest", form: RevealForm | None = None) -> dict[str, Any]:
    """What components/reveal.html shows, beside the `subject`."""
    return {
        "form": form or RevealForm(),
        "may_reveal": role_may(request.membership.role, Permission.CONTENT_REVEAL),
        "next": request.get_full_path() if request.method == "GET" else "",
        "lasts": int(LASTS.total_seconds() // 60),
    }


def _is_over(when: str) -> bool:
    return not when or datetime.fromisoformat(when) <= timezone.now()
