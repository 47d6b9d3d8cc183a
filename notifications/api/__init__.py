"""HTTP APIs: for the apps of users (rest), and for other backends (server)."""
