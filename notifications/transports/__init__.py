"""Ways to read streams over HTTP, beside the WebSocket."""
