// workerd's own two streams.

export class IdentityTransformStream extends TransformStream {
  constructor() {
    super({ transform: (piece, controller) => controller.enqueue(asBytes(piece)) });
  }
}

export class FixedLengthStream extends TransformStream {
  constructor(length) {
    let left = Number(length);
    super({
      transform(piece, controller) {
        const bytes = asBytes(piece);
        left -= bytes.byteLength;
        if (left < 0) throw new TypeError("Attempt to write too many bytes through a FixedLengthStream.");
        controller.enqueue(bytes);
      },
      flush() {
        if (left > 0) throw new TypeError("FixedLengthStream did not see all expected bytes before close().");
      },
    });
  }
}

function asBytes(piece) {
  if (piece instanceof Uint8Array) return piece;
  if (ArrayBuffer.isView(piece)) return new Uint8Array(piece.buffer, piece.byteOffset, piece.byteLength);
  if (piece instanceof ArrayBuffer) return new Uint8Array(piece);
  throw new TypeError("This TransformStream is being used as a byte stream, but received something that is not bytes.");
}
