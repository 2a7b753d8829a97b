"""The audit: images -> black box -> ledger -> students -> scores -> result.

Read in this order: opening, plan, preparing, querying, check, cells, describing, run. `forecast`
counts a plan.
"""
