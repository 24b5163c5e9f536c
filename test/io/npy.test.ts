/** @file NumPy's files: what NumPy writes is read, what is written NumPy reads. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { tensor } from 'tandem'
import { fromNpy, loadNpy, saveNpy, toNpy } from 'tandem/io'
import { allDTypes } from '../../src/core/dtype.ts'

/** A file as numpy.save makes it. */
function npy(header: string, data: readonly number[], version = 1): Uint8Array {
  const text = `${header.padEnd(version === 1 ? 117 : 115)}\n`
  const length =
    version === 1
      ? [text.length & 255, text.length >> 8]
      : [text.length & 255, text.length >> 8, 0, 0]
  const start = Array.from(text, (c) => c.charCodeAt(0))
  return Uint8Array.from([0x93, 78, 85, 77, 80, 89, version, 0, ...length, ...start, ...data])
}
const header = (descr: string, order: string, shape: string) =>
  `{'descr': '${descr}', 'fortran_order': ${order}, 'shape': ${shape}, }`

test('writes what numpy.save(x) writes, byte for byte', async () => {
  const expected = npy(header('<i4', 'False', '(2, 1)'), [1, 0, 0, 0, 2, 0, 0, 0])
  expect(await toNpy(tensor([[1], [2]], { dtype: 'int32' }))).toEqual(expected)
  const flat = new TextDecoder('latin1').decode(await toNpy(tensor([1, 2])))
  expect(flat).toContain("'shape': (2,), }")
  expect(new TextDecoder('latin1').decode(await toNpy(tensor(1)))).toContain("'shape': (), }")
})

test.each(allDTypes.filter((dtype) => dtype !== 'bfloat16'))('%s comes back', async (dtype) => {
  for (const values of [
    [
      [1, 0, 1],
      [0, 1, 1],
    ],
    [],
    1,
  ]) {
    const x = tensor(values).cast(dtype)
    const back = fromNpy(await toNpy(x))
    expect([back.dtype, back.shape, back.toArraySync()]).toEqual([dtype, x.shape, x.toArraySync()])
  }
})

test('reads Fortran order, big-endian numbers and version 2', () => {
  const columns = fromNpy(npy(header('|u1', 'True', '(2, 3)'), [1, 4, 2, 5, 3, 6]))
  expect(columns.toArraySync()).toEqual([
    [1, 2, 3],
    [4, 5, 6],
  ])
  expect(fromNpy(npy(header('>i4', 'False', '(1,)'), [0, 0, 1, 2])).itemSync()).toBe(258)
  expect(fromNpy(npy(header('|b1', 'False', '()'), [1], 2)).itemSync()).toBe(1)
})

test('files', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'tandem-npy-'))
  await saveNpy(tensor([1, 2]), join(folder, 'x.npy'))
  expect((await loadNpy(join(folder, 'x.npy'))).toArraySync()).toEqual([1, 2])
  rmSync(folder, { recursive: true })
})

test('what is wrong is named', async () => {
  const good = npy(header('<f4', 'False', '(2,)'), [0, 0, 0, 0, 0, 0, 0, 0])
  for (let length = 0; length < good.length; length += 5)
    expect(() => fromNpy(good.subarray(0, length))).toThrow(/npy: /)
  expect(() => fromNpy(Uint8Array.from([...good, 0]))).toThrow(/9 bytes of data\. Expected 8/)
  expect(() => fromNpy(npy(header('|O', 'False', '(1,)'), [0]))).toThrow(/element type \|O is not/)
  expect(() => fromNpy(npy("{'descr': [('a', '<f4')]}", []), { source: 'a.npy' })).toThrow(
    /a\.npy: the header/,
  )
  await expect(toNpy(tensor([1], { dtype: 'bfloat16' }))).rejects.toThrow(/NumPy has no bfloat16/)
})
