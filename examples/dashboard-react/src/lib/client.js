// The server that the page shows.

import { createRejoin } from 'rejoin-client';

export const rejoin = createRejoin({
  url: import.meta.env?.VITE_API_BASE_URL ?? '',
  environment: import.meta.env ?? {},
});
