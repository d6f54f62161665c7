/** What may be done to the build: cancel it while it runs; pin its record, and remove it. */
import { useLayoutEffect, useRef, useState } from 'preact/hooks';
import type { BuildDetail } from '../../../src/api/ui/types.ts';
import { addressOf, go } from '../../data/router.ts';
import { usePage } from '../../parts/context.ts';

interface Props {
  build: BuildDetail;
  /** Is called when something of the build has changed; resolves when that is shown. */
  changed(): Promise<void>;
}

/** The buttons; nothing for who may not build, and in an archive. */
export function Actions({ build, changed }: Props) {
  const { source, me } = usePage();
  const [said, setSaid] = useState<{ text: string; of: BuildDetail['state'] }>();
  const [busy, setBusy] = useState(false);
  const { ref, state, pinned } = build;
  const { actions } = source;
  if (actions === undefined || !me.scopes.includes('build')) return null;
  const act = async (work: Promise<unknown>, done: string) => {
    setBusy(true);
    setSaid(undefined);
    const say = (text: string) => setSaid({ text, of: state });
    try {
      await work;
      say(done);
    } catch (error) {
      say((error as Error).message);
    }
    setBusy(false);
  };
  return (
    <div class="actions">
      {state === 'running' ? (
        <Sure
          key="cancel"
          word="Cancel the build"
          sure="Yes, cancel it"
          disabled={busy}
          act={() => act(actions.cancel(ref).then(changed), 'It is being cancelled.')}
        />
      ) : (
        <>
          <button
            type="button"
            disabled={busy}
            title="A pinned record is kept until it is removed"
            onClick={() =>
              act(
                actions.pin(ref, !pinned).then(changed),
                pinned ? 'The record is no longer pinned.' : 'The record is pinned.',
              )
            }
          >
            {pinned ? 'Unpin the record' : 'Pin the record'}
          </button>
          <Sure
            key="remove"
            word="Remove the record"
            sure="Yes, remove it"
            disabled={busy}
            act={async () => {
              await act(
                actions.remove(ref).then(() => go(addressOf(['builds']))),
                'The record is removed.',
              );
            }}
          />
        </>
      )}
      <span role="status" class="note">
        {/* What was said of a running build is over with it. */}
        {said?.of === state && said.text}
      </span>
    </div>
  );
}

interface SureProps {
  word: string;
  sure: string;
  disabled: boolean;
  act(): Promise<void>;
}

/** A button that asks once more before it acts; the keyboard stays where it is. */
function Sure({ word, sure, disabled, act }: SureProps) {
  const [asks, setAsks] = useState(false);
  const first = useRef<HTMLButtonElement>(null);
  const yes = useRef<HTMLButtonElement>(null);
  const wasAsked = useRef(false);
  useLayoutEffect(() => {
    if (asks) yes.current?.focus();
    else if (wasAsked.current) first.current?.focus();
    wasAsked.current = asks;
  }, [asks]);
  if (!asks) {
    return (
      <button type="button" ref={first} disabled={disabled} onClick={() => setAsks(true)}>
        {word}
      </button>
    );
  }
  const leave = () => setAsks(false);
  return (
    // biome-ignore lint/a11y/useSemanticElements: two buttons are no set of fields
    <span role="group" aria-label={word} onKeyDown={(event) => event.key === 'Escape' && leave()}>
      <button
        type="button"
        class="danger"
        ref={yes}
        disabled={disabled}
        onClick={() => {
          leave();
          void act();
        }}
      >
        {sure}
      </button>
      <button type="button" onClick={leave}>
        No
      </button>
    </span>
  );
}
