/** Object stores: buckets of S3, containers of Azure Blob Storage, folders, behind one interface. */
export { ActionsCache, type ActionsEntry } from './actions/cache.ts';
export { type ActionsScope, readActionsToken } from './actions/token.ts';
export { type ObjectStoreSpec, openObjectStore } from './open.ts';
export { troubleOf } from './trouble.ts';
export type { ObjectInfo, ObjectSource, ObjectStore } from './types.ts';
