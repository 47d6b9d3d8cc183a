"""The site that hosts the notifications app."""
