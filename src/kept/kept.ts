/** What is kept under a root between builds, beside the store and the cache records. */
import { join } from 'node:path';
import { KeptFolders } from './kept-folders.ts';

export interface Kept {
  /** `RUN --mount=type=cache` */
  cacheMounts: KeptFolders;
  /** What clients elsewhere have sent of their folders: the next build is sent only what changed. */
  clientFolders: KeptFolders;
  gitMirrors: KeptFolders;
  /** What servers said of a URL's file (ETag …), to ask for it only if it changed. */
  httpAnswers: KeptFolders;
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
    gitMirrors: new KeptFolders(join(root, 'git'), { describe: (remote) => `git repository ${remote}` }),
    httpAnswers: new KeptFolders(join(root, 'http'), {
      describe: (url) => `last answer of ${url}`,
      keepFor: 30 * day,
    }),
  };
}
