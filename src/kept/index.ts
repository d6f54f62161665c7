/** Folders kept under the root between builds: locked while in use, listed and pruned. */
export { HeldFolder } from './instance.ts';
export { type Kept, keptUnder } from './kept.ts';
export { KeptFolders, type KeptFound, type KeptKey } from './kept-folders.ts';
