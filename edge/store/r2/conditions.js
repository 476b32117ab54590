// Conditions of a read or a write (RFC 9110, section 13), as `onlyIf` carries them.

// Whether they hold for `object`, which is undefined where nothing has that key.
export function hold(conditions, object) {
  if (conditions === undefined) return true;
  const { etagMatches, etagDoesNotMatch, uploadedBefore, uploadedAfter } = conditions;
  if (object === undefined) return etagMatches === undefined && uploadedAfter === undefined;
  const grain = conditions.secondsGranularity ? 1000 : 1;
  const at = (milliseconds) => Math.floor(Number(milliseconds) / grain);
  const uploaded = at(object.uploaded);
  const matches = etagMatches === undefined || named(etagMatches, object.etag, false);
  const differs = etagDoesNotMatch === undefined || !named(etagDoesNotMatch, object.etag, true);
  // An etag decides where there is one: dates are the weaker evidence.
  const after =
    uploadedAfter === undefined ||
    at(uploadedAfter) < uploaded ||
    (etagDoesNotMatch !== undefined && differs);
  const before =
    uploadedBefore === undefined ||
    uploaded < at(uploadedBefore) ||
    (etagMatches !== undefined && matches);
  return matches && differs && after && before;
}

function named(etags, etag, weakly) {
  return etags.some(
    ({ type, value }) =>
      type === "wildcard" || (value === etag && (type === "strong" || weakly)),
  );
}
