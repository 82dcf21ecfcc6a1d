"""Embedded SSH hosts on loopback and the demo model."""
