"""Authentication of connecting clients, and the data that they need."""
