"""Publishing: check the arguments, write rows, and give them their offsets."""
