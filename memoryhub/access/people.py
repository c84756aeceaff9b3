"""Writing who may sign in and what they may do: people, their roles, invitations."""

import secrets
from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from audit.actors import Actor
from audit.services import record
from memoryhub.access.errors import InvitationRefused, LastAdministrator
from memoryhub.access.models import Invitation, Membership, Role, User, Workspace, key_digest
from memoryhub.core.tenancy import in_workspace

INVITED_FOR = timedelta(days=7)


@dataclass(frozen=True)
class NewInvitation:
    """An invitation just made. `token` is the secret part of its link: shown once, kept nowhere."""

    invitation: Invitation
    token: str


def member_add(*, workspace: Workspace, user: User, role: Role, actor: Actor) -> Membership:
    """Give a person a role; someone who has one already keeps it."""
    with in_workspace(workspace.id):
        member, created = Membership.objects.get_or_create(workspace=workspace, user=user, defaults={"role": role})
        if created:
            record(actor, "member.added", member, data={"role": member.role, "user_id": user.id})
    return member


def user_create(
    *, username: str, actor: Actor, workspace: Workspace, role: Role, password: str = ""
) -> tuple[User, str]:
    """A person who can sign in, with a role in `workspace`; returns the password, generated when none is given."""
    password = password or new_password()
    with transaction.atomic():
        user = User.objects.create_user(username=username, password=password)
        with in_workspace(workspace.id):
            record(actor, "user.created", ("user", user.id), workspace_id=workspace.id, data={"superuser": False})
        member_add(workspace=workspace, user=user, role=role, actor=actor)
    return user, password


def password_reset(*, user: User, workspace_ids: Collection[UUID], actor: Actor) -> str:
    """Replace a person's password by a generated one, which is returned; recorded in each of their workspaces."""
    password = new_password()
    with transaction.atomic():
        user.set_password(password)
        user.save(update_fields=["password"])
        for workspace_id in workspace_ids:
            with in_workspace(workspace_id):
                record(actor, "user.password_reset", ("user", user.id), workspace_id=workspace_id)
    return password


def new_password() -> str:
    """Eighteen characters, over 100 bits, without look-alikes."""
    alphabet = "abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789"
    return "-".join("".join(secrets.choice(alphabet) for _ in range(6)) for _ in range(3))


def member_change_role(*, member: Membership, role: Role, actor: Actor) -> Membership:
    """Give a member another role. Raises LastAdministrator when nobody would be left to administer the workspace."""
    with in_workspace(member.workspace_id):
        member = _locked_members(member.workspace_id, member)
        before = member.role
        if before != role:
            _keep_an_administrator(member)
            member.role = role
            member.save(update_fields=["role"])
            data = {"role": role, "before": before, "user_id": member.user_id}
            record(actor, "member.changed", member, workspace_id=member.workspace_id, data=data)
    return member


def member_remove(*, member: Membership, actor: Actor) -> None:
    """Take a person out of the workspace, from the next request on. Raises LastAdministrator as above."""
    with in_workspace(member.workspace_id):
        member = _locked_members(member.workspace_id, member)
        _keep_an_administrator(member)
        data = {"role": member.role, "user_id": member.user_id}
        record(actor, "member.removed", member, workspace_id=member.workspace_id, data=data)
        member.delete()


def invitation_create(
    *, workspace: Workspace, role: Role, actor: Actor, email: str = "", lasts: timedelta = INVITED_FOR
) -> NewInvitation:
    """Invite somebody to `workspace` in `role`, by a link that works once and until `lasts` is over."""
    secret = secrets.token_urlsafe(32)
    token = f"{workspace.id.hex}{secret}"
    with in_workspace(workspace.id):
        invitation = Invitation(
            workspace=workspace,
            role=role,
            email=email,
            digest=key_digest(token),
            invited_by=actor.id,
            expires_at=timezone.now() + lasts,
        )
        invitation.full_clean(exclude=["digest"])
        invitation.save(force_insert=True)
        data = {"role": invitation.role, "expires_at": invitation.expires_at}
        record(actor, "invitation.created", invitation, workspace_id=workspace.id, data=data)
    return NewInvitation(invitation, token)


def invitation_revoke(*, invitation: Invitation, actor: Actor) -> None:
    """The link stops working. Revoking one that is used or revoked already changes nothing."""
    with in_workspace(invitation.workspace_id):
        open_one = Invitation.objects.filter(pk=invitation.pk, accepted_at=None, revoked_at=None)
        if open_one.update(revoked_at=timezone.now()):
            record(actor, "invitation.revoked", invitation, workspace_id=invitation.workspace_id)


def invitation_of(token: str) -> Invitation:
    """The invitation whose link holds `token`. Raises InvitationRefused for one that does not, or no longer, work."""
    try:
        workspace_id = UUID(token[:32])
    except ValueError:
        raise InvitationRefused from None
    with in_workspace(workspace_id):
        found = Invitation.objects.select_related("workspace").filter(digest=key_digest(token)).first()
    if found is None or not found.is_open(timezone.now()):
        raise InvitationRefused
    return found


def invitation_accept(*, token: str, user: User | None = None, username: str = "", password: str = "") -> User:
    """Make the invited person a member: `user` where there is an account already, else a new one.

    Without a password the new account signs in through single sign-on only. Raises InvitationRefused.
    """
    invitation = invitation_of(token)
    workspace = invitation.workspace
    with in_workspace(workspace.id):
        # Two who open one link at the same time: the second finds it used.
        if not Invitation.objects.filter(pk=invitation.pk, accepted_at=None, revoked_at=None).update(
            accepted_at=timezone.now()
        ):
            raise InvitationRefused
        if user is None:
            user = User.objects.create_user(username=username, email=invitation.email, password=password or None)
            record(Actor.user(user.pk), "user.created", ("user", user.id), workspace_id=workspace.id)
        actor = Actor.user(user.pk, label=user.get_username())
        record(actor, "invitation.accepted", invitation, workspace_id=workspace.id, data={"role": invitation.role})
        member_add(workspace=workspace, user=user, role=Role(invitation.role), actor=actor)
    return user


def _locked_members(workspace_id: UUID, member: Membership) -> Membership:
    """The member as it is now, with all memberships of the workspace locked: roles change one after the other."""
    members = Membership.objects.select_for_update().filter(workspace_id=workspace_id).order_by("id")
    return {one.pk: one for one in members}[member.pk]


def _keep_an_administrator(member: Membership) -> None:
    others = Membership.objects.filter(workspace_id=member.workspace_id, role=Role.ADMIN).exclude(pk=member.pk)
    if member.role == Role.ADMIN and not others.exists():
        raise LastAdministrator
