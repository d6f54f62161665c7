/** What the tests of object stores on bad days share: a large object, and the error that work ends with. */
import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';

/** An object of so many bytes, in a form that stores take; `sum` is its SHA-256 in hex. */
export function largeObject(size: number) {
  const bytes = Buffer.alloc(size, 'some bytes of a layer; ');
  const source = {
    size,
    open: async (start: number, end: number) =>
      Readable.from([bytes.subarray(start, end)], { objectMode: false }),
  };
  return { bytes, source, sum: createHash('sha256').update(bytes).digest('hex') };
}

/** The error that work ends with; undefined when it does not. */
export function thrown(work: Promise<unknown>): Promise<unknown> {
  return work.then(
    () => undefined,
    (err: unknown) => err,
  );
}
