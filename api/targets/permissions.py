"""A dry run: does the target's credential have each permission that a push needs?

Each is asked for with a call that cannot succeed, about a function that does not exist: AWS says
whether it would have been allowed before it says what is missing. Nothing is made or changed.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import structlog
from botocore.exceptions import BotoCoreError, ClientError

from api import ids
from api.targets import words
from api.targets.access import Access, client

log = structlog.get_logger()

ALIAS = "live"
# Neither a ZIP nor a name of a log group: refused after the permission was looked at.
NO_ZIP, NO_LOG_GROUP = b"skerry dry run", "skerry dry run"
ACCOUNT = "sts:GetCallerIdentity"


@dataclass(frozen=True)
class Permission:
    permission: str
    granted: bool
    reason: str = ""


def dry_run(access: Access, role_arn: str) -> list[Permission]:
    """Every permission with what AWS says of it; one line alone when nobody gets in."""
    try:
        session = access.session()
        client(session, "sts").get_caller_identity()
    except (ClientError, BotoCoreError) as error:
        return [Permission(ACCOUNT, granted=False, reason=words.said(error).sentence)]
    calls = _calls(session, role_arn)
    return [
        Permission(ACCOUNT, granted=True),
        *(_asked(name, call) for name, call in calls.items()),
    ]


def _asked(permission: str, call: Callable[[], Any]) -> Permission:
    try:
        call()
    except ClientError as error:
        said = words.said(error)
        if said.permission:
            return Permission(permission, granted=False, reason=said.sentence)
        if said.passing:
            return Permission(permission, granted=False, reason=said.sentence)
        log.info("permission_granted", permission=permission, answer=str(error))
    except BotoCoreError as error:
        return Permission(permission, granted=False, reason=words.said(error).sentence)
    return Permission(permission, granted=True)


def _calls(session: Any, role_arn: str) -> dict[str, Callable[[], Any]]:
    functions, logs = client(session, "lambda"), client(session, "logs")
    name = f"skerry-dry-run-{ids.hex32()[:12]}"
    one = {"FunctionName": name}
    alias = {**one, "Name": ALIAS}
    live = {**one, "Qualifier": ALIAS}
    group = {"logGroupName": f"/aws/lambda/{name}"}
    return {
        "lambda:CreateFunction": lambda: functions.create_function(
            **one, Role=role_arn, Runtime="nodejs22.x", Handler="a.b", Code={"ZipFile": NO_ZIP}
        ),
        "lambda:GetFunction": lambda: functions.get_function(**one),
        "lambda:GetFunctionConfiguration": lambda: functions.get_function_configuration(**one),
        "lambda:UpdateFunctionCode": lambda: functions.update_function_code(
            **one, ZipFile=NO_ZIP, DryRun=True
        ),
        "lambda:UpdateFunctionConfiguration": lambda: functions.update_function_configuration(
            **one, Timeout=3
        ),
        "lambda:PublishVersion": lambda: functions.publish_version(**one),
        "lambda:ListVersionsByFunction": lambda: functions.list_versions_by_function(**one),
        "lambda:InvokeFunction": lambda: functions.invoke(**one, InvocationType="DryRun"),
        "lambda:GetAlias": lambda: functions.get_alias(**alias),
        "lambda:CreateAlias": lambda: functions.create_alias(**alias, FunctionVersion="1"),
        "lambda:UpdateAlias": lambda: functions.update_alias(**alias, FunctionVersion="1"),
        "lambda:GetFunctionUrlConfig": lambda: functions.get_function_url_config(**live),
        "lambda:CreateFunctionUrlConfig": lambda: functions.create_function_url_config(
            **live, AuthType="NONE"
        ),
        "lambda:UpdateFunctionUrlConfig": lambda: functions.update_function_url_config(
            **live, AuthType="NONE"
        ),
        "lambda:GetPolicy": lambda: functions.get_policy(**live),
        "lambda:AddPermission": lambda: functions.add_permission(
            **live, StatementId="a", Action="lambda:InvokeFunction", Principal="*"
        ),
        "lambda:DeleteFunction": lambda: functions.delete_function(**one),
        "logs:DescribeLogGroups": lambda: logs.describe_log_groups(logGroupNamePrefix=name),
        "logs:CreateLogGroup": lambda: logs.create_log_group(logGroupName=NO_LOG_GROUP),
        "logs:PutRetentionPolicy": lambda: logs.put_retention_policy(**group, retentionInDays=1),
        "logs:FilterLogEvents": lambda: logs.filter_log_events(**group, limit=1),
        "logs:DeleteLogGroup": lambda: logs.delete_log_group(**group),
    }
