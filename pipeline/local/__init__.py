"""A whole Millrace on this machine, as child processes of one program."""
