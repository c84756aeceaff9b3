"""Sealing the log: entries get their place in a Merkle tree, and signed checkpoints say what the tree holds.

keys.py      the keys that sign checkpoints and receipts
services.py  the sealer: drains the queue, closes checkpoints
log.py       the database as the verifier reads it
bundle.py    a part of the log as a file that an auditor checks alone
"""
