/**
 * The work that runs off the main thread: name → lazily imported function. Arguments, results and messages cross
 * by structured clone, so they are plain data (MessagePorts go along through `transfer`).
 */

import type { CallsOf, TaskTable } from './workers/task.ts';

/** One entry per task, sorted by name. A task's module must not import the pool. */
export const tasks = {
  'attest.bundle': () => import('./attest/read-task.ts').then((m) => m.readBundle),
  'attest.predicate': () => import('./attest/read-task.ts').then((m) => m.readPredicateTask),
  'cache.config': () => import('./remote-cache/config-task.ts').then((m) => m.readConfig),
  'exec.assemble': () => import('./executor/assemble.ts').then((m) => m.assemble),
  'frontend.convert': () => import('./frontend/dockerfile/convert-task.ts').then((m) => m.convert),
  'fs.apply': () => import('./fs/apply.ts').then((m) => m.apply),
  'fs.bring': () => import('./fs/bring.ts').then((m) => m.bring),
  'fs.checksum': () => import('./fs/checksum.ts').then((m) => m.checksum),
  'fs.compare': () => import('./fs/compare-lists.ts').then((m) => m.compareLists),
  'fs.digests': () => import('./fs/digests.ts').then((m) => m.fileDigests),
  'fs.export': () => import('./fs/export.ts').then((m) => m.exportTree),
  'fs.glance': () => import('./fs/glance.ts').then((m) => m.glance),
  'fs.overlap': () => import('./fs/overlap.ts').then((m) => m.checkOverlap),
  'fs.shares': () => import('./fs/linked-files.ts').then((m) => m.sharesFiles),
  'fs.seed': () => import('./fs/seed.ts').then((m) => m.seed),
  'fs.sum': () => import('./fs/tree-sum.ts').then((m) => m.sumTree),
  'gateway.read': () => import('./engine/gateway/read-file.ts').then((m) => m.readLiveFile),
  'layer.convert': () => import('./layer/convert-task.ts').then((m) => m.convert),
  'layer.files': () => import('./layer/file-tree-task.ts').then((m) => m.listFiles),
  'layer.list': () => import('./layer/since.ts').then((m) => m.listFolder),
  'layer.pack': () => import('./layer/pack-task.ts').then((m) => m.pack),
  'layer.skeleton': () => import('./layer/skeleton-task.ts').then((m) => m.writeSkeleton),
  'layer.unpack': () => import('./layer/unpack-task.ts').then((m) => m.unpack),
  'lazy.fetch': () => import('./lazy/fetch-task.ts').then((m) => m.fetchContents),
  'lazy.serve': () => import('./lazy/serve-task.ts').then((m) => m.serve),
  'lazy.verify': () => import('./lazy/verify-task.ts').then((m) => m.verifyContents),
  'network.join': () => import('./network/shared-task.ts').then((m) => m.joinShared),
  'network.leave': () => import('./network/shared-task.ts').then((m) => m.leaveShared),
  'network.make': () => import('./network/make-task.ts').then((m) => m.makeNamespace),
  'network.standIn': () => import('./network/make-task.ts').then((m) => m.standIn),
  'ops.diff': () => import('./ops/diff-task.ts').then((m) => m.writeDiff),
  'ops.movable': () => import('./ops/diff-task.ts').then((m) => m.movable),
  'ops.move': () => import('./ops/diff-task.ts').then((m) => m.writeMoved),
  'sbom.scan': () => import('./sbom/scan-task.ts').then((m) => m.scan),
  'session.receive': () => import('./session/fsutil/receive-task.ts').then((m) => m.receive),
  'session.send': () => import('./session/fsutil/send-task.ts').then((m) => m.send),
  'source.unpack': () => import('./source/unpack.ts').then((m) => m.unpack),
  'store.copy': () => import('./store/local/tree.ts').then((m) => m.copyTree),
  'store.hash': () => import('./store/local/hash.ts').then((m) => m.hashFile),
  'store.link': () => import('./store/containerd/link-tree.ts').then((m) => m.linkTree),
  'store.remove': () => import('./store/local/tree.ts').then((m) => m.removeTrees),
  'store.usage': () => import('./store/local/tree.ts').then((m) => m.treeUsage),
  'test.echo': () => import('./workers/echo.ts').then((m) => m.echo),
};

// Checked here and not where they are listed: there, the check would leak into the tasks' inferred types.
tasks satisfies TaskTable;

declare module './workers/task.ts' {
  interface Tasks extends CallsOf<typeof tasks> {}
}
