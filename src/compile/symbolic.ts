/** @file Tensors of a program that is being traced: what stands in the place of memory, and of a backend. */
import { Block, type Backend, type Executable, type MemoryStats } from '../backend/backend.ts'
import { leakedTensor } from '../tensor/tracing.ts'
import { TraceError } from '../util/errors.ts'
import type { Value } from './graph.ts'
import type { TraceScope } from './trace-scope.ts'

/** Stands for the memory of a value; the layouts of tensors over it are layouts of the value's elements. */
export class SymbolicBlock extends Block {
  readonly value: Value
  /** Where the value was recorded. */
  readonly scope: TraceScope

  constructor(value: Value, bytes: number, scope: TraceScope) {
    super(bytes)
    this.value = value
    this.scope = scope
  }
}

/** Stands for a backend: it has the same name, and nothing to read. */
export class SymbolicBackend implements Backend {
  readonly synchronous = true
  readonly symbolic = true
  /** The backend that the program is for. */
  real: Backend
  /** Whether the trace is over. */
  isOver = false

  constructor(real: Backend) {
    this.real = real
  }

  get name(): string {
    return this.real.name
  }
  allocate(): Block {
    throw leakedTensor()
  }
  compile(): Executable {
    throw leakedTensor()
  }
  write(): void {
    throw leakedTensor()
  }
  read(): Uint8Array<ArrayBuffer> {
    throw this.isOver ? leakedTensor() : valuesAreUnknown()
  }
  readAsync(): Promise<Uint8Array<ArrayBuffer>> {
    throw this.isOver ? leakedTensor() : valuesAreUnknown()
  }
  memoryStats(): MemoryStats {
    return this.real.memoryStats()
  }
  // Memory is planned when the whole program is known.
  free(): void {}
  pin(): void {}
  unpin(): void {}
}

function valuesAreUnknown(): TraceError {
  const error = new TraceError('')
  const line = /\(?((?:file:\/\/)?[^\s()]+:\d+:\d+)\)?$/.exec(
    (error.stack ?? '').split('\n')[1] ?? '',
  )
  error.message = `compile: ${line === null ? 'the function' : line[1]!} reads the elements of a tensor while the function is traced, when they are not known. To let them decide what is computed, use cond(), whileLoop() or scan(); to look at them, return the tensor and read it outside; or move the line out of the function, if it does not depend on its arguments`
  error.stack = (error.stack ?? '').replace(/^TraceError:? ?/, `TraceError: ${error.message}`)
  return error
}
