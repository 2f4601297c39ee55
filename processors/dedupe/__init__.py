"""Pure: the same request sent again, and identical ones in flight: one generation, an answer for each sender."""
