/** Takes down what is in the files of a folder while they come. */
import { BlockHash, blockSize, hashSmall, isOwnXattr, type SentContents } from '../../fs/index.ts';
import { isRegular } from './mode.ts';
import type { Stat } from './packet.ts';

/** A file that is on its way. */
interface Coming {
  path: string;
  size: number;
  /** The digest, if all bytes came at once. */
  digest?: string;
  hash?: BlockHash;
}

const emptyDigest = hashSmall(new Uint8Array(0));

export class ContentsTaker {
  /** Files whose bytes are known, of those that were listed. */
  readonly known = new Map<string, string>();
  readonly #before: SentContents | undefined;
  readonly #coming = new Map<number, Coming>();

  /** `before`: the contents of the files that are there already. */
  constructor(before: SentContents | undefined) {
    this.#before = before;
  }

  /** Takes a file as it is listed; `wanted`: its bytes will come, else it stays as it is. */
  listed(id: number, { path, mode, link, size, xattrs }: Stat, wanted: boolean): void {
    if (!isRegular(mode) || link !== '') return;
    // A filesystem may refuse them: then the file has others than were sent.
    if (xattrs.some(([name]) => isOwnXattr(name))) return;
    const at = `/${path}`;
    if (wanted) this.#coming.set(id, { path: at, size });
    else if (size === 0) this.known.set(at, emptyDigest);
    else {
      const digest = this.#before?.get(at);
      if (digest !== undefined) this.known.set(at, digest);
    }
  }

  data(id: number, bytes: Uint8Array): void {
    const file = this.#coming.get(id);
    if (file === undefined) return;
    if (file.hash === undefined && file.digest === undefined) {
      if (bytes.length === file.size && bytes.length < blockSize) {
        file.digest = hashSmall(bytes);
        return;
      }
      file.hash = new BlockHash();
    }
    // More than was announced: the file is read again.
    if (file.hash === undefined) this.#coming.delete(id);
    else file.hash.push(bytes);
  }

  end(id: number): void {
    const file = this.#coming.get(id);
    if (file === undefined) return;
    this.#coming.delete(id);
    this.known.set(file.path, file.digest ?? file.hash?.digest() ?? emptyDigest);
  }
}
