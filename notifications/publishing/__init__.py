"""Publishing: check the arguments, write rows, and give them offsets after the commit."""
