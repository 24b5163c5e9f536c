/** @file The checks that harness.ts runs on every row. */
import { expect } from 'vitest'
import { compile, gradcheck, Tensor, type DType } from 'tandem'
import { dtypes } from '../../src/core/dtype.ts'
import { sameShape } from '../../src/core/shape.ts'
import { defaultDevice } from '../devices.ts'
import { elementsFor, layouts, randomFor, repeated, specOf, toPlain, toTensor } from './inputs.ts'
import type { PlainArray } from './plain.ts'
import { defaultTolerance, floats, type ErrorSample, type Row, type Sample } from './row.ts'

/** Ways to run a row; each must give the same values. */
export interface Mode {
  readonly name: string
  readonly traces?: boolean
  /** Kernels are made for it alone: one backend and the first dtype of each sample do. */
  readonly isCostly?: boolean
  run(call: Row['call'], args: readonly unknown[]): readonly Tensor[]
}

export const modes: readonly Mode[] = [
  {
    name: 'eager',
    run: (call, args) => results(call, args),
  },
  {
    name: 'compiled',
    traces: true,
    run: (call, args) => compiledWith(args, (given) => results(call, given)),
  },
  {
    // Copies before and after, which are fused into the op's own kernels where that is possible.
    name: 'fused',
    traces: true,
    isCostly: true,
    run: (call, args) =>
      compiledWith(args, (given) =>
        results(
          call,
          given.map((x) => (x instanceof Tensor ? x.clone() : x)),
        ).map((x) => x.clone()),
      ),
  },
]
const eager = modes[0]!

const results = (call: Row['call'], args: readonly unknown[]): Tensor[] =>
  [(call as (...args: unknown[]) => Tensor | Tensor[])(...args)].flat()

function compiledWith(
  args: readonly unknown[],
  run: (args: readonly unknown[]) => Tensor[],
): readonly Tensor[] {
  const program = compile((...tensors: Tensor[]) => {
    const next = tensors.values()
    return run(args.map((x) => (x instanceof Tensor ? next.next().value : x)))
  })
  return program(...args.filter((x) => x instanceof Tensor))
}

/** Values, shapes and dtypes against the reference, on one backend in one mode. */
export function checkValues(row: Row, device: string, mode: Mode): void {
  forEachCase(row, (sample, dtype, where) => {
    if (mode.isCostly && dtype !== dtypesOf(row, sample)[0]) return
    const inputs = makeInputs(row, sample, dtype, device)
    const before = inputs.map(toPlain)
    const outputs = mode.run(row.call, [...inputs, ...(sample.args ?? [])])
    checkResultDTypes(row, inputs, outputs, where)
    if (row.reference !== undefined) {
      const reference = row.reference as (...args: unknown[]) => PlainArray | PlainArray[]
      const expected = [reference(...before, ...(sample.args ?? []))].flat()
      expect(outputs.length, `${where}: number of outputs`).toBe(expected.length)
      outputs.forEach((output, i) => {
        const tolerance = toleranceOf(row, dtype, output)
        expectClose(output, expected[i]!, { tolerance, signed: sample.signedZeros, where })
      })
    }
    inputs.forEach((x, i) =>
      expect(toPlain(x).data, `${where}: input ${i}`).toEqual(before[i]!.data),
    )
    if (row.view !== true)
      for (const output of outputs)
        for (const x of inputs)
          expect(output.storage, `${where}: the result shares memory`).not.toBe(x.storage)
  })
}

/** The kernels of every sample and dtype compile where nothing runs. */
export function checkCompiles(row: Row): void {
  forEachCase(row, (sample, dtype, where) => {
    const inputs = makeInputs(row, sample, dtype, 'null')
    const outputs = eager.run(row.call, [...inputs, ...(sample.args ?? [])])
    checkResultDTypes(row, inputs, outputs, where)
  })
}

/** Transposed, sliced, flipped and expanded inputs give what row-major ones give. */
export function checkLayouts(row: Row): void {
  const names = Object.keys(layouts)
  for (const [s, sample] of row.samples.entries()) {
    const dtype = dtypesOf(row, sample)[0]
    if (dtype === undefined || sample.inputs.length === 0) continue
    const elements = elementsOf(row, sample, dtype)
    for (let v = 0; v < names.length; v++) {
      // Several inputs get different layouts.
      const chosen = elements.map((_, i) => names[(v + i) % names.length]!)
      const where = `sample ${s} ${dtype}, inputs ${chosen.join(', ')}`
      const used = elements.map((x, i) => (chosen[i] === 'expanded' ? repeated(x) : x))
      const typeOf = (i: number) => specOf(sample.inputs[i]!).dtype ?? dtype
      const rowMajor = used.map((x, i) => toTensor(x, typeOf(i), defaultDevice))
      const views = used.map((x, i) => layouts[chosen[i]!]!(x, typeOf(i), defaultDevice))
      const expected = eager.run(row.call, [...rowMajor, ...(sample.args ?? [])])
      const outputs = eager.run(row.call, [...views, ...(sample.args ?? [])])
      outputs.forEach((output, i) => {
        const tolerance = toleranceOf(row, dtype, output)
        expectClose(output, toPlain(expected[i]!), { tolerance, where })
      })
    }
  }
}

/** First or second derivatives along a random direction, in float64, against central differences. */
export function checkGradients(row: Row, order: 'first' | 'second'): void {
  for (const [s, sample] of row.samples.entries()) {
    if (sample.grad === false) continue
    const specs = sample.inputs.map(specOf)
    const inputs = makeInputs(row, sample, 'float64', defaultDevice)
    const moving = specs.flatMap((x, i) =>
      x.constant !== true && inputs[i]!.dtype === 'float64' ? [i] : [],
    )
    const f = (...leaves: Tensor[]) => {
      const given = [...inputs]
      moving.forEach((i, k) => (given[i] = leaves[k]!))
      const outputs = eager.run(row.call, [...given, ...(sample.args ?? [])])
      const random = randomFor(`${row.op} weights`)
      return outputs
        .filter((t) => dtypes[t.dtype].kind === 'float')
        .map((t) =>
          t
            .mul(
              toTensor(
                elementsFor({ shape: t.shape }, 'float64', random),
                'float64',
                defaultDevice,
              ),
            )
            .sum(),
        )
        .reduce((a, b) => a.add(b))
    }
    try {
      gradcheck(
        f,
        moving.map((i) => inputs[i]!),
        { secondOrder: order === 'second', seed: s + 1 },
      )
    } catch (error) {
      throw new Error(`sample ${s}: ${(error as Error).message}`, { cause: error })
    }
    if (order === 'first') checkGradientSpecs(row, sample, moving, s)
  }
}

/** Gradients have the shape and dtype of their inputs, in float32 too. */
function checkGradientSpecs(row: Row, sample: Sample, moving: readonly number[], s: number): void {
  const inputs = makeInputs(row, sample, 'float32', defaultDevice)
  for (const i of moving) inputs[i]!.requireGrad()
  const outputs = eager.run(row.call, [...inputs, ...(sample.args ?? [])])
  const loss = outputs.filter((t) => t.requiresGrad).map((t) => t.sum())
  if (loss.length === 0) return
  loss.reduce((a, b) => a.add(b)).backward()
  for (const i of moving) {
    const { grad } = inputs[i]!
    if (grad === undefined) continue
    expect(grad.dtype, `sample ${s}: dtype of gradient ${i}`).toBe('float32')
    expect(grad.shape, `sample ${s}: shape of gradient ${i}`).toEqual(inputs[i]!.shape)
  }
}

/** Wrong calls throw the class and the message stated, pointing at the caller. */
export function checkError({ call, error, message }: ErrorSample): void {
  let thrown: unknown
  try {
    call()
  } catch (e) {
    thrown = e
  }
  expect(thrown).toBeInstanceOf(error)
  expect((thrown as Error).message).toMatch(message)
  const firstFrame = (thrown as Error).stack!.split('\n').find((line) => /^\s+at /.test(line))
  expect(firstFrame, 'the stack starts at the caller').toContain('/test/')
}

/** The dtypes a sample is tried with. */
function dtypesOf(row: Row, sample: Sample): readonly DType[] {
  return sample.dtypes ?? row.dtypes ?? floats
}

/** That of the inputs, or of the result when integers became floats. */
function toleranceOf(row: Row, dtype: DType, output: Tensor): number {
  const of = (d: DType) => row.tolerance?.[d] ?? defaultTolerance[d]
  return Math.max(of(dtype), of(output.dtype))
}

function forEachCase(row: Row, body: (sample: Sample, dtype: DType, where: string) => void): void {
  row.samples.forEach((sample, s) => {
    for (const dtype of dtypesOf(row, sample)) {
      const shapes = sample.inputs.map((x) => `[${specOf(x).shape.join(', ')}]`)
      const args = sample.args?.length ? ` ${JSON.stringify(sample.args)}` : ''
      body(sample, dtype, `sample ${s} ${dtype} ${shapes.join(' ')}${args}`)
    }
  })
}

function elementsOf(row: Row, sample: Sample, dtype: DType): PlainArray[] {
  const random = randomFor(`${row.op} ${row.samples.indexOf(sample)} ${dtype}`)
  return sample.inputs.map((input) => {
    const spec = specOf(input)
    return elementsFor(spec, spec.dtype ?? dtype, random)
  })
}

function makeInputs(row: Row, sample: Sample, dtype: DType, device: string): Tensor[] {
  return elementsOf(row, sample, dtype).map((x, i) =>
    toTensor(x, specOf(sample.inputs[i]!).dtype ?? dtype, device),
  )
}

function checkResultDTypes(
  row: Row,
  inputs: readonly Tensor[],
  outputs: readonly Tensor[],
  where: string,
): void {
  const { result = 'same' } = row
  const [first = 'float32' as DType] = inputs.map((x) => x.dtype)
  const expected =
    result === 'bool'
      ? 'bool'
      : result === 'same'
        ? first
        : result === 'floating'
          ? dtypes[first].kind === 'float'
            ? first
            : 'float32'
          : result(...inputs.map((x) => x.dtype))
  const list = Array.isArray(expected) ? expected : outputs.map(() => expected)
  expect(
    outputs.map((x) => x.dtype),
    `${where}: dtype of the result`,
  ).toEqual(list)
}

function expectClose(
  actual: Tensor,
  expected: PlainArray,
  {
    tolerance,
    where,
    signed = false,
  }: { tolerance: number; where: string; signed?: boolean | undefined },
): void {
  expect(actual.shape, `${where}: shape of the result`).toEqual([...expected.shape])
  // What the reference computed in double precision, rounded or wrapped to the dtype of the result.
  const wanted = toPlain(toTensor(expected, actual.dtype, 'reference')).data
  const found = toPlain(actual).data
  for (let i = 0; i < wanted.length; i++) {
    const a = found[i]!
    const b = wanted[i]!
    const same = Object.is(a, b) || (!signed && a === b)
    if (same || ((b !== 0 || !signed) && Math.abs(a - b) <= tolerance * (1 + Math.abs(b)))) continue
    expect.fail(
      `${where}: element ${i} of ${sameShape(actual.shape, []) ? 'the result' : `[${found.slice(0, 8).join(', ')}...]`} is ${a}, expected ${b} (${actual.device})`,
    )
  }
}
