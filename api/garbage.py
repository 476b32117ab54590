"""How often this process looks for garbage. Programs of the control plane import it before all that is large.

Imports make a million objects and next to no garbage, but Python looks through the youngest after each 700 and again
and again through all of them: a fifth of the time that a start takes. Instagram measured the same
(https://instagram-engineering.com/copy-on-write-friendly-python-garbage-collection-ad6ed5233ddf).
"""

import gc

# Of requests and tasks, too, little waits for this: what is in no cycle goes at once. Beyond it some megabytes more.
YOUNG_OBJECTS = 50_000

gc.set_threshold(YOUNG_OBJECTS, 10, 10)


def everything_is_loaded() -> None:
    """Never again look through what is there now: modules and routes stay until the end."""
    gc.freeze()
