// What a pool did in the last minutes: a sample a second, and when its server was away.
// It is kept in the page alone, so it begins when that is opened.

export const KEPT = 300;        // seconds
const SAMPLE_EVERY = 0.9;       // seconds at least: rates of shorter times are noise

/** The history of one pool; `measures` are functions of its figures now and before, and the seconds between. */
export class History {
  samples = [];                 // {at, values: one for each measure}
  outages = [];                 // {from, to}
  #measures;
  #was = null;
  #at = 0;

  constructor(measures) {
    this.#measures = measures;
  }

  /** Note what was found at the time `now`, in seconds. */
  add(stats, now) {
    if (stats.away_seconds > 0) this.#addOutage(now - stats.away_seconds, now);
    const seconds = now - this.#at;
    if (this.#was && seconds < SAMPLE_EVERY) return;
    if (this.#was) {
      const values = this.#measures.map((measure) => Math.max(measure(stats, this.#was, seconds), 0));
      this.samples.push({ at: now, values });
    }
    this.#was = stats;
    this.#at = now;
    this.samples = this.samples.filter((sample) => sample.at > now - KEPT);
    this.outages = this.outages.filter((outage) => outage.to > now - KEPT);
  }

  /** The newest figures, one for each measure; none yet at the first look. */
  get last() {
    return this.samples.at(-1)?.values ?? [];
  }

  #addOutage(from, to) {
    const last = this.outages.at(-1);
    if (last && from < last.to + SAMPLE_EVERY) last.to = to;
    else this.outages.push({ from, to });
  }
}
