/** Notices that the files of a certificate have changed. */
import { type Stats, statSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import type { TlsFiles } from '../auth/index.ts';

/** How often the files are looked at, in ms. */
const usual = 5_000;

/**
 * Calls `changed` when a certificate, its key or the CA is another file, or has other contents, than at the call:
 * cert-manager renews certificates, and Kubernetes then leads the names in the mounted folder to new files. A renewal
 * that writes the files one after the other calls it for each. Files that are gone for a moment are not looked at.
 * `interval` is how often it looks, in ms. Returns what ends it.
 */
export function watchCertificates(
  { cert, key, ca }: TlsFiles,
  changed: () => void,
  interval = usual,
): () => void {
  const files = [cert, key, ca].filter((file) => file !== undefined);
  // Not fs.watchFile: what it compares with is the file as it is some time after the call.
  const known = new Map<string, Stats | undefined>();
  for (const file of files) known.set(file, statSync(file, { throwIfNoEntry: false }));
  let ended = false;
  let timer: NodeJS.Timeout;
  const look = async () => {
    for (const file of files) {
      const now = await stat(file).catch(() => undefined);
      if (ended) return;
      if (now === undefined) continue;
      const before = known.get(file);
      known.set(file, now);
      if (now.ino !== before?.ino || now.mtimeMs !== before.mtimeMs || now.size !== before.size) changed();
    }
    later();
  };
  const later = () => {
    timer = setTimeout(look, interval).unref();
  };
  later();
  return () => {
    ended = true;
    clearTimeout(timer);
  };
}
