/** An image: its layers with the instructions that made them, the files in each, what is stated of it. */
import { useEffect, useState } from 'preact/hooks';
import type { FileSums, ImageDetail, ImageStep, LayerSums } from '../../src/api/ui/types.ts';
import { ago, bytes, count, plain } from '../data/format.ts';
import { type Address, addressOf } from '../data/router.ts';
import { image, layerSums, statementAddress } from '../data/views.ts';
import { Facts, Problem, Tabs } from '../parts/bits.tsx';
import { usePage } from '../parts/context.ts';
import { LayerFiles } from './layer-files.tsx';

export function ImageView({ address: { path, query } }: { address: Address }) {
  const name = path[1] ?? '';
  const tab = path[2] ?? 'layers';
  const platform = query.get('platform') ?? '';
  const { offset } = usePage();
  const [shown, setShown] = useState<ImageDetail | Error>();
  const [sums, setSums] = useState<LayerSums | Error>();
  useEffect(() => {
    let over = false;
    setShown(undefined);
    setSums(undefined);
    image(name, platform).then(
      (found) => over || setShown(found),
      (err: Error) => over || setShown(err),
    );
    layerSums(name, platform).then(
      (found) => over || setSums(found),
      (err: Error) => over || setSums(err),
    );
    return () => {
      over = true;
    };
  }, [name, platform]);
  if (shown === undefined) return <p class="loading">Loading …</p>;
  if (shown instanceof Error) return <Problem error={shown} />;
  const layers = sums === undefined || sums instanceof Error ? undefined : sums.layers;
  const wasted = (layers ?? []).reduce((sum, layer) => sum + (layer?.wasted ?? 0), 0);
  const at = (part: string) => addressOf(['images', name, part], { platform });
  return (
    <section aria-labelledby="image-title">
      <h1 id="image-title">{shown.names[0] ?? shown.id.slice(7, 19)}</h1>
      <Facts facts={factsOf(shown, Date.now() + offset, layers === undefined ? undefined : wasted)} />
      {shown.platforms.length > 1 && (
        <nav class="files" aria-label="Platforms">
          {shown.platforms.map((each) => (
            <a
              key={each}
              href={addressOf(['images', name, tab], { platform: each })}
              aria-current={each === shown.platform ? 'page' : undefined}
            >
              {each}
            </a>
          ))}
        </nav>
      )}
      <Tabs
        label="Parts of the image"
        now={tab}
        tabs={[
          { name: 'layers', title: 'Layers', href: at('layers'), note: shown.layers.length },
          { name: 'files', title: 'Files', href: at('files') },
          {
            name: 'attestations',
            title: 'Attestations',
            href: at('attestations'),
            note: shown.attestations.length,
          },
        ]}
      />
      {sums instanceof Error && <Problem error={sums} />}
      <div class="tab">
        {tab === 'files' ? (
          <LayerFiles name={name} image={shown} query={query} sums={layers} />
        ) : tab === 'attestations' ? (
          <Statements name={name} image={shown} />
        ) : (
          <Layers name={name} image={shown} sums={layers} />
        )}
      </div>
    </section>
  );
}

function factsOf(image: ImageDetail, now: number, wasted: number | undefined) {
  const { id, target, manifest, names, size, created, author, platform, config } = image;
  const words = (value: unknown) => (Array.isArray(value) ? value.join(' ') : String(value ?? ''));
  return [
    ['ID', id],
    ['Index', target === manifest ? '' : target],
    ['Manifest', manifest],
    ['Other names', names.slice(1).join(', ')],
    ['Platform', platform],
    ['Size', bytes(size)],
    ['Wasted', wasted === undefined ? '' : `${bytes(wasted)} that later layers hide`],
    ['Created', created === undefined ? '' : ago(created, now)],
    ['Author', author],
    ['Entrypoint', words(config.Entrypoint)],
    ['Command', words(config.Cmd)],
    ['User', words(config.User)],
    ['Folder', words(config.WorkingDir)],
    ['Ports', Object.keys(config.ExposedPorts ?? {}).join(', ')],
  ] as const;
}

interface PartProps {
  name: string;
  image: ImageDetail;
}

function Layers({ name, image, sums }: PartProps & { sums: LayerSums['layers'] | undefined }) {
  return (
    <div class="overview">
      <table class="layers">
        <caption class="unseen">The steps of the image, the oldest first</caption>
        <thead>
          <tr>
            <th scope="col">Step</th>
            <th scope="col">Layer</th>
            <th scope="col">Size</th>
            <th scope="col">Packed</th>
            <th scope="col">Files</th>
            <th scope="col">Wasted</th>
          </tr>
        </thead>
        <tbody>
          {image.history.map((step, i) => (
            <Step key={i} name={name} image={image} step={step} sums={sums?.[step.layer ?? -1]} />
          ))}
        </tbody>
      </table>
    </div>
  );
}

function Step({ name, image, step, sums }: PartProps & { step: ImageStep; sums?: FileSums | null }) {
  const { layer: at, createdBy, comment } = step;
  const layer = at === undefined ? undefined : image.layers[at];
  return (
    <tr>
      <td class="made-by">{createdBy || comment || 'not told'}</td>
      {at === undefined || layer === undefined ? (
        <td class="note" colSpan={5}>
          no layer
        </td>
      ) : (
        <>
          <td>
            <a
              href={addressOf(['images', name, 'files'], {
                platform: image.platform,
                layer: String(at),
              })}
              title={layer.digest}
            >
              {at + 1}
              <span class="unseen"> of {image.layers.length}: its files</span>
            </a>
          </td>
          <td>{layer.size === undefined ? 'not unpacked' : bytes(layer.size)}</td>
          <td>{bytes(layer.blob)}</td>
          <td>{sums === null ? 'not here' : sums === undefined ? '…' : plain(sums.files)}</td>
          <td class={sums?.wasted ? 'warn' : undefined}>{sums ? bytes(sums.wasted) : ''}</td>
        </>
      )}
    </tr>
  );
}

function Statements({ name, image: { attestations, platform } }: PartProps) {
  if (attestations.length === 0) {
    return (
      <p class="empty">Nothing is stated of this image: it has neither provenance nor bill of materials.</p>
    );
  }
  return (
    <div class="overview">
      <h2>{count(attestations.length, 'statement')}</h2>
      <ul>
        {attestations.map(({ digest, type, size }) => (
          <li key={digest}>
            <a href={statementAddress(name, platform, digest)}>{type}</a>{' '}
            <span class="note">
              {bytes(size)}, {digest.slice(0, 19)}
            </span>
          </li>
        ))}
      </ul>
    </div>
  );
}
