from django.apps.registry import Apps
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.models import OuterRef, Subquery


def fill(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """From the newest notification, so that ``published_at`` goes on ascending."""
    alias = schema_editor.connection.alias
    newest = apps.get_model("notifications", "Notification").objects.filter(
        stream=OuterRef("pk"), offset=OuterRef("top")
    )
    streams = apps.get_model("notifications", "Stream").objects.using(alias).filter(top__gt=0)
    streams.update(published_at=Subquery(newest.values("published_at")[:1]))


class Migration(migrations.Migration):
    dependencies = [
        ("notifications", "0002_broadcast"),
    ]

    operations = [
        migrations.AddField(
            model_name="stream",
            name="published_at",
            field=models.DateTimeField(
                editable=False,
                help_text="When the newest one was.",
                null=True,
                verbose_name="published",
            ),
        ),
        migrations.RunPython(fill, migrations.RunPython.noop),
    ]
