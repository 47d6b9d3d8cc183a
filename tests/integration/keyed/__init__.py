"""An app whose users have primary keys that are no numbers; ``USER_KEY`` says of which type."""
