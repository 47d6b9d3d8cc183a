from typing import Any

import django.db.models.deletion
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

#: A table that deploy/postgresql/partition-notifications.sql has made has the stream in its
#: primary key, where it cannot be missing.
REPLACE_PRIMARY_KEY = """
DO $$
DECLARE
    found name;
BEGIN
    SELECT conname INTO found FROM pg_constraint
    WHERE conrelid = 'notifications_notification'::regclass AND contype = 'p'
      AND array_length(conkey, 1) > 1;
    IF found IS NOT NULL THEN
        EXECUTE format('ALTER TABLE notifications_notification DROP CONSTRAINT %I', found);
        ALTER TABLE notifications_notification
            ALTER id SET NOT NULL,
            ADD CONSTRAINT notification_id UNIQUE (id, stream_id);
    END IF;
END $$
"""


class AllowMissing(migrations.AlterField):
    """Lets a foreign key be NULL. Django's own operation would check every row for it again."""

    def database_forwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: Any,
        to_state: Any,
    ) -> None:
        if schema_editor.connection.vendor != "postgresql":
            super().database_forwards(app_label, schema_editor, from_state, to_state)
            return
        model = to_state.apps.get_model(app_label, self.model_name)
        if self.allow_migrate_model(schema_editor.connection.alias, model):
            schema_editor.execute(REPLACE_PRIMARY_KEY, params=None)
            self._alter_null(schema_editor, "DROP NOT NULL")

    def database_backwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: Any,
        to_state: Any,
    ) -> None:
        if schema_editor.connection.vendor != "postgresql":
            super().database_backwards(app_label, schema_editor, from_state, to_state)
            return
        model = to_state.apps.get_model(app_label, self.model_name)
        if self.allow_migrate_model(schema_editor.connection.alias, model):
            self._alter_null(schema_editor, "SET NOT NULL")

    def _alter_null(self, schema_editor: BaseDatabaseSchemaEditor, change: str) -> None:
        schema_editor.execute(f"ALTER TABLE notifications_notification ALTER stream_id {change}")


class Migration(migrations.Migration):
    """A notification can wait without a stream, under the name of the one that it is for.

    On PostgreSQL nothing is rewritten. The columns are added in an instant (ACCESS EXCLUSIVE, so it
    waits for transactions that are open, and new ones wait behind it: set a lock_timeout and try
    again on a busy site). The index is empty, but finding that out reads the table once; as long
    nobody can write to it (SHARE): about a second for a gigabyte. A table in partitions also gets
    another unique index in place of its primary key, which takes as long as building that did.
    SQLite copies the table.
    """

    dependencies = [
        ("notifications", "0004_leaner_indexes"),
    ]

    operations = [
        AllowMissing(
            model_name="notification",
            name="stream",
            field=models.ForeignKey(
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="notifications",
                to="notifications.stream",
                verbose_name="stream",
            ),
        ),
        migrations.AddField(
            model_name="notification",
            name="channel",
            field=models.CharField(
                editable=False,
                help_text="The name of the stream, until the notification is placed in it.",
                max_length=255,
                null=True,
                verbose_name="channel",
            ),
        ),
        migrations.AddField(
            model_name="notification",
            name="duplicate_of",
            field=models.ForeignKey(
                db_constraint=False,
                db_index=False,
                editable=False,
                help_text="Dropped, because this one was the first with the same key.",
                null=True,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="+",
                to="notifications.notification",
                verbose_name="duplicate of",
            ),
        ),
        migrations.AddIndex(
            model_name="notification",
            index=models.Index(
                condition=models.Q(("channel__isnull", False)),
                fields=["channel", "key"],
                name="notification_unplaced",
            ),
        ),
    ]
