"""What runs on every host of a ring: agent, rank, gateway, and the values they share with the console."""

__version__ = "0.1.0"
