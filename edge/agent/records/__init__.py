"""Request records: from the front's log to the control plane, with nothing of it in a request's path."""
