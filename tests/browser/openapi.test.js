// The server's description of itself, judged by a validator of OpenAPI that is not ours.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Validator } from '@seriousme/openapi-schema-validator';
import { Server } from './support/server.js';

test('the description is valid OpenAPI 3.1', async (t) => {
  const server = await Server.start(t);
  const answer = await fetch(`${server.url}/openapi.json`);
  assert.equal(answer.headers.get('content-type'), 'application/json');
  const validator = new Validator();
  const { valid, errors } = await validator.validate(/** @type {any} */ (await answer.json()));
  assert.ok(valid, JSON.stringify(errors));
  assert.equal(validator.version, '3.1');

  const paths = { '/a': { get: { responses: { 200: {} } } } };
  const broken = { openapi: '3.1.0', info: { title: 'x', version: '1' }, paths };
  assert.equal((await new Validator().validate(broken)).valid, false, 'the validator can say no');
});
