// Errors of R2 with the codes that Cloudflare gives them; the binding's error message shows both.

export class R2Error extends Error {
  // `object` is what a failed condition of a read still tells about the object.
  constructor(status, code, message, object = null) {
    super(message);
    this.status = status;
    this.code = code;
    this.object = object;
  }
}

export const invalidArgument = (message) => new R2Error(400, 10029, message);
// Not 404: the runtime takes that for a missing object.
export const noSuchBucket = () =>
  new R2Error(400, 10006, "The specified bucket does not exist.");
export const noSuchKey = () => new R2Error(404, 10007, "The specified key does not exist.");
export const entityTooSmall = () =>
  new R2Error(400, 10011, "Your proposed upload is smaller than the minimum allowed object size.");
export const entityTooLarge = () =>
  new R2Error(400, 100100, "Your proposed upload exceeds the maximum allowed object size.");
export const metadataTooLarge = () =>
  new R2Error(400, 10012, "Your metadata headers exceed the maximum allowed metadata size.");
export const invalidName = () =>
  new R2Error(400, 10020, "The specified object name is not valid.");
export const invalidLimit = () =>
  new R2Error(400, 10022, "MaxKeys params must be positive integer <= 1000.");
export const noSuchUpload = () =>
  new R2Error(400, 10024, "The specified multipart upload does not exist.");
export const invalidPart = () =>
  new R2Error(400, 10025, "One or more of the specified parts could not be found.");
export const preconditionFailed = (object = null) =>
  new R2Error(412, 10031, "At least one of the pre-conditions you specified did not hold.", object);
export const invalidRange = () =>
  new R2Error(416, 10039, "The requested range is not satisfiable");
export const badUpload = () =>
  new R2Error(500, 10048, "There was a problem with the multipart upload.");
export const internalError = () =>
  new R2Error(500, 10001, "We encountered an internal error. Please try again.");

export const badDigest = (algorithm, wanted, got) =>
  new R2Error(
    400,
    10037,
    `The ${algorithm} checksum you specified did not match what we received.\n` +
      `You provided a ${algorithm} checksum with value: ${wanted}\nActual ${algorithm} was: ${got}`,
  );
