"""Who connects, and what a connecting client needs."""
