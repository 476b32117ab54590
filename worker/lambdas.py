"""Looking after functions in AWS: whether somebody else has changed what Skerry made, and their credentials."""

import structlog
from botocore.exceptions import BotoCoreError, ClientError

from api.db import transaction
from api.deployments import lambdas, rollouts
from api.targets import service as targets, words
from worker.app import app
from worker.targets import aws_lambda

log = structlog.get_logger()


@app.task(name="lambdas.look")
def look() -> None:
    """Compare every function with the last push, and note what differs."""
    with transaction() as session:
        pushes = rollouts.placed(session)
    for push in pushes:
        try:
            drift = aws_lambda.describe(push)
        except (ClientError, BotoCoreError) as error:
            drift = [f"Nobody could look: {words.said(error).sentence}"]
        with transaction() as session:
            targets.looked(session, push.target_id, push.slot["script_id"], drift)
        log.info("function_looked_at", script_id=push.slot["script_id"], drift=drift)


@app.task(name="lambdas.renew")
def renew() -> None:
    """Give functions that bind storage new credentials, a week after the last ones."""
    log.info("credentials_renewed", functions=lambdas.renew_credentials())
