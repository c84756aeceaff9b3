import json
from argparse import ArgumentParser
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError

from audit.actors import Actor
from audit.erasure.certificate import certificate
from audit.erasure.models import ErasureState
from audit.erasure.services import ErasureError, Plan, erasure_begin, erasure_plan, erasure_run
from audit.registry import Scope
from audit.services import record
from memoryhub.access.models import Workspace
from memoryhub.api.inputs import SUBJECT_REASONS
from memoryhub.bootstrap import DEFAULT_WORKSPACE
from memoryhub.core.tenancy import in_workspace
from memoryhub.erasing import refuse_alone
from sessions.models import Session, Subject


class Command(BaseCommand):
    help = (
        "Erase everything about a person, or one session or a period of theirs, and print the certificate. Without "
        "--apply it only counts what would go. Ends with 1 when something was found left."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        whom = parser.add_mutually_exclusive_group(required=True)
        whom.add_argument("--subject", type=UUID, help="The person, by the hub's id.")
        whom.add_argument("--user-id", help="The person, by the caller's id.")
        parser.add_argument("--session", help="Only this session, by the caller's id.")
        parser.add_argument("--since", type=_moment, help="Only what was said from then on (ISO 8601).")
        parser.add_argument("--until", type=_moment, help="Only what was said before then.")
        parser.add_argument(
            "--workspace", default=DEFAULT_WORKSPACE, help="The workspace's slug. Default: %(default)s."
        )
        parser.add_argument(
            "--reason",
            default="subject_request",
            choices=SUBJECT_REASONS,
            help="Goes into the audit log. Default: %(default)s.",
        )
        parser.add_argument("--apply", action="store_true", help="Erase. It cannot be taken back.")

    def handle(self, *args: Any, **options: Any) -> None:
        workspace = Workspace.objects.filter(slug=options["workspace"]).first()
        if workspace is None:
            raise CommandError(f"There is no workspace {options['workspace']!r}.")
        actor = Actor.command("erase_subject")
        try:
            with in_workspace(workspace.id):
                scope = _scope(options)
                plan = erasure_plan(scope)
                self._tell(plan)
                if not options["apply"]:
                    data = {"kind": scope.kind, "rows": plan.rows}
                    subject = ("subject", scope.subject_id)
                    record(
                        actor,
                        "erasure.planned",
                        subject,
                        workspace_id=workspace.id,
                        subject=scope.subject_id,
                        data=data,
                    )
                    self.stderr.write("Nothing was erased: run it again with --apply.")
                    return
                refuse_alone(workspace.id, scope)
                erasure = erasure_begin(workspace_id=workspace.id, scope=scope, actor=actor, reason=options["reason"])
        except ErasureError as error:
            raise CommandError(error.message) from error
        done = erasure_run(erasure.id, workspace_id=workspace.id)
        self.stdout.write(json.dumps(certificate(done), indent=2))
        if done.state != ErasureState.COMPLETED:
            raise CommandError("Something is left: the certificate names where. Run it again once that is mended.")

    def _tell(self, plan: Plan) -> None:
        self.stderr.write(f"{plan.rows} rows:")
        for store, kinds in plan.counts.items():
            told = ", ".join(f"{count} {kind}" for kind, count in kinds.items() if count)
            self.stderr.write(f"  {store}: {told or 'nothing'}")


def _scope(options: dict[str, Any]) -> Scope:
    people = Subject.objects.all()
    found = (
        people.filter(pk=options["subject"]) if options["subject"] else people.filter(external_id=options["user_id"])
    )
    subject = found.first()
    if subject is None:
        raise CommandError("There is no such person.")
    session = None
    if options["session"]:
        session = Session.objects.filter(subject=subject, external_id=options["session"]).first()
        if session is None:
            raise CommandError("This person has no such session.")
        if options["since"] or options["until"]:
            raise CommandError("Either a session or a period.")
    return Scope(subject.id, session_id=session.id if session else None, since=options["since"], until=options["until"])


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
