import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models

import memoryhub.core.ids
from memoryhub.core.tenancy import subject_policy, tenant_policy


class Migration(migrations.Migration):
    dependencies = [
        ("audit", "0004_searched"),
    ]

    operations = [
        migrations.CreateModel(
            name="DataRequest",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=memoryhub.core.ids.uuid7, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("workspace_id", models.UUIDField()),
                ("subject_id", models.UUIDField(help_text="The pseudonym that stays in the audit log.")),
                (
                    "type",
                    models.CharField(
                        choices=[
                            ("access", "access"),
                            ("portability", "portability"),
                            ("rectification", "rectification"),
                            ("restriction", "restriction"),
                            ("objection", "objection"),
                            ("erasure", "erasure"),
                        ],
                        max_length=13,
                    ),
                ),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("received", "received"),
                            ("identity_check", "identity is checked"),
                            ("review", "in review"),
                            ("approved", "approved"),
                            ("running", "running"),
                            ("verifying", "being verified"),
                            ("completed", "completed"),
                            ("partial", "partial"),
                            ("refused", "refused"),
                            ("cancelled", "cancelled"),
                            ("blocked", "blocked by a hold"),
                        ],
                        default="received",
                        max_length=14,
                    ),
                ),
                (
                    "channel",
                    models.CharField(
                        choices=[
                            ("email", "e-mail"),
                            ("letter", "letter"),
                            ("phone", "phone"),
                            ("in_person", "in person"),
                            ("in_product", "in the product"),
                            ("other", "another way"),
                        ],
                        max_length=10,
                    ),
                ),
                (
                    "identity",
                    models.CharField(
                        choices=[("verified", "verified: signed in, or shown"), ("unverified", "not verified yet")],
                        help_text="As it was when the request came in.",
                        max_length=10,
                    ),
                ),
                ("session_id", models.UUIDField(blank=True, help_text="Of an erasure: only this session.", null=True)),
                (
                    "since",
                    models.DateTimeField(
                        blank=True, help_text="Of an erasure: only what was said from then on.", null=True
                    ),
                ),
                (
                    "until",
                    models.DateTimeField(
                        blank=True, help_text="Of an erasure: only what was said before then.", null=True
                    ),
                ),
                ("received_at", models.DateTimeField()),
                ("received_on", models.DateField(help_text="The day that was in the workspace's time zone.")),
                ("due_on", models.DateField(help_text="The last day on which the answer is in time.")),
                ("paused_on", models.DateField(blank=True, help_text="Since when the clock stands still.", null=True)),
                (
                    "paused_days",
                    models.PositiveIntegerField(default=0, help_text="For how long it stood still before."),
                ),
                (
                    "extended_on",
                    models.DateField(blank=True, help_text="When the person was told of the extension.", null=True),
                ),
                ("extension_reason", models.CharField(blank=True, default="", help_text="A code.", max_length=40)),
                ("assignee_id", models.UUIDField(blank=True, null=True)),
                (
                    "first_approval_by",
                    models.CharField(blank=True, default="", help_text="Where two have to approve.", max_length=80),
                ),
                ("erasure_id", models.UUIDField(blank=True, null=True)),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ("ended_at", models.DateTimeField(blank=True, null=True)),
            ],
            options={
                "indexes": [
                    models.Index(
                        condition=models.Q(("state__in", ["cancelled", "completed", "refused"]), _negated=True),
                        fields=["workspace_id", "due_on", "id"],
                        name="data_request_due",
                    ),
                    models.Index(fields=["workspace_id", "-id"], name="data_request_newest"),
                    models.Index(fields=["workspace_id", "subject_id"], name="data_request_of_subject"),
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            (
                                "type__in",
                                ["access", "portability", "rectification", "restriction", "objection", "erasure"],
                            )
                        ),
                        name="data_request_type_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            (
                                "state__in",
                                [
                                    "received",
                                    "identity_check",
                                    "review",
                                    "approved",
                                    "running",
                                    "verifying",
                                    "completed",
                                    "partial",
                                    "refused",
                                    "cancelled",
                                    "blocked",
                                ],
                            )
                        ),
                        name="data_request_state_known",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Hold",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=memoryhub.core.ids.uuid7, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("workspace_id", models.UUIDField()),
                ("subject_id", models.UUIDField()),
                (
                    "session_id",
                    models.UUIDField(blank=True, help_text="Only this session; empty: everything.", null=True),
                ),
                ("reason", models.CharField(help_text="A code.", max_length=40)),
                (
                    "note",
                    models.TextField(
                        blank=True, default="", help_text="The matter it is about, in somebody's own words."
                    ),
                ),
                ("placed_by", models.CharField(help_text="The actor, as in the audit log.", max_length=80)),
                ("placed_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ("released_by", models.CharField(blank=True, default="", max_length=80)),
                ("released_at", models.DateTimeField(blank=True, null=True)),
            ],
            options={
                "indexes": [
                    models.Index(
                        condition=models.Q(("released_at__isnull", True)),
                        fields=["workspace_id", "subject_id"],
                        name="hold_in_force",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="RequestStep",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=memoryhub.core.ids.uuid7, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("workspace_id", models.UUIDField()),
                (
                    "step",
                    models.CharField(
                        choices=[
                            ("doubt_identity", "doubt_identity"),
                            ("confirm_identity", "confirm_identity"),
                            ("approve", "approve"),
                            ("carry_out", "carry_out"),
                            ("complete", "complete"),
                            ("refuse", "refuse"),
                            ("cancel", "cancel"),
                            ("receive", "receive"),
                            ("approve_first", "approve_first"),
                            ("block", "block"),
                            ("verify", "verify"),
                            ("leave", "leave"),
                            ("extend", "extend"),
                            ("assign", "assign"),
                            ("note", "note"),
                        ],
                        max_length=16,
                    ),
                ),
                ("before", models.CharField(blank=True, default="", max_length=14)),
                ("after", models.CharField(max_length=14)),
                ("reason", models.CharField(blank=True, default="", help_text="A code.", max_length=40)),
                ("note", models.TextField(blank=True, default="")),
                ("actor_kind", models.CharField(max_length=10)),
                ("actor_id", models.CharField(max_length=64)),
                ("at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                (
                    "request",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="steps", to="audit.datarequest"
                    ),
                ),
            ],
            options={
                "indexes": [models.Index(fields=["request", "id"], name="request_step_in_order")],
            },
        ),
        tenant_policy("audit_datarequest"),
        tenant_policy("audit_requeststep"),
        tenant_policy("audit_hold"),
        subject_policy("audit_datarequest", write=False),
        subject_policy("audit_requeststep", column="request_id", through="audit_datarequest", write=False),
        subject_policy("audit_hold", write=False),
    ]
