/** @file The writer of ONNX models in bench/, against the wire format written out by hand. */

import { expect, test } from 'vitest'
import { onnxModel } from '../../bench/onnx-model.ts'

const text = (value: string) => [value.length, ...new TextEncoder().encode(value)]
/** A field of bytes: its number and wire type, the length, the bytes. */
const field = (id: number, ...parts: (number | number[])[]) => {
  const bytes = parts.flat()
  return [(id << 3) | 2, bytes.length, ...bytes]
}
const name = (id: number, value: string) => [(id << 3) | 2, ...text(value)]
const value = (of: string, size: number) => [
  name(1, of),
  field(2, field(1, 0x08, 1, field(2, field(1, 0x08, size)))),
]

test('a graph of one node with every kind of attribute and a weight', () => {
  const model = onnxModel({
    nodes: [
      {
        op: 'Any',
        domain: 'com.x',
        inputs: ['x', 'w'],
        outputs: ['y'],
        attributes: { axis: -1, epsilon: { float: 1 }, pads: [1, 300] },
      },
    ],
    inputs: [{ name: 'x', shape: [2] }],
    outputs: [{ name: 'y', shape: [3] }],
    weights: [{ name: 'w', shape: [1], data: new Float32Array([1]) }],
  })
  const minusOne = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]
  const node = [
    name(1, 'x'),
    name(1, 'w'),
    name(2, 'y'),
    name(4, 'Any'),
    field(5, name(1, 'axis'), 0x18, minusOne, 0xa0, 1, 2),
    field(5, name(1, 'epsilon'), 0x15, 0, 0, 0x80, 0x3f, 0xa0, 1, 1),
    field(5, name(1, 'pads'), 0x40, 1, 0x40, 0xac, 2, 0xa0, 1, 7),
    name(7, 'com.x'),
  ]
  const graph = [
    field(1, ...node),
    name(2, 'graph'),
    field(5, 0x08, 1, 0x10, 1, name(8, 'w'), field(9, 0, 0, 0x80, 0x3f)),
    field(11, ...value('x', 2)),
    field(12, ...value('y', 3)),
  ].flat()
  const length = [0x80 | (graph.length & 127), graph.length >> 7]
  const expected = [
    [0x08, 8],
    [0x3a, ...length, ...graph],
    field(8, name(1, ''), 0x10, 17),
    field(8, name(1, 'com.x'), 0x10, 1),
  ]
  expect([...model]).toEqual(expected.flat())
})
