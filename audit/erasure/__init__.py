"""Erasing a person's memory, or a part of it, and proving it.

services.py      plan, begin, run: each step committed before the next, so that a run can end anywhere and go on
ledger.py        what was erased, outside the database: replayed when an older state of it comes back
tombstones.py    what was erased is not written again
verification.py  looks for what is left, by other means than the stores use
certificate.py   what was done, in words
"""
