/** @file Tiles that are timed: the same bits with each, the fastest is used, and it is known the next time. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import {
  compile,
  conv2d,
  explain,
  manualSeed,
  noGrad,
  ones,
  randn,
  setBackend,
  UnsupportedError,
  ValueError,
  withConfig,
  type Tensor,
} from 'tandem'
import * as nn from 'tandem/nn'
import { Random } from '../../scripts/random-op.ts'
import { getBackend, type Choices } from '../../src/backend/backend.ts'
import { ChoiceFile } from '../../src/backend/cpu/choice-file.ts'
import { Program } from '../../src/compile/program.ts'
import type { Measure } from '../../src/compile/tune.ts'
import { defaultDevice, describeMachineCode } from '../devices.ts'

const bits = (t: Tensor) =>
  Buffer.from((t.dataSync() as Float32Array).slice().buffer).toString('hex')

let folder = ''
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'tandem-choices-'))
})
afterEach(async () => {
  await setBackend(defaultDevice)
  rmSync(folder, { recursive: true, force: true })
})

/** The program of a function without states, tuned by `measure`. */
function tunedProgram(
  f: (x: Tensor) => Tensor,
  x: Tensor,
  measure: Measure,
  { choices = new ChoiceFile(undefined) as Choices, packsWeights = true } = {},
) {
  const compiled = compile((t: Tensor) => noGrad(() => f(t)))
  compiled(x)
  const { graph } = compiled.programs[0]!
  const trace = { states: [], grads: [], actions: [], numberCount: 0 }
  return new Program(getBackend('cpu'), graph, trace, {
    tuning: { measure, choices },
    packsWeights,
  })
}

/** Says that the tile of this place is the fastest; the last one if there are not as many. */
const prefers =
  (place: number): Measure =>
  (runs) =>
    runs.map((run, i) => {
      run()
      return i === Math.min(place, runs.length - 1) ? 1 : 2
    })

describeMachineCode('tuning on cpu', () => {
  beforeEach(() => setBackend('cpu'))

  test('all tiles of random products and convolutions give the same bits', () => {
    let tuned = 0
    for (let seed = 1; seed <= 40; seed++) {
      manualSeed(seed)
      const random = new Random(seed)
      const [m, n] = [random.whole(3, 90), random.pick([16, 33, 48, 64, 100, 192])]
      const k = random.pick([2, 7, 100, 384, 700, 1600])
      const weight = randn([k, n])
      const bias = randn([n])
      const kernel = randn([random.pick([8, 20]), 6, 3, 3])
      const x = random.pick([randn([m, k]), randn([2, m, k])])
      const image = randn([2, 6, random.whole(5, 20), 17])
      const [f, input] = random.pick<[(x: Tensor) => Tensor, Tensor]>([
        [(t) => t.matmul(weight), x],
        [(t) => t.matmul(weight).add(bias).gelu(), x],
        [(t) => t.matmul(t.transpose(-1, -2)), x],
        [(t) => t.mul(2).matmul(weight.transpose().contiguous().transpose()).relu(), x],
        [(t) => t.cast('bfloat16').matmul(weight.cast('bfloat16')).cast('float32'), x],
        [(t) => conv2d(t, kernel, { padding: 1 }).relu(), image],
        [(t) => conv2d(t, kernel, { stride: 2 }), image],
      ])
      const options = { packsWeights: random.pick([true, false]) }
      const usual = bits(tunedProgram(f, input, prefers(0), options).run([input])[0]!)
      for (const place of [random.whole(1, 2), random.whole(3, 5), random.whole(6, 7)]) {
        const program = tunedProgram(f, input, prefers(place), options)
        expect(bits(program.run([input])[0]!) === usual, `seed ${seed}, tile ${place}`).toBe(true)
        for (const { choices } of program.tiles.values()) tuned += Number(choices > 1)
        program.release()
      }
    }
    expect(tuned).toBeGreaterThan(100)
  })

  test('the fastest is used', () => {
    const x = randn([60, 64])
    const square = (t: Tensor) => t.matmul(t.transpose())
    const tiles = [0, 1, 2, 3].map((place) => {
      const { tiles } = tunedProgram(square, x, prefers(place))
      return JSON.stringify(tiles.get(0)!.tile)
    })
    expect(new Set(tiles).size).toBe(4)
    // What is faster by next to nothing is not.
    const noise: Measure = (runs) => runs.map((_, i) => 1 - i / 1000)
    expect(JSON.stringify(tunedProgram(square, x, noise).tiles.get(0)!.tile)).toBe(tiles[0])
  })

  test('a choice is read back without timing, and made anew for other sizes', () => {
    const path = join(folder, 'inner', 'choices.json')
    const measure = vi.fn(prefers(2))
    const tileOf = (rows: number) => {
      const x = randn([rows, 64])
      const square = (t: Tensor) => t.matmul(t.transpose())
      return tunedProgram(square, x, measure, { choices: new ChoiceFile(path) }).tiles.get(0)!.tile
    }
    const first = tileOf(60)
    expect(measure).toHaveBeenCalledTimes(1)
    expect(tileOf(60)).toEqual(first)
    expect(measure).toHaveBeenCalledTimes(1)
    tileOf(61)
    expect(measure).toHaveBeenCalledTimes(2)
    expect(Object.keys(JSON.parse(readFileSync(path, 'utf8')) as object)).toHaveLength(2)
    expect(readdirSync(join(folder, 'inner'))).toEqual(['choices.json'])
  })

  test.each([
    ['is cut', '{"a'],
    ['is a list', '[1]'],
    ['holds other things', '{"a": 3}'],
  ])('a file that %s is ignored, and written anew', (_, content) => {
    const path = join(folder, 'choices.json')
    writeFileSync(path, content)
    const choices = new ChoiceFile(path)
    expect(choices.get('a')).toBeUndefined()
    choices.set('a', '8x2')
    expect(new ChoiceFile(path).get('a')).toBe('8x2')
  })

  test('a damaged file is spoken of on the debug ladder', () => {
    const path = join(folder, 'choices.json')
    writeFileSync(path, '{"a')
    const said = vi.spyOn(console, 'log').mockImplementation(() => undefined)
    const alsoSaid = vi.spyOn(console, 'error').mockImplementation(() => undefined)
    withConfig({ debug: 1 }, () => new ChoiceFile(path).get('a'))
    const text = [...said.mock.calls, ...alsoSaid.mock.calls].join('\n')
    vi.restoreAllMocks()
    expect(text).toContain(`${path} is not used`)
  })

  test('a choice that is none of the tiles is not followed', () => {
    const choices = { get: () => '99x99', set: vi.fn() }
    tunedProgram((t) => t.matmul(t.transpose()), randn([60, 64]), prefers(1), { choices })
    expect(choices.set).toHaveBeenCalledOnce()
  })

  test('two processes that write keep what both found', () => {
    const path = join(folder, 'choices.json')
    const [one, two] = [new ChoiceFile(path), new ChoiceFile(path)]
    expect([one.get('a'), two.get('b')]).toEqual([undefined, undefined])
    one.set('a', '8x2')
    two.set('b', '6x4')
    const next = new ChoiceFile(path)
    expect([next.get('a'), next.get('b')]).toEqual(['8x2', '6x4'])
  })

  test('compile times for real, forward and backward, with the bits of an eager run', () => {
    manualSeed(1)
    const model = new nn.Sequential(new nn.Linear(64, 96), new nn.ReLU(), new nn.Linear(96, 32))
    const x = randn([40, 64])
    const forward = compile((t: Tensor) => noGrad(() => model.forward(t)), { tune: true })
    expect(bits(forward(x))).toEqual(bits(noGrad(() => model.forward(x))))
    const [{ tiles, packedBytes }] = forward.programs as [(typeof forward.programs)[0]]
    expect(tiles.size).toBe(2)
    expect(packedBytes).toBeGreaterThan(0)
    expect(explain(forward)).toMatch(/in tiles of \d+ rows x \d vectors, the fastest of \d tried/)
    const gradients = (f: (t: Tensor) => Tensor) => {
      for (const p of model.parameters()) p.grad = undefined
      f(x).sum().backward()
      return model.parameters().map((p) => bits(p.grad!))
    }
    const joint = compile((t: Tensor) => model.forward(t), { tune: true })
    const plain = compile((t: Tensor) => model.forward(t))
    expect(gradients(joint)).toEqual(gradients(plain))
    expect(joint.programs[0]!.backward!.tiles.size).toBeGreaterThan(0)
    expect(plain.programs[0]!.tiles.size).toBe(0)
  })
})

test.each(['wasm', 'reference'])('refused on %s', async (device) => {
  await setBackend(device)
  const f = compile((x: Tensor) => x.matmul(x), { tune: true })
  expect(() => f(ones([4, 4]))).toThrow(UnsupportedError)
  expect(() => f(ones([4, 4]))).toThrow(
    /tune: the \w+ backend .*Leave tune out.*setBackend\('cpu'\)/,
  )
})

test.each([['yes'], [1], [null]])('tune must be a boolean, not %s', (tune) => {
  const wrong = () => compile((x: Tensor) => x, { tune: tune as never })
  expect(wrong).toThrow(ValueError)
  expect(wrong).toThrow(/tune: expected true or false, received (a string|a number|null)/)
})
