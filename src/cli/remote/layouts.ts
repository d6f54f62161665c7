/** OCI layouts that a build at a daemon may read: served from their folders, named by digests. */
import { fail } from '../../errors/error.ts';
import { parseReference } from '../../oci/reference.ts';
import { Layout } from '../../source/image/layout.ts';

export interface ServedLayouts {
  /** The build's named contexts, those of layouts with the digests that their tags name now. */
  contexts: Record<string, string>;
  /** Store's name → folder. */
  folders: Map<string, string>;
}

/** Throws `not-found` when a folder is no OCI layout or has no image of that tag. */
export async function servedLayouts(
  namedContexts: Readonly<Record<string, string>>,
  locals: Readonly<Record<string, string>>,
): Promise<ServedLayouts> {
  const contexts: Record<string, string> = { ...namedContexts };
  const folders = new Map<string, string>();
  for (const [name, value] of Object.entries(namedContexts)) {
    if (!value.startsWith('oci-layout://')) continue;
    const ref = parseReference(value.slice('oci-layout://'.length));
    // A store's name has no host: it is all path, as parsed.
    const store = ref.path.replace(/^library\//, '');
    const dir = locals[store];
    if (dir === undefined) throw fail('not-found', 'client', `there is no OCI layout ${store}`);
    // Daemons ask a client's store by digest alone.
    const { digest } = await Layout.inFolder(dir).target(ref);
    contexts[name] = `oci-layout://${store}@${digest}`;
    folders.set(store, dir);
  }
  return { contexts, folders };
}
