"""The connections of this process: writing, limits, deadlines, drain."""
