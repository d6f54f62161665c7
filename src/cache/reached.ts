/** What the steps of records have asked for by the proxies of their networks. */
import type { DatabaseSync } from 'node:sqlite';
import type { Digest } from '../oci/index.ts';
import type { NetworkUse } from '../progress/index.ts';
import { type DatabaseName, prepare, type Statement } from '../store/index.ts';

/** The table of it. Its rows go with their records. */
export class ReachedTable {
  readonly #put: Statement;
  readonly #drop: Statement;
  readonly #get: Statement;

  constructor(name: DatabaseName, db: DatabaseSync) {
    this.#put = prepare(name, db, 'INSERT OR REPLACE INTO reached (record, network) VALUES (?, ?)');
    this.#drop = prepare(name, db, 'DELETE FROM reached WHERE record = ?');
    this.#get = prepare(name, db, 'SELECT network FROM reached WHERE record = ?');
  }

  /** Notes what a record's step has asked for. The list of all requests is for those who watch the step, and not kept. */
  put(id: Digest, network: NetworkUse | undefined): void {
    if (network === undefined) this.#drop.run(id);
    else this.#put.run(id, JSON.stringify({ ...network, requests: [] } satisfies NetworkUse));
  }

  get(id: Digest): NetworkUse | undefined {
    const row = this.#get.get(id);
    return row === undefined ? undefined : (JSON.parse(String(row.network)) as NetworkUse);
  }
}
