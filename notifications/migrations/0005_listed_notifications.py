from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("notifications", "0004_api_keys"),
    ]

    operations = [
        migrations.AddIndex(
            model_name="notification",
            index=models.Index(
                fields=["-id"],
                condition=models.Q(publication__isnull=True, duplicate_of__isnull=True),
                name="notification_listed",
            ),
        ),
    ]
