"""The channel layer in this process: groups, probe and reconnecting."""
