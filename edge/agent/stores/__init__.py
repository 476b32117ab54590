"""Stores: one workerd process per account and kind of storage, behind a held socket like a cell."""
