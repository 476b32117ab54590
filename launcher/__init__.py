"""Python behind ./skerry: set-up, embedded servers, supervision, tests, measurements.

Everything but `launcher.control`, `launcher.preparation` and `launcher.authority`, which are for processes of their own,
uses the standard library only, so that it runs before anything is installed.
"""
