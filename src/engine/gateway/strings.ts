import { configureTextEncoding } from '@bufbuild/protobuf/wire';
import { bytesOf, nameOf } from '../../linux/index.ts';

/**
 * Makes the strings of all messages in this process take any bytes and give them back: they hold names of files, and
 * BuildKit's peers neither check them for UTF-8 nor change them.
 */
export function takeAnyBytes(): void {
  const encoder = new TextEncoder();
  configureTextEncoding({
    encodeUtf8: (text) => new Uint8Array(bytesOf(text)),
    encodeUtf8Into(text, to) {
      if (text.isWellFormed()) return encoder.encodeInto(text, to);
      const bytes = bytesOf(text);
      to.set(bytes);
      return { read: text.length, written: bytes.length };
    },
    decodeUtf8: (bytes) => nameOf(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)),
    checkUtf8: () => true,
  });
}
