/**
 * The rooms of src, lowest first, and the rooms that each may import. `scripts/deps.mjs` checks imports against it, and
 * that nothing is listed that is not used. A new room goes in between what it uses and what uses it.
 */

/** The ground floor: these use each other as listed, and every room above may use them without saying so. */
export const ground = {
  errors: [],
  words: ['errors'],
  pb: [],
  oci: ['errors'],
  linux: ['errors'],
  patterns: ['errors'],
  progress: ['errors', 'oci'],
  flow: ['errors'],
  workers: ['errors', 'flow'],
  grpc: ['errors', 'workers'],
};

/** The rooms above it. */
export const storeys = {
  tar: [],
  fs: ['tar'],
  sbom: ['fs'],
  reproduce: ['tar'],
  kept: [],
  cdi: [],
  emulation: [],
  llb: [],
  auth: [],
  registry: [],
  store: ['fs'],
  layer: ['fs', 'store', 'tar'],
  cache: ['store'],
  distribution: ['registry', 'store'],
  images: ['distribution', 'layer', 'registry', 'store', 'tar'],
  refs: ['distribution', 'fs', 'layer', 'registry', 'store'],
  session: ['fs'],
  network: [],
  executor: ['cdi', 'fs', 'network'],
  solver: ['cache', 'fs', 'llb', 'session', 'store'],
  attest: ['fs', 'llb', 'sbom', 'solver'],
  source: ['distribution', 'fs', 'kept', 'llb', 'refs', 'registry', 'session', 'solver', 'store', 'tar'],
  ops: [
    ...[
      'cache',
      'cdi',
      'emulation',
      'executor',
      'fs',
      'kept',
      'layer',
      'llb',
      'refs',
      'sbom',
      'session',
      'solver',
      'store',
    ],
  ],
  explain: ['fs', 'llb', 'solver', 'store'],
  exporter: [
    'attest',
    'distribution',
    'fs',
    'images',
    'layer',
    'registry',
    'session',
    'solver',
    'store',
    'tar',
  ],
  'remote-cache': [
    ...['distribution', 'exporter', 'fs', 'layer', 'llb', 'refs', 'registry', 'session', 'solver', 'store'],
  ],
  upkeep: ['cache', 'distribution', 'images', 'kept', 'layer', 'registry', 'solver', 'store'],
  frontend: ['fs', 'llb'],
  engine: [
    ...[
      'attest',
      'cache',
      'cdi',
      'distribution',
      'emulation',
      'executor',
      'explain',
      'exporter',
      'frontend',
      'fs',
      'kept',
      'llb',
      'network',
      'ops',
    ],
    ...['refs', 'registry', 'remote-cache', 'sbom', 'session', 'solver', 'source', 'store', 'upkeep'],
  ],
  sdk: ['attest', 'engine', 'frontend', 'llb', 'network', 'remote-cache', 'session'],
  api: [
    ...[
      'attest',
      'auth',
      'cache',
      'distribution',
      'engine',
      'executor',
      'exporter',
      'frontend',
      'images',
      'llb',
      'network',
    ],
    ...['registry', 'remote-cache', 'session', 'source', 'store', 'upkeep'],
  ],
  daemon: ['api', 'auth', 'cdi', 'engine', 'network', 'registry', 'session', 'store', 'upkeep'],
  cli: [
    ...[
      'api',
      'attest',
      'auth',
      'cache',
      'cdi',
      'daemon',
      'emulation',
      'engine',
      'executor',
      'explain',
      'exporter',
      'frontend',
      'images',
      'llb',
      'network',
    ],
    ...['remote-cache', 'reproduce', 'session', 'source', 'upkeep'],
  ],
};

/** Rooms without a door: generated messages, one file for each of the protocols' packages. */
export const open = ['pb'];

/** Files at the top of src that rooms may import. The others there import rooms. */
export const forAll = ['version.ts'];
