"""Failures that a person can act on: printed as one sentence, without a traceback."""


class LauncherError(Exception):
    """Something that the person at the keyboard has to know or to do; the text says what."""


class PortTakenError(LauncherError):
    """A port given by a flag belongs to another program."""


class AlreadyRunningError(LauncherError):
    """Another supervisor holds the data directory."""


class StartFailedError(LauncherError):
    """A process ended or stayed unhealthy during start; the text ends with its last log lines."""
