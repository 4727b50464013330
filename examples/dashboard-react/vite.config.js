import { defineConfig } from 'vite';

export default defineConfig({
  // The compiler's own JSX; a plugin would only add hot reloading that keeps state.
  esbuild: { jsx: 'automatic' },
  // The client is a folder beside this one: its peers are this page's.
  resolve: { dedupe: ['react', 'react-dom', '@tanstack/react-query'] },
});
