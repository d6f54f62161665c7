/** Opens object stores. The code of each kind is loaded when one of its kind is opened. */
import type { AzureProof } from './azblob/signer.ts';
import type { AwsKeys } from './s3/sign.ts';
import type { ObjectStore } from './types.ts';

/** How often requests are tried, and with which pauses. */
interface Retrying {
  /** The number of tries in all; default 5. */
  tries?: number;
  /** The first pause in ms, doubled each time; default 250. */
  backoffMs?: number;
  /** Give up on a silent connection after this many ms; default 30 000. */
  idleMs?: number;
  /** Slows down all requests while the store asks for fewer. */
  adaptive?: boolean;
}

/** The place of an object store, and who asks there. */
export type ObjectStoreSpec =
  | {
      type: 's3';
      bucket: string;
      region: string;
      /** The URL of a service that is not AWS's. */
      endpoint?: string;
      /** The bucket's name in the path, rather than in the host's name. */
      pathStyle?: boolean;
      /** Keys; `machine`: those of this machine, by AWS's own chain; `none`: requests go unsigned. */
      keys: AwsKeys | 'machine' | 'none';
      /** The profile of the machine's keys. */
      profile?: string;
    }
  | {
      type: 'azblob';
      /** `https://myaccount.blob.core.windows.net`, without a query. */
      accountUrl: string;
      container: string;
      proof: AzureProof;
    }
  | {
      type: 'folder';
      /** An absolute path; it is made when something is written. */
      dir: string;
    };

/**
 * Opens a store. It asks nobody yet. Throws `invalid` (hop `bucket`) for a place that is none.
 *
 *     const store = await openObjectStore({
 *       ...{ type: 's3', bucket: 'caches', region: 'us-east-1' },
 *       ...{ endpoint: 'http://127.0.0.1:9000', pathStyle: true, keys: 'machine' },
 *     });
 */
export async function openObjectStore(spec: ObjectStoreSpec, retrying: Retrying = {}): Promise<ObjectStore> {
  if (spec.type === 'folder') {
    const { FolderStore } = await import('./folder.ts');
    return new FolderStore(spec.dir);
  }
  if (spec.type === 'azblob') {
    const { AzureStore } = await import('./azblob/store.ts');
    return new AzureStore({ ...spec, ...retrying });
  }
  const { keys, profile, ...place } = spec;
  const { S3Store } = await import('./s3/store.ts');
  if (keys === 'machine') {
    const { chainKeys } = await import('./s3/chain.ts');
    return new S3Store({ ...place, ...retrying }, chainKeys({ profile, region: spec.region }));
  }
  const fixed = keys === 'none' ? undefined : keys;
  return new S3Store({ ...place, ...retrying }, { keys: async () => fixed });
}

/** This machine's keys for AWS, to be lent to a builder elsewhere. Throws trouble `no-credentials` when it has none. */
export async function machineKeys(region: string): Promise<AwsKeys | undefined> {
  const { chainKeys } = await import('./s3/chain.ts');
  return chainKeys({ region }).keys();
}
