/** Small pieces of views: states, times, errors, tabs. */
import type { ComponentChildren } from 'preact';
import type { BuildState } from '../../src/api/ui/types.ts';
import type { ApiError } from '../data/source.ts';
import { type StepState, stateWords } from '../data/steps.ts';

const signs: Record<StepState | BuildState, string> = {
  waiting: '○',
  running: '▶',
  done: '✓',
  completed: '✓',
  cached: '≡',
  failed: '✕',
  canceled: '⊘',
};

/** A state as a sign with its word, which is hidden where there is no room for it. */
export function State({ state, short }: { state: StepState | BuildState; short?: boolean }) {
  const word = state === 'completed' ? 'completed' : stateWords[state];
  return (
    <span class={`state ${state}`}>
      <span aria-hidden="true">{signs[state]}</span>
      <span class={short ? 'unseen' : 'state-word'}>{word}</span>
    </span>
  );
}

interface SearchBoxProps {
  /** What is searched, for those who do not see the box. */
  label: string;
  /** The words in the empty box; default the label. */
  placeholder?: string;
  value: string;
  onChange(text: string): void;
  onKeyDown?(event: KeyboardEvent): void;
}

/** A box for words to search for. */
export function SearchBox({ label, placeholder = label, value, onChange, onKeyDown }: SearchBoxProps) {
  return (
    <label>
      <span class="unseen">{label}</span>
      <input
        type="search"
        placeholder={placeholder}
        value={value}
        onInput={(event) => onChange(event.currentTarget.value)}
        onKeyDown={onKeyDown}
      />
    </label>
  );
}

/** What went wrong, and what to do next. */
export function Problem({ error }: { error: Error }) {
  const { hint } = error as Partial<ApiError>;
  return (
    <div class="problem" role="alert">
      <strong>{error.message}</strong>
      {hint !== undefined && <p>{hint}</p>}
    </div>
  );
}

export interface Tab {
  name: string;
  title: string;
  href: string;
  note?: ComponentChildren;
}

/** Links to the parts of a view. */
export function Tabs({ tabs, now, label }: { tabs: readonly Tab[]; now: string; label: string }) {
  return (
    <nav class="tabs" aria-label={label}>
      {tabs.map(({ name, title, href, note }) => (
        <a key={name} href={href} aria-current={name === now ? 'page' : undefined}>
          {title}
          {note !== undefined && <span class="note"> {note}</span>}
        </a>
      ))}
    </nav>
  );
}

/** Names with their values. */
export function Facts({ facts }: { facts: readonly (readonly [string, ComponentChildren])[] }) {
  return (
    <dl class="facts">
      {facts
        .filter(([, value]) => value !== undefined && value !== '')
        .map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
    </dl>
  );
}
