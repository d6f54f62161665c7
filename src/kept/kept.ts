/** The folders that are kept under a root between builds, besides the store and the cache records. */
import { join } from 'node:path';
import { KeptFolders } from './kept-folders.ts';

/** The kinds of folders that are kept. */
export interface Kept {
  /** `RUN --mount=type=cache` */
  cacheMounts: KeptFolders;
  /** Copies of the folders of remote clients: the next build is sent only the changes. */
  clientFolders: KeptFolders;
  /** What clients posted as archives, unpacked: of the next archive only the changes are written. */
  uploads: KeptFolders;
  gitMirrors: KeptFolders;
  /** Servers' answers for URLs (ETag …), so that a file is fetched only if it changed. */
  httpAnswers: KeptFolders;
  /** What registries last said of images, for builds that ask nobody. */
  imageAnswers: KeptFolders;
  /** The commits that git remotes' refs were last at, for the same. */
  gitAnswers: KeptFolders;
}

const day = 24 * 3600_000;

/** The kept folders under a root. */
export function keptUnder(root: string): Kept {
  return {
    cacheMounts: new KeptFolders(join(root, 'cache-mounts'), { describe: (id) => `cache mount ${id}` }),
    clientFolders: new KeptFolders(join(root, 'sync'), {
      describe: (name) => `local source for ${name}`,
      keepFor: 7 * day,
    }),
    uploads: new KeptFolders(join(root, 'uploads'), {
      describe: (name) => (name === '' ? 'uploaded context' : `uploaded context of ${name}`),
      keepFor: 7 * day,
    }),
    gitMirrors: new KeptFolders(join(root, 'git'), { describe: (remote) => `git repository ${remote}` }),
    httpAnswers: new KeptFolders(join(root, 'http'), {
      describe: (url) => `last answer of ${url}`,
      keepFor: 30 * day,
    }),
    imageAnswers: new KeptFolders(join(root, 'images-seen'), {
      describe: (image) => `what the registry last said of ${image}`,
      keepFor: 90 * day,
    }),
    gitAnswers: new KeptFolders(join(root, 'refs-seen'), {
      describe: (ref) => `the commit that was last at ${ref}`,
      keepFor: 90 * day,
    }),
  };
}
