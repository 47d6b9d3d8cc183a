"""Pages for people, with or without JavaScript. Rules live in the rooms below."""
