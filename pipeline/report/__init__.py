"""Pages about the account that need nothing but a browser: the report of a time range, and the story of one request.

`asking` reads the account into `facts`; `build` and its sections (`reconciliation`, `lanes`, `money`) make a page of
them with `page` and `plots`; `ranges` decides which time and in which steps. Everything but `asking` is pure.
"""
