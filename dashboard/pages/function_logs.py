"""What a Worker's function in AWS printed; beside the page with what it does on the nodes."""

from typing import Annotated

from botocore.exceptions import BotoCoreError, ClientError
from fastapi import APIRouter, Path, Request, Response

from api.db import transaction
from api.errors import NotFound
from api.scripts import service as scripts
from api.targets import logs, service as targets, words
from api.targets.access import Access
from dashboard.addresses import ScriptName
from dashboard.pages.scripts import worker
from dashboard.session import CurrentMember
from dashboard.templating import render

router = APIRouter()
TargetId = Annotated[str, Path(pattern="^[0-9a-f]{32}$")]


@router.get("/workers/{name}/logs/on/{target_id}")
def show(
    request: Request, member: CurrentMember, name: ScriptName, target_id: TargetId
) -> Response:
    with transaction() as session:
        script = scripts.get(session, member.account_id, name)
        target = targets.get(session, member.account_id, target_id)
        function = targets.functions(session, script).get(target.id)
        if function is None:
            raise NotFound(f"{name} has no function on {target.name}.")
        access, about = Access.of(target), worker(script)
    try:
        newest, refusal = logs.newest(access, function.name), ""
    except (ClientError, BotoCoreError) as error:
        newest, refusal = logs.Newest([], complete=True), words.said(error).sentence
    return render(
        request,
        "logs/function.html",
        target=target,
        function=function,
        newest=newest,
        refusal=refusal,
        shown=logs.SHOWN,
        kinds={"ERROR": "failed", "FATAL": "failed", "WARN": "alert"},
        **about,
    )
