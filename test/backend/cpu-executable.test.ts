/** @file What a kernel of the cpu backend is handed: addresses, sizes, numbers, scratch space, the status word. */
import { expect, test } from 'vitest'
import type { CpuBlock } from '../../src/backend/cpu/block.ts'
import { CpuExecutable, type Compiled } from '../../src/backend/cpu/executable.ts'
import { openCpu } from '../../src/backend/cpu/index.ts'
import { loadNative, type Native } from '../../src/backend/cpu/native.ts'
import { describeMachineCode } from '../devices.ts'
import { copyKernel } from './cpu-kernels.ts'

const native = loadNative() as Native

describeMachineCode('launching', () => {
  const plain: Compiled = {
    name: 'copy',
    code: copyKernel(5),
    streamingCode: () => copyKernel(5),
    share: undefined,
    memories: ['f64', 'u8'],
    operands: 2,
    isChecked: false,
    sizeCount: 2,
    paramCount: 1,
    scratchBytes: 0,
  }
  const make = (changes: Partial<Compiled> = {}) =>
    new CpuExecutable(openCpu(), { ...plain, ...changes })
  const blocks = () => [64, 10].map((bytes) => openCpu().allocate(bytes) as CpuBlock)

  test('operands that the caches do not hold go to code of their own, made once', () => {
    let made = 0
    const streamingCode = () => {
      made++
      return copyKernel(5, { slot: 0, value: 7 })
    }
    const backend = openCpu()
    const small = new CpuExecutable(backend, { ...plain, streamingCode })
    const large = new CpuExecutable(
      { code: backend.code, pool: backend.pool, cachedBytes: 1000, scratchAt: () => 0 },
      { ...plain, streamingCode },
    )
    const [to, other] = blocks()
    const long = backend.allocate(1024) as CpuBlock
    small.launch([to!, long], [0, 0], [3, 4], [5])
    large.launch([to!, other!], [0, 0], [3, 4], [5])
    expect(made).toBe(0)
    for (let i = 0; i < 2; i++) large.launch([to!, long], [0, 0], [3, 4], [5])
    expect([made, to!.i32[0]]).toEqual([1, 7])
    small.release()
    large.release()
  })

  test('addresses come first, offsets counted in elements, then sizes, then numbers', () => {
    const [to, other] = blocks()
    expect(make().launch([to!, other!], [0, 7], [3, 2 ** 33], [0.5])).toBe(true)
    const expected = [to!.address, other!.address + 7, 3, 2 ** 33, 0.5]
    expect(to!.f64.slice(0, 5)).toEqual(Float64Array.from(expected))
  })

  test('scratch space is the last buffer, with room for every thread', () => {
    const [to, other] = blocks()
    const scratchBytes = 1_000_000
    const kernel = make({ memories: ['f64', 'u8', 'f32'], code: copyKernel(6), scratchBytes })
    const before = openCpu().numThreads
    for (const threads of [before, before + 3]) {
      openCpu().numThreads = threads
      kernel.launch([to!, other!], [0, 0], [3, 4], [0.5])
      const [, , at, size] = to!.f64
      expect(at! % 64).toBe(0)
      expect(size).toBe(3)
      // Were it too small, this would end the process.
      new Uint8Array(native.view(at!, threads * scratchBytes)).fill(1)
    }
    openCpu().numThreads = before
  })

  test('a kernel with checks says how they went', () => {
    const [to, other] = blocks()
    for (const value of [0, 1]) {
      const code = copyKernel(3, { slot: 2, value })
      const kernel = make({ memories: ['f64', 'u8', 'i32'], code, isChecked: true })
      expect(kernel.launch([to!, other!], [0, 0], [3, 4], [0.5])).toBe(value === 1)
    }
  })

  test('memory that was freed is refused', () => {
    const [to, other] = blocks()
    openCpu().free(other!)
    expect(() => make().launch([to!, other!], [0, 0], [1, 1], [1])).toThrow(/was freed/)
  })

  test('code that is released makes room for other code, and is not run again', () => {
    const [to, other] = blocks()
    const { code } = openCpu()
    const kernel = make()
    const before = code.bytes
    kernel.release()
    kernel.release()
    expect(code.bytes).toBeLessThan(before)
    expect(() => kernel.launch([to!, other!], [0, 0], [1, 1], [1])).toThrow(/copy was released/)
    make().launch([to!, other!], [0, 0], [1, 1], [1])
    expect(code.bytes).toBe(before)
  })

  test('more arguments than there is room for are refused when compiling', () => {
    expect(() => make({ sizeCount: 10_000 })).toThrow(/more than fit/)
  })
})
