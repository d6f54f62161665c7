/**
 * The steps from each version of the metadata to the next; the version is SQLite's `user_version`. Labels are JSON
 * objects. `refs` lists the things that labels keep alive; it is filled when labels are set.
 */
export const schema = [
  `CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

   CREATE TABLE blobs (
     digest TEXT PRIMARY KEY,
     size INTEGER NOT NULL,
     labels TEXT NOT NULL,
     created_at INTEGER NOT NULL
   ) WITHOUT ROWID;

   -- A layer's folder is snapshots/<id>. Ids are never used twice. Several snapshots may share one (restack).
   CREATE TABLE layers (
     id INTEGER PRIMARY KEY AUTOINCREMENT,
     size INTEGER,
     inodes INTEGER
   );
   -- run: of an active snapshot, the process that makes it; NULL once committed.
   CREATE TABLE snapshots (
     key TEXT PRIMARY KEY,
     parent TEXT,
     layer INTEGER NOT NULL,
     run TEXT,
     chain TEXT,
     labels TEXT NOT NULL,
     created_at INTEGER NOT NULL
   ) WITHOUT ROWID;
   CREATE INDEX snapshots_by_parent ON snapshots (parent) WHERE parent IS NOT NULL;
   CREATE INDEX snapshots_by_layer ON snapshots (layer);
   CREATE INDEX snapshots_by_chain ON snapshots (chain) WHERE chain IS NOT NULL;
   CREATE INDEX snapshots_by_run ON snapshots (run) WHERE run IS NOT NULL;

   CREATE TABLE images (
     name TEXT PRIMARY KEY,
     target TEXT NOT NULL,
     descriptor TEXT NOT NULL,
     labels TEXT NOT NULL,
     created_at INTEGER NOT NULL,
     updated_at INTEGER NOT NULL
   ) WITHOUT ROWID;

   -- run: the process a lease dies with; NULL: pinned. view: held by an open view, which forbids removal.
   CREATE TABLE leases (
     id TEXT PRIMARY KEY,
     run TEXT,
     view INTEGER NOT NULL,
     labels TEXT NOT NULL,
     created_at INTEGER NOT NULL
   ) WITHOUT ROWID;
   CREATE INDEX leases_by_run ON leases (run) WHERE run IS NOT NULL;
   CREATE TABLE held (
     lease TEXT NOT NULL,
     type TEXT NOT NULL,
     id TEXT NOT NULL,
     PRIMARY KEY (lease, type, id)
   ) WITHOUT ROWID;
   CREATE INDEX held_things ON held (type, id);

   CREATE TABLE refs (
     from_type TEXT NOT NULL,
     from_id TEXT NOT NULL,
     to_type TEXT NOT NULL,
     to_id TEXT NOT NULL,
     PRIMARY KEY (from_type, from_id, to_type, to_id)
   ) WITHOUT ROWID;

   -- A blob being written to ingest/<file>. run: its writer's process; NULL: left for a later resume.
   CREATE TABLE ingests (
     ref TEXT PRIMARY KEY,
     file TEXT NOT NULL,
     expected TEXT,
     run TEXT,
     updated_at INTEGER NOT NULL
   ) WITHOUT ROWID;`,

  // Of a lazy layer: the contents of its files are fetched when they are read.
  'ALTER TABLE layers ADD COLUMN lazy INTEGER NOT NULL DEFAULT 0;',
];
