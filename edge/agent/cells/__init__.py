"""Cells: one workerd process per script version, started, probed, watched, exchanged, ended."""
