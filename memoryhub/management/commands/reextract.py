from datetime import datetime
from typing import Any
from uuid import UUID

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils.dateparse import parse_date, parse_datetime
from django.utils.timezone import make_aware

from audit.actors import Actor
from facts.decision import Outcome
from facts.extraction.interface import Extractor
from facts.extraction.reextraction import Report, Scope, reextract
from memoryhub.access.models import Workspace
from memoryhub.core.text import visible_line

LABELS = {
    Outcome.ADDED: "add",
    Outcome.SUPERSEDED: "supersede",
    Outcome.CONFIRMED: "leave",
    Outcome.BACKDATED: "add to the past",
    Outcome.QUARANTINED: "hold for review",
}


class Command(BaseCommand):
    help = (
        "Read stored turns for facts again, with another prompt or model, or turns that were never read. Without "
        "--apply nothing is written: it prints what would be added, superseded and left, content included. Both cost "
        "what the model costs, and the log tells whose memory was looked at."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--workspace", default="default", help="its slug (default)")
        parser.add_argument("--extractor", choices=["claude", "patterns"], default="", help="(EXTRACTOR)")
        parser.add_argument("--model", default="", help="of Claude (EXTRACT_MODEL)")
        parser.add_argument("--prompt", default="", help="version of the prompt, such as v2 (EXTRACT_PROMPT)")
        parser.add_argument("--subject", type=UUID, help="only this person, by the hub's id")
        parser.add_argument("--session", default="", help="only this session, by the caller's id")
        parser.add_argument("--since", type=_moment, help="only sessions that went on after this day or moment")
        parser.add_argument("--limit", type=int, default=100, help="windows at most (100)")
        parser.add_argument("--apply", action="store_true", help="write what was found")

    def handle(self, *args: Any, **options: Any) -> None:
        workspace = Workspace.objects.filter(slug=options["workspace"]).first()
        if workspace is None:
            raise CommandError(f"There is no workspace {options['workspace']!r}.")
        extractor = _extractor(options["extractor"] or settings.EXTRACTOR, options["model"], options["prompt"])
        if problem := extractor.problem():
            raise CommandError(f"The extractor {extractor.name} cannot work: {problem}.")
        report = reextract(
            workspace_id=workspace.id,
            scope=Scope(
                subject_id=options["subject"],
                session=options["session"],
                since=options["since"],
                limit=options["limit"],
            ),
            extractor=extractor,
            actor=Actor.command("reextract"),
            apply=options["apply"],
            concurrency=settings.EXTRACT_CONCURRENCY,
        )
        self.show(report, applied=options["apply"])

    def show(self, report: Report, *, applied: bool) -> None:
        subject: UUID | None = None
        for change in report.changes:
            if change.subject_id != subject:
                subject = change.subject_id
                self.stdout.write(f"subject {subject}")
            label = LABELS[change.outcome]
            self.stdout.write(f"  {label:<16} {change.handle:<6} {visible_line(change.after)}")
            if change.outcome is Outcome.SUPERSEDED and change.before:
                self.stdout.write(f"  {'':<16} {'was':<6} {visible_line(change.before)}")
            if change.outcome is Outcome.QUARANTINED:
                self.stdout.write(f"  {'':<16} {'why':<6} {change.reason}")
        counts = ", ".join(f"{LABELS[outcome]} {report.counts[outcome.value]}" for outcome in LABELS)
        cost = "no price known" if report.cost_usd is None else f"${report.cost_usd:.4f}"
        self.stdout.write(f"{report.windows} windows: {counts}; {cost}")
        for code, count in sorted(report.failures.items()):
            self.stdout.write(f"{count} could not be read: {code}")
        self.stdout.write("Written." if applied else "Nothing was written: say --apply to write it.")


def _extractor(name: str, model: str, prompt: str) -> Extractor:
    if name == "patterns":
        from facts.extraction.patterns import PatternsExtractor

        return PatternsExtractor()
    if name == "claude":
        from facts.extraction.claude import ClaudeExtractor

        return ClaudeExtractor(model=model or None, prompt_version=prompt or None)
    raise CommandError("EXTRACTOR is none: name one with --extractor.")


def _moment(text: str) -> datetime:
    at = parse_datetime(text)
    day = parse_date(text) if at is None else None
    if day is not None:
        at = datetime(day.year, day.month, day.day)
    if at is None:
        raise ValueError(f"{text!r} is no day and no moment")
    return at if at.tzinfo else make_aware(at)
