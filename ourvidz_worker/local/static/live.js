/* Server-sent events: that jobs changed, and how far the running ones are. Reconnects by itself. */

const FIRST_PAUSE = 500;
const LONGEST_PAUSE = 8000;

export class Live extends EventTarget {
  constructor(address = "/local/events") {
    super();
    this.address = address;
    this.source = null;
    this.pause = FIRST_PAUSE;
    this.timer = 0;
    addEventListener("online", () => this.source && this.open());
  }

  /** Events: `state` (detail live|connecting), `jobs`, `progress` (detail as the server sends it). */
  open() {
    this.close();
    this.say("connecting");
    const source = new EventSource(this.address);
    this.source = source;
    source.addEventListener("open", () => {
      this.pause = FIRST_PAUSE;
      this.say("live");
      this.dispatchEvent(new Event("jobs")); // what happened meanwhile
    });
    source.addEventListener("jobs", () => this.dispatchEvent(new Event("jobs")));
    source.addEventListener("progress", (event) => {
      this.dispatchEvent(new CustomEvent("progress", { detail: JSON.parse(event.data) }));
    });
    source.addEventListener("error", () => {
      // The browser's own retries end for good at an answer that is no stream; these go on.
      source.close();
      this.say("connecting");
      this.timer = setTimeout(() => this.open(), this.pause);
      this.pause = Math.min(this.pause * 2, LONGEST_PAUSE);
    });
  }

  close() {
    clearTimeout(this.timer);
    this.source?.close();
    this.source = null;
  }

  say(state) {
    this.dispatchEvent(new CustomEvent("state", { detail: state }));
  }
}
