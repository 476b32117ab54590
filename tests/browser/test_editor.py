"""The code editor and the variables, by clicking."""

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.looking import Eye
from tests.browser.test_journeys import create, deploy_again, log_in
from tests.platform import Platform

pytestmark = [pytest.mark.browser, pytest.mark.platform, pytest.mark.xdist_group("platform")]

WASM = bytes([0, 97, 115, 109, 1, 0, 0, 0])
TWO_FILES = "import { word } from './lib/words.js';\nexport default {\n  fetch: () => new Response(word),\n};\n"


def deployed(platform: Platform, name: str, answer: str) -> None:
    """A Worker that answers this at its live URL."""
    deploy_again(platform, name, answer)
    platform.api.result("POST", f"workers/scripts/{name}/subdomain", json={"enabled": True})
    platform.answers(platform.hostname(name), answer)


def opened(page: Page, name: str) -> Locator:
    """The editor of a Worker, with its first file as CodeMirror."""
    page.goto(f"/workers/{name}/edit")
    code = page.locator(".cm-content:visible")
    expect(code).to_be_visible()
    return code


def type_all(page: Page, code: Locator, text: str) -> None:
    """Replace what is in CodeMirror, as a paste does: typing would close brackets and indent."""
    code.click()
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.insert_text(text)


def answering(text: str) -> str:
    return f"export default {{ fetch() {{ console.log('seen'); return new Response('{text}') }} }};"


def test_edit_preview_and_deploy(page: Page, ada: Eye, platform: Platform) -> None:
    page.goto("/workers")
    create(page, "Hello World", "edited")
    page.get_by_role("link", name="Edit code").click()
    code = page.locator(".cm-content:visible")
    expect(code).to_be_visible()
    ada.look(page, "editor")

    type_all(page, code, answering("from the preview"))
    page.get_by_role("button", name="Run preview").click()
    expect(page.get_by_label("Body of the answer")).to_have_text("from the preview")
    expect(page.locator(".logs")).to_contain_text("seen")
    assert platform.get(platform.hostname("edited")).text == "Hello World!"
    ada.look(page, "editor-preview")

    page.get_by_role("button", name="Compare with what runs").click()
    expect(page.locator(".changes__add").first).to_contain_text("from the preview")
    ada.look(page, "editor-changes")

    page.get_by_role("button", name="Save and deploy").click()
    expect(page.get_by_text("Version 2 is saved and goes to every node now.")).to_be_visible()
    expect(page.get_by_text("Live on 1 node", exact=True)).to_be_visible()
    platform.answers(platform.hostname("edited"), "from the preview")


def test_complaints_are_on_their_lines(page: Page, ada: Eye, platform: Platform) -> None:
    deployed(platform, "broken-in-editor", "fine")
    code = opened(page, "broken-in-editor")
    type_all(page, code, "const a = 1;\nlet x = ;\nexport default {};")
    page.get_by_role("button", name="Run preview").click()
    expect(page.get_by_role("alert")).to_contain_text("Unexpected token")
    _marked(page, 2)
    ada.look(page, "editor-syntax-error")

    type_all(page, code, f"{answering('x')}\n\nthrow new Error('at the start');")
    page.get_by_role("button", name="Save and deploy").click()
    expect(page.get_by_role("alert")).to_contain_text("at the start")
    _marked(page, 3)
    expect(page.locator(".cm-content:visible")).to_contain_text("throw new Error")
    ada.look(page, "editor-start-up-throw")
    assert platform.get(platform.hostname("broken-in-editor")).text == "fine"


# Compared at one moment: CodeMirror moves its gutters once it has measured a line.
_MARKED = """line => {
  const shown = (selector) => [...document.querySelectorAll(selector)].filter((e) => e.offsetParent);
  const marks = shown(".cm-lint-marker-error");
  const number = shown(".cm-lineNumbers .cm-gutterElement").find((e) => e.textContent === line);
  if (marks.length !== 1 || !number) return false;
  const [mark, beside] = [marks[0], number].map((e) => e.getBoundingClientRect());
  return mark.height > 5 && mark.top >= beside.top - 2 && mark.bottom <= beside.bottom + 2;
}"""


def _marked(page: Page, line: int) -> None:
    """One mark is in the gutter, beside the line of that number."""
    page.wait_for_function(_MARKED, arg=str(line))


def test_two_files_and_unsaved_work(page: Page, ada: Eye, platform: Platform) -> None:
    deployed(platform, "two-files", "one")
    code = opened(page, "two-files")
    type_all(page, code, TWO_FILES)
    page.get_by_role("button", name="+ Add a file").click()
    page.get_by_label("New file", exact=True).locator("visible=true").fill("lib/words.js")
    type_all(page, page.locator(".cm-content:visible"), "export const word = broken;")

    page.get_by_role("button", name="index.js", exact=True).click()
    page.get_by_role("button", name="Run preview").click()
    # The file with the mistake comes to the front.
    expect(page.locator(".cm-content:visible")).to_contain_text("broken")
    _marked(page, 1)

    asked: list[str] = []

    def stay(dialog: object) -> None:
        asked.append(dialog.type)  # type: ignore[attr-defined]
        dialog.dismiss()  # type: ignore[attr-defined]

    page.once("dialog", stay)
    page.get_by_role("link", name="two-files").click()
    expect(page.locator(".cm-content:visible")).to_contain_text("broken")
    assert asked == ["beforeunload"]

    type_all(page, page.locator(".cm-content:visible"), "export const word = 'two';")
    ada.look(page, "editor-two-files")
    page.get_by_role("button", name="Save as version").click()
    expect(page.get_by_text("It gets no traffic until you deploy it.")).to_be_visible()
    assert platform.get(platform.hostname("two-files")).text == "one"
    page.get_by_role("button", name="Deploy version 2").click()
    expect(page.get_by_text("Live on 1 node", exact=True)).to_be_visible()
    platform.answers(platform.hostname("two-files"), "two")


def test_a_throw_in_fetch_and_a_wasm_file(page: Page, ada: Eye, platform: Platform) -> None:
    deployed(platform, "with-wasm", "old")
    code = opened(page, "with-wasm")
    type_all(page, code, "export default {\n  fetch() {\n    null.x;\n  },\n};")
    page.get_by_role("button", name="Run preview").click()
    expect(page.get_by_text("The Worker threw instead of answering.")).to_be_visible()
    _marked(page, 3)
    ada.look(page, "editor-threw")

    type_all(
        page,
        code,
        "import one from './one.wasm';\nexport default { fetch: () => new Response(String(one)) };",
    )
    page.get_by_role("button", name="+ Add a file").click()
    chosen = {"name": "one.wasm", "mimeType": "application/wasm", "buffer": WASM}
    page.get_by_label("or take a file").locator("visible=true").set_input_files(chosen)
    expect(page.get_by_text("one.wasm, 8 bytes")).to_be_visible()
    expect(page.locator(".cm-content:visible")).to_have_count(0)
    expect(page.get_by_role("button", name="one.wasm", exact=True)).to_be_visible()
    ada.look(page, "editor-wasm-added")
    page.get_by_role("button", name="Run preview").click()
    expect(page.get_by_label("Body of the answer")).to_have_text("[object WebAssembly.Module]")
    page.get_by_role("button", name="Save and deploy").click()
    expect(page.get_by_text("Live on 1 node", exact=True)).to_be_visible()
    platform.answers(platform.hostname("with-wasm"), "[object WebAssembly.Module]")


def test_a_session_that_ends_while_code_is_typed(page: Page, ada: Eye, platform: Platform) -> None:
    deployed(platform, "logged-out", "old")
    code = opened(page, "logged-out")
    type_all(page, code, answering("typed"))
    cookies = [one for one in ada.context.cookies() if "session" in one["name"]]
    for cookie in cookies:
        ada.context.clear_cookies(name=cookie["name"])
    page.get_by_role("button", name="Run preview").click()
    expect(page.locator("[data-held=ended]")).to_contain_text("Your session has ended")
    page.get_by_role("button", name="Save and deploy").click()
    expect(page.locator("[data-held=ended]")).to_be_focused()
    expect(code).to_contain_text("typed")
    ada.look(page, "editor-logged-out")

    with ada.context.expect_page() as opening:
        page.get_by_role("link", name="Log in in a new tab").click()
    log_in(opening.value)
    expect(opening.value.get_by_role("heading", name="logged-out", exact=True)).to_be_visible()
    opening.value.close()
    page.get_by_role("button", name="Save and deploy").dblclick()
    expect(page.get_by_text("Version 2 is saved and goes to every node now.")).to_be_visible()
    platform.answers(platform.hostname("logged-out"), "typed")
    assert len(platform.api.result("GET", "workers/scripts/logged-out/versions")["items"]) == 2


def test_code_is_kept_while_skerry_is_away(page: Page, ada: Eye, platform: Platform) -> None:
    deployed(platform, "away-meanwhile", "old")
    code = opened(page, "away-meanwhile")
    type_all(page, code, answering("typed"))
    ada.context.set_offline(True)
    page.get_by_role("button", name="Save as version").click()
    expect(page.locator("[data-held=away]")).to_contain_text("Skerry does not answer")
    expect(code).to_contain_text("typed")
    ada.context.set_offline(False)
    page.get_by_role("button", name="Save as version").click()
    expect(page.get_by_text("It gets no traffic until you deploy it.")).to_be_visible()


def test_variables_are_set(page: Page, ada: Eye, platform: Platform) -> None:
    deploy_again(platform, "with-variables", "hi")
    page.goto("/workers/with-variables/settings")
    page.get_by_role("link", name="Add", exact=True).click()
    ada.look(page, "variable-new")
    page.get_by_label("Name", exact=True).fill("PRICES")
    page.get_by_label("Type").select_option("json")
    page.get_by_label("Value").fill("{tea}")
    page.get_by_role("button", name="Save and deploy").click()
    expect(page.get_by_role("alert")).to_be_focused()
    ada.look(page, "variable-refused")
    page.get_by_label("Value").fill('{"tea": 3}')
    page.get_by_role("button", name="Save and deploy").click()
    expect(page.get_by_text("PRICES is saved.")).to_be_visible()

    page.get_by_role("link", name="Add", exact=True).click()
    page.get_by_label("Name", exact=True).fill("KEY")
    page.get_by_label("Type").select_option("secret_text")
    page.get_by_label("Value").fill("s3cret")
    page.get_by_role("button", name="Save and deploy").click()
    expect(page.get_by_text("Encrypted, not shown")).to_be_visible()
    ada.look(page, "settings-variables")
    page.get_by_role("link", name="Edit KEY").click()
    ada.look(page, "variable-edit")
    code = opened(page, "with-variables")
    source = "export default { fetch: (r, env) => Response.json([env.PRICES, env.KEY]) };"
    type_all(page, code, source)
    page.get_by_role("button", name="Run preview").click()
    expect(page.get_by_label("Body of the answer")).to_have_text('[{"tea":3},"s3cret"]')
