"""Supervises one rank on one host, keeps its log, answers the console; never imports mlx."""
