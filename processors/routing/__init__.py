"""Pure: which worker has room, and where each request went."""
