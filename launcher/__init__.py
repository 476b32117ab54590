"""Python behind ./skerry: set-up, embedded servers, supervision, tests, measurements.

Everything but `launcher.control` and `launcher.preparation`, which are for processes of their own, and
`launcher.authority` uses the standard library only, so that it runs before anything is installed.
"""
