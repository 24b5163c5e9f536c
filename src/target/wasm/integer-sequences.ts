/** @file Integer operations that take WebAssembly several instructions. */
import type { FunctionAssembler } from '../../asm/wasm.ts'
import type { ScalarType } from '../../core/dtype.ts'
import type { ScalarOp } from '../../ir/scalar-op.ts'

type Sequence = (
  f: FunctionAssembler,
  int: 'i32' | 'i64',
  type: ScalarType,
  push: (argument: number) => void,
) => void

const constant = (f: FunctionAssembler, int: 'i32' | 'i64', value: number) =>
  int === 'i64' ? f.i64Const(BigInt(value)) : f.i32Const(value)

const pickBy =
  (comparison: 'lt_s' | 'gt_s'): Sequence =>
  (f, int, _type, push) => {
    push(0)
    push(1)
    push(0)
    push(1)
    f.op(`${int}.${comparison}`).select()
  }

// A divisor of zero or minus one would trap (or overflow): divide by one instead, then choose the right answer.
const divide =
  (quotient: boolean): Sequence =>
  (f, int, _type, push) => {
    const isUnsafe = () => {
      push(1)
      constant(f, int, 1).op(`${int}.add`)
      constant(f, int, 1).op(`${int}.le_u`)
    }
    push(0)
    constant(f, int, 1)
    push(1)
    isUnsafe()
    f.select().op(quotient ? `${int}.div_s` : `${int}.rem_s`)
    if (!quotient) return
    // With divisor -1 the quotient is -a = a * b, with divisor 0 it is 0 = a * b.
    const local = f.local(int)
    f.localSet(local)
    push(0)
    push(1)
    f.op(`${int}.mul`).localGet(local)
    isUnsafe()
    f.select()
  }

/** Lanes shifted by counts of their own, one after the other: vector instructions take one count for all. */
export function shiftEachLane(
  f: FunctionAssembler,
  lanes: string,
  op: ScalarOp,
  push: (argument: number) => void,
): void {
  const [int, count] = lanes === 'i64x2' ? (['i64', 2] as const) : (['i32', 4] as const)
  const name = `${int}x${count}` as 'i32x4'
  const shift = ({ shl: 'shl', shr: 'shr_s', ushr: 'shr_u' } as const)[op as 'shl']
  push(0)
  for (let i = 0; i < count; i++) {
    for (const argument of [0, 1]) {
      push(argument)
      f.lane(`${name}.extract_lane`, i)
    }
    f.op(`${int}.${shift}`).lane(`${name}.replace_lane`, i)
  }
}

/** Integer rows that WebAssembly has no single instruction for. */
export const integerSequences: Partial<Record<ScalarOp, Sequence>> = {
  min: pickBy('lt_s'),
  max: pickBy('gt_s'),
  div: divide(true),
  rem: divide(false),
  neg(f, int, _type, push) {
    constant(f, int, 0)
    push(0)
    f.op(`${int}.sub`)
  },
  abs(f, int, _type, push) {
    constant(f, int, 0)
    push(0)
    f.op(`${int}.sub`)
    push(0)
    push(0)
    constant(f, int, 0).op(`${int}.lt_s`).select()
  },
  not(f, int, type, push) {
    push(0)
    if (type === 'bool') f.op('i32.eqz')
    else constant(f, int, -1).op(`${int}.xor`)
  },
  select(f, _int, _type, push) {
    push(1)
    push(2)
    push(0)
    f.select()
  },
}
