/**
 * The items of `source`. Whenever the next one is not there within `ms`, `stalled` is called, and the wait goes on.
 *
 *     for await (const chunk of noticeStall(upload, 200, letAnotherIn)) write(chunk);
 */
export async function* noticeStall<T>(
  source: AsyncIterable<T>,
  ms: number,
  stalled: () => void,
): AsyncGenerator<T, void, undefined> {
  let waits = true;
  const timer = setTimeout(() => waits && stalled(), ms);
  try {
    for await (const item of source) {
      // The time that the reader takes is not the source's.
      waits = false;
      yield item;
      waits = true;
      timer.refresh();
    }
  } finally {
    clearTimeout(timer);
  }
}
