"""Files of a host: type checkers find mistakes in one of them, and none in the other."""
