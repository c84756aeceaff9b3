"""How people get in: what django-allauth asks the hub to decide, and what the audit log is told of it."""

import base64
import hashlib
import unicodedata
from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.authentication import get_authentication_records
from allauth.account.forms import LoginForm
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.mfa import signals as second_factor
from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.mfa.models import Authenticator
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from allauth.socialaccount.models import SocialLogin
from cryptography.fernet import Fernet, MultiFernet
from django.conf import settings
from django.db import connection, transaction
from django.dispatch import receiver
from django.http import HttpRequest
from django.shortcuts import render

from audit.actors import Actor
from audit.models import INSTALLATION
from audit.services import record
from memoryhub.access.errors import InvitationRefused
from memoryhub.access.models import User
from memoryhub.access.people import invitation_accept, invitation_of
from memoryhub.console.timeouts import begin
from memoryhub.core.tenancy import in_workspace

INVITATION_KEY = "invitation"
"""Where a session keeps the link somebody followed, while they sign in elsewhere."""
SIGN_IN_LOCK = 0x6D68_0002
METHODS = {"password": "password", "socialaccount": "sso", "mfa": "passkey"}


class AccountAdapter(DefaultAccountAdapter):
    """Accounts come from invitations alone. Every sign-in, and every failed one, is in the log."""

    error_messages = DefaultAccountAdapter.error_messages | {
        "too_many_login_attempts": "Too many attempts for this account. Wait ten minutes, then try again.",
        "username_password_mismatch": "That name and password do not belong together.",
        "incorrect_password": "That is not your password.",
    }

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False

    def authenticate(self, request: HttpRequest, **credentials: Any) -> Any:
        name = str(credentials.get("username", ""))
        with transaction.atomic():
            with connection.cursor() as cursor:
                # Attempts at one account go one after the other, so that no burst slips past their count.
                cursor.execute("select pg_advisory_xact_lock(%s, hashtext(%s))", [SIGN_IN_LOCK, name])
            return super().authenticate(request, **credentials)

    def authentication_failed(self, request: HttpRequest, **credentials: Any) -> None:
        account = User.objects.filter(username=credentials.get("username", "")).first()
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

    def login(self, request: HttpRequest, user: Any) -> None:
        used = [one.get("method") for one in get_authentication_records(request, user)]
        with in_workspace(INSTALLATION):
            super().login(request, user)
            begin(request)
            data = {"method": METHODS.get(str(used[0]) if used else "", "password"), "second_factor": "mfa" in used[1:]}
            record(Actor.user(user.pk), "user.signed_in", user, workspace_id=INSTALLATION, data=data)

    def logout(self, request: HttpRequest) -> None:
        user = request.user
        with in_workspace(INSTALLATION):
            super().logout(request)
            if user.is_authenticated:
                record(Actor.user(user.pk), "user.signed_out", user, workspace_id=INSTALLATION)

    def set_password(self, user: Any, password: str) -> None:
        with in_workspace(INSTALLATION):
            super().set_password(user, password)
            record(Actor.user(user.pk), "user.password_changed", user, workspace_id=INSTALLATION)

    def add_message(self, *args: Any, **kwargs: Any) -> None:
        """The hub's own pages say what happened."""


class SignInForm(LoginForm):
    """By username or, where only one account has it, by e-mail address."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["login"].label = "Username or e-mail"
        self.fields["login"].widget.attrs = {"autocomplete": "username", "autofocus": True, "maxlength": 254}
        self.fields["password"].help_text = ""
        self.fields["password"].widget.attrs.pop("placeholder", None)

    def clean_login(self) -> str:
        return account_name(self.cleaned_data["login"])


def account_name(typed: str) -> str:
    """The username that `typed` stands for: itself, or that of the one account with this e-mail address."""
    typed = unicodedata.normalize("NFKC", typed.replace("\0", "").strip())[:254]
    if "@" in typed and not User.objects.filter(username=typed).exists():
        owners = list(User.objects.filter(email__iexact=typed).values_list("username", flat=True)[:2])
        if len(owners) == 1:
            return owners[0]
    return typed


class SecondFactorAdapter(DefaultMFAAdapter):
    """Secrets of second factors are encrypted with a key made from SECRET_KEY: the tables alone give no codes."""

    def encrypt(self, text: str) -> str:
        return _fernet().encrypt(text.encode()).decode()

    def decrypt(self, encrypted_text: str) -> str:
        return _fernet().decrypt(encrypted_text.encode()).decode()

    def get_public_key_credential_rp_entity(self) -> dict[str, str]:
        return super().get_public_key_credential_rp_entity() | {"name": "MemoryHub"}


def _fernet() -> MultiFernet:
    keys = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
    digests = (hashlib.sha256(b"memoryhub second factor\0" + key.encode()).digest() for key in keys)
    return MultiFernet([Fernet(base64.urlsafe_b64encode(digest)) for digest in digests])


class SingleSignOnAdapter(DefaultSocialAccountAdapter):
    """Lets in who is known: by issuer and subject, the first time by a verified e-mail address or an invitation."""

    def pre_social_login(self, request: HttpRequest, sociallogin: SocialLogin) -> None:
        verified = {
            address.email.lower()
            for address in sociallogin.email_addresses
            if address.verified is True and _domain_allowed(address.email)
        }
        if sociallogin.is_existing:
            return
        user = self._known(verified) or self._invited(request, verified)
        if user is None:
            raise ImmediateHttpResponse(render(request, "account/stranger.html", status=403))
        with in_workspace(INSTALLATION):
            sociallogin.connect(request, user)
            record(Actor.user(user.pk), "user.sso_linked", user, workspace_id=INSTALLATION)

    def on_authentication_error(
        self,
        request: HttpRequest,
        provider: Any,
        error: Any = None,
        exception: Any = None,
        extra_context: Any = None,
    ) -> None:
        raise ImmediateHttpResponse(render(request, "account/sso_failed.html", status=403))

    def is_open_for_signup(self, request: HttpRequest, sociallogin: SocialLogin) -> bool:
        return False

    def _known(self, verified: set[str]) -> User | None:
        """The one account with a verified address; two of them would leave to chance who gets in."""
        if not verified:
            return None
        found = list(User.objects.filter(email__in=verified, is_active=True)[:2])
        return found[0] if len(found) == 1 else None

    def _invited(self, request: HttpRequest, verified: set[str]) -> User | None:
        token = request.session.get(INVITATION_KEY, "")
        try:
            invitation = invitation_of(token)
        except InvitationRefused:
            return None
        wanted = {invitation.email.lower()} if invitation.email else verified
        address = next(iter(sorted(wanted & verified)), None)
        if address is None or User.objects.filter(username=address).exists():
            return None
        del request.session[INVITATION_KEY]
        user = invitation_accept(token=token, username=address)
        if not user.email:
            user.email = address
            user.save(update_fields=["email"])
        return user


def _domain_allowed(address: str) -> bool:
    allowed = settings.OIDC_ALLOWED_DOMAINS
    return not allowed or address.rpartition("@")[2].lower() in allowed


@receiver(second_factor.authenticator_added)
@receiver(second_factor.authenticator_reset)
def _factor_added(user: User, authenticator: Authenticator, **kwargs: Any) -> None:
    _record_factor(user, "user.second_factor_added", authenticator)


@receiver(second_factor.authenticator_removed)
def _factor_removed(user: User, authenticator: Authenticator, **kwargs: Any) -> None:
    _record_factor(user, "user.second_factor_removed", authenticator)


@receiver(second_factor.authentication_failed)
def _factor_failed(user: User, authenticator: Authenticator | None = None, **kwargs: Any) -> None:
    _record_factor(user, "user.second_factor_failed", authenticator)


def _record_factor(user: User, action: str, authenticator: Authenticator | None) -> None:
    data = {"factor": str(authenticator.type)} if authenticator else {}
    failed = action.endswith("failed")
    with in_workspace(INSTALLATION):
        record(
            Actor.user(user.pk),
            action,
            user,
            workspace_id=INSTALLATION,
            outcome="denied" if failed else "ok",
            reason="wrong_credentials" if failed else "",
            data=data,
        )
