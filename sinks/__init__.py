"""The account: what the pipeline did, recorded so that it can be asked for in SQL."""
