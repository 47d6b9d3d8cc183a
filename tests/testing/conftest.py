"""The project is one of another repository, as it were: its tests run by themselves."""

collect_ignore = ["project"]
