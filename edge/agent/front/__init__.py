"""The front: HAProxy with one pre-declared, empty backend (a slot) per script.

Deploys change it through its runtime API only. Every change is written to its files first, so that
it may die and start again at any moment.
"""
