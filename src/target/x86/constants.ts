/** @file Constants of a kernel: each once, beside the code. */
import type { ScalarType } from '../../core/dtype.ts'
import type { ScalarValue } from '../../ir/scalar-op.ts'
import type { MachineProgram, Register } from './machine.ts'

export class Constants {
  readonly #program: MachineProgram
  readonly #known = new Map<string, Register>()

  constructor(program: MachineProgram) {
    this.#program = program
  }

  /** A value in every lane. */
  splat(type: ScalarType, value: ScalarValue): Register {
    const key = `${type}${Object.is(value, -0) ? '-0' : value}`
    return this.#get(key, () => ({ bytes: bytesOfValue(type, value), isSplat: true }))
  }

  /** The numbers of the 32-bit lanes of register `r`. */
  iota(r: number, bits: number): Register {
    return this.#get(`iota${r}/${bits}`, () => {
      const count = bits / 32
      const lanes = Int32Array.from({ length: count }, (_, i) => i + r * count)
      return { bytes: new Uint8Array(lanes.buffer), isSplat: false }
    })
  }

  #get(key: string, make: () => { bytes: Uint8Array; isSplat: boolean }): Register {
    let known = this.#known.get(key)
    if (known === undefined) this.#known.set(key, (known = this.#program.constant(make())))
    return known
  }
}

function bytesOfValue(type: ScalarType, value: ScalarValue): Uint8Array {
  if (type === 'f32') return new Uint8Array(Float32Array.of(Number(value)).buffer)
  if (type === 'f64') return new Uint8Array(Float64Array.of(Number(value)).buffer)
  if (type === 'i64') return new Uint8Array(BigInt64Array.of(BigInt(value)).buffer)
  return new Uint8Array(Int32Array.of(Number(value)).buffer)
}
