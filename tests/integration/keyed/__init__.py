"""An app whose user model has no integer key; ``USER_KEY`` sets its type: ``text`` or ``uuid``."""
