// Lets the form leave its page only when it would arrive: code that was typed is not lost to a session
// that has ended or to a control plane that is away.

export class Leaving {
  /** @param {HTMLFormElement} form @param {() => void} left */
  constructor(form, left) {
    this.form = form;
    this.left = left;
    this.notices = [...form.querySelectorAll("[data-held]")];
    form.addEventListener("submit", (event) => this.submitted(event));
    document.addEventListener("htmx:responseError", (event) => this.say(reason(event.detail.xhr.status)));
    document.addEventListener("htmx:sendError", () => this.say("away"));
    document.addEventListener("htmx:afterRequest", (event) => event.detail.successful && this.say(""));
    // The back button may bring this very page back.
    addEventListener("pageshow", () => {
      this.busy = false;
    });
  }

  async submitted(event) {
    if (this.cleared) return;
    event.preventDefault();
    if (this.busy) return; // a second click
    this.busy = true;
    const why = await whyNot();
    this.say(why);
    if (why) {
      this.busy = false;
      return;
    }
    this.left();
    this.cleared = true;
    this.form.requestSubmit(event.submitter);
    this.cleared = false;
  }

  /** @param {string} why empty: nothing stands in the way */
  say(why) {
    for (const notice of this.notices) notice.hidden = notice.dataset.held !== why;
    if (why) this.notices.find((notice) => !notice.hidden)?.focus();
  }
}

async function whyNot() {
  try {
    // Whoever is not logged in is sent to the login page.
    const answer = await fetch("/session", { redirect: "manual", cache: "no-store" });
    return answer.ok ? "" : reason(answer.type === "opaqueredirect" ? 401 : answer.status);
  } catch {
    return "away";
  }
}

const reason = (status) => (status === 401 ? "ended" : "away");
