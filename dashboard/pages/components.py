"""Every component of the templates in each of its states, for whoever works on them."""

from fastapi import APIRouter, Request, Response

from api.errors import NotFound
from api.settings import settings
from dashboard.forms import Form
from dashboard.paging import Paging
from dashboard.session import CurrentMember
from dashboard.templating import render

router = APIRouter()
_NAMES = ("plain", "hinted", "joined", "offered", "chosen", "long")
_VALUES = {"plain": "typed before", "offered": "made-for-you", "chosen": "b", "long": "two\nlines"}


@router.get("/_components")
def index(request: Request, member: CurrentMember) -> Response:
    del member
    if not settings().development:
        raise NotFound("There is no page at this address.")
    wrong = {f"{name}-wrong": f"This is what is wrong with {name}." for name in _NAMES}
    values = {f"{name}-wrong": value for name, value in _VALUES.items()}
    return render(
        request,
        "development/components.html",
        form=Form(_VALUES),
        refused=Form(values, {**wrong, "": "This is about the form as a whole."}),
        paging=Paging("/_components", 2, 25, 60),
        kinds=["live", "moving", "failed", "alert", "idle"],
    )
