"""Queues: batches taken out of an account's store and delivered into the cells of their consumers."""
