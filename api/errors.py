"""What can go wrong, as Cloudflare numbers it.

    Problem
    ├── Refused                     400  the request cannot be carried out
    │   ├── NotSupported                 10400   Skerry has no such product or option yet
    │   ├── ScriptRejected               10021   the runtime refuses the bundle
    │   ├── UploadMalformed              10002   the body cannot be read
    │   ├── BindingNotInherited          10057
    │   ├── ScriptNameInvalid            10016
    │   ├── SecretNotChangeable          10215
    │   ├── SharesInvalid                10083
    │   ├── SubdomainInvalid             10030
    │   ├── CronInvalid                  10074   an expression that cannot be read, or never occurs
    │   ├── ScheduleImpossible           10075   a trigger of a script that is not deployed
    │   └── BodyInvalid             422  10004   the JSON has another shape
    ├── TooLarge                    413  10027
    ├── NotAuthenticated            401  10000
    │   └── TokenInvalid                 1000
    ├── NotAllowed                  403  10000
    ├── NotFound                    404  7003
    │   ├── ScriptNotFound               10007
    │   ├── VersionNotFound              10224
    │   ├── DeploymentNotFound           10225
    │   ├── BindingNotFound              10056
    │   ├── SecretNotFound               10056
    │   └── TokenNotFound                10226
    ├── Conflict                    409
    │   ├── SubdomainTaken               10031
    │   ├── SubdomainFree                10032   wrangler expects an error for "free"
    │   ├── NewerVersion                 10040   somebody else was faster
    │   └── AlreadyExists                10040
    ├── TooManyAttempts             429  10429
    └── Unavailable                 503  10500   a part of the platform is away

Codes that `cloudflare-api.md` lists are Cloudflare's own; the others are ours and stay stable.
"""

from typing import Any, ClassVar


class Problem(Exception):  # noqa: N818 - a problem is told to a person; not every one is an error
    """Something the caller should read: what happened, what was kept, what to do next."""

    status: ClassVar[int] = 500
    code: ClassVar[int] = 10001
    headers: ClassVar[dict[str, str]] = {}

    def __init__(self, message: str, *, details: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        # A message may quote what was sent, and JSON can hold half a surrogate pair, which UTF-8 cannot.
        self.message = message.encode(errors="backslashreplace").decode()
        self.details = details

    def as_error(self) -> dict[str, Any]:
        """The entry of this problem in the envelope's `errors`."""
        error: dict[str, Any] = {"code": self.code, "message": self.message}
        if self.details:
            error["meta"] = {"details": self.details}
        return error


class Refused(Problem):
    status = 400
    code = 10004


class NotSupported(Refused):
    code = 10400


class ScriptRejected(Refused):
    code = 10021


class UploadMalformed(Refused):
    code = 10002


class BindingNotInherited(Refused):
    code = 10057


class ScriptNameInvalid(Refused):
    code = 10016


class SecretNotChangeable(Refused):
    code = 10215


class SharesInvalid(Refused):
    code = 10083


class SubdomainInvalid(Refused):
    code = 10030


class CronInvalid(Refused):
    code = 10074


class ScheduleImpossible(Refused):
    code = 10075


class BodyInvalid(Refused):
    status = 422


class TooLarge(Problem):
    status = 413
    code = 10027


class NotAuthenticated(Problem):
    status = 401
    code = 10000
    headers = {"WWW-Authenticate": "Bearer"}


class TokenInvalid(NotAuthenticated):
    code = 1000


class NotAllowed(Problem):
    status = 403
    code = 10000


class NotFound(Problem):
    status = 404
    code = 7003


class ScriptNotFound(NotFound):
    code = 10007

    def __init__(self, name: str) -> None:
        super().__init__(f'This Worker does not exist on your account: "{name}".')


class VersionNotFound(NotFound):
    code = 10224


class DeploymentNotFound(NotFound):
    code = 10225


class BindingNotFound(NotFound):
    code = 10056


class SecretNotFound(NotFound):
    code = 10056


class TokenNotFound(NotFound):
    code = 10226


class Conflict(Problem):
    status = 409
    code = 10040


class SubdomainTaken(Conflict):
    code = 10031


class SubdomainFree(Conflict):
    code = 10032


class NewerVersion(Conflict):
    code = 10040


class AlreadyExists(Conflict):
    code = 10040


class TooManyAttempts(Problem):
    status = 429
    code = 10429
    headers = {"Retry-After": "60"}


class Unavailable(Problem):
    status = 503
    code = 10500
    headers = {"Retry-After": "5"}
