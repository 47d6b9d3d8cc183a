"""Code of the host that may fail or take long, called apart."""
