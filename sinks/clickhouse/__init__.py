"""The account in ClickHouse, embedded or remote."""
