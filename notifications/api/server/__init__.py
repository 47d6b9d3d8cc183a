"""The server API, over which other backends publish. It speaks Centrifugo's HTTP API."""
