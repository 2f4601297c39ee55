"""What `millrace doctor` looks at. Judging is pure; the facts are gathered in `machine` and `cluster`."""
