"""Signing in and out, and the way to the first workspace."""

from datetime import timedelta
from typing import Any

from django.contrib.auth.decorators import login_required
from django.contrib.auth.views import LoginView, LogoutView
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.views.decorators.http import require_GET

from audit.actors import Actor
from audit.ids import first_id
from audit.models import INSTALLATION
from audit.services import record
from memoryhub.access.models import User
from memoryhub.console.access import answers_outage, memberships_of
from memoryhub.console.forms import SignInForm, account_name
from memoryhub.console.selectors import recent_failures
from memoryhub.core.tenancy import in_workspace

ATTEMPTS, WITHIN = 10, timedelta(minutes=10)
"""Failed sign-ins of one account after which its password is not looked at until the oldest is that long ago."""


@method_decorator(answers_outage, name="dispatch")
class SignInView(LoginView):
    """A session for a username (or e-mail address) and its password. Failures are counted in the log."""

    template_name = "console/sign_in.html"
    authentication_form = SignInForm
    redirect_authenticated_user = True

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        typed = request.POST.get("username", "")
        account = self._account(typed)
        if account is not None and self._too_many_failures(account):
            # Unbound: a bound form would look at the password.
            form = SignInForm(request, initial={"username": typed})
            context = self.get_context_data(form=form, wait_minutes=WITHIN.seconds // 60)
            return self.render_to_response(context, status=429)
        sent = self.get_form()
        if sent.is_valid():
            return self.form_valid(sent)
        if account is not None:
            with in_workspace(INSTALLATION):
                record(
                    Actor.system("sign_in"),
                    "user.sign_in_failed",
                    account,
                    workspace_id=INSTALLATION,
                    outcome="denied",
                    reason="wrong_credentials",
                )
        return self.render_to_response(self.get_context_data(form=sent), status=403)

    def form_valid(self, form: Any) -> HttpResponse:
        user = form.get_user()
        with in_workspace(INSTALLATION):
            record(Actor.user(user.pk), "user.signed_in", user, workspace_id=INSTALLATION)
            return super().form_valid(form)

    @staticmethod
    def _account(typed: str) -> User | None:
        return User.objects.filter(username=account_name(typed)).first()

    @staticmethod
    def _too_many_failures(account: User) -> bool:
        with in_workspace(INSTALLATION):
            since = first_id(timezone.now() - WITHIN)
            return recent_failures(installation=INSTALLATION, user_id=account.pk, first_id=since) >= ATTEMPTS


@method_decorator(answers_outage, name="dispatch")
class SignOutView(LogoutView):
    """POST ends the session."""

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if request.user.is_authenticated:
            with in_workspace(INSTALLATION):
                record(Actor.user(request.user.pk), "user.signed_out", request.user, workspace_id=INSTALLATION)
                return super().post(request, *args, **kwargs)
        return super().post(request, *args, **kwargs)


@require_GET
@answers_outage
@login_required
def home(request: HttpRequest) -> HttpResponse:
    """To the first workspace of this person; a page that says what to do for those who have none."""
    memberships = memberships_of(request.user.pk)  # type: ignore[arg-type]
    if not memberships:
        return render(request, "console/no_workspace.html", status=403)
    return redirect("overview", workspace=memberships[0].workspace.slug)
