"""Fault injection into real processes, judged by an independent record of what arrived."""
