"""What a model may do with memory by itself: the tools, for the API, MCP and whoever else offers them."""
