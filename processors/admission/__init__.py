"""Pure: may a request be queued, and what will it cost."""
