"""Delivery to readers in order: fan-out, catching up, repairs and renewals."""
