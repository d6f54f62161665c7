/**
 * The memory of blocks, which layers in a row use again: fresh memory has to be cleared by the system page by page, and
 * makes V8 look for garbage. It is given back soon after the last layer.
 */

/** The most bytes that are kept between layers. */
const most = 48 << 20;
/** How long they are kept, ms: one layer comes after another without a pause. */
const keptFor = 500;

/** Memory of fewer bytes may be Node's own, of which many buffers have a part; Node does not let go of it. */
const smallest = 256 << 10;

const spare: Buffer[] = [];
let kept = 0;
let timer: NodeJS.Timeout | undefined;

/** A block of `size` bytes, with anything in it. */
export function takeBlock(size: number): Buffer {
  const at = spare.findLastIndex(({ length }) => length === size);
  if (at < 0) return Buffer.allocUnsafeSlow(size);
  kept -= size;
  return spare.splice(at, 1)[0] as Buffer;
}

/** Takes a block back that nobody looks at any more. */
export function giveBlock(block: Buffer): void {
  if (kept + block.length > most) return;
  spare.push(block);
  kept += block.length;
  clearTimeout(timer);
  timer = setTimeout(drop, keptFor).unref();
}

function drop(): void {
  freeBlocks(spare.splice(0));
  kept = 0;
}

/**
 * Frees the memory of buffers that nobody looks at any more; they are empty then. Otherwise V8 would have to find out,
 * for which it goes through all objects again and again, or, in an idle thread, never does.
 */
export function freeBlocks(blocks: readonly Buffer[]): void {
  for (const { buffer } of blocks) {
    if (buffer.byteLength >= smallest) (buffer as ArrayBuffer).transfer(0);
  }
}
