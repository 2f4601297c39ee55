"""Engines: what turns a prompt into tokens, behind one small protocol."""
