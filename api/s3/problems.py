"""What the S3 endpoint refuses, in the words and codes of S3."""

from api.errors import Problem, R2Refused

# S3's code and status by the code of the API, or of a bucket's store.
_BY_CODE: dict[int, tuple[str, int]] = {
    10000: ("AccessDenied", 403),
    10004: ("BucketAlreadyOwnedByYou", 409),
    10005: ("InvalidBucketName", 400),
    10006: ("NoSuchBucket", 404),
    10007: ("NoSuchKey", 404),
    10008: ("BucketNotEmpty", 409),
    10011: ("EntityTooSmall", 400),
    10012: ("MetadataTooLarge", 400),
    10020: ("KeyTooLongError", 400),
    10022: ("InvalidArgument", 400),
    10024: ("NoSuchUpload", 404),
    10025: ("InvalidPart", 400),
    10029: ("InvalidArgument", 400),
    10031: ("PreconditionFailed", 412),
    10037: ("BadDigest", 400),
    10039: ("InvalidRange", 416),
    10048: ("InvalidPart", 400),
    10051: ("OperationAborted", 409),
    10500: ("ServiceUnavailable", 503),
    100100: ("EntityTooLarge", 400),
}


class S3Problem(Exception):  # noqa: N818 - as Problem is
    """A refusal: S3's code, HTTP's status, and a sentence."""

    def __init__(self, code: str, status: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.status = status
        self.message = message


def denied(message: str = "Access Denied") -> S3Problem:
    return S3Problem("AccessDenied", 403, message)


def mismatched(message: str) -> S3Problem:
    return S3Problem("SignatureDoesNotMatch", 403, message)


def invalid(message: str) -> S3Problem:
    return S3Problem("InvalidArgument", 400, message)


def not_implemented(what: str) -> S3Problem:
    return S3Problem("NotImplemented", 501, f"{what} is not available on Skerry.")


def of(problem: Problem) -> S3Problem:
    """The same in S3's words."""
    code = problem.v4code if isinstance(problem, R2Refused) else problem.code
    name, status = _BY_CODE.get(code, ("InternalError", 500))
    return S3Problem(name, status, problem.message)
