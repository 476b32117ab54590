// What the code editor needs of CodeMirror, in one file: `npm run vendor` makes
// dashboard/static/vendor/codemirror-6.min.js of it.
export { defaultKeymap, history, historyKeymap, indentWithTab } from "@codemirror/commands";
export { javascript } from "@codemirror/lang-javascript";
export { json } from "@codemirror/lang-json";
export { bracketMatching, indentOnInput, indentUnit, syntaxHighlighting } from "@codemirror/language";
export { lintGutter, lintKeymap, setDiagnostics } from "@codemirror/lint";
export { highlightSelectionMatches, searchKeymap } from "@codemirror/search";
export { Compartment, EditorState } from "@codemirror/state";
export {
  EditorView,
  drawSelection,
  highlightActiveLine,
  highlightActiveLineGutter,
  keymap,
  lineNumbers,
} from "@codemirror/view";
export { classHighlighter } from "@lezer/highlight";
