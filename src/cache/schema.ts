/** The triggers that keep the sums of `total`, of which more than one step makes some anew. They stay as they are: roots have them. */
const recordAdded = `CREATE TRIGGER record_added AFTER INSERT ON records BEGIN
  UPDATE total SET size = size + iif(new.results IS NULL, 0, new.size),
    live = live + (new.results IS NOT NULL), bare = bare + (new.results IS NULL);
END;`;
const recordRemoved = `CREATE TRIGGER record_removed AFTER DELETE ON records BEGIN
  UPDATE total SET size = size - iif(old.results IS NULL, 0, old.size),
    live = live - (old.results IS NOT NULL), bare = bare - (old.results IS NULL);
  DELETE FROM reached WHERE record = old.id;
END;`;
const recordChanged = `CREATE TRIGGER record_changed AFTER UPDATE OF results, size ON records BEGIN
  UPDATE total SET
    size = size - iif(old.results IS NULL, 0, old.size) + iif(new.results IS NULL, 0, new.size),
    live = live - (old.results IS NOT NULL) + (new.results IS NOT NULL),
    bare = bare - (old.results IS NULL) + (new.results IS NULL);
END;`;

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
  // Lists go from the record that was not used for the longest time on. Every build's end asks for the sums: bytes of
  // results, records with results, and records without.
  `CREATE INDEX records_by_use ON records (last_used_at) WHERE results IS NOT NULL;
   CREATE TABLE total (size INTEGER NOT NULL, live INTEGER NOT NULL, bare INTEGER NOT NULL);
   INSERT INTO total SELECT ifnull(sum(iif(results IS NULL, 0, size)), 0), count(results), count(*) - count(results)
     FROM records;
   ${recordAdded}
   CREATE TRIGGER record_removed AFTER DELETE ON records BEGIN
     UPDATE total SET size = size - iif(old.results IS NULL, 0, old.size),
       live = live - (old.results IS NOT NULL), bare = bare - (old.results IS NULL);
   END;
   ${recordChanged}`,
  'ALTER TABLE records ADD COLUMN made_for TEXT;',
  // What steps asked for by the proxies of their networks, apart from the records, which are often read in long lists.
  `CREATE TABLE reached (record TEXT PRIMARY KEY, network TEXT NOT NULL) WITHOUT ROWID;
   DROP TRIGGER record_removed;
   ${recordRemoved}`,
  // Rows lie in the order in which they were made, which is nearly that of their last use: a list of all, by that, goes
  // through the table once. By their ids, which are digests, it looked up each row somewhere else.
  `CREATE TABLE moved (
     n INTEGER PRIMARY KEY,
     id TEXT NOT NULL UNIQUE,
     description TEXT NOT NULL,
     type TEXT NOT NULL,
     results TEXT,
     size INTEGER NOT NULL,
     created_at INTEGER NOT NULL,
     last_used_at INTEGER NOT NULL,
     usage_count INTEGER NOT NULL,
     owner TEXT,
     made_for TEXT
   );
   INSERT INTO moved (id, description, type, results, size, created_at, last_used_at, usage_count, owner, made_for)
     SELECT id, description, type, results, size, created_at, last_used_at, usage_count, owner, made_for
     FROM records ORDER BY last_used_at;
   DROP TABLE records;
   ALTER TABLE moved RENAME TO records;
   CREATE INDEX records_by_use ON records (last_used_at) WHERE results IS NOT NULL;
   ${recordAdded}
   ${recordRemoved}
   ${recordChanged}`,
];
