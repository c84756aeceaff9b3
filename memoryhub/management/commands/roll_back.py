from datetime import UTC, datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from audit.actors import Actor
from facts.rollback import Plan, Scope, roll_back, roll_back_plan, session_named
from memoryhub.access.models import Workspace
from memoryhub.bootstrap import DEFAULT_WORKSPACE
from memoryhub.core.tenancy import in_workspace

LISTED = 50


class Command(BaseCommand):
    help = (
        "Take back everything a key or a session wrote: its facts are turned down, what they replaced holds again, its "
        "turns are withheld. What a person stands behind is kept, and nothing is deleted. Without --apply it only says "
        "what would be done."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        whose = parser.add_mutually_exclusive_group(required=True)
        whose.add_argument("--key", help="The key's public prefix (mh_…), or import:… for what an import wrote.")
        whose.add_argument("--session", help="The session, by the hub's id or by the caller's.")
        parser.add_argument("--since", type=_moment, help="From this moment on (ISO 8601; without a zone: UTC).")
        parser.add_argument("--until", type=_moment, help="Before this moment.")
        parser.add_argument(
            "--workspace", default=DEFAULT_WORKSPACE, help="The workspace's slug. Default: %(default)s."
        )
        parser.add_argument(
            "--reason",
            default="compromised",
            choices=("compromised", "suspicious", "wrong", "requested", "other"),
            help="Goes into the audit log. Default: %(default)s.",
        )
        parser.add_argument("--apply", action="store_true", help="Do it.")

    def handle(self, *args: Any, **options: Any) -> None:
        workspace = Workspace.objects.filter(slug=options["workspace"]).first()
        if workspace is None:
            raise CommandError(f"There is no workspace {options['workspace']!r}.")
        with in_workspace(workspace.id):
            session = session_named(workspace, options["session"]) if options["session"] else None
            if options["session"] and session is None:
                raise CommandError(f"There is no session {options['session']!r}.")
            scope = Scope(
                workspace.id,
                key=options["key"] or "",
                session_id=session.id if session else None,
                since=options["since"],
                until=options["until"],
            )
            plan = roll_back_plan(scope)
            self._tell(plan)
            if plan.is_empty:
                self.stdout.write("Nothing to take back.")
            elif not options["apply"]:
                self.stdout.write("Nothing was changed: run it again with --apply to do this.")
            else:
                actor = Actor.command("roll_back")
                roll_back(scope=scope, digest=plan.digest, actor=actor, reason=options["reason"])
                self.stdout.write("Done. Each item can be put back alone, in the console.")

    def _tell(self, plan: Plan) -> None:
        self.stdout.write(
            f"{plan.rejected} versions turned down, {plan.restored} put back as they were, {plan.turns} turns of "
            f"{plan.sessions} sessions withheld, {len(plan.kept)} kept because a person stands behind them; "
            f"{plan.people} people."
        )
        for change in plan.changes[:LISTED]:
            fact = plan.facts[change.version.fact_id]
            self.stdout.write(
                f"  {fact.id} {fact.handle_text} v{change.version.number}: {change.was.value} -> {change.to.value}"
            )
        if len(plan.changes) > LISTED:
            self.stdout.write(f"  and {len(plan.changes) - LISTED} more")


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
