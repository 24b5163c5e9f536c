/** @file Saving and loading: exact round trips, and nothing touched when something is wrong. */
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { fromTypedArray, tensor, type Tensor } from 'tandem'
import {
  fromSafetensors,
  load,
  loadModel,
  loadTensors,
  save,
  saveModel,
  toSafetensors,
} from 'tandem/io'
import { Buffer, Module, Parameter } from 'tandem/nn'
import { allDTypes, dtypes } from '../../src/core/dtype.ts'

let folder = ''
const at = (name: string) => join(folder, name)
beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'tandem-io-'))))
afterEach(() => rmSync(folder, { recursive: true, force: true }))

class Scale extends Module {
  weight: Parameter
  count = new Buffer(tensor([0], { dtype: 'int32' }))
  readonly size: number
  constructor(size: number, value = 0) {
    super()
    this.size = size
    this.weight = new Parameter(tensor(Array.from({ length: size }, () => value)))
  }
  forward(x: Tensor) {
    return x.mul(this.weight)
  }
  override extraRepr() {
    return `size=${this.size}`
  }
}
class Net extends Module {
  one: Scale
  two = new Scale(2, 0.1)
  constructor(size = 3, value = 0) {
    super()
    this.one = new Scale(size, value)
  }
  forward(x: Tensor) {
    return this.two.forward(this.one.forward(x))
  }
}
const valuesOf = (module: Module) =>
  Object.entries(module.stateDict()).map(([name, t]) => [name, t.toArraySync()])

describe('bytes', () => {
  test.each(allDTypes)('%s comes back bit for bit', async (dtype) => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ minLength: 6, maxLength: 6 }), async (noise) => {
        const bytes = new Uint8Array(6 * dtypes[dtype].bytes)
        bytes.forEach((_, i) => (bytes[i] = dtype === 'bool' ? noise[i]! & 1 : noise[i % 6]!))
        const { tensors: made } = fromSafetensors(
          await toSafetensors({ x: tensor([1]).cast(dtype) }),
        )
        expect(made['x']!.dtype).toBe(dtype)
        const file = await toSafetensors({ x: made['x']! })
        expect(await toSafetensors(fromSafetensors(file).tensors)).toEqual(file)
      }),
      { numRuns: 5 },
    )
  })

  test('NaN payloads, negative zero and views', async () => {
    const odd = new Float32Array(new Uint32Array([0x7fc12345, 0x80000000, 1, 0x7f800000]).buffer)
    const x = fromTypedArray(odd, [2, 2])
    const { tensors } = fromSafetensors(
      await toSafetensors({ x, t: x.transpose(), row: x.slice(1) }),
    )
    const bits = (t: Tensor) => [...new Uint32Array(t.dataSync().buffer)]
    expect(bits(tensors['x']!)).toEqual(bits(x))
    expect(bits(tensors['t']!)).toEqual([0x7fc12345, 1, 0x80000000, 0x7f800000])
    expect(bits(tensors['row']!)).toEqual([1, 0x7f800000])
  })

  test('names that objects have already', async () => {
    const { tensors } = fromSafetensors(await toSafetensors({ constructor: tensor([1]) }))
    expect(Object.keys(tensors)).toEqual(['constructor'])
  })

  test('refuses what is no tensor', async () => {
    await expect(toSafetensors({ x: 1 as never })).rejects.toThrow(/'x' is of type number/)
    await expect(toSafetensors(3 as never)).rejects.toThrow(/expected a module or an object/)
  })
})

describe('files', () => {
  test('a module comes back exactly, into another object', async () => {
    const model = new Net(3, 1 / 3)
    await save(model, at('a.safetensors'), { metadata: { note: 'ü' } })
    const fresh = new Net()
    expect(await load(fresh, at('a.safetensors'))).toEqual({ missingKeys: [], unexpectedKeys: [] })
    expect(valuesOf(fresh)).toEqual(valuesOf(model))
    expect((await loadTensors(at('a.safetensors'))).metadata).toMatchObject({ note: 'ü' })
    expect(readdirSync(folder)).toEqual(['a.safetensors'])
  })

  test('a damaged file leaves the module as it was, wherever the damage is', async () => {
    await save(new Net(3, 5), at('a.safetensors'))
    const whole = readFileSync(at('a.safetensors'))
    const model = new Net(3, 7)
    const before = valuesOf(model)
    for (let length = 0; length < whole.length; length += 13) {
      writeFileSync(at('cut.safetensors'), whole.subarray(0, length))
      await expect(load(model, at('cut.safetensors'))).rejects.toThrow(/cut\.safetensors/)
      expect(valuesOf(model)).toEqual(before)
    }
    for (let i = 0; i < 60; i++) {
      const bent = Uint8Array.from(whole)
      bent[i]! ^= 0x15
      writeFileSync(at('bent.safetensors'), bent)
      const fresh = new Net(3, 7)
      // Free text in the metadata may be anything.
      const isRefused = await load(fresh, at('bent.safetensors')).then(
        () => false,
        () => true,
      )
      if (isRefused) expect(valuesOf(fresh)).toEqual(before)
      else expect(fresh.one.weight.toArraySync()).toEqual([5, 5, 5])
    }
  })

  test('missing and unexpected names are listed, and nothing is loaded', async () => {
    const { 'two.weight': _, ...rest } = new Net(3, 5).stateDict()
    await save({ ...rest, extra: tensor([1]) }, at('a.safetensors'))
    const model = new Net(3, 7)
    const before = valuesOf(model)
    await expect(load(model, at('a.safetensors'))).rejects.toThrow(
      /missing keys: 'two\.weight'\n.*unexpected keys: 'extra'/,
    )
    expect(valuesOf(model)).toEqual(before)
    expect(await load(model, at('a.safetensors'), { strict: false })).toEqual({
      missingKeys: ['two.weight'],
      unexpectedKeys: ['extra'],
    })
    expect(model.one.weight.toArraySync()).toEqual([5, 5, 5])
  })

  test('a write that fails leaves the old file and no other', async () => {
    await save({ x: tensor([1]) }, at('a.safetensors'))
    await expect(save({ x: tensor([2]) }, at('a.safetensors/b'))).rejects.toThrow(/EEXIST|ENOTDIR/)
    expect((await loadTensors(at('a.safetensors'))).tensors['x']!.itemSync()).toBe(1)
    expect(readdirSync(folder)).toEqual(['a.safetensors'])
  })

  test('no file, no path, no module, no file system', async () => {
    await expect(loadTensors(at('none'))).rejects.toThrow(
      /there is no file .*none\. Check the path/,
    )
    await expect(loadTensors('')).rejects.toThrow(/the path is empty/)
    await expect(loadTensors(folder)).rejects.toThrow(/cannot read/)
    await expect(load('a' as never, 'b')).rejects.toThrow(/expected a module first/)
    vi.stubGlobal('process', undefined)
    try {
      await expect(save({}, 'a')).rejects.toThrow(/a browser has no file system. Use await toSafe/)
    } finally {
      vi.unstubAllGlobals()
    }
  })
})

describe('models', () => {
  test('save writes what the model is made of beside its values', async () => {
    const model = new Net(3, 2)
    await saveModel(model, at('model.safetensors'))
    expect(readdirSync(folder).toSorted()).toEqual(['model.json', 'model.safetensors'])
    expect(JSON.parse(readFileSync(at('model.json'), 'utf8'))).toMatchObject({
      format: 'tandem-model',
      architecture: {
        class: 'Net',
        children: { one: { class: 'Scale', options: 'size=3', children: {} } },
      },
      tensors: { 'one.weight': { dtype: 'float32', shape: [3] } },
    })
    const fresh = new Net()
    await loadModel(fresh, at('model.safetensors'))
    expect(valuesOf(fresh)).toEqual(valuesOf(model))
  })

  test('a module of another making is refused, with the differences', async () => {
    await saveModel(new Net(3, 2), at('model.safetensors'))
    const other = new Net(4, 9)
    await expect(loadModel(other, at('model.safetensors'))).rejects.toThrow(
      /'one': saved as Scale\(size=3\), here Scale\(size=4\)\n.*'one\.weight': saved as float32 \[3\], here float32 \[4\]/,
    )
    expect(other.one.weight.toArraySync()).toEqual([9, 9, 9, 9])
    await expect(loadModel(new Scale(3), at('model.safetensors'))).rejects.toThrow(
      /the model: saved as Net\(\), here Scale\(size=3\)[^]*'one': saved as Scale\(size=3\), here missing/,
    )
  })

  test.each([
    ['{', /not valid JSON/],
    ['[]', /not the description of a Tandem model/],
    ['{"format":"tandem-model","formatVersion":2}', /version 2 of the format/],
    ['{"format":"tandem-model","formatVersion":1,"architecture":3}', /architecture is damaged/],
  ])('the description %s is refused', async (text, message) => {
    await saveModel(new Net(), at('model.safetensors'))
    writeFileSync(at('model.json'), text)
    await expect(loadModel(new Net(), at('model.safetensors'))).rejects.toThrow(message)
  })
})
