/** @file The reference backend: the interpreter over plain buffers. Slow, and the judge of all others. */
import { dtypes } from '../../core/dtype.ts'
import type { ExprBuilder } from '../../ir/expr.ts'
import type { Group } from '../../ir/group.ts'
import { interpretGroup } from '../../ir/interpret.ts'
import { Block, type Backend, type Executable, type MemoryStats } from '../backend.ts'

class HostBlock extends Block {
  readonly buffer: ArrayBuffer
  constructor(bytes: number) {
    super(bytes)
    this.buffer = new ArrayBuffer(Math.ceil(bytes / 8) * 8)
  }
}

export class ReferenceBackend implements Backend {
  readonly name: string = 'reference'
  readonly synchronous = true

  allocate(bytes: number): Block {
    return new HostBlock(bytes)
  }
  free(): void {
    // The collector takes it.
  }
  pin(): void {
    // Nothing moves here.
  }
  unpin(): void {
    // Nothing moves here.
  }
  write(block: Block, bytes: Uint8Array): void {
    new Uint8Array((block as HostBlock).buffer).set(bytes)
  }
  read(block: Block, from: number, length: number): Uint8Array<ArrayBuffer> {
    return new Uint8Array((block as HostBlock).buffer.slice(from, from + length))
  }
  readAsync(block: Block, from: number, length: number): Promise<Uint8Array<ArrayBuffer>> {
    return Promise.resolve(this.read(block, from, length))
  }
  memoryStats(): MemoryStats {
    return { current: 0, peak: 0, reserved: 0 }
  }
  compile(_s: ExprBuilder, group: Group): Executable {
    return {
      name: group.name,
      launch: (blocks, offsets, sizes, params) => {
        const buffers = group.buffers.map(({ dtype }, i) => ({
          elements: new dtypes[dtype].array((blocks[i] as HostBlock).buffer),
          offset: offsets[i]!,
        }))
        return interpretGroup(group, { buffers, sizes, params })
      },
    }
  }
}
