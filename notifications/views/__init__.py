"""Pages that work with and without JavaScript. They contain no business logic."""
