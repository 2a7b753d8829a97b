"""The audit: images -> black box -> ledger -> students -> scores -> result.

docs/design.md says in which order to read its modules.
"""
