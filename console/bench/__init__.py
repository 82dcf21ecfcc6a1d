"""Measuring a ring that serves, from where its clients are."""
