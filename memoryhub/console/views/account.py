"""One's own account: what django-allauth has views for, under the hub's addresses and in its look."""

from typing import Any

from allauth.account import views as account
from allauth.usersessions.views import ListUserSessionsView
from django.http import Http404, HttpRequest, HttpResponse
from django.utils.decorators import method_decorator

from audit.actors import Actor
from audit.models import INSTALLATION
from audit.services import record
from memoryhub.console.access import answers_outage
from memoryhub.core.tenancy import in_workspace


@method_decorator(answers_outage, name="dispatch")
class PasswordChangeView(account.PasswordChangeView):
    """A new password; sign-ins elsewhere end with it."""

    def get_form(self, form_class: Any = None) -> Any:
        form = super().get_form(form_class)
        # It would lead to resetting a password by e-mail, which the hub does not offer.
        form.fields["oldpassword"].help_text = ""
        for field in form.fields.values():
            field.widget.attrs.pop("placeholder", None)
        return form


@method_decorator(answers_outage, name="dispatch")
class SignInsView(ListUserSessionsView):
    """Where one is signed in. POST signs out everywhere else."""

    def form_valid(self, form: Any) -> HttpResponse:
        user = self.request.user
        with in_workspace(INSTALLATION):
            response = super().form_valid(form)
            record(Actor.user(user.pk), "user.signed_out_everywhere", user, workspace_id=INSTALLATION)
        return response


def nowhere(request: HttpRequest, **kwargs: Any) -> HttpResponse:
    """What django-allauth has an address for and the hub does not offer: registering, changing e-mail addresses."""
    raise Http404
