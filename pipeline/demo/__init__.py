"""The whole of Millrace in a few minutes, on this machine and for real. Run by `make demo`."""
