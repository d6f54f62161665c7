/** Cache mounts that travel: what they are called, what has changed in them, and how they come back. */
export { isNewer } from './bring.ts';
export { idOf, isNamed } from './names.ts';
export { type PackedMount, packMount } from './pack.ts';
export { statesOf } from './states.ts';
