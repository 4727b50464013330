/** The newest comparisons. @param {import('rejoin-client').Rejoin} rejoin @param {number} limit */
export const readAudit = async (rejoin, limit) =>
  (await rejoin.requests.send('GET', `/reconciliation/audit?limit=${limit}`)).body.items;

/** Compares everything now. @param {import('rejoin-client').Rejoin} rejoin */
export const compareNow = (rejoin) => rejoin.requests.send('POST', '/reconciliation/run', { body: {} });
