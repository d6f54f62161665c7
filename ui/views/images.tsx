/** The images of the store: their list, or one of them. */
import { useEffect, useMemo, useState } from 'preact/hooks';
import type { ImageLine, ImageList } from '../../src/api/ui/types.ts';
import { ago, bytes, count } from '../data/format.ts';
import { type Address, addressOf, setQuery } from '../data/router.ts';
import { images } from '../data/views.ts';
import { Problem, SearchBox } from '../parts/bits.tsx';
import { usePage } from '../parts/context.ts';
import { VirtualList } from '../parts/virtual-list.tsx';
import { ImageView } from './image.tsx';

export function ImagesView({ address }: { address: Address }) {
  return address.path.length > 1 ? <ImageView address={address} /> : <List query={address.query} />;
}

function List({ query }: { query: URLSearchParams }) {
  const { offset } = usePage();
  const [list, setList] = useState<ImageList | Error>();
  useEffect(() => {
    images().then(setList, setList);
  }, []);
  const text = query.get('q') ?? '';
  const sort = query.get('sort') ?? 'created';
  const all = list === undefined || list instanceof Error ? undefined : list.images;
  const shown = useMemo(() => {
    const fitting = (all ?? []).filter((each) => fits(each, text));
    return sort === 'size' ? fitting.sort((a, b) => b.size - a.size) : fitting;
  }, [all, text, sort]);
  const now = Date.now() + offset;
  if (list instanceof Error) return <Problem error={list} />;
  return (
    <section aria-labelledby="images-title">
      <h1 id="images-title">Images</h1>
      <search class="filters">
        <SearchBox
          label="Search"
          placeholder="Search: name, ID, platform"
          value={text}
          onChange={(words) => setQuery({ q: words })}
        />
        <label class="choice">
          <span class="unseen">Order</span>
          <select value={sort} onChange={(event) => setQuery({ sort: event.currentTarget.value })}>
            <option value="created">newest first</option>
            <option value="size">largest first</option>
          </select>
        </label>
        <span class="note" role="status">
          {list === undefined
            ? 'Loading …'
            : `${count(shown.length, 'image')} in the ${list.store.kind} store (${list.store.snapshotter})`}
        </span>
      </search>
      {all !== undefined && shown.length === 0 ? (
        <p class="empty">{all.length === 0 ? 'There is no image yet.' : 'No image fits.'}</p>
      ) : (
        <VirtualList
          label="All images"
          count={shown.length}
          rowHeight={44}
          row={(i) => {
            const line = shown[i] as ImageLine;
            return <Row key={line.target} line={line} now={now} />;
          }}
        />
      )}
    </section>
  );
}

function fits({ names, id, target, platforms }: ImageLine, text: string): boolean {
  const all = [...names, id, target, ...platforms].join(' ').toLowerCase();
  return text
    .toLowerCase()
    .split(/\s+/)
    .every((word) => all.includes(word));
}

function Row({ line, now }: { line: ImageLine; now: number }) {
  const { names, id, size, created, platforms } = line;
  const [first = 'without a name', ...more] = names;
  return (
    <li class="build-row">
      <a class="image-link" href={addressOf(['images', names[0] ?? id])}>
        <span class="build-name">
          <span class="name">{first}</span>
          <span class="note">{[id.slice(7, 19), ...more].join(' · ')}</span>
        </span>
        <span class="image-platforms note">{platforms.join(', ')}</span>
        <span class="disk-size">{bytes(size)}</span>
        <span class="disk-used note">{created === undefined ? '' : ago(created, now)}</span>
      </a>
    </li>
  );
}
