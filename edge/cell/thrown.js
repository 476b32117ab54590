// Beside the script of a preview: says what the script threw with its stack, which the runtime's own
// line about it lacks. edge/runtime/preview.py knows the line by its first word.

export default {
  tail(events) {
    for (const { exceptions } of events) {
      for (const { name, message, stack } of exceptions) {
        console.error("skerry-thrown", `Uncaught ${name}: ${message}\n${stack ?? ""}`);
      }
    }
  },
};
