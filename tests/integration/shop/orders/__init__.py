"""What the host project is about: orders that are shipped."""
