/** The disk: what the cache holds and why, what a prune would free, and pruning by selection. */
import { useCallback, useEffect, useMemo, useState } from 'preact/hooks';
import type { DiskRecord, DiskRule, DiskUsage, PruneAnswer } from '../../src/api/ui/types.ts';
import { ago, bytes, count, duration, plain } from '../data/format.ts';
import { type Address, setQuery } from '../data/router.ts';
import { diskUsage, type PruneAsked, prune } from '../data/views.ts';
import { Facts, Problem, SearchBox } from '../parts/bits.tsx';
import { usePage } from '../parts/context.ts';
import { VirtualList } from '../parts/virtual-list.tsx';

const kindNames: Record<string, string> = {
  regular: 'Results of steps',
  'source.local': 'Folders sent by clients',
  'source.git.checkout': 'Git repositories',
  'exec.cachemount': 'Cache mounts',
  frontend: 'Frontends',
  internal: 'Internal',
};
const ages = ['1h', '24h', '168h', '720h'];
const ageNames: Record<string, string> = {
  '1h': 'an hour',
  '24h': 'a day',
  '168h': 'a week',
  '720h': '30 days',
};

export function DiskView({ address: { query } }: { address: Address }) {
  const { me, offset } = usePage();
  const text = query.get('q') ?? '';
  const type = query.get('type') ?? '';
  const use = query.get('use') ?? '';
  const until = query.get('until') ?? '';
  const sort = query.get('sort') === 'used' ? 'used' : 'size';
  const filters = useMemo(() => filtersOf({ text, type, use, until }), [text, type, use, until]);
  const [usage, setUsage] = useState<DiskUsage>();
  const [error, setError] = useState<Error>();
  const [chosen, setChosen] = useState<ReadonlySet<string>>(new Set());
  const load = useCallback(() => {
    let over = false;
    const wait = setTimeout(() => {
      diskUsage(filters, sort).then(
        (found) => {
          if (over) return;
          setUsage(found);
          setError(undefined);
        },
        (err: Error) => over || setError(err),
      );
    }, 150);
    return () => {
      over = true;
      clearTimeout(wait);
    };
  }, [filters, sort]);
  useEffect(load, [load]);
  // A choice is of what can be seen.
  useEffect(() => setChosen(new Set()), [filters]);
  const mayPrune = me.scopes.includes('cache:prune');
  const toggle = (id: string) =>
    setChosen((old) => {
      const next = new Set(old);
      if (!next.delete(id)) next.add(id);
      return next;
    });
  const now = Date.now() + offset;
  return (
    <section class="disk" aria-labelledby="disk-title">
      <h1 id="disk-title">Disk</h1>
      {usage !== undefined && <Sums usage={usage} />}
      <search class="filters">
        <SearchBox
          label="Search"
          placeholder="Search in the descriptions"
          value={text}
          onChange={(words) => setQuery({ q: words })}
        />
        <Choice name="type" label="Kind" value={type} all="Any kind" values={kindNames} />
        <Choice name="use" label="Kept by" value={use} all="Whoever keeps it" values={uses} />
        <Choice
          name="until"
          label="Unused for"
          value={until}
          all="Whenever used"
          values={Object.fromEntries(ages.map((age) => [age, `unused for ${ageNames[age]}`]))}
        />
        <Choice name="sort" label="Order" value={sort} values={orders} />
        <span class="note" role="status">
          {usage === undefined
            ? 'Loading …'
            : `${count(
                usage.kinds.reduce((sum, { records }) => sum + records, 0),
                'record',
              )}${usage.more ? `, of which ${plain(usage.records.length)} are listed` : ''}`}
        </span>
      </search>
      {error !== undefined && <Problem error={error} />}
      {mayPrune && usage !== undefined && (
        <Prune
          key={`${filters.join('\n')}\n${[...chosen].join(' ')}`}
          ids={[...chosen]}
          filters={filters}
          done={() => {
            setChosen(new Set());
            load();
          }}
        />
      )}
      {usage !== undefined &&
        (usage.records.length === 0 ? (
          <p class="empty">{filters.length === 0 ? 'The cache is empty.' : 'No record fits.'}</p>
        ) : (
          <VirtualList
            label="Records of the cache"
            count={usage.records.length}
            rowHeight={52}
            row={(i) => {
              const record = usage.records[i] as DiskRecord;
              return (
                <Row
                  key={record.id}
                  record={record}
                  now={now}
                  chosen={chosen.has(record.id)}
                  toggle={mayPrune ? toggle : undefined}
                />
              );
            }}
          />
        ))}
    </section>
  );
}

const uses = { policy: 'only the cache', image: 'images, too' };
const orders = { size: 'largest first', used: 'longest unused first' };

/** The filters of the API that say what is chosen. */
function filtersOf(choice: { text: string; type: string; use: string; until: string }): string[] {
  const { text, type, use, until } = choice;
  return [
    ...(text === '' ? [] : [`description=${text}`]),
    ...(type === '' ? [] : [`type=${type}`]),
    ...(use === '' ? [] : [`shared=${use === 'image'}`]),
    ...(until === '' ? [] : [`until=${until}`]),
  ];
}

function Sums({ usage: { kinds, disk, policy } }: { usage: DiskUsage }) {
  const total = kinds.reduce((sum, { size }) => sum + size, 0);
  return (
    <>
      <Facts
        facts={[
          ['Cache', bytes(total)],
          ['Free on the disk', `${bytes(disk.free)} of ${bytes(disk.size)}`],
          ['Taken out by itself', policy.length === 0 ? 'never' : policy.map(ruleText).join('; ')],
        ]}
      />
      {kinds.length > 0 && (
        <table class="transfers">
          <caption class="unseen">Sums by kind</caption>
          <thead>
            <tr>
              <th scope="col">Kind</th>
              <th scope="col">Records</th>
              <th scope="col">Size</th>
              <th scope="col">In use</th>
              <th scope="col">Images use</th>
            </tr>
          </thead>
          <tbody>
            {kinds.map(({ type, records, size, inUse, shared }) => (
              <tr key={type}>
                <th scope="row">{kindNames[type] ?? type}</th>
                <td>{plain(records)}</td>
                <td>{bytes(size)}</td>
                <td>{bytes(inUse)}</td>
                <td>{bytes(shared)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
    </>
  );
}

function ruleText({ unusedFor, reservedSpace, maxUsedSpace, minFreeSpace, filters }: DiskRule): string {
  const most = Math.max(maxUsedSpace ?? 0, reservedSpace ?? 0);
  const parts = [
    most > 0 ? `above ${bytes(most)}, longest unused first` : '',
    unusedFor === undefined ? '' : `unused for ${duration(unusedFor)}`,
    minFreeSpace ? `below ${bytes(minFreeSpace)} free on the disk` : '',
    filters === undefined || filters.length === 0 ? '' : `of ${filters.join(' or ')}`,
  ];
  return parts.filter((part) => part !== '').join(', ') || 'what nothing uses';
}

interface RowProps {
  record: DiskRecord;
  now: number;
  chosen: boolean;
  toggle?: (id: string) => void;
}

function Row({ record, now, chosen, toggle }: RowProps) {
  const { id, type, description, size, lastUsedAt, usageCount, keptBy, images, project, mount } = record;
  const from = images?.[0] ?? project;
  const name = mount === undefined ? description || id : `cache mount ${mount}`;
  return (
    <li class="disk-row">
      {toggle !== undefined && (
        <input
          type="checkbox"
          aria-label={`Choose ${name}`}
          checked={chosen}
          disabled={keptBy === 'build'}
          onChange={() => toggle(id)}
        />
      )}
      <span class="build-name">
        <span title={description}>{name}</span>
        <span class="note">
          {kindNames[type] ?? type} · {whyKept(record)}
          {from !== undefined && ` · made for ${from}`}
        </span>
      </span>
      <span class="disk-size">{bytes(size)}</span>
      <span class="disk-used note">
        {ago(lastUsedAt, now)}, {count(usageCount, 'use')}
      </span>
    </li>
  );
}

function whyKept({ keptBy, room }: DiskRecord): string {
  if (keptBy === 'build') return 'a running build holds it';
  if (keptBy === 'image') return 'an image uses it, too';
  if (room === undefined) return 'kept for builds to come';
  return room === 0 ? 'goes after the next build' : `kept until ${bytes(room)} more have come`;
}

interface PruneProps {
  ids: string[];
  filters: readonly string[];
  done(): void;
}

/** Says what a prune would free, and prunes once that was seen. */
function Prune({ ids, filters, done }: PruneProps) {
  const [all, setAll] = useState(false);
  const [foreseen, setForeseen] = useState<PruneAnswer>();
  const [error, setError] = useState<Error>();
  const [busy, setBusy] = useState(false);
  const [removed, setRemoved] = useState<PruneAnswer>();
  // What an image uses is in a choice by hand because somebody wants it away.
  const asked = (dryRun: boolean): PruneAsked =>
    ids.length > 0 ? { dryRun, ids, all: true } : { dryRun, filters: [...filters], all };
  const send = (dryRun: boolean) => {
    setBusy(true);
    setError(undefined);
    prune(asked(dryRun))
      .then((answer) => {
        if (dryRun) return setForeseen(answer);
        setForeseen(undefined);
        setRemoved(answer);
        if (ids.length === 0) done();
      }, setError)
      .finally(() => setBusy(false));
  };
  const what =
    ids.length > 0 ? count(ids.length, 'chosen record') : filters.length > 0 ? 'what fits' : 'the cache';
  return (
    <div class="filters prune">
      <button type="button" disabled={busy} onClick={() => send(true)}>
        What would pruning {what} free?
      </button>
      {ids.length === 0 && (
        <label class="choice">
          <input
            type="checkbox"
            checked={all}
            onChange={(event) => {
              setAll(event.currentTarget.checked);
              setForeseen(undefined);
            }}
          />
          with internal records and those that images use
        </label>
      )}
      <span role="status">
        {busy && 'Working …'}
        {!busy &&
          foreseen !== undefined &&
          `${count(foreseen.records, 'record')} of ${bytes(foreseen.size)}; the disk gets ${bytes(foreseen.freed)} back.`}
        {!busy &&
          removed !== undefined &&
          `Removed: ${count(removed.records, 'record')}; the disk got ${bytes(removed.freed)} back.`}
      </span>
      {foreseen !== undefined && foreseen.records > 0 && (
        <button type="button" class="danger" disabled={busy} onClick={() => send(false)}>
          Remove {count(foreseen.records, 'record')}
        </button>
      )}
      {removed !== undefined && ids.length > 0 && (
        <button type="button" onClick={done}>
          Show what is left
        </button>
      )}
      {error !== undefined && <Problem error={error} />}
    </div>
  );
}

interface ChoiceProps {
  name: string;
  label: string;
  value: string;
  /** The choice that leaves everything; none where there is no such choice. */
  all?: string;
  values: Readonly<Record<string, string>>;
}

function Choice({ name, label, value, all, values }: ChoiceProps) {
  return (
    <label class="choice">
      <span class="unseen">{label}</span>
      <select value={value} onChange={(event) => setQuery({ [name]: event.currentTarget.value })}>
        {all !== undefined && <option value="">{all}</option>}
        {Object.entries(values).map(([key, title]) => (
          <option key={key} value={key}>
            {title}
          </option>
        ))}
      </select>
    </label>
  );
}
