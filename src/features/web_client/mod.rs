//! Serves the JavaScript client of `src/web/client`, so that a page needs nothing but a `<script type="module">`.

pub(crate) mod routes;
