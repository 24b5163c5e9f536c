/** @file The op table through a file: the same bits as before; and with other attributes than the op makes, no harm. */
import { describe, expect, test } from 'vitest'
import { compile, FormatError, GradError, noGrad, ValueError, type Tensor } from 'tandem'
import { fromSafetensors, graphToBytes, loadGraph, toSafetensors } from 'tandem/io'
import { defaultDevice } from '../devices.ts'
import { elementsFor, randomFor, specOf, toTensor } from '../ops/inputs.ts'
import { floats, type Row, type Sample } from '../ops/row.ts'
import { readRows } from '../ops/rows.ts'
import { leaves } from './damage.ts'

interface Case {
  readonly where: string
  readonly fn: (...inputs: Tensor[]) => Tensor[]
  readonly inputs: Readonly<Record<string, Tensor>>
}

const files = await readRows()

describe('every call that can be compiled gives the same bits', () => {
  for (const { file, rows } of files)
    test(file, async () => {
      for (const row of rows)
        for (const sample of samplesOf(row)) {
          const { where, fn, inputs } = caseOf(row, sample)
          const wanted = row.eagerOnly === undefined ? predict(fn, inputs) : undefined
          if (wanted === undefined) continue
          const bytes = graphToBytes(fn, { fn: { inputs } })
          if (row.op === 'dropout') {
            await expect(bytes).rejects.toThrow('as in training')
            continue
          }
          const found = (await loadGraph(await bytes)).run<Tensor[]>('fn', inputs)
          // A generator of its own is no part of the file.
          const look = file.startsWith('random') ? form : bits
          expect(found.map(look), where).toEqual(wanted.map(look))
        }
    })
})

describe('calls with other numbers are refused, or harmless', () => {
  for (const { file, rows } of files)
    test(file, async () => {
      for (const row of rows) {
        const [sample] = samplesOf(row)
        if (row.eagerOnly === undefined && row.op !== 'dropout' && sample !== undefined)
          await damage(caseOf(row, sample))
      }
    })

  async function damage({ where, fn, inputs }: Case): Promise<void> {
    if (predict(fn, inputs) === undefined) return
    const { tensors, metadata } = fromSafetensors(await graphToBytes(fn, { fn: { inputs } }))
    const text = metadata['tandem.graph']!
    for (const [i, { path }] of leaves(JSON.parse(text)).entries()) {
      if (!path.includes('nodes') || path.includes('results')) continue
      for (const value of [-1, 3, 0.5, 2 ** 31, null]) {
        const document: object = JSON.parse(text)
        const { holder, key } = leaves(document)[i]!
        holder[key] = value
        const metadata = { 'tandem.graph': JSON.stringify(document) }
        await toSafetensors(tensors, { metadata })
          .then(loadGraph)
          .then((graph) => graph.run('fn', inputs))
          .catch((error: unknown) => {
            // Of positions in the data the kernels themselves find out.
            if (!(error instanceof FormatError || error instanceof ValueError))
              throw new Error(`${where}: ${path.join('.')}.${key} = ${value}`, { cause: error })
          })
      }
    }
  }
})

const dtypesOf = (row: Row, sample: Sample) => sample.dtypes ?? row.dtypes ?? floats
const samplesOf = (row: Row) => row.samples.filter((sample) => dtypesOf(row, sample).length > 0)

function caseOf(row: Row, sample: Sample): Case {
  const [dtype] = dtypesOf(row, sample)
  const where = `${row.op} sample ${row.samples.indexOf(sample)} ${dtype}`
  const random = randomFor(where)
  const tensors = sample.inputs.map((input) => {
    const spec = specOf(input)
    const of = spec.dtype ?? dtype!
    return toTensor(elementsFor(spec, of, random), of, defaultDevice)
  })
  return {
    where,
    fn: (...inputs) =>
      [
        (row.call as (...args: unknown[]) => Tensor | Tensor[])(...inputs, ...(sample.args ?? [])),
      ].flat(),
    inputs: Object.fromEntries(tensors.map((t, i) => [`x${i}`, t])),
  }
}

/** What a program gives; undefined for rows about gradients. */
function predict(fn: Case['fn'], inputs: Case['inputs']): Tensor[] | undefined {
  try {
    return noGrad(() => compile(fn)(...Object.values(inputs)))
  } catch (error) {
    if (error instanceof GradError) return undefined
    throw error
  }
}

const form = (t: Tensor) => [t.dtype, t.shape]
const bits = (t: Tensor) => [t.dtype, t.shape, [...t.dataSync()].map(String)]
