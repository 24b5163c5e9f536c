/** @file Dtype promotion against PyTorch: the rule, and what `add` really gives. */
import { describe, expect, test } from 'vitest'
import { ones, type DType } from 'tandem'
import { resultType } from '../../src/core/dtype.ts'
import { readFixture } from './fixture.ts'

type Row = readonly [kind: string, a: DType, b: DType | number, result: string]

const table = readFixture<Row[]>('promotion')

describe.each([...new Set(table.map(([kind]) => kind))])('%s', (kind) => {
  const [left, right] = kind.split(', ').map((k) => (k === 'tensor' ? [1] : []))
  const rows = table.filter((row) => row[0] === kind).map((row) => [...row, inTandem(row)] as const)

  test('resultType', () => {
    const operand = (dtype: DType, shape: readonly number[]) => ({ dtype, ndim: shape.length })
    const wrong = rows.filter(([, a, b, , expected]) => {
      const second = typeof b === 'number' ? b : operand(b, right!)
      return resultType([operand(a, left!), second]) !== expected
    })
    expect(wrong).toEqual([])
  })

  test('add', () => {
    const wrong = rows.flatMap((row) => {
      const [, a, b, , expected] = row
      const sum = ones(left!, { dtype: a }).add(
        typeof b === 'number' ? b : ones(right!, { dtype: b }),
      )
      return sum.dtype === expected ? [] : [[...row, sum.dtype]]
    })
    expect(wrong).toEqual([])
  })
})

/** What PyTorch gives, but for two decisions: there is no int16, and a plain whole number is int32. */
function inTandem([, a, b, result]: Row): string {
  if (result === 'int16') return 'int32'
  if (typeof b === 'number' && a === 'bool' && result === 'int64') return 'int32'
  return result
}
