"""Python behind ./skerry: set-up, embedded servers, supervision, tests, measurements.

Everything but `launcher.control` uses the standard library only, so that it runs before anything is installed.
"""
