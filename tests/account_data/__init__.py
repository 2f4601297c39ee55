"""An account of some minutes of traffic, made in plain Python, with everything that goes wrong in it.

Crashes of a worker's process, deaths of an engine inside a living worker, take-overs, second ends of a request,
rows that are told twice, hand-backs, cancellations, expiries, rejections, failures, cached prompts, answers out of the
cache and coalesced ones. Engine time is handed out in whole nanoseconds, so sums can be checked to the last of them.
Which end counts is what `topics.reader` makes of the log of responses, which the plant keeps beside its rows.

`an_account()` makes the rows; `fill()` puts them into a migrated database; `tests.account_server` serves such a one.
"""

from tests.account_data.account import Account, an_account
from tests.account_data.filling import addressed, fill

__all__ = ["Account", "addressed", "an_account", "fill"]
