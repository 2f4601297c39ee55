"""Batching policies of other systems as controllers, to be compared with: their rules, not their products."""
