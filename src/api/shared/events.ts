/** What happened to images and to the build cache: kept for a while, and told to whoever listens. */
import type { StoredOutput } from '../../exporter/index.ts';
import { familiarName } from '../../oci/index.ts';

/** One event, with the names that docker's API gives to types, actions and attributes. */
export interface ApiEvent {
  type: 'image' | 'builder';
  /** image: `pull`, `push`, `load`, `import`, `save`, `tag`, `untag`, `delete`, `prune`, `create`; builder: `prune`. */
  action: string;
  /** The image's ID or name; '' where there is none. */
  id: string;
  attributes: Record<string, string>;
  /** ms since the epoch, with a fraction */
  time: number;
  /** Whose build it was that did it (`identityKey`); undefined when it was no build. */
  owner?: string;
}

/** An image as events tell of it. */
export interface EventImage {
  /** Config digest. */
  id: string;
  labels: Readonly<Record<string, string>>;
}

/** Events kept for those who ask for what happened before they came, as many as dockerd keeps. */
const kept = 256;

/** Labels of an image that its events have: each event of each name holds them anew. */
const maxLabels = 1000;
const shortened = new WeakMap<EventImage['labels'], EventImage['labels']>();

/** An image's labels, as far as its events have them. */
function attributesOf(labels: EventImage['labels']): EventImage['labels'] {
  let short = shortened.get(labels);
  if (short === undefined) {
    const names = Object.keys(labels);
    short =
      names.length <= maxLabels
        ? labels
        : Object.fromEntries(names.slice(0, maxLabels).map((name) => [name, labels[name] ?? '']));
    shortened.set(labels, short);
  }
  return short;
}

export class EventBus {
  readonly #past: ApiEvent[] = [];
  readonly #listeners = new Set<(event: ApiEvent) => void>();

  /** Tells an event of now. A listener must not throw. */
  emit(
    type: ApiEvent['type'],
    action: string,
    id: string,
    attributes: Record<string, string> = {},
    owner?: string,
  ): void {
    const event = { type, action, id, attributes, time: performance.timeOrigin + performance.now(), owner };
    if (this.#past.push(event) > kept) this.#past.shift();
    for (const listener of this.#listeners) listener(event);
  }

  /** Tells an event of an image: its labels are attributes, and the name that it is about. */
  emitImage(action: string, { id, labels }: EventImage, name: string, owner?: string): void {
    this.emit('image', action, id, { ...attributesOf(labels), name }, owner);
  }

  /** Tells of images that a build of `owner`'s has put into the store, and of each name that they got. */
  emitBuilt(stored: readonly StoredOutput[], owner: string): void {
    for (const image of stored) {
      this.emitImage('create', image, image.id, owner);
      for (const name of image.names) this.emitImage('tag', image, familiarName(name), owner);
    }
  }

  /** The events kept, oldest first. */
  past(): readonly ApiEvent[] {
    return this.#past;
  }

  /** Calls back for each event from now on; returns how to stop that. */
  listen(listener: (event: ApiEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}
