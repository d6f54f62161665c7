import { Code } from '@connectrpc/connect';
import { fail } from '../../errors/index.ts';
import type { Descriptor, Digest } from '../../oci/index.ts';
import type { Image } from '../../pb/containerd/images_pb.js';
import type { ImageRecord, Images } from '../store.ts';
import { hasCode } from './errors.ts';
import { type ContainerdParts, millis } from './shared.ts';

/** The images of containerd: `ctr images ls`, Docker and Kubernetes see the same names. */
export class ContainerdImages implements Images {
  readonly #shared: ContainerdParts;

  constructor(shared: ContainerdParts) {
    this.#shared = shared;
  }

  async get(name: string): Promise<ImageRecord | undefined> {
    const { connection } = this.#shared;
    const found = await connection.find(`looking for the image ${name}`, (call) =>
      connection.images.get({ name }, call),
    );
    return found?.image === undefined ? undefined : toRecord(found.image);
  }

  async list(): Promise<ImageRecord[]> {
    const { connection } = this.#shared;
    const { images } = await connection.call('listing images', { again: true }, (call) =>
      connection.images.list({}, call),
    );
    return images.map(toRecord).sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  async of(target: Digest): Promise<ImageRecord[]> {
    const { connection } = this.#shared;
    // https://github.com/containerd/containerd/blob/main/core/metadata/adaptors.go has the fields.
    const filters = [`target.digest==${target}`];
    const { images } = await connection.call(`looking for names of ${target}`, { again: true }, (call) =>
      connection.images.list({ filters }, call),
    );
    return images.map(toRecord).sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  /** Creates or moves a name. Throws `not-found` when the target is not in content: a name never points at nothing. */
  async put(
    name: string,
    target: Descriptor,
    labels?: Record<string, string>,
    date?: number,
  ): Promise<ImageRecord> {
    const { connection } = this.#shared;
    const what = `naming ${name}`;
    const content = await connection.find(what, (call) =>
      connection.content.info({ digest: target.digest }, call),
    );
    if (content === undefined) {
      throw fail('not-found', 'store', `cannot name ${name}: ${target.digest} is not in the store`);
    }
    const { mediaType, digest, size, annotations } = target;
    const image = {
      name,
      labels: labels ?? {},
      target: { mediaType, digest, size: BigInt(size), annotations: annotations ?? {} },
    };
    // containerd before 1.7 ignores this field and keeps its own time.
    const sourceDateEpoch = date === undefined ? undefined : { seconds: BigInt(date), nanos: 0 };
    const paths = labels === undefined ? ['target'] : ['target', 'labels'];
    // If another process makes or deletes the name between the two calls, the first call is tried again.
    for (let tries = 0; ; tries++) {
      const moved = await connection.find(what, (call) =>
        connection.images.update({ image, updateMask: { paths }, sourceDateEpoch }, call),
      );
      if (moved?.image !== undefined) return toRecord(moved.image);
      try {
        const made = await connection.raw({ again: true }, (call) =>
          connection.images.create({ image, sourceDateEpoch }, call),
        );
        return toRecord(made.image!);
      } catch (err) {
        if (!hasCode(err, Code.AlreadyExists)) throw connection.failure(err, what);
      }
      if (tries === 3) throw fail('conflict', 'store', `${what}: someone keeps deleting it`);
    }
  }

  async delete(name: string): Promise<boolean> {
    const { connection } = this.#shared;
    const gone = await connection.find(`deleting the name ${name}`, (call) =>
      connection.images.delete({ name }, call),
    );
    return gone !== undefined;
  }
}

function toRecord({ name, target, labels, createdAt, updatedAt }: Image): ImageRecord {
  const descriptor: Descriptor = {
    mediaType: target?.mediaType ?? '',
    digest: (target?.digest ?? '') as Digest,
    size: Number(target?.size ?? 0n),
  };
  if (Object.keys(target?.annotations ?? {}).length > 0) descriptor.annotations = { ...target?.annotations };
  return {
    name,
    target: descriptor,
    labels: { ...labels },
    createdAt: millis(createdAt),
    updatedAt: millis(updatedAt),
  };
}
