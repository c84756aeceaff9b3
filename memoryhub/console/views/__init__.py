"""The pages: each view parses, calls, renders."""
