"""What the app needs from a database beyond Django: threads, locks, clocks."""
