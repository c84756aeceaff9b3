"""Signing in and out, and the way to the first workspace."""

from typing import Any

from allauth.account.views import LoginView, LogoutView
from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.decorators import method_decorator
from django.views.decorators.http import require_GET

from memoryhub.access.selectors import memberships_of
from memoryhub.console.access import answers_outage


@method_decorator(answers_outage, name="dispatch")
class SignInView(LoginView):
    """A session for a username (or e-mail address) and its password. Failures are counted and in the log."""

    template_name = "account/sign_in.html"

    def form_invalid(self, form: Any) -> HttpResponse:
        codes = {error.code for errors in form.errors.as_data().values() for error in errors}
        status = 429 if "too_many_login_attempts" in codes else 403
        return self.render_to_response(self.get_context_data(form=form), status=status)

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        context: dict[str, Any] = super().get_context_data(**kwargs)
        return context | {"sso": settings.OIDC_NAME if settings.OIDC_SERVER_URL else ""}


@method_decorator(answers_outage, name="dispatch")
class SignOutView(LogoutView):
    """POST ends the session."""

    http_method_names = ["post"]


@require_GET
@answers_outage
@login_required
def home(request: HttpRequest) -> HttpResponse:
    """To the first workspace of this person; a page that says what to do for those who have none."""
    memberships = memberships_of(request.user.pk)  # type: ignore[arg-type]
    if not memberships:
        return render(request, "console/no_workspace.html", status=403)
    return redirect("overview", workspace=memberships[0].workspace.slug)
