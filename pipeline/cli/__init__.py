"""The command line, `millrace`: one module per command, and what they draw in `views`."""
