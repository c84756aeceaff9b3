"""The agent's side: stands alone, imports nothing of the server."""
