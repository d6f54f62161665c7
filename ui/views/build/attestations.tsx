/** What is stated of a build's results: provenance, and bills of materials as tables with search. */
import { useEffect, useState } from 'preact/hooks';
import { bytes, count } from '../../data/format.ts';
import { setQuery } from '../../data/router.ts';
import { materialsOf, type Package, packagesOf } from '../../data/statements.ts';
import { Problem, SearchBox } from '../../parts/bits.tsx';
import { usePage } from '../../parts/context.ts';
import { VirtualList } from '../../parts/virtual-list.tsx';
import type { TabProps } from '../build.tsx';

const rowHeight = 26;
/** The most characters of a document that are shown as they are. */
const mostText = 200_000;

export function AttestationsTab({ build, query }: TabProps) {
  const { ref, attestations } = build;
  const chosen = attestations.find(({ digest }) => digest === query.get('document')) ?? attestations[0];
  if (chosen === undefined) {
    return (
      <p class="empty">
        {build.state === 'running' ? 'They come with the result.' : 'Nothing is stated of this build.'}
      </p>
    );
  }
  return (
    <div class="attestations">
      <label class="choice">
        Statement{' '}
        <select
          value={chosen.digest}
          onChange={(event) => setQuery({ document: event.currentTarget.value }, false)}
        >
          {attestations.map(({ digest, type, size, about }) => (
            <option key={digest} value={digest}>
              {type} · {bytes(size)}
              {about !== undefined && ` · of ${about.slice(0, 19)}`}
            </option>
          ))}
        </select>
      </label>
      <Statement key={chosen.digest} buildRef={ref} digest={chosen.digest} find={query.get('find') ?? ''} />
    </div>
  );
}

function Statement({ buildRef, digest, find }: { buildRef: string; digest: string; find: string }) {
  const { source } = usePage();
  const [found, setFound] = useState<{ value: unknown } | Error>();
  useEffect(() => {
    source.document(buildRef, digest).then((value) => setFound({ value }), setFound);
  }, [source, buildRef, digest]);
  if (found === undefined) return <p class="loading">Loading …</p>;
  if (found instanceof Error) return <Problem error={found} />;
  const packages = packagesOf(found.value);
  const materials = materialsOf(found.value);
  const text = JSON.stringify(found.value, undefined, 2);
  return (
    <>
      {packages !== undefined && <Packages packages={packages} find={find} />}
      {materials.length > 0 && (
        <section aria-labelledby="materials-title">
          <h2 id="materials-title">Made from {count(materials.length, 'material')}</h2>
          <ul class="materials">
            {materials.map(({ uri, digest }) => (
              <li key={`${uri} ${digest}`}>
                {uri} <span class="note">{digest}</span>
              </li>
            ))}
          </ul>
        </section>
      )}
      <details open={packages === undefined}>
        <summary>The whole statement</summary>
        <pre class="json">
          {text.length > mostText ? `${text.slice(0, mostText)}\n… ${bytes(text.length)} in all` : text}
        </pre>
      </details>
    </>
  );
}

export function Packages({ packages, find }: { packages: readonly Package[]; find: string }) {
  const words = find.toLowerCase();
  const shown = packages.filter(({ name, version, kind, licence }) =>
    `${name} ${version} ${kind} ${licence}`.toLowerCase().includes(words),
  );
  return (
    <section aria-labelledby="packages-title">
      <h2 id="packages-title">Packages</h2>
      <search class="log-tools">
        <SearchBox label="Search packages" value={find} onChange={(words) => setQuery({ find: words })} />
        <span class="note" role="status">
          {count(shown.length, 'package')} of {packages.length}
        </span>
      </search>
      <VirtualList
        class="packages"
        label="List of packages"
        count={shown.length}
        rowHeight={rowHeight}
        row={(i) => {
          const { name, version, kind, licence } = shown[i] as Package;
          return (
            <li key={i} class="package">
              <span>{name}</span>
              <span>{version}</span>
              <span>{kind}</span>
              <span>{licence}</span>
            </li>
          );
        }}
      />
    </section>
  );
}
