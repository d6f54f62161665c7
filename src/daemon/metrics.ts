/** Numbers about the daemon, in Prometheus' text form (version 0.0.4). */

type Labels = Readonly<Record<string, string | number>>;

interface Family {
  type: 'counter' | 'gauge' | 'histogram';
  help: string;
  /** A text of the labels → a value. */
  values: Map<string, number>;
  read?: () => number | Promise<number>;
}

/** The upper bounds of a histogram's buckets, in seconds. */
const buckets = [0.005, 0.025, 0.1, 0.5, 1, 5, 15, 60, 300, 1200];

/** The metrics of a daemon. */
export class Metrics {
  readonly #families = new Map<string, Family>();

  /** Adds to a counter; its name ends in `_total`. */
  count(name: string, help: string, labels: Labels = {}, by = 1): void {
    const { values } = this.#family(name, 'counter', help);
    const key = labelText(labels);
    values.set(key, (values.get(key) ?? 0) + by);
  }

  /** Adds a number that is looked up when it is asked for. */
  gauge(name: string, help: string, read: () => number | Promise<number>): void {
    this.#family(name, 'gauge', help).read = read;
  }

  /** Adds such a number that only grows. */
  counter(name: string, help: string, read: () => number): void {
    this.#family(name, 'counter', help).read = read;
  }

  /** Adds a duration in seconds to a histogram. */
  observe(name: string, help: string, seconds: number, labels: Labels = {}): void {
    const { values } = this.#family(name, 'histogram', help);
    const add = (suffix: string, by: number, more: Labels = {}) => {
      const key = `${suffix}${labelText({ ...labels, ...more })}`;
      values.set(key, (values.get(key) ?? 0) + by);
    };
    for (const le of buckets) add('_bucket', seconds <= le ? 1 : 0, { le });
    add('_bucket', 1, { le: '+Inf' });
    add('_sum', seconds);
    add('_count', 1);
  }

  /** The text of all numbers. A number that cannot be read now is left out. */
  async render(): Promise<string> {
    let out = '';
    for (const [name, { type, help, values, read }] of this.#families) {
      const lines = [...values].map(([key, value]) => `${name}${key} ${value}\n`);
      if (read !== undefined) {
        try {
          lines.push(`${name} ${await read()}\n`);
        } catch {
          continue;
        }
      }
      out += `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n${lines.join('')}`;
    }
    return out;
  }

  #family(name: string, type: Family['type'], help: string): Family {
    let family = this.#families.get(name);
    if (family === undefined) {
      family = { type, help, values: new Map() };
      this.#families.set(name, family);
    }
    return family;
  }
}

function labelText(labels: Labels): string {
  const list = Object.entries(labels).map(
    ([name, value]) =>
      `${name}="${String(value).replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')}"`,
  );
  return list.length === 0 ? '' : `{${list.join(',')}}`;
}
