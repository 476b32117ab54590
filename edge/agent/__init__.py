"""The agent: supervises a node's front and cells, and is never in the path of a request."""
