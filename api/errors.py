"""What can go wrong, as Cloudflare numbers it.

    Problem
    ├── Refused                     400  the request cannot be carried out
    │   ├── NotSupported                 10400   Skerry has no such product or option yet
    │   ├── ScriptRejected               10021   the runtime refuses the bundle
    │   ├── UploadMalformed              10002   the body cannot be read
    │   ├── BindingNotInherited          10057
    │   ├── ScriptNameInvalid            10016
    │   ├── SecretNotChangeable          10215
    │   ├── SettingsNotChangeable        10214   two versions share the requests
    │   ├── SharesInvalid                10083
    │   ├── SubdomainInvalid             10030
    │   ├── ObjectClassNotConfigured     10061   a binding to a class without Durable Objects
    │   ├── ObjectClassNotExported       10064   Durable Objects whose class a version lacks
    │   ├── NewClassNotExported          10070   a migration of a class that a version lacks
    │   ├── MigrationRefused             10074   a class that is there, or is not
    │   ├── MigrationTagMismatch         10079
    │   ├── VersionHasMigration          10211   a migration in a version that is not deployed
    │   ├── VersionBeforeMigration       10212
    │   ├── CronInvalid                  10074   an expression that cannot be read, or never occurs
    │   ├── ScheduleImpossible           10075   a trigger of a script that is not deployed
    │   ├── KVTitleTaken                 10014
    │   ├── KVTitleInvalid               10019
    │   ├── KVLimitInvalid               10028
    │   ├── KVKeyTooLong                 10030
    │   ├── KVExpirationInvalid          10033
    │   ├── KVExpirationTtlInvalid       10034
    │   ├── KVCursorInvalid              10039
    │   ├── KVKeyInvalid                 10040
    │   ├── KVBindingNotFound            10041
    │   ├── KVBindingInvalid             10042
    │   ├── KVBulkTooLarge               10044
    │   ├── KVMetadataInvalid            10045
    │   ├── KVNamespaceBound             10051
    │   ├── D1NameInvalid                7400
    │   ├── D1QueryFailed                7500
    │   ├── D1NameTaken                  7502
    │   ├── D1RestoreFailed              7505
    │   ├── D1DatabaseBound              7510
    │   ├── D1BindingNotFound            10181
    │   ├── ServiceBindingNotFound       10143   a binding to a script that is not there
    │   ├── ScriptCalled                 10064   other scripts bind the one that is to be deleted
    │   ├── BucketNameInvalid            10005
    │   ├── R2BindingNotFound            10085
    │   ├── R2Refused                            the code that the bucket's store gave
    │   ├── ScriptConsumes               10064   a script that is to be deleted consumes a queue
    │   ├── QueueBindingNotFound         11000
    │   ├── HandlerMissing               11001   the consumer's script has no `queue` handler
    │   ├── QueueNameInvalid             11003
    │   ├── ConsumerSettingsInvalid      100127
    │   ├── QueueSettingsInvalid         100128
    │   ├── WorkflowRefused              10401   what the runtime says of an instance
    │   ├── QueueRefused                         the code that the queue's store gave
    │   ├── ZoneNameInvalid              1049   no domain, or one of the installation's own
    │   ├── ZoneExists                   1061   a domain that an account has, or that overlaps one
    │   ├── ZoneMissing                  10082   a host in no zone of the account
    │   ├── ZonePending                  10089   a zone that is not proven yet
    │   ├── RouteInvalid                 10022   a pattern that means nothing, or is in another zone
    │   ├── DomainInvalid                100115
    │   ├── CertificateInvalid           1002    a certificate that cannot be shown
    │   ├── CertificatesFull             1212
    │   ├── CertificateExists            1220
    │   ├── CertificateNamesInvalid      2103    one without names, or with names of elsewhere
    │   ├── CertificateKeyInvalid        2106
    │   ├── CertificateKeyMismatch       2200    the key of another certificate
    │   └── BodyInvalid             422  10004   the JSON has another shape
    ├── TooLarge                    413  10027
    │   ├── MessageTooLarge              10204
    │   ├── BatchTooLarge                10205
    │   ├── BatchTooLong                 10206
    │   └── KVValueTooLarge              10024
    ├── NotAuthenticated            401  10000
    │   └── TokenInvalid                 1000
    ├── NotAllowed                  403  10000
    ├── NotFound                    404  7003
    │   ├── ScriptNotFound               10007
    │   ├── VersionNotFound              10224
    │   ├── DeploymentNotFound           10225
    │   ├── BindingNotFound              10056
    │   ├── SecretNotFound               10056
    │   ├── KVKeyNotFound                10009
    │   ├── KVNamespaceNotFound          10013
    │   ├── D1DatabaseNotFound           7404
    │   ├── ObjectNamespaceNotFound      10066
    │   ├── D1BookmarkNotFound           7504
    │   ├── AccessKeyNotFound            10227
    │   ├── WorkflowNotFound             10200
    │   ├── InstanceNotFound             10400
    │   ├── BucketNotFound               10006
    │   ├── ObjectNotFound               10007
    │   ├── QueueNotFound                11000
    │   ├── ZoneNotFound                 7003
    │   ├── RouteNotFound                10009
    │   ├── DomainNotFound               100114
    │   ├── CertificateNotFound          1002
    │   ├── ConsumerNotFound             11002
    │   └── TokenNotFound                10226
    ├── Conflict                    409
    │   ├── BucketExists                 10004
    │   ├── BucketNotEmpty               10008
    │   ├── BucketBound                  10051
    │   ├── ConsumerExists               11004
    │   ├── QueueBound                   11005
    │   ├── QueueConsumed                11005
    │   ├── QueueExists                  11009
    │   ├── RouteExists                  10020   the pattern leads to another script
    │   ├── DomainTaken                  100116  the host name is another script's
    │   ├── SubdomainTaken               10031
    │   ├── SubdomainFree                10032   wrangler expects an error for "free"
    │   ├── NewerVersion                 10040   somebody else was faster
    │   ├── InstanceExists               10405
    │   ├── InstanceConflict             10406   what an instance cannot do in its status
    │   ├── WorkflowNotDeployed          10407   no deployed version binds it
    │   └── AlreadyExists                10040
    ├── PreconditionFailed          412  10031
    ├── RangeNotSatisfiable         416  10039
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


class SettingsNotChangeable(Refused):
    code = 10214


class SharesInvalid(Refused):
    code = 10083


class SubdomainInvalid(Refused):
    code = 10030


class ObjectClassNotConfigured(Refused):
    code = 10061


class ObjectClassNotExported(Refused):
    code = 10064


class NewClassNotExported(Refused):
    code = 10070


class MigrationRefused(Refused):
    code = 10074


class MigrationTagMismatch(Refused):
    code = 10079


class VersionHasMigration(Refused):
    code = 10211


class VersionBeforeMigration(Refused):
    code = 10212


class CronInvalid(Refused):
    code = 10074


class ScheduleImpossible(Refused):
    code = 10075


class KVTitleTaken(Refused):
    code = 10014


class KVTitleInvalid(Refused):
    code = 10019


class KVLimitInvalid(Refused):
    code = 10028


class KVKeyTooLong(Refused):
    code = 10030


class KVExpirationInvalid(Refused):
    code = 10033


class KVExpirationTtlInvalid(Refused):
    code = 10034


class KVCursorInvalid(Refused):
    code = 10039


class KVKeyInvalid(Refused):
    code = 10040


class KVBindingNotFound(Refused):
    code = 10041


class KVBindingInvalid(Refused):
    code = 10042


class KVBulkTooLarge(Refused):
    code = 10044


class KVMetadataInvalid(Refused):
    code = 10045


class KVNamespaceBound(Refused):
    code = 10051


class D1NameInvalid(Refused):
    code = 7400


class D1QueryFailed(Refused):
    code = 7500


class D1NameTaken(Refused):
    code = 7502


class D1RestoreFailed(Refused):
    code = 7505


class D1DatabaseBound(Refused):
    code = 7510


class D1BindingNotFound(Refused):
    code = 10181


class ServiceBindingNotFound(Refused):
    code = 10143


class ScriptCalled(Refused):
    code = 10064


class BucketNameInvalid(Refused):
    code = 10005


class R2BindingNotFound(Refused):
    code = 10085


class R2Refused(Refused):
    """What a bucket's store refused, with the code that R2 has for it."""

    def __init__(self, message: str, *, v4code: int) -> None:
        super().__init__(message)
        self.v4code = v4code

    def as_error(self) -> dict[str, Any]:
        return {**super().as_error(), "code": self.v4code}


class ScriptConsumes(Refused):
    code = 10064


class QueueBindingNotFound(Refused):
    code = 11000


class HandlerMissing(Refused):
    code = 11001


class QueueNameInvalid(Refused):
    code = 11003


class ConsumerSettingsInvalid(Refused):
    code = 100127


class QueueSettingsInvalid(Refused):
    code = 100128


class WorkflowBindingNotFound(Refused):
    code = 10200


class WorkflowRefused(Refused):
    code = 10401


class QueueRefused(Refused):
    """What a queue's store refused, with the code that Queues has for it."""

    def __init__(self, message: str, *, code: int) -> None:
        super().__init__(message)
        self.said_code = code

    def as_error(self) -> dict[str, Any]:
        return {**super().as_error(), "code": self.said_code}


class ZoneNameInvalid(Refused):
    code = 1049


class ZoneExists(Refused):
    code = 1061


class ZoneMissing(Refused):
    code = 10082


class ZonePending(Refused):
    code = 10089


class RouteInvalid(Refused):
    code = 10022


class DomainInvalid(Refused):
    code = 100115


class CertificateInvalid(Refused):
    code = 1002


class CertificatesFull(Refused):
    code = 1212


class CertificateExists(Refused):
    code = 1220


class CertificateNamesInvalid(Refused):
    code = 2103


class CertificateKeyInvalid(Refused):
    code = 2106


class CertificateKeyMismatch(Refused):
    code = 2200


class BodyInvalid(Refused):
    status = 422


class TooLarge(Problem):
    status = 413
    code = 10027


class KVValueTooLarge(TooLarge):
    code = 10024


class MessageTooLarge(TooLarge):
    code = 10204


class BatchTooLarge(TooLarge):
    code = 10205


class BatchTooLong(TooLarge):
    code = 10206


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


class KVKeyNotFound(NotFound):
    code = 10009


class KVNamespaceNotFound(NotFound):
    code = 10013


class D1DatabaseNotFound(NotFound):
    code = 7404


class D1BookmarkNotFound(NotFound):
    code = 7504


class TokenNotFound(NotFound):
    code = 10226


class AccessKeyNotFound(NotFound):
    code = 10227


class ObjectNamespaceNotFound(NotFound):
    code = 10066


class WorkflowNotFound(NotFound):
    code = 10200


class InstanceNotFound(NotFound):
    code = 10400


class BucketNotFound(NotFound):
    code = 10006


class ObjectNotFound(NotFound):
    code = 10007


class QueueNotFound(NotFound):
    code = 11000


class ZoneNotFound(NotFound):
    code = 7003


class RouteNotFound(NotFound):
    code = 10009


class DomainNotFound(NotFound):
    code = 100114


class CertificateNotFound(NotFound):
    code = 1002


class ConsumerNotFound(NotFound):
    code = 11002


class Conflict(Problem):
    status = 409
    code = 10040


class BucketExists(Conflict):
    code = 10004


class BucketNotEmpty(Conflict):
    code = 10008


class BucketBound(Conflict):
    code = 10051


class ConsumerExists(Conflict):
    code = 11004


class QueueBound(Conflict):
    code = 11005


class QueueConsumed(Conflict):
    code = 11005


class QueueExists(Conflict):
    code = 11009


class RouteExists(Conflict):
    code = 10020


class DomainTaken(Conflict):
    code = 100116


class SubdomainTaken(Conflict):
    code = 10031


class SubdomainFree(Conflict):
    code = 10032


class NewerVersion(Conflict):
    code = 10040


class AlreadyExists(Conflict):
    code = 10040


class InstanceExists(Conflict):
    code = 10405


class InstanceConflict(Conflict):
    code = 10406


class WorkflowNotDeployed(Conflict):
    code = 10407


class PreconditionFailed(Problem):
    status = 412
    code = 10031


class RangeNotSatisfiable(Problem):
    status = 416
    code = 10039


class TooManyAttempts(Problem):
    status = 429
    code = 10429
    headers = {"Retry-After": "60"}


class Unavailable(Problem):
    status = 503
    code = 10500
    headers = {"Retry-After": "5"}


# What a store of R2 refuses with a status of its own, by the store's code.
R2_PROBLEMS: dict[int, type[Problem]] = {
    problem.code: problem
    for problem in (BucketNotFound, ObjectNotFound, PreconditionFailed, RangeNotSatisfiable)
}
