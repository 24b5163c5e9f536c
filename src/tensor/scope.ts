/** @file Scopes that free the blocks made inside them: for the gradient machinery, and for `tidy`. */
import type { Backend, Block } from '../backend/backend.ts'
import type { Tensor } from './tensor.ts'
import { tracing } from './tracing.ts'

type Keep = (block: Block) => boolean

class Scope {
  readonly backends: Backend[] = []
  readonly blocks: Block[] = []

  note(backend: Backend, block: Block): void {
    this.backends.push(backend)
    this.blocks.push(block)
  }

  /** Frees the blocks noted from position `from` on, except those `keep` holds on to: they stay. */
  sweep(from: number, keep: Keep): void {
    const { backends, blocks } = this
    let kept = from
    for (let i = from; i < blocks.length; i++) {
      const block = blocks[i]!
      const backend = backends[i]!
      if (keep(block)) {
        blocks[kept] = block
        backends[kept++] = backend
      } else backend.free(block)
    }
    while (blocks.length > kept) {
      blocks.pop()
      backends.pop()
    }
  }
}

let current: Scope | undefined

/** Notes a new block; called by whoever allocates. What is made during a trace is a constant of the program. */
export function noteBlock(backend: Backend, block: Block): void {
  if (current !== undefined && tracing === undefined) current.note(backend, block)
}

/** Runs `body`; afterwards frees the blocks made in it, except those `keep` holds on to. */
export function scoped<T>(body: () => T, keep: (block: Block, result: T) => boolean): T {
  const outer = current
  const scope = new Scope()
  current = scope
  try {
    const result = body()
    scope.sweep(0, (block) => keep(block, result))
    current = outer
    if (outer !== undefined)
      for (let i = 0; i < scope.blocks.length; i++) outer.note(scope.backends[i]!, scope.blocks[i]!)
    return result
  } finally {
    current = outer
  }
}

/** How many blocks the present scope holds: the beginning of a part that `sweepSince` may free. */
export const scopeMark = (): number => (current === undefined ? 0 : current.blocks.length)

/** Frees the blocks made in the present scope since `mark` was taken, except those `keep` holds on to. */
export function sweepSince(mark: number, keep: Keep): void {
  current?.sweep(mark, keep)
}

/** Runs `body` outside any scope: nothing it makes is freed. */
export function unscoped<T>(body: () => T): T {
  const outer = current
  current = undefined
  try {
    return body()
  } finally {
    current = outer
  }
}

/**
 * Runs `body` and frees every tensor made inside it, except those in the result (a tensor, or arrays
 * and objects of tensors) and those the tape still needs. Nobody has to call this; it frees earlier.
 *
 * @example
 * tidy(() => tensor([1, 2]).mul(3).sum()) // -> tensor(9, float32, cpu)
 */
export function tidy<T>(body: () => T): T {
  let kept: Set<Block> | undefined
  return scoped(body, (block, result) => {
    kept ??= new Set(blocksIn(result))
    return kept.has(block) || block.saves > 0 || block.pending > 0
  })
}

const blocksIn = (value: unknown): Block[] => tensorsIn(value).map((t) => t.storage)

/** All tensors in a structure. */
export function tensorsIn(value: unknown, seen = new Set<unknown>()): Tensor[] {
  if (typeof value !== 'object' || value === null || seen.has(value)) return []
  if ('storage' in value && 'layout' in value) return [value as Tensor]
  seen.add(value)
  return Object.values(value).flatMap((v) => tensorsIn(v, seen))
}
