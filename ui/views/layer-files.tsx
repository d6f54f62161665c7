/** The files of a layer, folder by folder: what it adds, changes and removes, and what later layers hide of it. */
import { useCallback, useEffect, useState } from 'preact/hooks';
import type { FileSums, ImageDetail, LayerFile, LayerSums } from '../../src/api/ui/types.ts';
import { bytes, count } from '../data/format.ts';
import { addressOf, setQuery } from '../data/router.ts';
import { layerFolder, linesAtOnce } from '../data/views.ts';
import { Problem } from '../parts/bits.tsx';
import { VirtualList } from '../parts/virtual-list.tsx';

interface Props {
  name: string;
  image: ImageDetail;
  query: URLSearchParams;
  sums: LayerSums['layers'] | undefined;
}

export function LayerFiles({ name, image, query, sums }: Props) {
  const { layers, history, platform } = image;
  const layer = Math.min(Number(query.get('layer')) || 0, layers.length - 1);
  const folder = query.get('folder') ?? '/';
  const { total, line, need, error } = useFolder(name, platform, layer, folder);
  if (layers.length === 0) return <p class="empty">The image has no layers.</p>;
  const at = (to: string) =>
    addressOf(['images', name, 'files'], { platform, layer: String(layer), folder: to === '/' ? '' : to });
  const parts = folder.split('/').filter((part) => part !== '');
  const sum = sums?.[layer];
  return (
    <div>
      <div class="filters">
        <label class="choice">
          Layer
          <select
            value={String(layer)}
            onChange={(event) => setQuery({ layer: event.currentTarget.value, folder: '' }, false)}
          >
            {layers.map(({ digest }, i) => (
              <option key={digest + String(i)} value={String(i)}>
                {i + 1}:{' '}
                {history.find((step) => step.layer === i)?.createdBy.slice(0, 90) || digest.slice(7, 19)}
              </option>
            ))}
          </select>
        </label>
        <span class="note" role="status">
          {sum && sumText(sum)}
        </span>
      </div>
      <nav class="crumbs" aria-label="Folder">
        <a href={at('/')}>/</a>
        {parts.map((part, i) => (
          <a
            key={parts.slice(0, i + 1).join('/')}
            href={at(`/${parts.slice(0, i + 1).join('/')}`)}
            aria-current={i === parts.length - 1 ? 'page' : undefined}
          >
            {part}/
          </a>
        ))}
      </nav>
      {error !== undefined && <Problem error={error} />}
      {sum === null ? (
        <p class="empty">This layer is not here. It comes with `drydock pull`, or when a build needs it.</p>
      ) : total === undefined ? (
        error === undefined && <p class="loading">Looking through the layers …</p>
      ) : total === 0 ? (
        <p class="empty">The layer changes nothing in this folder.</p>
      ) : (
        <VirtualList
          key={`${layer} ${folder}`}
          label={`Files in ${folder}`}
          count={total}
          rowHeight={30}
          onRange={need}
          row={(i) => {
            const file = line(i);
            return (
              <li key={i} class="file-row">
                {file === undefined ? '…' : <File file={file} folder={folder} at={at} />}
              </li>
            );
          }}
        />
      )}
    </div>
  );
}

function sumText({ files, bytes: size, wasted, removed }: FileSums): string {
  const parts = [
    `${count(files, 'file')}, ${bytes(size)}`,
    wasted > 0 ? `${bytes(wasted)} wasted: later layers hide them` : '',
    removed > 0 ? `removes ${bytes(removed)} of lower layers` : '',
  ];
  return parts.filter((part) => part !== '').join('; ');
}

const signs = { added: '+', changed: '~', removed: '−', same: '' };

interface FileProps {
  file: LayerFile;
  folder: string;
  at(folder: string): string;
}

function File({ file, folder, at }: FileProps) {
  const { name, type, state, size, mode, uid, gid, link, goneAt, below } = file;
  const path = `${folder === '/' ? '' : folder}/${name}`;
  const isOpen = type === 'dir' && below !== undefined;
  const told = isOpen && state !== 'removed' ? below.bytes : size;
  const wasted = below?.wasted ?? 0;
  return (
    <>
      <span class={`file-state ${state}`}>
        <span aria-hidden="true">{signs[state]}</span>
        <span class="unseen">{state === 'same' ? 'folder' : state}</span>
      </span>
      <span class="step-name">
        {isOpen ? <a href={at(path)}>{name}/</a> : `${name}${type === 'dir' ? '/' : ''}`}
        {link !== undefined && <span class="note"> → {link}</span>}
        {goneAt !== undefined && <span class="warn"> hidden by layer {goneAt + 1}</span>}
        {wasted > 0 && <span class="warn"> {bytes(wasted)} wasted</span>}
      </span>
      <span class="file-mode note">
        {mode.toString(8).padStart(4, '0')} {uid}:{gid}
      </span>
      <span class="disk-size">{bytes(told)}</span>
    </>
  );
}

/** A folder's lines, asked for as far as they are in sight. */
function useFolder(name: string, platform: string, layer: number, folder: string) {
  const place = `${name}\n${platform}\n${layer}\n${folder}`;
  const [state, setState] = useState<{
    place: string;
    total?: number;
    pages: ReadonlyMap<number, LayerFile[] | undefined>;
    error?: Error;
  }>({ place, pages: new Map() });
  const now = state.place === place ? state : { place, pages: new Map<number, undefined>() };
  const load = useCallback(
    (page: number) => {
      const put = (change: (old: typeof state) => typeof state) =>
        setState((old) => change(old.place === place ? old : { place, pages: new Map() }));
      put((old) => ({ ...old, pages: new Map(old.pages).set(page, old.pages.get(page)) }));
      layerFolder(name, { platform, layer, folder, from: page * linesAtOnce }).then(
        ({ total, files }) =>
          setState((old) =>
            old.place === place ? { ...old, total, pages: new Map(old.pages).set(page, files) } : old,
          ),
        (error: Error) => setState((old) => (old.place === place ? { ...old, error } : old)),
      );
    },
    [place],
  );
  useEffect(() => load(0), [load]);
  const need = (from: number, to: number) => {
    for (let page = Math.floor(from / linesAtOnce); page * linesAtOnce < to; page++)
      if (!now.pages.has(page)) load(page);
  };
  return {
    total: now.total,
    error: now.error,
    need,
    line: (i: number) => now.pages.get(Math.floor(i / linesAtOnce))?.[i % linesAtOnce],
  };
}
