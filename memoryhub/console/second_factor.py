"""Roles that need a second factor: without one, a member gets no further than the page that sets it up."""

from typing import Any

from allauth.mfa.models import Authenticator
from django.http import HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django_htmx.http import HttpResponseClientRedirect

from memoryhub.access.models import Membership
from memoryhub.access.policy import read_policy

REAL = (Authenticator.Type.TOTP, Authenticator.Type.WEBAUTHN)
"""Recovery codes alone are not one."""


def second_factor_missing(membership: Membership) -> bool:
    """Whether the workspace asks members in this role for a second factor and this one has none."""
    if membership.role not in read_policy(membership.workspace.policy).second_factor_roles:
        return False
    return not Authenticator.objects.filter(user_id=membership.user_id, type__in=REAL).exists()


def to_second_factor(request: Any) -> HttpResponse:
    there = reverse("mfa_index") + "?needed=1"
    return HttpResponseClientRedirect(there) if request.htmx else redirect(there)
