import json
from argparse import ArgumentParser
from datetime import UTC, date, datetime, time
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from audit.actors import Actor
from audit.erasure.models import Erasure
from audit.erasure.services import ErasureError, erasure_plan
from audit.registry import Scope
from audit.requests.errors import RequestError
from audit.requests.letters import About, Sender, letter_file, letter_of, letters_open
from audit.requests.models import Channel, DataRequest, Hold, Identity
from audit.requests.selectors import ANY, OPEN, RequestFilter, requests_found
from audit.requests.services import request_assign, request_decide, request_extend, request_locked, request_receive
from audit.requests.states import DECISIONS, RequestState, RequestType, Step, decisions_open
from audit.services import record
from memoryhub.access.models import Workspace
from memoryhub.access.policy import WorkspacePolicy
from memoryhub.bootstrap import DEFAULT_WORKSPACE
from memoryhub.console.desk import due_of, handlers
from memoryhub.console.workspace_policy import policy_of
from memoryhub.core.tenancy import in_workspace
from memoryhub.desk import (
    EXTENSION_REASONS,
    HOLD_REASONS,
    STEP_REASONS,
    hold_end,
    person_hold,
    request_carry_out,
    rules_of,
)
from sessions.models import Session, Subject
from sessions.services import PAUSES

ACTOR = Actor.command("requests")


class Command(BaseCommand):
    help = (
        "People's requests and legal holds: the same services as the console and the API. Prints ids, codes and dates, "
        "no content and no notes. Whatever a shell does counts as one and the same person where two have to decide."
    )
    workspace: Workspace
    policy: WorkspacePolicy

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--workspace", default=DEFAULT_WORKSPACE, help="The workspace's slug. Default: %(default)s."
        )
        what = parser.add_subparsers(dest="what", required=True, metavar="WHAT")

        one = what.add_parser("list", help="What waits, by due date.")
        one.add_argument("--state", default=OPEN, choices=[OPEN, ANY, *RequestState.values])
        one.add_argument("--type", default="", choices=RequestType.values)
        one.add_argument("--overdue", action="store_true", help="Only what is late.")

        one = what.add_parser("show", help="One request with its history, as JSON.")
        one.add_argument("request", type=UUID)

        one = what.add_parser("take", help="Take up a request; prints its id.")
        one.add_argument("type", choices=RequestType.values)
        _whom(one)
        one.add_argument("--received", type=date.fromisoformat, help="The day it reached you. Default: today.")
        one.add_argument("--channel", default=Channel.OTHER.value, choices=Channel.values)
        one.add_argument("--verified", action="store_true", help="You know that it is the person.")
        one.add_argument("--session", help="Of an erasure: only this session, by the caller's id.")
        one.add_argument("--since", type=_moment, help="Of an erasure: only what was said from then on (ISO 8601).")
        one.add_argument("--until", type=_moment, help="Of an erasure: only what was said before then.")
        one.add_argument("--note", default="", help="Erased with the person.")

        for step in DECISIONS:
            one = what.add_parser(step.value.replace("_", "-"), help=DOES[step])
            one.add_argument("request", type=UUID)
            one.add_argument("--note", default="", help="Erased with the person.")
            if step is Step.CARRY_OUT:
                one.add_argument("--apply", action="store_true", help="Do it. Without, it is only told what it does.")
                one.add_argument("--pause", choices=PAUSES, action="append", help="Of an objection. Default: all.")
            else:
                needed = step is Step.REFUSE
                one.add_argument("--reason", choices=STEP_REASONS, default="", required=needed)

        one = what.add_parser("extend", help="Take two more months, once.")
        one.add_argument("request", type=UUID)
        one.add_argument("--reason", choices=EXTENSION_REASONS, required=True)
        one.add_argument("--told-on", type=date.fromisoformat, help="When the person was told. Default: today.")
        one.add_argument("--note", default="", help="Erased with the person.")

        one = what.add_parser("assign", help="Say who looks after it.")
        one.add_argument("request", type=UUID)
        one.add_argument("username", nargs="?", default="", help="Without: nobody.")

        one = what.add_parser("letter", help="The letter to the person, as an HTML file on standard output.")
        one.add_argument("request", type=UUID)
        one.add_argument("--about", choices=[about.value for about in About], help="Default: the latest there is.")

        one = what.add_parser("holds", help="Legal holds in force.")
        one.add_argument("--all", action="store_true", help="Released ones too.")

        one = what.add_parser("hold", help="Place a legal hold; prints its id.")
        _whom(one)
        one.add_argument("--session", help="Only this session, by the caller's id.")
        one.add_argument("--reason", choices=HOLD_REASONS, required=True)
        one.add_argument("--note", default="", help="Erased with the person.")

        one = what.add_parser("release", help="Release a hold that was placed in the console or over the API.")
        one.add_argument("hold", type=UUID)

    def handle(self, *args: Any, what: str, **options: Any) -> None:
        workspace = Workspace.objects.filter(slug=options["workspace"]).first()
        if workspace is None:
            raise CommandError(f"There is no workspace {options['workspace']!r}.")
        self.workspace, self.policy = workspace, policy_of(workspace)
        steps = {step.value.replace("_", "-"): step for step in DECISIONS}
        try:
            with in_workspace(workspace.id):
                if what in steps:
                    self.decide(steps[what], **options)
                else:
                    getattr(self, what)(**options)
        except (RequestError, ErasureError) as refused:
            raise CommandError(refused.message) from refused

    def list(self, *, state: str, type: str, overdue: bool, **_: Any) -> None:
        calendar = self.policy.calendar
        today = calendar.day_of(timezone.now())
        wanted = RequestFilter(type=type, state=state, overdue=overdue)
        found = requests_found(workspace_id=self.workspace.id, wanted=wanted, today=today)
        count = 0
        for one in found.iterator(chunk_size=500):
            count += 1
            due = due_of(one, calendar, today)
            self.stdout.write(f"{one.id}  {one.due_on}  {due.says:<24} {one.type:<13} {one.state}")
        self.stdout.write(f"{count} request{'' if count == 1 else 's'}")

    def show(self, *, request: UUID, **_: Any) -> None:
        found = self._request(request)
        record(ACTOR, "request.viewed", found, subject=found.subject_id)
        told = {
            "request_id": found.id,
            "type": found.type,
            "state": found.state,
            "subject_id": found.subject_id,
            "received_on": found.received_on,
            "due_on": found.due_on,
            "paused_on": found.paused_on,
            "extended_on": found.extended_on,
            "assignee_id": found.assignee_id,
            "erasure_id": found.erasure_id,
            "open_steps": [step.value.replace("_", "-") for step in decisions_open(found.type, found.state)],
            "steps": [
                {"step": one.step, "after": one.after, "reason": one.reason, "by": f"{one.actor_kind}:{one.actor_id}"}
                | {"at": one.at}
                for one in found.steps.order_by("id")
            ],
        }
        self.stdout.write(json.dumps(told, indent=2, default=str))

    def take(self, *, type: str, received: date | None, **options: Any) -> None:
        subject = _subject(options)
        session = _session(subject, options["session"])
        zone = ZoneInfo(self.policy.calendar.time_zone)
        made = request_receive(
            workspace_id=self.workspace.id,
            scope=Scope(subject.id, session_id=session, since=options["since"], until=options["until"]),
            type_=type,
            received_at=datetime.combine(received, time(), zone) if received else timezone.now(),
            channel=options["channel"],
            identity=Identity.VERIFIED if options["verified"] else Identity.UNVERIFIED,
            note=options["note"],
            actor=ACTOR,
            rules=rules_of(self.policy),
        )
        self.stdout.write(str(made.id))
        self.stderr.write(f"due on {made.due_on}")

    def decide(self, step: Step, *, request: UUID, note: str, **options: Any) -> None:
        found = request_locked(workspace_id=self.workspace.id, request_id=request)
        if step is Step.CARRY_OUT:
            if not options["apply"]:
                self._told(found)
                return
            after = request_carry_out(request=found, actor=ACTOR, pauses=options["pause"] or PAUSES, note=note)
        else:
            after = request_decide(
                request=found,
                step=step,
                actor=ACTOR,
                rules=rules_of(self.policy),
                reason=options["reason"],
                note=note,
            )
        self.stdout.write(after.state)
        if step is Step.APPROVE and after.state == RequestState.REVIEW:
            self.stderr.write("A second person has to approve it, in the console or over the API.")
        if after.state == RequestState.RUNNING and after.erasure_id:
            self.stderr.write("The hub's queue carries it out; look again with: requests show")

    def extend(self, *, request: UUID, reason: str, told_on: date | None, note: str, **_: Any) -> None:
        after = request_extend(
            request=request_locked(workspace_id=self.workspace.id, request_id=request),
            told_on=told_on,
            reason=reason,
            note=note,
            actor=ACTOR,
            rules=rules_of(self.policy),
        )
        self.stdout.write(f"due on {after.due_on}")

    def assign(self, *, request: UUID, username: str, **_: Any) -> None:
        people = {name: user for user, name in handlers(self.workspace)}
        if username and username not in people:
            raise CommandError("Nobody of that name handles requests here.")
        found = request_locked(workspace_id=self.workspace.id, request_id=request)
        request_assign(request=found, assignee_id=people.get(username), actor=ACTOR)

    def letter(self, *, request: UUID, about: str | None, **_: Any) -> None:
        found = self._request(request)
        kinds = letters_open(found)
        if about and about not in kinds:
            raise CommandError(f"There is no such letter to write yet; there is: {', '.join(kinds)}.")
        record(ACTOR, "request.viewed", found, subject=found.subject_id)
        subject = Subject.objects.filter(pk=found.subject_id).first()
        letter = letter_of(
            found,
            About(about) if about else kinds[0],
            steps=[*found.steps.order_by("id")],
            sender=Sender(self.policy.register_controller, self.policy.register_contact),
            erasure=Erasure.objects.filter(pk=found.erasure_id).first() if found.erasure_id else None,
            stopped=[one for one in PAUSES if subject and getattr(subject, f"{one}_paused_at")],
        )
        self.stdout.write(letter_file(letter), ending="")

    def holds(self, *, all: bool, **_: Any) -> None:
        rows = Hold.objects.filter(workspace_id=self.workspace.id).order_by("-id")
        for one in rows if all else rows.filter(released_at__isnull=True):
            what = f"session {one.session_id}" if one.session_id else "everything"
            ended = f"released {one.released_at:%Y-%m-%d}" if one.released_at else "in force"
            self.stdout.write(f"{one.id}  {one.placed_at:%Y-%m-%d}  {ended}  {one.reason}  {one.subject_id}  {what}")

    def hold(self, *, reason: str, note: str, **options: Any) -> None:
        subject = _subject(options)
        made = person_hold(
            workspace_id=self.workspace.id,
            subject_id=subject.id,
            session_id=_session(subject, options["session"]),
            reason=reason,
            note=note,
            actor=ACTOR,
        )
        self.stdout.write(str(made.id))

    def release(self, *, hold: UUID, **_: Any) -> None:
        hold_end(workspace_id=self.workspace.id, hold_id=hold, actor=ACTOR)
        self.stdout.write("released")

    def _told(self, found: DataRequest) -> None:
        if Step.CARRY_OUT not in decisions_open(found.type, found.state):
            raise CommandError(f"The request is {RequestState(found.state).label}: it cannot be carried out now.")
        if found.type == RequestType.ERASURE:
            plan = erasure_plan(found.scope)
            self.stderr.write(f"{plan.rows} rows:")
            for store, kinds in plan.counts.items():
                told = ", ".join(f"{count} {kind}" for kind, count in kinds.items() if count)
                self.stderr.write(f"  {store}: {told or 'nothing'}")
        self.stderr.write("Nothing was done: run it again with --apply.")

    def _request(self, request_id: UUID) -> DataRequest:
        found = DataRequest.objects.filter(workspace_id=self.workspace.id, pk=request_id).first()
        if found is None:
            raise CommandError("There is no such request.")
        return found


DOES = {
    Step.CONFIRM_IDENTITY: "It is the person who asks.",
    Step.DOUBT_IDENTITY: "Doubt that: the clock stands still.",
    Step.APPROVE: "Approve it.",
    Step.CARRY_OUT: "Do what was approved; without --apply only tell what that is.",
    Step.COMPLETE: "It is done, of what is not an erasure.",
    Step.REFUSE: "Refuse it, with a reason.",
    Step.CANCEL: "Close it without doing anything.",
}


def _whom(parser: ArgumentParser) -> None:
    whom = parser.add_mutually_exclusive_group(required=True)
    whom.add_argument("--subject", type=UUID, help="The person, by the hub's id.")
    whom.add_argument("--user-id", help="The person, by the caller's id.")


def _subject(options: dict[str, Any]) -> Subject:
    people = Subject.objects.all()
    wanted = {"pk": options["subject"]} if options["subject"] else {"external_id": options["user_id"]}
    found = people.filter(**wanted).first()
    if found is None:
        raise CommandError("There is no such person.")
    return found


def _session(subject: Subject, external_id: str | None) -> UUID | None:
    if not external_id:
        return None
    session = Session.objects.filter(subject=subject, external_id=external_id).first()
    if session is None:
        raise CommandError("This person has no such session.")
    return session.id


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
