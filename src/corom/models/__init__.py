"""Model folders: read, checked, converted, written, found by name."""
