from django.db import migrations

#: The share of a page in % that PostgreSQL fills with new streams. Each publication updates its
#: stream: the rest of the page takes the new versions, so that the indexes need no new entries.
FILLFACTOR = 45


def set_fillfactor(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(f"ALTER TABLE notifications_stream SET (fillfactor = {FILLFACTOR})")


def reset_fillfactor(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("ALTER TABLE notifications_stream RESET (fillfactor)")


class Migration(migrations.Migration):
    dependencies = [
        ("notifications", "0006_connection_expiry"),
    ]

    operations = [
        migrations.RemoveIndex(
            model_name="notification",
            # Waiting rows of a stream are found in notification_offset.
            name="notification_stream_waiting",
        ),
        migrations.RunPython(set_fillfactor, reset_fillfactor),
    ]
