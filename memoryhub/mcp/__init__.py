"""The Model Context Protocol, at /mcp: the tools, and a person's facts as resources."""
