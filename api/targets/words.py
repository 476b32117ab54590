"""What AWS answered, in one sentence for a person: which permission or limit, and whether waiting helps."""

import re
from dataclasses import dataclass

from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

_NOT_ALLOWED = re.compile(r"not authorized to perform: ([\w-]+:\w+)")
_DENIED = frozenset({"AccessDenied", "AccessDeniedException", "UnauthorizedOperation"})
_UNKNOWN_KEY = frozenset(
    {
        "UnrecognizedClientException",
        "InvalidClientTokenId",
        "SignatureDoesNotMatch",
        "InvalidSignatureException",
        "ExpiredToken",
        "ExpiredTokenException",
    }
)
_BUSY = frozenset(
    {
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
        "RequestLimitExceeded",
        "ResourceConflictException",
        "ServiceException",
        "InternalFailure",
        "ServiceUnavailableException",
    }
)
_LIMITS = {
    "CodeStorageExceededException": "the AWS account's storage for Lambda code is full (75 GB by default): delete old versions of functions or ask AWS for more",
    "RequestEntityTooLargeException": "the ZIP is larger than Lambda takes in one request (50 MB)",
    "PolicyLengthExceededException": "the function's policy is full",
    "LimitExceededException": "a limit of the AWS account is reached",
}


@dataclass(frozen=True)
class Said:
    sentence: str
    passing: bool
    """Whether the same call may work a little later."""
    permission: str = ""
    """What was missing, such as `lambda:CreateFunction`."""


def said(error: Exception) -> Said:
    """The sentence for whatever a call of boto3 raised."""
    if isinstance(error, NoCredentialsError):
        return Said("There are no AWS credentials: give the target an access key or a role.", False)
    if isinstance(error, ClientError):
        return _answered(error)
    if isinstance(error, BotoCoreError):
        return Said("AWS could not be reached from the control plane.", True)
    raise error


def _answered(error: ClientError) -> Said:
    code = error.response.get("Error", {}).get("Code", "")
    message = error.response.get("Error", {}).get("Message", "") or code
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if code in _DENIED:
        return _denied(error, message)
    if code in _UNKNOWN_KEY:
        return Said(
            "AWS does not accept the access key: it is wrong, deactivated or expired.", False
        )
    if code in _LIMITS:
        return Said(f"AWS refused it: {_LIMITS[code]}.", False)
    if code in _BUSY or status >= 500:
        return Said("AWS is busy with this function or asks for a pause.", True)
    if "cannot be assumed by Lambda" in message:
        return Said(
            "Lambda may not assume the target's role: its trust policy has to name lambda.amazonaws.com.",
            False,
        )
    return Said(f"AWS refused {error.operation_name}: {message.rstrip('.')}.", False)


def _denied(error: ClientError, message: str) -> Said:
    found = _NOT_ALLOWED.search(message)
    permission = found.group(1) if found else f"lambda:{error.operation_name}"
    if permission == "sts:AssumeRole":
        return Said(
            "AWS does not let these credentials assume the access role: sts:AssumeRole is missing, or "
            "its trust policy names another principal or external id.",
            False,
            permission,
        )
    return Said(f"AWS refused it: the credentials lack {permission}.", False, permission)
