"""The audit: images -> black box -> ledger -> students -> scores -> result, in this order."""
