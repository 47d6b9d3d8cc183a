"""The channel layer as this process sees it."""
