"""The lines of all ranks in one order: merged, bounded, filtered. Knows nothing of Textual or SSH."""
