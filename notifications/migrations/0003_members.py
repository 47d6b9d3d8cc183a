import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("notifications", "0002_publication"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="Member",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("client", models.UUIDField(editable=False)),
                ("channel", models.CharField(max_length=255)),
                (
                    "info",
                    models.TextField(
                        blank=True,
                        help_text="What the client's subscription token tells about it, as JSON.",
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "worker",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="members",
                        to="notifications.worker",
                    ),
                ),
            ],
            options={
                "indexes": [models.Index(fields=["channel", "user"], name="member_channel")],
                "constraints": [
                    models.UniqueConstraint(fields=("client", "channel"), name="member_once")
                ],
            },
        ),
    ]
