"""Adapters to look at: a small DDPM as somebody else might have written it, and the same with one line changed.

Nothing here imports the rest of the package; the audit and the command `check` run the kit on both.
"""
