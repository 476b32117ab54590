class TargetUnreachable(Exception):  # noqa: N818 - names the state of the target
    """The target did not answer, or not in the form that was agreed; the rollout waits.

    Says so in words for people; what it was raised from is for the log.
    """
