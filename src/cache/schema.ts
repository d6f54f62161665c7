/** The steps from each schema version to the next; the version is SQLite's `user_version`. */
export const schema = [
  `CREATE TABLE records (
     id TEXT PRIMARY KEY,
     description TEXT NOT NULL,
     type TEXT NOT NULL,
     results TEXT,
     size INTEGER NOT NULL,
     created_at INTEGER NOT NULL,
     last_used_at INTEGER NOT NULL,
     usage_count INTEGER NOT NULL
   ) WITHOUT ROWID;
   CREATE TABLE keys (
     key TEXT PRIMARY KEY,
     record TEXT NOT NULL,
     kind TEXT NOT NULL,
     op TEXT NOT NULL
   ) WITHOUT ROWID;
   CREATE INDEX keys_by_record ON keys (record);
   CREATE TABLE links (
     key TEXT NOT NULL,
     input INTEGER NOT NULL,
     dep TEXT NOT NULL,
     dep_index INTEGER NOT NULL,
     selector TEXT NOT NULL,
     content INTEGER NOT NULL,
     PRIMARY KEY (key, input)
   ) WITHOUT ROWID;
   CREATE TABLE content_digests (
     ref TEXT NOT NULL,
     selector TEXT NOT NULL,
     digest TEXT NOT NULL,
     PRIMARY KEY (ref, selector)
   ) WITHOUT ROWID;`,
  `ALTER TABLE records ADD COLUMN owner TEXT;`,
];
