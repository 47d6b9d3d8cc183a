"""From the caller's arguments to an offset: check, write, and number after the commit."""
