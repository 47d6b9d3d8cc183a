"""What the app needs from a database beyond Django's ORM: threads, locks, clocks."""
