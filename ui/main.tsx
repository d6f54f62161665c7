/** The page: its frame, and the view that the address names. A new view has a line in `views`. */
import { type ComponentType, render } from 'preact';
import { useEffect, useMemo, useState } from 'preact/hooks';
import type { Me } from '../src/api/ui/types.ts';
import { archiveSource } from './data/archive.ts';
import { type Address, addressOf, useAddress } from './data/router.ts';
import { httpSource } from './data/source.ts';
import { Problem } from './parts/bits.tsx';
import { PageContext } from './parts/context.ts';
import { straightenTexts } from './parts/straight.ts';
import './style.css';
import { BuildView } from './views/build.tsx';
import { BuildsView } from './views/builds.tsx';
import { CompareView } from './views/compare.tsx';
import { DiskView } from './views/disk.tsx';
import { ImagesView } from './views/images.tsx';

interface View {
  /** The first part of the addresses that it shows. */
  name: string;
  /** Its link in the frame; none for a view that others lead to. */
  title?: string;
  /** The scope without which there is nothing to see in it. */
  scope: string;
  Shown: ComponentType<{ address: Address }>;
}

const views: readonly View[] = [
  { name: 'builds', title: 'Builds', scope: 'build', Shown: Builds },
  { name: 'compare', scope: 'build', Shown: CompareView },
  { name: 'images', title: 'Images', scope: 'images:read', Shown: ImagesView },
  { name: 'disk', title: 'Disk', scope: 'cache:read', Shown: DiskView },
];

/** The list of builds, or one of them. */
function Builds({ address }: { address: Address }) {
  return address.path.length > 1 ? <BuildView address={address} /> : <BuildsView address={address} />;
}

function App() {
  const source = useMemo(() => archiveSource() ?? httpSource, []);
  const [me, setMe] = useState<Me | Error>();
  const address = useAddress();
  useEffect(() => {
    source.me().then(setMe, setMe);
  }, [source]);
  if (me === undefined) return <Waiting />;
  if (me instanceof Error) return <Problem error={me} />;
  const seen = views.filter(({ scope }) => source.archive !== undefined || me.scopes.includes(scope));
  const shown =
    address.path.length === 0 && source.archive !== undefined
      ? { ...address, path: ['builds', source.archive] }
      : address;
  const view = seen.find(({ name }) => name === (shown.path[0] ?? seen[0]?.name));
  return (
    <PageContext.Provider value={{ source, me, offset: me.now - Date.now() }}>
      <button type="button" class="skip" onClick={focusContent}>
        Skip to the content
      </button>
      <header class="frame">
        <a class="brand" href={addressOf([])}>
          Drydock
        </a>
        {source.archive === undefined ? (
          <nav aria-label="Views">
            {seen.map(
              ({ name, title }) =>
                title !== undefined && (
                  <a
                    key={name}
                    href={addressOf([name])}
                    aria-current={view?.name === name ? 'page' : undefined}
                  >
                    {title}
                  </a>
                ),
            )}
          </nav>
        ) : (
          <span class="note">archive of a build</span>
        )}
        {me.who !== '' && <span class="who">{me.who}</span>}
      </header>
      <main id="content" tabIndex={-1}>
        {view === undefined ? (
          <Problem
            error={
              new Error(
                seen.length === 0
                  ? 'You may see nothing here: you lack the scope "build".'
                  : 'There is nothing at this address.',
              )
            }
          />
        ) : (
          <view.Shown address={shown} />
        )}
      </main>
    </PageContext.Provider>
  );
}

/** What the document shows before there is a script, and stays until it is known who looks. */
function Waiting() {
  return (
    <>
      <header class="frame">
        <a class="brand" href={addressOf([])}>
          Drydock
        </a>
      </header>
      <main id="content" tabIndex={-1}>
        <p class="loading">Loading …</p>
      </main>
    </>
  );
}

function focusContent(): void {
  document.getElementById('content')?.focus();
}

straightenTexts();
const root = document.getElementById('page');
root?.replaceChildren();
if (root !== null) render(<App />, root);
