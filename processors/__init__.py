"""The thinking: which request is dispatched when and to whom, and the thin Faust shell around that decision."""
