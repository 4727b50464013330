import { QueryClient, QueryClientProvider } from '@tanstack/react-query';
import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';
import { RejoinProvider, RootErrorBoundary } from 'rejoin-client/react';

import { App } from './App.jsx';
import { rejoin } from './lib/client.js';
import './styles.css';

createRoot(document.getElementById('root')).render(
  <StrictMode>
    <RootErrorBoundary rejoin={rejoin}>
      <QueryClientProvider client={new QueryClient()}>
        <RejoinProvider rejoin={rejoin}>
          <App />
        </RejoinProvider>
      </QueryClientProvider>
    </RootErrorBoundary>
  </StrictMode>,
);
