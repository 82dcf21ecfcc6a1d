"""What a host is asked to measure of itself."""
