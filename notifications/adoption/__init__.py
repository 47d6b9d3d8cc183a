"""Taking over a site from django-notifications, which has the same import name, label and table."""
