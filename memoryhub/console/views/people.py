"""People and roles: inviting, changing, removing; and the page behind an invitation's link."""

from typing import Any
from uuid import UUID

from allauth.account.adapter import get_adapter
from allauth.mfa.models import Authenticator
from django import forms
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.password_validation import validate_password
from django.core.mail import send_mail
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from audit.actors import Actor
from audit.models import INSTALLATION
from audit.services import record
from memoryhub.access.errors import InvitationRefused, LastAdministrator
from memoryhub.access.models import Invitation, Membership, Role, User, Workspace
from memoryhub.access.people import (
    NewInvitation,
    invitation_accept,
    invitation_create,
    invitation_of,
    invitation_revoke,
    member_change_role,
    member_remove,
)
from memoryhub.access.permissions import Permission
from memoryhub.access.policy import read_policy
from memoryhub.console.access import ConsoleRequest, actor_of, answers_outage, permission_required
from memoryhub.console.pages import page
from memoryhub.console.second_factor import REAL
from memoryhub.console.signin import INVITATION_KEY
from memoryhub.core.tenancy import in_workspace


class InviteForm(forms.Form):
    role = forms.ChoiceField(choices=Role.choices, initial=Role.VIEWER)
    email = forms.EmailField(
        label="E-mail",
        required=False,
        max_length=254,
        help_text="Needed where they sign in through single sign-on, and to mail the link.",
    )


class RoleForm(forms.Form):
    role = forms.ChoiceField(choices=Role.choices)


class JoinForm(forms.Form):
    """A new account for somebody who was invited."""

    username = forms.CharField(max_length=150, widget=forms.TextInput(attrs={"autocomplete": "username"}))
    password = forms.CharField(
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
        max_length=1024,
        help_text="At least 12 characters that are not a common password.",
    )
    again = forms.CharField(
        label="Password again", widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}), max_length=1024
    )

    def clean_username(self) -> str:
        username = User.normalize_username(self.cleaned_data["username"])
        field = User._meta.get_field("username")
        field.run_validators(username)
        if User.objects.filter(username__iexact=username).exists():
            raise forms.ValidationError("This name is taken.")
        return username

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        password = cleaned.get("password")
        if password:
            if password != cleaned.get("again"):
                self.add_error("again", "The two passwords are not the same.")
            try:
                validate_password(password, User(username=cleaned.get("username", "")))
            except forms.ValidationError as refused:
                self.add_error("password", refused)
        return cleaned


@require_GET
@permission_required(Permission.PEOPLE_MANAGE)
def people(request: ConsoleRequest, workspace: Workspace) -> HttpResponse:
    return _people_page(request, workspace)


@require_POST
@permission_required(Permission.PEOPLE_MANAGE)
def invite(request: ConsoleRequest, workspace: Workspace) -> HttpResponse:
    form = InviteForm(request.POST)
    if not form.is_valid():
        return _people_page(request, workspace, invite=form, status=422)
    made = invitation_create(workspace=workspace, actor=actor_of(request), **form.cleaned_data)
    link = request.build_absolute_uri(reverse("invitation", args=[made.token]))
    mailed = bool(made.invitation.email) and _mail(made, link)
    return _people_page(request, workspace, made={"link": link, "invitation": made.invitation, "mailed": mailed})


@require_POST
@permission_required(Permission.PEOPLE_MANAGE)
def member_role(request: ConsoleRequest, workspace: Workspace, membership_id: UUID) -> HttpResponse:
    member = _member(workspace, membership_id)
    form = RoleForm(request.POST)
    if not form.is_valid():
        return _people_page(request, workspace, problem="Choose one of the roles.", status=422)
    try:
        member_change_role(member=member, role=Role(form.cleaned_data["role"]), actor=actor_of(request))
    except LastAdministrator as refused:
        return _people_page(request, workspace, problem=refused.message, status=409)
    messages.success(request, f"{member.user.get_username()} is {Role(form.cleaned_data['role']).label} now.")
    return _see(reverse("people", args=[workspace.slug]))


@require_http_methods(["GET", "POST"])
@permission_required(Permission.PEOPLE_MANAGE)
def member_removal(request: ConsoleRequest, workspace: Workspace, membership_id: UUID) -> HttpResponse:
    """GET asks, POST does."""
    member = _member(workspace, membership_id)
    problem = ""
    if request.method == "POST":
        try:
            member_remove(member=member, actor=actor_of(request))
        except LastAdministrator as refused:
            problem = refused.message
        else:
            messages.success(request, f"{member.user.get_username()} is no longer a member.")
            return _see(reverse("people", args=[workspace.slug]))
    context = {"member": member, "problem": problem}
    status = 409 if problem else 200
    return page(request, workspace, "console/member_remove.html", context, section="people", status=status)


@require_POST
@permission_required(Permission.PEOPLE_MANAGE)
def invitation_take_back(request: ConsoleRequest, workspace: Workspace, invitation_id: UUID) -> HttpResponse:
    invitation = get_object_or_404(Invitation, workspace=workspace, pk=invitation_id)
    invitation_revoke(invitation=invitation, actor=actor_of(request))
    messages.success(request, "The invitation no longer works.")
    return _see(reverse("people", args=[workspace.slug]))


@require_http_methods(["GET", "POST"])
@answers_outage
def invitation(request: HttpRequest, token: str) -> HttpResponse:
    """Behind the link: make an account, or join with the one that is signed in. One plain page where it fails."""
    try:
        invited = invitation_of(token)
        signed_in = request.user if request.user.is_authenticated else None
        form = JoinForm(request.POST if request.method == "POST" and signed_in is None else None)
        if request.method == "POST" and (signed_in is not None or form.is_valid()):
            if signed_in is not None:
                invitation_accept(token=token, user=signed_in)
            else:
                wanted = form.cleaned_data
                user = invitation_accept(token=token, username=wanted["username"], password=wanted["password"])
                get_adapter().login(request, user)
            return _see(reverse("overview", args=[invited.workspace.slug]))
    except InvitationRefused:
        with in_workspace(INSTALLATION):
            record(Actor.system("sign_in"), "invitation.refused", workspace_id=INSTALLATION, outcome="denied")
        return render(request, "account/invitation_refused.html", status=410)
    # Where they go on to single sign-on, the link is remembered for when they come back.
    request.session[INVITATION_KEY] = token
    context = {
        "invitation": invited,
        "workspace_name": invited.workspace.name,
        "form": form,
        "sso": settings.OIDC_NAME if settings.OIDC_SERVER_URL else "",
    }
    return render(request, "account/invitation.html", context, status=422 if form.is_bound else 200)


def _people_page(
    request: ConsoleRequest,
    workspace: Workspace,
    *,
    invite: InviteForm | None = None,
    made: dict[str, Any] | None = None,
    problem: str = "",
    status: int = 200,
) -> HttpResponse:
    members = list(Membership.objects.filter(workspace=workspace).select_related("user").order_by("user__username"))
    factors = set(
        Authenticator.objects.filter(user__in=[one.user_id for one in members], type__in=REAL).values_list(
            "user_id", flat=True
        )
    )
    needed = read_policy(workspace.policy).second_factor_roles
    open_ones = Invitation.objects.filter(
        workspace=workspace, accepted_at=None, revoked_at=None, expires_at__gt=timezone.now()
    )
    context = {
        "members": [(one, one.user_id in factors, one.role in needed) for one in members],
        "invitations": open_ones.order_by("-created_at"),
        "invite": invite or InviteForm(),
        "roles": Role.choices,
        "made": made,
        "problem": problem,
    }
    return page(request, workspace, "console/people.html", context, section="people", status=status)


def _member(workspace: Workspace, membership_id: UUID) -> Membership:
    return get_object_or_404(Membership.objects.select_related("user"), workspace=workspace, pk=membership_id)


def _mail(made: NewInvitation, link: str) -> bool:
    """Whether the link could be handed to a mail server."""
    if settings.EMAIL_BACKEND.endswith("dummy.EmailBackend"):
        return False
    text = render_to_string("account/email/invitation.txt", {"invitation": made.invitation, "link": link})
    return send_mail("An invitation to MemoryHub", text, None, [made.invitation.email], fail_silently=True) == 1


def _see(url: str) -> HttpResponse:
    response = redirect(url)
    response.status_code = 303
    return response
