from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("notifications", "0005_listed_notifications"),
    ]

    operations = [
        migrations.AddField(
            model_name="connection",
            name="expires_at",
            field=models.DateTimeField(editable=False, null=True),
        ),
    ]
