/** The tables of history.db: the steps from one form of them to the next, oldest first. A step is never changed. */
export const schema = [
  `CREATE TABLE builds (
     ref TEXT PRIMARY KEY,
     completed_at REAL NOT NULL,
     pinned INTEGER NOT NULL DEFAULT 0,
     record BLOB NOT NULL,
     status BLOB NOT NULL
   ) STRICT;
   CREATE INDEX builds_by_age ON builds (completed_at);`,
  `DELETE FROM builds;
   ALTER TABLE builds DROP COLUMN status;
   CREATE TABLE blobs (
     ref TEXT NOT NULL REFERENCES builds (ref) ON DELETE CASCADE,
     digest TEXT NOT NULL,
     size INTEGER NOT NULL,
     created_at REAL NOT NULL,
     data BLOB NOT NULL,
     PRIMARY KEY (ref, digest)
   ) STRICT;
   CREATE INDEX blobs_by_digest ON blobs (digest);`,
  // Records from before had no owner, and may hold passwords: they are overwritten, not only forgotten.
  `PRAGMA secure_delete = ON;
   DELETE FROM blobs;
   DELETE FROM builds;
   DROP TABLE blobs;
   DROP TABLE builds;
   CREATE TABLE builds (
     id INTEGER PRIMARY KEY,
     owner TEXT NOT NULL,
     ref TEXT NOT NULL,
     completed_at REAL NOT NULL,
     pinned INTEGER NOT NULL DEFAULT 0,
     record BLOB NOT NULL,
     UNIQUE (owner, ref)
   ) STRICT;
   CREATE INDEX builds_by_age ON builds (completed_at);
   CREATE TABLE blobs (
     build INTEGER NOT NULL REFERENCES builds (id) ON DELETE CASCADE,
     digest TEXT NOT NULL,
     size INTEGER NOT NULL,
     created_at REAL NOT NULL,
     data BLOB NOT NULL,
     PRIMARY KEY (build, digest)
   ) STRICT;
   CREATE INDEX blobs_by_digest ON blobs (digest);`,
  // Dockerfiles and what steps have used (`BuildDetails`), compressed; of builds from before, nothing.
  'ALTER TABLE builds ADD COLUMN details BLOB;',
  // The limits of the daemon that had the history last, for commands on its root.
  `CREATE TABLE limits (
     id INTEGER PRIMARY KEY CHECK (id = 1),
     max_entries REAL NOT NULL,
     max_age REAL NOT NULL
   ) STRICT;`,
];
