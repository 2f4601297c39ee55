"""Pure: answers of deterministic requests, kept for those who ask the same again."""
