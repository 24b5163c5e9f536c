/** @file The op table through a file: every call that can be compiled is saved, loaded, and gives the same bits. */
import { expect, test } from 'vitest'
import { compile, GradError, noGrad, type DType, type Tensor } from 'tandem'
import { graphToBytes, loadGraph } from 'tandem/io'
import { defaultDevice } from '../devices.ts'
import { elementsFor, randomFor, specOf, toTensor } from '../ops/inputs.ts'
import { floats, type Row, type Sample } from '../ops/row.ts'
import { readRows } from '../ops/rows.ts'

for (const { file, rows } of await readRows())
  test(file, async () => {
    for (const row of rows) {
      if (row.eagerOnly !== undefined) continue
      for (const [s, sample] of row.samples.entries())
        for (const dtype of (sample.dtypes ?? row.dtypes ?? floats).slice(0, 1))
          await checkSaved(file, row, sample, dtype, `${row.op} sample ${s} ${dtype}`)
    }
  })

async function checkSaved(
  file: string,
  row: Row,
  sample: Sample,
  dtype: DType,
  where: string,
): Promise<void> {
  const random = randomFor(where)
  const tensors = sample.inputs.map((input) => {
    const spec = specOf(input)
    const of = spec.dtype ?? dtype
    return toTensor(elementsFor(spec, of, random), of, defaultDevice)
  })
  const fn = (...inputs: Tensor[]) =>
    [(row.call as (...args: unknown[]) => unknown)(...inputs, ...(sample.args ?? []))].flat()
  const wanted = predict(fn, tensors)
  if (wanted === undefined) return
  const inputs = Object.fromEntries(tensors.map((t, i) => [`x${i}`, t]))
  const bytes = graphToBytes(fn, { fn: { inputs } })
  if (row.op === 'dropout') return expect(bytes).rejects.toThrow('as in training')
  const graph = await loadGraph(await bytes)
  const found = graph.run<Tensor[]>('fn', inputs)
  // A generator of its own is no part of the file.
  const look = file.startsWith('random') ? form : bits
  expect(found.map(look), where).toEqual(wanted.map(look))
}

/** What a program gives; undefined for rows about gradients. */
function predict(fn: (...inputs: Tensor[]) => unknown, tensors: Tensor[]): Tensor[] | undefined {
  try {
    return noGrad(() => compile(fn)(...tensors)) as Tensor[]
  } catch (error) {
    if (error instanceof GradError) return undefined
    throw error
  }
}

const form = (t: Tensor) => [t.dtype, t.shape]
const bits = (t: Tensor) => [t.dtype, t.shape, [...t.dataSync()].map(String)]
