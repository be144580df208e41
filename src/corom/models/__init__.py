"""Model folders: read, checked, converted, written, found by name."""

EMBEDDED = "corom-medical"
"""The model that comes inside the package."""
