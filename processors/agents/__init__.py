"""The Faust agents: a record in, one call of a scheduler, nothing decided here."""
