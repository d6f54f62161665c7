import type { RestRequest, Signer } from '../rest.ts';
import { type AwsKeys, canonicalQuery, signV4 } from './sign.ts';

/** Where keys come from. They may end, and come anew. */
export interface AwsKeySource {
  /** Gives keys that are still good, as far as is known; with `anew`, keys other than the last ones. */
  keys(anew?: boolean): Promise<AwsKeys | undefined>;
}

/** Signs requests to S3. Without keys they go unsigned, for a bucket that everybody may read. */
export class S3Signer implements Signer {
  readonly #source: AwsKeySource;
  readonly #region: string;

  constructor(source: AwsKeySource, region: string) {
    this.#source = source;
    this.#region = region;
  }

  async sign(request: RestRequest, now: number): Promise<{ url: URL; headers: Record<string, string> }> {
    const keys = await this.#source.keys();
    const url = new URL(request.url);
    url.search = canonicalQuery(url.searchParams);
    if (keys === undefined) return { url, headers: request.headers };
    return { url, headers: signV4(request, keys, this.#region, now) };
  }

  async renew(): Promise<boolean> {
    const before = await this.#source.keys();
    const after = await this.#source.keys(true);
    return after !== undefined && after.sessionToken !== before?.sessionToken;
  }
}
