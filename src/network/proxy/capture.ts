/** Notes what a step asks for by the proxy. */
import type { NetworkUse } from '../../progress/index.ts';

/** So many requests of one step are noted. */
const most = 10_000;
/** The characters of all URLs that are noted of one step. */
const mostText = 4 << 20;

/** The notes of one step. */
export class Capture {
  readonly #use: {
    requests: NetworkUse['requests'][number][];
    materials: Map<string, string>;
    incomplete: NetworkUse['incomplete'][number][];
  } = {
    requests: [],
    materials: new Map(),
    incomplete: [],
  };
  /** Where answers said that a URL's content is at another one. */
  readonly #redirects = new Map<string, string>();
  #text = 0;
  #isFull = false;

  /** Whether URLs can still be noted; counts them. */
  #hasRoom(...urls: readonly string[]): boolean {
    const length = urls.reduce((sum, url) => sum + url.length, 0);
    if (this.#text + length > mostText) return false;
    this.#text += length;
    return true;
  }

  request(method: string, url: string, status: number, location?: string): void {
    const shown = shownUrl(url);
    if (this.#use.requests.length >= most || !this.#hasRoom(shown)) {
      this.incomplete(method, url, 'too_many_requests');
      return;
    }
    this.#use.requests.push({ method, url: shown, status });
    if (location !== undefined && URL.canParse(location, url)) {
      const to = shownUrl(new URL(location, url).href);
      if (this.#hasRoom(shown, to)) this.#redirects.set(shown, to);
    }
  }

  material(url: string, digest: string): void {
    const shown = shownUrl(url);
    const known = this.#use.materials.get(shown);
    // One URL with two contents cannot be told by one digest.
    if (known !== undefined && known !== digest) this.incomplete('GET', url, 'changed_between_requests');
    if (known === undefined && (this.#use.materials.size >= most || !this.#hasRoom(shown))) {
      this.incomplete('GET', url, 'too_many_requests');
      return;
    }
    this.#use.materials.set(shown, digest);
  }

  incomplete(method: string, url: string, reason: string): void {
    const { incomplete } = this.#use;
    const shown = shownUrl(url);
    // Whatever there is no room for, one note says that there was more.
    const isFirst = reason === 'too_many_requests' && !this.#isFull;
    if (isFirst) this.#isFull = true;
    else if (incomplete.length >= most || !this.#hasRoom(shown)) return;
    incomplete.push({ method, url: shown, reason });
  }

  /** Everything so far. A URL that leads to another one has that one's digest. */
  get use(): NetworkUse {
    const materials = new Map(this.#use.materials);
    for (const from of this.#redirects.keys()) {
      let to: string | undefined = from;
      for (let hops = 0; to !== undefined && !this.#use.materials.has(to) && hops < 20; hops++) {
        to = this.#redirects.get(to);
      }
      const digest = to === undefined ? undefined : this.#use.materials.get(to);
      if (digest !== undefined) materials.set(from, digest);
    }
    return {
      requests: [...this.#use.requests],
      materials: [...materials].map(([url, digest]) => ({ url, digest })),
      incomplete: [...this.#use.incomplete],
    };
  }
}

/** A URL without a password; a port that its scheme has anyway is left out by URL itself. */
function shownUrl(url: string): string {
  if (!URL.canParse(url)) return url;
  const parsed = new URL(url);
  if (parsed.username !== '' || parsed.password !== '') {
    parsed.username = 'xxxxx';
    parsed.password = '';
  }
  return parsed.href;
}
