"""The scan of a split: index, cache, ledger."""
