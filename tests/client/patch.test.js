// Patches: what they make, and what they leave alone.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { applyPatch, equal, mergeDifference, mergePatch } from '../../src/web/client/patch.js';

/** @param {any} state @param {any[]} operations @param {any} expected */
function check(state, operations, expected) {
  const before = structuredClone(state);
  assert.deepEqual(applyPatch(state, operations), expected);
  assert.deepEqual(state, before, 'the old state stays as it was');
}

test('operations of a JSON Patch', () => {
  check({ a: 1 }, [{ op: 'add', path: '/b', value: 2 }], { a: 1, b: 2 });
  check({ a: 1 }, [{ op: 'replace', path: '/a', value: 2 }], { a: 2 });
  check({ a: 1, b: 2 }, [{ op: 'remove', path: '/a' }], { b: 2 });
  check({ a: [1, 3] }, [{ op: 'add', path: '/a/1', value: 2 }], { a: [1, 2, 3] });
  check({ a: [1, 2] }, [{ op: 'add', path: '/a/-', value: 3 }], { a: [1, 2, 3] });
  check({ a: [1, 2, 3] }, [{ op: 'remove', path: '/a/0' }, { op: 'replace', path: '/a/1', value: 4 }], { a: [2, 4] });
  check({ 'a/b': { '~': 1 } }, [{ op: 'replace', path: '/a~1b/~0', value: 2 }], { 'a/b': { '~': 2 } });
  check(null, [{ op: 'add', path: '', value: { a: 1 } }], { a: 1 });
  check({ a: 1 }, [{ op: 'replace', path: '', value: null }], null);
  check({ a: { b: 1 } }, [{ op: 'move', from: '/a/b', path: '/c' }, { op: 'copy', from: '/c', path: '/a/d' }], {
    a: { d: 1 }, c: 1,
  });
  check({ a: 1 }, [{ op: 'test', path: '/a', value: 1 }], { a: 1 });
});

test('what does not fit is refused', () => {
  for (const [state, operation] of /** @type {[any, any][]} */ ([
    [{}, { op: 'remove', path: '/a' }],
    [{}, { op: 'replace', path: '/a', value: 1 }],
    [{}, { op: 'add', path: '/a/b', value: 1 }],
    [{ a: [1] }, { op: 'add', path: '/a/2', value: 1 }],
    [{ a: [1] }, { op: 'remove', path: '/a/1' }],
    [{ a: [1] }, { op: 'add', path: '/a/x', value: 1 }],
    [{ a: 1 }, { op: 'test', path: '/a', value: 2 }],
    [{}, { op: 'add', path: '/constructor/prototype/x', value: 1 }],
  ])) {
    assert.throws(() => applyPatch(state, [operation]), /does not fit/, JSON.stringify(operation));
  }
});

test('a member called __proto__ is a member', () => {
  const state = applyPatch({}, [{ op: 'add', path: '/__proto__', value: { bad: true } }]);
  assert.equal(/** @type {any} */ ({}).bad, undefined);
  assert.deepEqual(Object.keys(state), ['__proto__']);
  assert.equal(Object.getPrototypeOf(mergePatch({}, JSON.parse('{"__proto__": {"bad": true}}'))), Object.prototype);
});

test('what a patch does not touch is the same object', () => {
  const state = { a: { x: 1 }, b: { list: [{ n: 1 }, { n: 2 }] } };
  const next = applyPatch(state, [
    { op: 'replace', path: '/b/list/0/n', value: 5 },
    { op: 'replace', path: '/b/list/0/n', value: 6 },
  ]);
  assert.equal(next.a, state.a);
  assert.equal(next.b.list[1], state.b.list[1]);
  assert.notEqual(next.b, state.b);
  assert.deepEqual(next.b.list, [{ n: 6 }, { n: 2 }]);
});

test('merge patches as RFC 7396 has them', () => {
  for (const [state, patch, expected] of [
    [{ a: 'b' }, { a: 'c' }, { a: 'c' }],
    [{ a: 'b' }, { b: 'c' }, { a: 'b', b: 'c' }],
    [{ a: 'b', b: 'c' }, { a: null }, { b: 'c' }],
    [{ a: ['b'] }, { a: 'c' }, { a: 'c' }],
    [{ a: { b: 'c' } }, { a: { b: 'd', c: null } }, { a: { b: 'd' } }],
    [{ a: [{ b: 'c' }] }, { a: [1] }, { a: [1] }],
    [['a', 'b'], ['c', 'd'], ['c', 'd']],
    [{ e: null }, { a: 1 }, { e: null, a: 1 }],
    [[1, 2], { a: 'b', c: null }, { a: 'b' }],
    [{}, { a: { bb: { ccc: null } } }, { a: { bb: {} } }],
    [null, { a: 1 }, { a: 1 }],
  ]) {
    assert.deepEqual(mergePatch(state, patch), expected, JSON.stringify(patch));
  }
});

test('the difference of two states makes the one of the other', () => {
  for (const [from, to] of [
    [{ a: 1, b: { c: 2, d: 3 } }, { a: 1, b: { c: 4 }, e: [1] }],
    [{}, { a: { b: {} } }],
    [{ a: [1, 2] }, { a: [1] }],
    [{ a: 1 }, { a: 1 }],
  ]) {
    assert.deepEqual(mergePatch(from, mergeDifference(from, to)), to);
  }
  assert.deepEqual(mergeDifference({ a: 1, b: 2 }, { a: 1, b: 3 }), { b: 3 });
});

test('equality is of JSON values', () => {
  assert.ok(equal({ a: [1, { b: null }], c: 'x' }, { c: 'x', a: [1, { b: null }] }));
  for (const [one, other] of [[{ a: 1 }, { b: 1 }], [[], {}], [null, {}], [[1], [1, 2]], ['1', 1]]) {
    assert.ok(!equal(one, other), JSON.stringify([one, other]));
  }
});
