/** @file Corners of the loop form that random programs found, and the check of allocations. */
import { describe, expect, test } from 'vitest'
import { X86Assembler } from '../../src/asm/x86.ts'
import type { TypedArray } from '../../src/core/dtype.ts'
import { interpretKernel } from '../../src/ir/interpret-loops.ts'
import type { Definition, Kernel, MemoryType, Statement, Value } from '../../src/ir/loops.ts'
import { verifyKernel } from '../../src/ir/verify-loops.ts'
import { allocate } from '../../src/target/x86/allocate.ts'
import { emitX86 } from '../../src/target/x86/compile.ts'
import { Selector } from '../../src/target/x86/emit.ts'
import type { X86Features } from '../../src/target/x86/traits.ts'
import { verifyAllocation } from '../../src/target/x86/verify-allocation.ts'
import { runCode, x86Targets } from './run-x86.ts'

/** Statements of a program, as they are made. */
class Body {
  readonly statements: Statement[] = []
  #id = 0

  let(type: Value['type'], lanes: number, def: Definition): Value {
    const value = { id: this.#id++, type, lanes, def }
    this.statements.push({ kind: 'let', value })
    return value
  }
  int(value: number): Value {
    return this.let('i32', 1, { kind: 'const', value })
  }
  store(buffer: number, memory: MemoryType, value: Value, offset = 0): void {
    const place = { buffer, memory, index: this.int(0), offset }
    this.statements.push({ kind: 'store', place, value, mask: undefined })
  }
}

function kernelOf(body: Body, memories: readonly MemoryType[], written: number): Kernel {
  const buffers = memories.map((memory, i) => ({ memory, written: i === written }))
  const none = { sizeCount: 0, params: [], scratchBytes: 0 }
  return { name: 'corner', buffers, ...none, body: body.statements }
}

const withAvx512 = x86Targets.find(({ features }) => features.avx512)

describe.skipIf(!withAvx512)('AVX-512', () => {
  const features = withAvx512?.features as X86Features

  test.each([
    ['u8', Uint8Array],
    ['i8', Int8Array],
    ['u16', Uint16Array],
    ['i32', Int32Array],
  ] as const)('lanes of a gather of %s that are switched off are 0', (memory, array) => {
    const b = new Body()
    const index = b.let('i32', 16, { kind: 'iota' })
    const mask = b.let('bool', 16, { kind: 'lanesBelow', count: b.int(5) })
    const place = { buffer: 0, memory, index, offset: 0 }
    b.store(1, 'i32', b.let('i32', 16, { kind: 'gather', place, mask }))
    const kernel = kernelOf(b, [memory, 'i32'], 1)
    const buffers: TypedArray[] = [array.of(9, 8, 7, 6, 5), new Int32Array(16).fill(1)]
    const code = emitX86(kernel, features, { verify: true })
    const [, got] = runCode(kernel, code, { buffers }, [], 1, 1)
    const wanted = Int32Array.from({ length: 16 }, (_, i) => (i < 5 ? 9 - i : 0))
    expect(new Int32Array(got!)).toEqual(wanted)
  })

  test('more masks are alive than there are', () => {
    const b = new Body()
    const bools = Array.from({ length: 20 }, (_, i) =>
      b.let('bool', 16, { kind: 'lanesBelow', count: b.int(i) }),
    )
    const pairs = bools.flatMap((x, i) =>
      bools
        .slice(i + 1, i + 3)
        .map((y) => b.let('bool', 16, { kind: 'op', op: 'xor', args: [x, y] })),
    )
    const all = [...bools, ...pairs]
    all.forEach((x, i) =>
      b.store(0, 'i32', b.let('i32', 16, { kind: 'op', op: 'convert', args: [x] }), 16 * i),
    )
    const kernel = kernelOf(b, ['i32'], 0)
    verifyKernel(kernel)
    const elements = new Int32Array(16 * all.length)
    const [got] = runCode(
      kernel,
      emitX86(kernel, features, { verify: true }),
      { buffers: [elements] },
      [],
      1,
      1,
    )
    interpretKernel(kernel, { buffers: [{ elements, offset: 0 }], sizes: [], params: [] })
    expect(new Int32Array(got!)).toEqual(elements)
  })
})

describe.skipIf(x86Targets.length === 0)('the check of allocations', () => {
  // Sums of neighbours among many values that all stay alive.
  const program = (count: number) => {
    const b = new Body()
    const zero = b.int(0)
    const loads = Array.from({ length: count }, (_, i) =>
      b.let('f32', 1, {
        kind: 'load',
        place: { buffer: 0, memory: 'f32', index: zero, offset: i },
        mask: undefined,
      }),
    )
    for (const step of [1, 2])
      loads.forEach((x, i) =>
        b.store(
          1,
          'f32',
          b.let('f32', 1, { kind: 'op', op: 'add', args: [x, loads[(i + step) % count]!] }),
          i,
        ),
      )
    return kernelOf(b, ['f32', 'f32'], 1)
  }

  test.each(x86Targets)('$name: finds registers that share a place', ({ features }) => {
    const vectorCount = features.avx512 ? 32 : 16
    for (const count of [8, 60]) {
      const made = new Selector(program(count), features, new X86Assembler()).run()
      const allocation = allocate(made, vectorCount, features.avx512 ? 64 : 32)
      expect(allocation.spills).toBe(count === 60)
      const check = () => verifyAllocation(made, allocation, vectorCount)
      expect(check).not.toThrow()
      const vectors = made.registers.filter((r) => r.class === 'v' && r.assigned >= 0)
      let caught = 0
      for (const r of vectors)
        for (const other of vectors) {
          const overlap = Math.min(r.end, other.end) > Math.max(r.start, other.start)
          if (r === other || !overlap || r.assigned === other.assigned) continue
          const before = r.assigned
          r.assigned = other.assigned
          expect(check).toThrow(/holds something else/)
          r.assigned = before
          caught++
        }
      expect(caught).toBeGreaterThan(20)
      expect(check).not.toThrow()
    }
  })
})
