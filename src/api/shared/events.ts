/** The events of images and of the build cache. The latest are kept, and listeners hear the new ones. */
import type { StoredOutput } from '../../exporter/index.ts';
import { familiarName } from '../../oci/index.ts';
import { now } from '../../progress/index.ts';

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
  /** The owner of the build that caused it (`identityKey`); undefined when no build did. */
  owner?: string;
}

/** The image that an event is about. */
export interface EventImage {
  /** The digest of the image's config. */
  id: string;
  labels: Readonly<Record<string, string>>;
}

/** How many events are kept for listeners that come later; dockerd keeps as many. */
const kept = 256;

/** The most labels of an image that its events have: each event of each name holds them anew. */
const maxLabels = 1000;
const shortened = new WeakMap<EventImage['labels'], EventImage['labels']>();

/** The labels of an image that its events have. */
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

/** The events of a daemon: `emit` sends one, `listen` hears them, and `past` has the latest. */
export class EventBus {
  readonly #past: ApiEvent[] = [];
  readonly #listeners = new Set<(event: ApiEvent) => void>();

  /** Sends an event of now to the listeners. A listener must not throw. */
  emit(
    type: ApiEvent['type'],
    action: string,
    id: string,
    attributes: Record<string, string> = {},
    owner?: string,
  ): void {
    const event = { type, action, id, attributes, time: now(), owner };
    if (this.#past.push(event) > kept) this.#past.shift();
    for (const listener of this.#listeners) listener(event);
  }

  /** Sends an event about an image. Its attributes are the image's labels, and the name that the event is about. */
  emitImage(action: string, { id, labels }: EventImage, name: string, owner?: string): void {
    this.emit('image', action, id, { ...attributesOf(labels), name }, owner);
  }

  /** Sends the events of images that a build of `owner` has put into the store, and of each name that they got. */
  emitBuilt(stored: readonly StoredOutput[], owner: string): void {
    for (const image of stored) {
      this.emitImage('create', image, image.id, owner);
      for (const name of image.names) this.emitImage('tag', image, familiarName(name), owner);
    }
  }

  /** The kept events, oldest first. */
  past(): readonly ApiEvent[] {
    return this.#past;
  }

  /** Calls back for each event from now on. Returns a function that ends this. */
  listen(listener: (event: ApiEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}
