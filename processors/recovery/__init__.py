"""Pure: what a shard's former owner has left in the logs, so that its successor goes on and does not begin again."""
