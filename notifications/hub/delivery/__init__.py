"""What is sent to readers, in order, and what repairs a gap."""
