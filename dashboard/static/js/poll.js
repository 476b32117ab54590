// Triggers `poll` every `data-poll-seconds` while the page is looked at, for as long as the element
// is there: the fragment that is final comes without this module.

/** @param {HTMLElement} element */
export default function poll(element) {
  const timer = setInterval(() => {
    if (!element.isConnected) clearInterval(timer);
    else if (document.visibilityState === "visible") window.htmx.trigger(element, "poll");
  }, Number(element.dataset.pollSeconds) * 1000);
}
