"""One request's story in plain sentences, from the rows of the account; the logic behind `millrace explain`."""
