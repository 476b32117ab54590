// A text area as CodeMirror: the area keeps the text, so that the form sends it.
import * as cm from "../../vendor/codemirror-6.min.js";

const LANGUAGES = { js: "javascript", mjs: "javascript", cjs: "javascript", ts: "typescript", json: "json" };
const language = new cm.Compartment();
const label = new cm.Compartment();

function languageOf(name) {
  const found = LANGUAGES[name.split(".").pop()];
  if (found === "json") return cm.json();
  return found ? cm.javascript({ typescript: found === "typescript" }) : [];
}

// What can be scrolled has to be reachable by Tab; that it can be edited does not say so to every tool.
const labelled = (name) =>
  cm.EditorView.contentAttributes.of({ "aria-label": `Code of ${name}`, tabindex: "0" });

/** @param {HTMLTextAreaElement} area @param {() => void} changed */
export function openCode(area, name, nonce, changed) {
  const keys = [...cm.defaultKeymap, ...cm.historyKeymap, ...cm.searchKeymap, ...cm.lintKeymap];
  const view = new cm.EditorView({
    doc: area.value,
    extensions: [
      cm.EditorView.cspNonce.of(nonce),
      cm.lineNumbers(),
      cm.lintGutter(),
      cm.history(),
      cm.drawSelection(),
      cm.indentOnInput(),
      cm.bracketMatching(),
      cm.highlightActiveLine(),
      cm.highlightActiveLineGutter(),
      cm.highlightSelectionMatches(),
      cm.syntaxHighlighting(cm.classHighlighter),
      cm.keymap.of([...keys, cm.indentWithTab]),
      language.of(languageOf(name)),
      label.of(labelled(name)),
      cm.EditorView.updateListener.of((update) => {
        if (!update.docChanged) return;
        area.value = update.state.doc.toString();
        changed();
      }),
    ],
  });
  area.hidden = true;
  area.after(view.dom);
  return view;
}

export function rename(view, name) {
  view.dispatch({ effects: [language.reconfigure(languageOf(name)), label.reconfigure(labelled(name))] });
}

export function setText(view, text) {
  view.dispatch({ changes: { from: 0, to: view.state.doc.length, insert: text } });
}

/** Marks complaints on their lines, which count from 1. */
export function mark(view, complaints) {
  const diagnostics = complaints.map(({ line, column, message }) => {
    const place = view.state.doc.line(Math.min(line, view.state.doc.lines));
    const from = Math.min(place.from + column - 1, place.to);
    return { from, to: place.to, severity: "error", message };
  });
  view.dispatch(cm.setDiagnostics(view.state, diagnostics));
}

export function showLine(view, number) {
  const { from } = view.state.doc.line(Math.min(number, view.state.doc.lines));
  view.dispatch({ selection: { anchor: from }, effects: cm.EditorView.scrollIntoView(from, { y: "center" }) });
}
